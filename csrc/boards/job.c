#include "boards/job.h"

#include <string.h>

#include "boards/bytes.h"
#include "boards/clamp.h"

int job_account(struct job *j, uint32_t dt_us, uint32_t work_mu, int up, int ran) {
    uint32_t delta_mu = work_mu - j->base_mu;
    int continues = up && j->has_base;
    j->restarted = continues && delta_mu > INT32_MAX;
    j->base_mu = work_mu;
    j->has_base = (uint8_t)(up != 0);
    if (!continues || j->restarted || !ran || !j->running) {
        return 0;
    }
    j->progress_mu = clamp_min_u32(clamp_add_u32(j->progress_mu, delta_mu), j->total_mu);
    j->since_save_us += dt_us;
    if (job_is_done(j)) {
        j->running = 0;
        j->save_due = 1;
        return 1;
    }
    if (j->since_save_us >= (uint64_t)j->checkpoint_ms * 1000) {
        j->save_due = 1;
    }
    return 0;
}

void job_start(struct job *j, uint32_t id, uint8_t workload, uint32_t total_mu, uint32_t start_mu,
               uint32_t checkpoint_ms) {
    j->id = id;
    j->workload = workload;
    j->total_mu = total_mu;
    j->progress_mu = clamp_min_u32(start_mu, total_mu);
    j->checkpoint_mu = j->progress_mu;
    j->checkpoint_ms = checkpoint_ms;
    j->running = !job_is_done(j);
    j->since_save_us = 0;
    j->save_due = 1;
}

void job_stop(struct job *j) {
    j->save_due = (uint8_t)(j->save_due || j->running);
    j->running = 0;
}

void job_clear(struct job *j) {
    job_start(j, 0, 0, 0, 0, 0);
    j->running = 0;
}

void job_roll_back(struct job *j, int keep_running) {
    if (!job_is_done(j)) {
        j->progress_mu = j->checkpoint_mu;
    }
    j->running = (uint8_t)(j->running && keep_running);
    j->has_base = 0;
    j->since_save_us = 0;
}

int job_is_done(const struct job *j) {
    return j->id != 0 && j->progress_mu >= j->total_mu;
}

void job_saved(struct job *j) {
    j->save_due = 0;
    j->since_save_us = 0;
    j->checkpoint_mu = j->progress_mu;
    if (j->id != 0) {
        ++j->checkpoints;
    }
}

void job_record(const struct job *j, uint8_t out[static JOB_RECORD_BYTES]) {
    uint8_t *p = bytes_u8(bytes_u32(out, j->id), j->workload);
    p = bytes_u32(bytes_u32(p, j->total_mu), j->progress_mu);
    bytes_u32(p, j->checkpoint_ms);
}

void job_restore(struct job *j, const uint8_t in[static JOB_RECORD_BYTES]) {
    memset(j, 0, sizeof *j);
    j->id = bytes_get_u32(in);
    j->workload = in[4];
    j->total_mu = bytes_get_u32(in + 5);
    j->progress_mu = clamp_min_u32(bytes_get_u32(in + 9), j->total_mu);
    j->checkpoint_mu = j->progress_mu;
    j->checkpoint_ms = bytes_get_u32(in + 13);
}
