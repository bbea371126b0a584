#include "boards/job.h"

#include <string.h>

#include "boards/bytes.h"
#include "boards/clamp.h"

/* Of a period's work, what was done while a checkpoint was written. */
static uint32_t written_mu(struct job *j, uint32_t dt_us, uint32_t delta_mu) {
    if (j->writing_us == 0 || dt_us == 0) {
        return 0;
    }
    uint32_t us = clamp_min_u32(j->writing_us, dt_us);
    uint32_t mu = (uint32_t)((uint64_t)delta_mu * us / dt_us);
    j->writing_us -= us;
    j->save_due = (uint8_t)(j->save_due || j->writing_us == 0);
    j->writing_mu += mu;
    return mu;
}

static void follow_interval(struct job *j, uint32_t dt_us) {
    j->since_save_us += dt_us;
    if (j->writing_us > 0 || j->save_due || j->since_save_us < (uint64_t)j->checkpoint_ms * 1000) {
        return;
    }
    j->writing_us = j->cost_us;
    j->save_due = j->cost_us == 0;
}

int job_account(struct job *j, uint32_t dt_us, uint32_t work_mu, int up, int ran) {
    uint32_t delta_mu = work_mu - j->base_mu;
    int continues = up && j->has_base;
    j->restarted = continues && delta_mu > INT32_MAX;
    j->base_mu = work_mu;
    j->has_base = (uint8_t)(up != 0);
    if (!continues || j->restarted || !ran || !j->running) {
        return 0;
    }
    delta_mu -= written_mu(j, dt_us, delta_mu);
    j->progress_mu = clamp_min_u32(clamp_add_u32(j->progress_mu, delta_mu), j->total_mu);
    if (job_is_done(j)) {
        job_stop(j);
        return 1;
    }
    follow_interval(j, dt_us);
    return 0;
}

void job_start(struct job *j, const struct bus_node_job *m) {
    j->id = m->job_id;
    j->workload = m->workload;
    j->total_mu = m->total_mu;
    j->progress_mu = clamp_min_u32(m->start_mu, m->total_mu);
    j->checkpoint_mu = j->progress_mu;
    j->checkpoint_ms = m->checkpoint_ms;
    j->cost_us = clamp_u64_to_u32((uint64_t)m->checkpoint_cost_ms * 1000);
    j->writing_us = 0;
    j->phase_count = (uint8_t)clamp_min_u32(m->phase_count, JOB_PHASES);
    memset(j->phases, 0, sizeof j->phases);
    memcpy(j->phases, m->phases, j->phase_count * sizeof j->phases[0]);
    j->running = !job_is_done(j);
    j->since_save_us = 0;
    j->save_due = 1;
}

uint8_t job_workload(const struct job *j) {
    uint64_t cycle_mu = 0;
    unsigned count = clamp_min_u32(j->phase_count, JOB_PHASES);
    for (unsigned k = 0; k < count; ++k) {
        cycle_mu += j->phases[k].work_mu;
    }
    if (cycle_mu == 0) {
        return j->workload;
    }
    uint32_t at_mu = cycle_mu > j->progress_mu ? j->progress_mu : j->progress_mu % (uint32_t)cycle_mu;
    for (unsigned k = 0; k + 1 < count; ++k) {
        if (at_mu < j->phases[k].work_mu) {
            return j->phases[k].workload;
        }
        at_mu -= j->phases[k].work_mu;
    }
    return j->phases[count - 1].workload;
}

void job_stop(struct job *j) {
    j->save_due = (uint8_t)(j->save_due || j->running);
    j->running = 0;
    j->writing_us = 0;
}

void job_clear(struct job *j) {
    static const struct bus_node_job none;
    job_start(j, &none);
    j->running = 0;
}

void job_roll_back(struct job *j, int keep_running) {
    if (!job_is_done(j)) {
        j->lost_mu += j->progress_mu - j->checkpoint_mu;
        j->progress_mu = j->checkpoint_mu;
    }
    j->writing_us = 0;
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
