/* The job of a node: progress from the accelerator's work counter, checkpoints, and what is left of it after a loss.
 *
 * Work counts once: a period's work goes to the job that ran in that period; a counter that restarts (accelerator
 * booted) takes the job back to its checkpoint. What was done for a job is its progress, or is in writing_mu (done
 * while a checkpoint was written) or in lost_mu (taken back). Work in 0.001 work units. */
#ifndef DAWNLINE_BOARDS_JOB_H
#define DAWNLINE_BOARDS_JOB_H

#include <stdint.h>

#include "bus/bus_icd.h"

#define JOB_RECORD_BYTES 17
#define JOB_PHASES 4

struct job {
    uint32_t id; /* 0: none */
    uint32_t total_mu, progress_mu, checkpoint_mu, checkpoint_ms;
    uint8_t workload;  /* where there are no phases */
    uint8_t running;   /* to be run whenever the accelerator can */
    uint8_t save_due;  /* the record is to be written to persistent memory; then job_saved */
    uint8_t has_base;  /* base_mu is of the accelerator's present life */
    uint8_t restarted; /* in the last job_account: the work counter had gone back */
    uint32_t base_mu;  /* work counter at the last step */
    uint32_t checkpoints, writing_mu, lost_mu;
    uint32_t cost_us, writing_us; /* what writing a checkpoint takes; what is left of that, 0: none is being written */
    uint64_t since_save_us;
    uint8_t phase_count;
    struct bus_job_phase phases[JOB_PHASES];
};

/* Credits the work of one period. up: the accelerator is up (idle or active); ran: it was told to run the job.
 * Returns 1 when that completed the job, else 0. */
int job_account(struct job *j, uint32_t dt_us, uint32_t work_mu, int up, int ran);

/* A new job in place of whatever is there. */
void job_start(struct job *j, const struct bus_node_job *m);

/* BUS_WORKLOAD_* of the phase that the job's progress is in. */
uint8_t job_workload(const struct job *j);

/* Keeps the job, no longer to be run; its progress becomes a checkpoint, which nothing waits for. */
void job_stop(struct job *j);

/* No job. */
void job_clear(struct job *j);

/* The accelerator lost its memory: progress falls back to the checkpoint. keep_running: resume when it is up again. */
void job_roll_back(struct job *j, int keep_running);

int job_is_done(const struct job *j);

/* The record was written: progress at that time is safe now. */
void job_saved(struct job *j);

/* The record in persistent memory. job_restore gives a job that is not running. */
void job_record(const struct job *j, uint8_t out[static JOB_RECORD_BYTES]);
void job_restore(struct job *j, const uint8_t in[static JOB_RECORD_BYTES]);

#endif
