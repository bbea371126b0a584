/* The controller of one compute node, as a pure step: sensors and time in, settings of its accelerator out.
 *
 *   off --power on, input there, accelerator seen off--> boot --accelerator idle--> idle <--job--> active
 *   boot --2 x boot time--> fault                        idle, active --hang, far too hot--> halted --> boot
 *   any --latch-up, third hang in a row--> fault         any --power off, input lost--> off
 */
#ifndef DAWNLINE_BOARDS_COMPUTE_NODE_H
#define DAWNLINE_BOARDS_COMPUTE_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "boards/events.h"
#include "boards/heartbeat.h"
#include "boards/job.h"
#include "boards/lease.h"
#include "boards/over_cap.h"
#include "boards/throttle.h"
#include "bus/bus_icd.h"

#define COMPUTE_NODE_WANTED 0x5A
#define COMPUTE_NODE_STATE_BYTES 256 /* room for the serialised state */

/* Two counters of the accelerator that wrap at 16 bits, accumulated. */
struct ecc {
    uint16_t last_corrected, last_uncorrected;
    uint8_t has_base;
    uint32_t corrected, uncorrected;
};

struct compute_node {
    struct bus_node_config config;
    struct lease lease;
    struct throttle die, hbm;
    struct over_cap over_cap;
    struct heartbeat heartbeat;
    struct job job;
    struct bus_node_job next_job; /* what `next` is about */
    struct ecc ecc;
    struct events events;
    uint8_t configured, started; /* started: the first step is over */
    uint8_t state;               /* BUS_NODE_STATE_* */
    uint8_t wanted_on;           /* COMPUTE_NODE_WANTED; all else is off, so no flipped bit switches it on */
    uint8_t cycle;               /* the accelerator must be seen off before it boots */
    uint8_t next;                /* COMPUTE_NODE_NEXT_*, taken at the next step */
    uint8_t command, workload;   /* last outputs */
    uint8_t latch_up_steps;
    uint16_t flags;     /* BUS_NODE_FLAG_* */
    uint16_t clock_mhz; /* last output */
    int16_t coolant_cdeg;
    uint32_t cap_mw; /* last output */
    uint32_t power_mw, bus_mv;
    uint32_t state_us;    /* in this state */
    uint32_t throttle_us; /* since the last throttle event */
    uint16_t accel_resets, hangs, latch_ups, leases_rejected, lease_expiries;
};

enum compute_node_next {
    COMPUTE_NODE_NEXT_NONE = 0,
    COMPUTE_NODE_NEXT_START = 1,
    COMPUTE_NODE_NEXT_STOP = 2,
    COMPUTE_NODE_NEXT_CLEAR = 3,
    COMPUTE_NODE_NEXT_HOLD = 4, /* start and stop: there, but not running */
};

/* A node that knows nothing yet: unconfigured, accelerator off, cap 0. */
void compute_node_init(struct compute_node *n);

/* Commands: each returns the BUS_ACK_CODE_* that answers it. What they change shows at the next step. */
uint8_t compute_node_configure(struct compute_node *n, const struct bus_node_config *m);
uint8_t compute_node_power(struct compute_node *n, const struct bus_node_power *m);
uint8_t compute_node_job(struct compute_node *n, const struct bus_node_job *m);
uint8_t compute_node_job_stop(struct compute_node *n, const struct bus_node_job_stop *m);

/* Takes a lease at board time t_us, or counts it as rejected. oldest_session: as for lease_take. */
enum lease_result compute_node_lease(struct compute_node *n, uint64_t t_us, uint32_t oldest_session,
                                     const struct bus_lease *m);

/* One step of s->dt_us that ends at t_us: sets n->cap_mw, clock_mhz, command and workload. When n->job.save_due is set
 * afterwards, the caller writes the job's record and calls job_saved, before it reports the node's state. */
void compute_node_step(struct compute_node *n, uint64_t t_us, const struct bus_tick_node *s);

/* The state that decides what the node does next, as fixed-width integers, for the state hash. Returns the bytes. */
size_t compute_node_serialise(const struct compute_node *n, uint8_t out[static COMPUTE_NODE_STATE_BYTES]);

#endif
