/* What flight does in every tick: reads the boards, keeps the supply's promise, tells the boards what to do.
 *
 * The caller owns the memory (ctl_bytes) and everything else that needs a clock, a port or a file: ctl_step is a
 * bus_participant, called once per tick with the bytes that the boards sent, and returns the bytes for them.
 *
 * What always holds, whatever the boards send:
 *  1. no board gets anything but HELLO_REQ before it has proven kind, role and ICD;
 *  2. no lease lifts the sum of the caps that may be in force above the supply last told, less the margin on what of it
 *     is measured; a cap that was lowered counts at its old value until its node has shown the new one or it has
 * expired;
 *  3. work per tick is linear in the number of boards and in the bytes received.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "bus/batch.h"
#include "bus/bus_icd.h"
#include "space/space_icd.h"

#include <stddef.h>
#include <stdint.h>

#define CTL_NODES_MAX 1024
#define CTL_FAULTS_MAX 3 /* power cycles of a node before it is left off until it is commanded on again */

struct ctl;

#define CTL_WORKLOADS 4
#define CTL_PIECES 8

/* A piece of a concave curve of speed over draw above idle: width in shares of the draw at full speed, speed a share.
 * whole: the workload itself is worth less than that unless it gets all of the piece. clock_mhz: the lock that holds a
 * node at the piece's end; 0: none does. */
struct ctl_piece {
    float width, slope;
    uint16_t clock_mhz;
    uint8_t whole;
};
struct ctl_curve {
    uint32_t least_mw, most_mw; /* draw above idle at full speed, by data and chip */
    uint8_t count;
    struct ctl_piece pieces[CTL_PIECES];
};

#define CTL_LOOPS 2

/* The cooling of a loop; its nodes are those of its groups, node i in group i % groups. */
struct ctl_cooling {
    uint8_t loops, groups;
    float emitted_w_per_k4; /* of a loop's radiator */
    float absorbed_w;       /* infrared of the Earth, by a loop's radiator */
    float radiator_w_per_k; /* coolant to panels, of a loop */
    float flow_w_per_k;     /* mass flow times heat capacity, of a loop */
    float panel_j_per_k, loop_j_per_k;
    float die_k_per_w, hbm_k_per_w; /* over the coolant, per watt of the node (HBM: in training) */
};

/* What the satellite's file says, in the units of the bus. */
struct ctl_config {
    uint16_t nodes;
    uint32_t session; /* of the bus; above every earlier one */
    uint32_t tick_us;
    uint8_t firmware_hash[8];    /* that every board has to name */
    struct bus_node_config node; /* session and command_seq are filled in when it is sent */
    struct bus_power_config power;
    struct bus_battery_curve curve;
    struct bus_shed_tiers tiers;
    uint8_t shed_tier[CTL_NODES_MAX];
    uint32_t boot_mw;            /* draw of a node that boots */
    uint32_t discharge_mw;       /* what leases may count on from the battery */
    uint32_t converter_permille; /* array terminals to bus */
    uint32_t array_mw;           /* nameplate of the array */
    uint16_t soc_floor_cpct;     /* below it the battery guarantees nothing */
    uint32_t hotel_mw, heater_mw;
    uint32_t resistance_uohm; /* of the battery at 25 degC, polarisation included */
    int32_t array_ppm_per_k;  /* change of its maximum power */
    uint32_t idle_mw;         /* draw of an accelerator that does nothing */
    struct ctl_curve curves[CTL_WORKLOADS];
    struct ctl_cooling cooling;
    uint8_t adopt; /* nothing is known of earlier sessions: nodes that are found running are wanted on */
};

/* A job as one node shall run it; job_id 0: none. */
struct ctl_job {
    uint32_t job_id, total_mu, start_mu, checkpoint_ms, checkpoint_cost_ms;
    uint8_t workload;
    uint8_t stop;             /* checkpoint it and stay idle with it, until another job or none is set */
    uint8_t phase_count;      /* 0: workload throughout */
    uint16_t weight_permille; /* of its work where watts are scarce; 1000, or 0: as any other */
    struct bus_job_phase phases[4];
};

enum ctl_phase {
    CTL_PHASE_OFF = 0,   /* accelerator off as far as known */
    CTL_PHASE_START = 1, /* channel and accelerator told to start, boot power set aside */
    CTL_PHASE_UP = 2,
    CTL_PHASE_STOP = 3
};

/* Release of a node's channel from quarantine. */
enum ctl_clear {
    CTL_CLEAR_NONE = 0, /* none wanted, or done */
    CTL_CLEAR_WANTED = 1,
    CTL_CLEAR_REFUSED = 2 /* the power board said no, or was lost before it answered */
};

#define CTL_LEASES 6

/* A clock lock: it holds a node at a share of its draw above idle, whatever the data makes of that draw. */
struct ctl_lock {
    float share;  /* 1: free */
    uint16_t mhz; /* 0: free */
    uint8_t workload;
};

/* A lease that may still be in force on its board. */
struct ctl_lease {
    uint64_t expiry_us;
    uint32_t seq;
    uint32_t cap_mw;
};

/* A value that a balance checks. */
struct ctl_sensor {
    int32_t last;      /* as it was read */
    uint32_t still_us; /* since it changed */
    uint32_t bad_us;   /* of late, that it read what cannot be */
    uint32_t wrong_us, right_us;
    uint8_t state; /* SPACE_SENSOR_STATE_* */
};

enum { CTL_POWER = 0, CTL_DIE = 1, CTL_HBM = 2, CTL_COOLANT = 3, CTL_CHANNEL = 4, CTL_NODE_SENSORS = 5 };

struct ctl_node {
    struct bus_node_tlm tlm;   /* what is gone by: heard, with what does not fit the rest replaced */
    struct bus_node_tlm heard; /* last good one */
    struct ctl_sensor sensors[CTL_NODE_SENSORS];
    uint64_t heated_us;               /* when its workload began */
    uint64_t channel_us, compared_us; /* when its channel was told, and compared */
    uint32_t before_mw;               /* this and the following: what was last gone by */
    int16_t before_die_cdeg, before_hbm_cdeg, before_coolant_cdeg;
    float settled_mw;             /* its draw behind the lags of plate and die */
    float die_off_k, hbm_off_k;   /* of late: less what its draw and coolant make of them */
    float worked_mu, expected_mu; /* of late: what it did, and what its draw is good for */
    float speed_seen, speed;      /* at its job, against the curve: of late, and as it bids; 0: not known */
    uint16_t weight_permille;     /* of the job that it runs, or ran last */
    uint32_t progress_mu, progress_job;
    uint8_t heated;    /* workload of heated_us */
    uint64_t tlm_us;   /* its time on board; 0: none since the board was identified */
    uint64_t lease_us; /* when the last lease was sent */
    uint64_t phase_us; /* when the phase began */
    uint64_t retry_us; /* no command to this node before */
    uint64_t boot_us;  /* no new boot before */
    uint64_t over_us;  /* over its cap since; 0: it is not */
    struct ctl_lease leases[CTL_LEASES];
    struct ctl_job job;   /* what it shall run */
    uint32_t lease_seq;   /* last sent */
    uint32_t lease_mw;    /* last sent */
    uint32_t target_mw;   /* what the allocator wants */
    uint32_t thermal_mw;  /* upper bound by temperature: where it settles */
    uint32_t near_mw;     /* and what it may draw as hot as it is */
    uint32_t demand_mw;   /* upper bound by what it draws */
    uint32_t idle_mw;     /* of its draw, what does no work */
    uint32_t dynamic_mw;  /* the rest at full speed, as last seen */
    uint32_t followed_mw; /* its cap, as late as its draw follows one that rises */
    uint8_t workload;     /* that dynamic_mw is of */
    uint8_t starved;      /* the allocator has nothing for it beyond its floor */
    uint8_t rest;         /* off by plan */
    uint8_t boot_ordered; /* and not seen up, nor off after that */
    uint64_t free_us;     /* its cap has held it, or not, since */
    uint64_t share_us;    /* share is in force since */
    float share;          /* of its draw above idle at full speed, by the lock in force; 0: not known */
    struct ctl_lock lock; /* wanted; goes with its leases */
    struct ctl_lock sent; /* and in them since lock_seq */
    uint32_t lock_seq;
    uint8_t free;         /* it does not */
    uint32_t penalty_mw;  /* taken off because it drew more than its cap */
    uint32_t in_force_mw; /* what its caps may add up to, now */
    uint16_t channel_ma;  /* mean current of its channel, from the power board */
    uint8_t lease_count;
    uint8_t phase; /* enum ctl_phase */
    uint8_t channel;
    uint8_t channel_known;
    uint8_t mask;    /* its channel is wanted on */
    uint8_t wanted;  /* commanded on */
    uint8_t managed; /* its jobs are ours to command */
    uint8_t faults;  /* power cycles since it was last commanded on */
    uint8_t clear;   /* enum ctl_clear */
    uint8_t over_told;
    uint8_t coolant_pct; /* derate by its coolant, 100: none */
    struct bus_node_health health;
};

struct ctl_event {
    uint64_t t_us;
    uint16_t code, source;
    int32_t arg0, arg1;
};

/* Why the mode is what it is: SPACE_MODE_REASON_*. */
struct ctl_status {
    uint8_t mode, mode_reason, sunlit, commanded_safe;
    uint16_t boards_ready, boards_lost, boards_refused;
    uint32_t session;
    uint64_t frames_received, frames_sent, bytes_received, bytes_sent;
    uint32_t crc_errors, cobs_errors, length_errors, sequence_gaps, stale_frames, bad_payloads, unknown_frames;
    uint32_t retransmissions, command_timeouts, batch_dropped, events_dropped;
    uint32_t soc_cpct, guaranteed_mw, lease_sum_mw, available_mw, budget_mw;
};

/* Bits that ctl_step returns when Python should look at this tick. */
enum ctl_attention {
    CTL_ATTENTION_BOARD = 1, /* ready, lost or refused */
    CTL_ATTENTION_JOB = 2,   /* a job ended, or a node went idle */
    CTL_ATTENTION_MODE = 4,
    CTL_ATTENTION_SESSION = 8 /* a board has seen a newer session: ours was raised and must be kept */
};

enum ctl_error {
    CTL_ERR_NODES = -32, /* node count not 1 .. CTL_NODES_MAX */
    CTL_ERR_NODE = -33,  /* no such node or board */
    CTL_ERR_MODE = -34,  /* NOMINAL is not possible now */
    CTL_ERR_STATUS = -35 /* the board is not ready */
};

/* Memory for so many nodes, aligned as for uint64_t; 0: not 1 .. CTL_NODES_MAX. */
size_t ctl_bytes(uint16_t nodes);

/* Starts in SAFE, knowing nothing of any board. Returns 0 or CTL_ERR_NODES. */
int ctl_init(struct ctl *c, const struct ctl_config *config);

/* One tick; a bus_participant with a struct ctl as ctx. Returns the union of enum ctl_attention, or 0. */
int ctl_step(void *ctl, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx);

/* The attention bits raised since the last call. */
int ctl_take_attention(struct ctl *c);

/* Takes the parameters that the loop uses; they are in range (space_parameters are checked where they enter). */
void ctl_set_parameters(struct ctl *c, const struct space_parameters *p);

/* The next eclipse: its entry and exit in us of mission time, and the time to the one behind it; 0, 0, 0: not known. */
void ctl_set_forecast(struct ctl *c, uint64_t entry_us, uint64_t exit_us, uint64_t period_us);

/* SAFE by command stays until NOMINAL is commanded. Returns 0 or CTL_ERR_MODE. */
int ctl_set_mode(struct ctl *c, uint8_t mode);

/* Wants a node on or off; forgets its faults. Returns 0 or CTL_ERR_NODE. */
int ctl_want_node(struct ctl *c, uint16_t node, int on);

/* What the node shall run from now on (job_id 0: nothing). Returns 0 or CTL_ERR_NODE. */
int ctl_set_job(struct ctl *c, uint16_t node, const struct ctl_job *job);

/* Returns 0, CTL_ERR_NODE or CTL_ERR_STATUS. board: 0 the power board, 1 + i node i. */
int ctl_reset_board(struct ctl *c, uint16_t board);
int ctl_clear_channel(struct ctl *c, uint16_t node);

/* Moves up to `max` events out, oldest first; returns how many. */
size_t ctl_events(struct ctl *c, struct ctl_event *out, size_t max);

void ctl_get_status(const struct ctl *c, struct ctl_status *out);
const struct ctl_node *ctl_nodes(const struct ctl *c);
/* SPACE_BOARD_STATUS_* of a board; its boot count and refusal when the pointers are not NULL. */
uint8_t ctl_board(const struct ctl *c, uint16_t board, uint32_t *boot_count, uint8_t *refusal);

/* Housekeeping source data, ready to be packed; returns its bytes. */
size_t ctl_hk_power(const struct ctl *c, uint8_t out[static SPACE_MAX_PAYLOAD]);
size_t ctl_hk_estimate(const struct ctl *c, uint8_t out[static SPACE_MAX_PAYLOAD]);
/* One page from node `base` on. */
size_t ctl_hk_nodes(const struct ctl *c, uint16_t base, uint8_t out[static SPACE_MAX_PAYLOAD]);
/* One page from board `base` on, the power board first. */
size_t ctl_hk_health(const struct ctl *c, uint16_t base, uint8_t out[static SPACE_MAX_PAYLOAD]);

#endif
