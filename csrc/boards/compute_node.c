#include "boards/compute_node.h"

#include <string.h>

#include "boards/bytes.h"
#include "boards/clamp.h"

#define LATCH_UP_STEPS 2
#define HALT_US 200000             /* least time that an accelerator is held in reset */
#define THROTTLE_EVENT_US 10000000 /* least time between two throttle events */

void compute_node_init(struct compute_node *n) {
    memset(n, 0, sizeof *n);
    n->flags = BUS_NODE_FLAG_UNCONFIGURED;
    n->throttle_us = THROTTLE_EVENT_US;
}

/* ---- commands */

uint8_t compute_node_configure(struct compute_node *n, const struct bus_node_config *m) {
    if (m->floor_mw > m->max_mw || m->latch_up_ma == 0 || m->clock_max_mhz == 0) {
        return BUS_ACK_CODE_OUT_OF_RANGE;
    }
    n->config = *m;
    n->configured = 1;
    n->flags &= (uint16_t)~BUS_NODE_FLAG_UNCONFIGURED;
    return BUS_ACK_CODE_OK;
}

static int input_absent(const struct compute_node *n) {
    return n->bus_mv < clamp_max_u32(n->config.bus_min_mv, 1);
}

static int is_wanted(const struct compute_node *n) {
    return n->wanted_on == COMPUTE_NODE_WANTED;
}

static void want(struct compute_node *n, int on) {
    n->wanted_on = on ? COMPUTE_NODE_WANTED : 0;
}

uint8_t compute_node_power(struct compute_node *n, const struct bus_node_power *m) {
    int faulty = n->state == BUS_NODE_STATE_FAULT && !n->cycle;
    if (m->on && (!n->configured || input_absent(n) || faulty)) {
        return BUS_ACK_CODE_WRONG_STATE;
    }
    if (!m->on) {
        n->cycle = 1;
    }
    want(n, m->on);
    return BUS_ACK_CODE_OK;
}

static int is_up(uint8_t state) {
    return state == BUS_NODE_STATE_IDLE || state == BUS_NODE_STATE_ACTIVE;
}

uint8_t compute_node_job(struct compute_node *n, const struct bus_node_job *m) {
    if (!is_up(n->state) || n->cycle) {
        return BUS_ACK_CODE_WRONG_STATE;
    }
    if (m->start_mu > m->total_mu) {
        return BUS_ACK_CODE_OUT_OF_RANGE;
    }
    n->next = COMPUTE_NODE_NEXT_START;
    n->next_job = *m;
    return BUS_ACK_CODE_OK;
}

/* The job as it will be once what is pending was taken. */
static uint32_t coming_job(const struct compute_node *n) {
    if (n->next == COMPUTE_NODE_NEXT_START || n->next == COMPUTE_NODE_NEXT_HOLD) {
        return n->next_job.job_id;
    }
    return n->next == COMPUTE_NODE_NEXT_CLEAR ? 0 : n->job.id;
}

static int will_run(const struct compute_node *n) {
    return n->next == COMPUTE_NODE_NEXT_START || (n->next == COMPUTE_NODE_NEXT_NONE && n->job.running);
}

uint8_t compute_node_job_stop(struct compute_node *n, const struct bus_node_job_stop *m) {
    if (m->job_id == 0) {
        if (will_run(n)) {
            return BUS_ACK_CODE_WRONG_STATE;
        }
        n->next = COMPUTE_NODE_NEXT_CLEAR;
        return BUS_ACK_CODE_OK;
    }
    if (m->job_id != coming_job(n)) {
        return BUS_ACK_CODE_WRONG_STATE;
    }
    int starts = n->next == COMPUTE_NODE_NEXT_START || n->next == COMPUTE_NODE_NEXT_HOLD;
    n->next = starts ? COMPUTE_NODE_NEXT_HOLD : COMPUTE_NODE_NEXT_STOP;
    return BUS_ACK_CODE_OK;
}

enum lease_result compute_node_lease(struct compute_node *n, uint64_t t_us, uint32_t oldest_session,
                                     const struct bus_lease *m) {
    enum lease_result result = n->configured ? lease_take(&n->lease, t_us, oldest_session, m) : LEASE_REJECTED;
    if (result == LEASE_REJECTED) {
        clamp_count_u16(&n->leases_rejected);
    } else if (result == LEASE_TAKEN) {
        n->flags &= (uint16_t)~BUS_NODE_FLAG_LEASE_EXPIRED;
    }
    return result;
}

/* ---- one step: measure, watch, move, set */

static void set_flag(struct compute_node *n, unsigned flag, int on) {
    n->flags = (uint16_t)(on ? n->flags | flag : n->flags & ~flag);
}

static void enter(struct compute_node *n, uint8_t state) {
    n->state = state;
    n->state_us = 0;
}

static void ecc_account(struct compute_node *n, const struct bus_tick_node *s) {
    struct ecc *e = &n->ecc;
    uint16_t corrected = (uint16_t)(s->ecc_corrected - e->last_corrected);
    uint16_t uncorrected = (uint16_t)(s->ecc_uncorrected - e->last_uncorrected);
    int counts = e->has_base && is_up(s->accel_state);
    e->last_corrected = s->ecc_corrected;
    e->last_uncorrected = s->ecc_uncorrected;
    e->has_base = (uint8_t)is_up(s->accel_state);
    if (counts) {
        e->corrected += corrected;
        e->uncorrected += uncorrected;
        if (uncorrected != 0) {
            events_add(&n->events, BUS_EVENT_NODE_ECC_UNCORRECTED, uncorrected, clamp_u32_to_i32(e->uncorrected));
        }
    }
}

static void measure(struct compute_node *n, const struct bus_tick_node *s) {
    n->bus_mv = s->bus_mv;
    n->coolant_cdeg = s->coolant_cdeg;
    n->power_mw = clamp_u64_to_u32((uint64_t)s->bus_mv * s->mean_ma / 1000);
    n->state_us = clamp_add_u32(n->state_us, s->dt_us);
    n->throttle_us = clamp_add_u32(n->throttle_us, s->dt_us);
    set_flag(n, BUS_NODE_FLAG_BUS_ABSENT, input_absent(n));
    ecc_account(n, s);
    int ran = n->command == BUS_ACCEL_COMMAND_RUN;
    if (job_account(&n->job, s->dt_us, s->work_mu, is_up(s->accel_state), ran)) {
        events_add(&n->events, BUS_EVENT_NODE_JOB_DONE, (int32_t)n->job.id, clamp_u32_to_i32(n->job.progress_mu));
    }
}

/* After a reset of the controller alone the accelerator may still be up, or booting: go on from there, unless told off
 * meanwhile. */
static void adopt(struct compute_node *n, const struct bus_tick_node *s) {
    n->started = 1;
    if (!n->configured || input_absent(n) || s->accel_state == BUS_NODE_STATE_OFF ||
        s->accel_state == BUS_NODE_STATE_FAULT) {
        return;
    }
    want(n, is_wanted(n) || !n->cycle);
    enter(n, is_up(s->accel_state) ? BUS_NODE_STATE_IDLE : BUS_NODE_STATE_BOOT);
}

static void fail(struct compute_node *n) {
    enter(n, BUS_NODE_STATE_FAULT);
    want(n, 0);
    job_roll_back(&n->job, 0);
}

static void halt(struct compute_node *n) {
    enter(n, BUS_NODE_STATE_HALTED);
    clamp_count_u16(&n->accel_resets);
    job_roll_back(&n->job, 1);
}

static void switch_off(struct compute_node *n) {
    enter(n, BUS_NODE_STATE_OFF);
    n->heartbeat.streak = 0;
    n->over_cap = (struct over_cap){0};
    set_flag(n, BUS_NODE_FLAG_LATCH_UP | BUS_NODE_FLAG_HANG, 0);
}

/* Where the state is none, memory has been damaged: the accelerator is off until flight switches it on again. */
static void watch_state(struct compute_node *n) {
    if (n->state > BUS_NODE_STATE_FAULT) {
        fail(n);
    }
}

static void watch_input(struct compute_node *n) {
    if (n->state != BUS_NODE_STATE_OFF && input_absent(n)) {
        events_add(&n->events, BUS_EVENT_NODE_POWER_LOST, clamp_u32_to_i32(n->bus_mv), n->state);
        job_roll_back(&n->job, 0);
        want(n, 0);
        switch_off(n);
    }
}

static void watch_latch_up(struct compute_node *n, const struct bus_tick_node *s) {
    int above = n->configured && s->mean_ma > n->config.latch_up_ma;
    n->latch_up_steps = above ? (uint8_t)clamp_min_u32(n->latch_up_steps + 1u, LATCH_UP_STEPS) : 0;
    if (n->latch_up_steps >= LATCH_UP_STEPS && n->state != BUS_NODE_STATE_FAULT) {
        clamp_count_u16(&n->latch_ups);
        set_flag(n, BUS_NODE_FLAG_LATCH_UP, 1);
        events_add(&n->events, BUS_EVENT_NODE_LATCH_UP, s->mean_ma, n->config.latch_up_ma);
        fail(n);
    }
}

static void watch_heartbeat(struct compute_node *n, const struct bus_tick_node *s) {
    int up = is_up(n->state) && is_up(s->accel_state);
    if (!heartbeat_step(&n->heartbeat, s->dt_us, s->heartbeat, up, n->config.hang_ms)) {
        return;
    }
    clamp_count_u16(&n->hangs);
    set_flag(n, BUS_NODE_FLAG_HANG, 1);
    events_add(&n->events, BUS_EVENT_NODE_HANG, clamp_u32_to_i32(n->heartbeat.silent_us / 1000),
               clamp_u32_to_i32(n->power_mw));
    if (n->heartbeat.streak >= HEARTBEAT_STREAK) {
        fail(n);
    } else {
        halt(n);
    }
}

/* The accelerator went down, or its work counter went back, without our telling it. */
static void watch_reboot(struct compute_node *n, const struct bus_tick_node *s) {
    if (is_up(n->state) && (!is_up(s->accel_state) || n->job.restarted)) {
        clamp_count_u16(&n->accel_resets);
        job_roll_back(&n->job, 1);
        enter(n, BUS_NODE_STATE_BOOT);
    }
}

static void watch_temperature(struct compute_node *n) {
    int over = n->die.latched || n->hbm.latched;
    if (over && !(n->flags & BUS_NODE_FLAG_OVER_TEMPERATURE)) {
        events_add(&n->events, BUS_EVENT_NODE_OVER_TEMPERATURE, n->die.cdeg, n->hbm.cdeg);
    }
    set_flag(n, BUS_NODE_FLAG_OVER_TEMPERATURE, over);
    if (is_up(n->state) && (n->die.halted || n->hbm.halted)) {
        halt(n);
    }
}

static void boot_or_fail(struct compute_node *n, const struct bus_tick_node *s) {
    if (is_up(s->accel_state)) {
        events_add(&n->events, BUS_EVENT_NODE_BOOT_DONE, clamp_u32_to_i32(n->state_us / 1000), 0);
        set_flag(n, BUS_NODE_FLAG_HANG, 0);
        enter(n, BUS_NODE_STATE_IDLE);
    } else if (n->state_us / 1000 > 2 * n->config.boot_ms) {
        events_add(&n->events, BUS_EVENT_NODE_BOOT_FAILED, clamp_u32_to_i32(n->state_us / 1000), s->accel_state);
        fail(n);
    }
}

/* Boots anew once it is cool; an accelerator that does not obey its reset is power-cycled. */
static void leave_reset(struct compute_node *n, const struct bus_tick_node *s) {
    if (n->state_us < HALT_US) {
        return;
    }
    if (is_up(s->accel_state)) {
        n->cycle = 1;
        enter(n, BUS_NODE_STATE_OFF);
    } else if (!n->die.halted && !n->hbm.halted) {
        enter(n, BUS_NODE_STATE_BOOT);
    }
}

/* An accelerator told to go off: its job is checkpointed first. */
static void obey_power(struct compute_node *n) {
    if (n->cycle && n->state != BUS_NODE_STATE_OFF) {
        job_stop(&n->job);
        switch_off(n);
    }
}

static void move(struct compute_node *n, const struct bus_tick_node *s) {
    switch (n->state) {
    case BUS_NODE_STATE_OFF:
        n->cycle = (uint8_t)(n->cycle && s->accel_state != BUS_NODE_STATE_OFF);
        if (is_wanted(n) && !n->cycle && !input_absent(n) && !n->die.halted && !n->hbm.halted) {
            enter(n, BUS_NODE_STATE_BOOT);
        }
        break;
    case BUS_NODE_STATE_BOOT:
        boot_or_fail(n, s);
        break;
    case BUS_NODE_STATE_HALTED:
        leave_reset(n, s);
        break;
    default:
        break;
    }
}

static void take_job(struct compute_node *n) {
    const struct bus_node_job *m = &n->next_job;
    if (n->next == COMPUTE_NODE_NEXT_START || n->next == COMPUTE_NODE_NEXT_HOLD) {
        job_start(&n->job, m);
        n->job.running = (uint8_t)(n->job.running && n->next == COMPUTE_NODE_NEXT_START && is_wanted(n));
    } else if (n->next == COMPUTE_NODE_NEXT_STOP) {
        job_stop(&n->job);
    } else if (n->next == COMPUTE_NODE_NEXT_CLEAR) {
        job_clear(&n->job);
    }
    n->next = COMPUTE_NODE_NEXT_NONE;
    set_flag(n, BUS_NODE_FLAG_JOB_DONE, job_is_done(&n->job));
    if (n->state == BUS_NODE_STATE_IDLE && n->job.running) {
        enter(n, BUS_NODE_STATE_ACTIVE);
    } else if (n->state == BUS_NODE_STATE_ACTIVE && !n->job.running) {
        enter(n, BUS_NODE_STATE_IDLE);
    }
}

static void expire_lease(struct compute_node *n, uint64_t t_us) {
    if (lease_expire(&n->lease, t_us)) {
        clamp_count_u16(&n->lease_expiries);
        set_flag(n, BUS_NODE_FLAG_LEASE_EXPIRED, 1);
        events_add(&n->events, BUS_EVENT_NODE_LEASE_EXPIRED, clamp_u32_to_i32(n->lease.cap_mw),
                   clamp_u32_to_i32(n->config.floor_mw));
    }
}

/* The cap before temperatures: the lease's within the node's largest, or the floor. */
static uint32_t demanded_cap(const struct compute_node *n) {
    if (!n->configured) {
        return 0;
    }
    return n->lease.in_force ? clamp_min_u32(n->lease.cap_mw, n->config.max_mw) : n->config.floor_mw;
}

static void throttle(struct compute_node *n, const struct bus_tick_node *s, uint32_t demand_mw) {
    const struct bus_node_config *c = &n->config;
    int16_t die_limit_cdeg = n->configured ? c->die_limit_cdeg : INT16_MAX;
    int16_t hbm_limit_cdeg = n->configured ? c->hbm_limit_cdeg : INT16_MAX;
    uint32_t die_mw = throttle_step(&n->die, s->die_cdeg, die_limit_cdeg, c->floor_mw, c->max_mw, demand_mw);
    uint32_t hbm_mw = throttle_step(&n->hbm, s->hbm_cdeg, hbm_limit_cdeg, c->floor_mw, c->max_mw, demand_mw);
    int was = (n->flags & (BUS_NODE_FLAG_THROTTLE_DIE | BUS_NODE_FLAG_THROTTLE_HBM)) != 0;
    set_flag(n, BUS_NODE_FLAG_THROTTLE_DIE, n->die.throttled);
    set_flag(n, BUS_NODE_FLAG_THROTTLE_HBM, n->hbm.throttled);
    if (!was && (n->die.throttled || n->hbm.throttled) && n->throttle_us >= THROTTLE_EVENT_US) {
        events_add(&n->events, BUS_EVENT_NODE_THROTTLE, n->die.cdeg, n->hbm.cdeg);
        n->throttle_us = 0;
    }
    n->cap_mw = clamp_min_u32(demand_mw, clamp_min_u32(die_mw, hbm_mw));
}

static uint16_t leased_clock(const struct compute_node *n) {
    return n->lease.in_force && n->lease.clock_mhz < n->config.clock_max_mhz ? n->lease.clock_mhz : 0;
}

static void lock_clock(struct compute_node *n, uint32_t dt_us, uint32_t last_cap_mw, uint8_t last_command) {
    uint16_t lease_mhz = leased_clock(n);
    int runs = last_command == BUS_ACCEL_COMMAND_RUN && n->state == BUS_NODE_STATE_ACTIVE;
    over_cap_step(&n->over_cap, dt_us, runs ? n->power_mw : 0, clamp_max_u32(last_cap_mw, n->cap_mw), lease_mhz,
                  n->config.clock_max_mhz);
    uint16_t clamp_mhz = n->over_cap.clamp_mhz;
    int clamps = clamp_mhz != 0 && (lease_mhz == 0 || clamp_mhz < lease_mhz);
    n->clock_mhz = clamps ? clamp_mhz : lease_mhz;
    set_flag(n, BUS_NODE_FLAG_OVER_CAP, clamp_mhz != 0);
    set_flag(n, BUS_NODE_FLAG_CLOCK_LOCKED, n->clock_mhz != 0);
}

static uint8_t command_of(uint8_t state) {
    static const uint8_t COMMAND[] = {
        [BUS_NODE_STATE_OFF] = BUS_ACCEL_COMMAND_OFF,      [BUS_NODE_STATE_BOOT] = BUS_ACCEL_COMMAND_BOOT,
        [BUS_NODE_STATE_IDLE] = BUS_ACCEL_COMMAND_IDLE,    [BUS_NODE_STATE_ACTIVE] = BUS_ACCEL_COMMAND_RUN,
        [BUS_NODE_STATE_HALTED] = BUS_ACCEL_COMMAND_RESET, [BUS_NODE_STATE_FAULT] = BUS_ACCEL_COMMAND_OFF,
    };
    return COMMAND[state];
}

static void set_outputs(struct compute_node *n, const struct bus_tick_node *s) {
    uint32_t last_cap_mw = n->cap_mw;
    uint8_t last_command = n->command;
    throttle(n, s, demanded_cap(n));
    lock_clock(n, s->dt_us, last_cap_mw, last_command);
    n->command = command_of(n->state);
    n->workload = n->state == BUS_NODE_STATE_ACTIVE ? job_workload(&n->job) : BUS_WORKLOAD_NONE;
    if (n->command == BUS_ACCEL_COMMAND_OFF) {
        n->cap_mw = 0;
    }
}

void compute_node_step(struct compute_node *n, uint64_t t_us, const struct bus_tick_node *s) {
    measure(n, s);
    if (!n->started) {
        adopt(n, s);
    }
    watch_state(n);
    watch_input(n);
    watch_latch_up(n, s);
    watch_heartbeat(n, s);
    watch_reboot(n, s);
    watch_temperature(n);
    obey_power(n);
    move(n, s);
    take_job(n);
    expire_lease(n, t_us);
    set_outputs(n, s);
}

size_t compute_node_serialise(const struct compute_node *n, uint8_t out[static COMPUTE_NODE_STATE_BYTES]) {
    uint8_t *p = bytes_u16(bytes_u8(bytes_u8(out, n->state), n->configured), n->flags);
    p = bytes_u32(bytes_u32(p, n->cap_mw), n->power_mw);
    p = bytes_u16(bytes_u8(bytes_u8(p, n->command), n->workload), n->clock_mhz);
    p = bytes_u8(bytes_u8(bytes_u8(p, n->wanted_on), n->cycle), n->latch_up_steps);
    p = bytes_u32(bytes_u32(p, n->state_us), n->throttle_us);
    p = bytes_u32(bytes_u32(bytes_u32(p, n->lease.session), n->lease.sequence), n->lease.cap_mw);
    p = bytes_u16(bytes_u64(bytes_u8(p, n->lease.in_force), n->lease.expiry_us), n->lease.clock_mhz);
    p = bytes_u16(bytes_u16(p, (uint16_t)n->die.cdeg), (uint16_t)n->hbm.cdeg);
    p = bytes_u32(p, n->die.bad_steps | (uint32_t)n->die.throttled << 8 | (uint32_t)n->die.latched << 9 |
                         (uint32_t)n->die.halted << 10 | (uint32_t)n->hbm.bad_steps << 16 |
                         (uint32_t)n->hbm.throttled << 24 | (uint32_t)n->hbm.latched << 25 |
                         (uint32_t)n->hbm.halted << 26);
    p = bytes_u16(bytes_u32(bytes_u32(p, n->over_cap.over_us), n->over_cap.under_us), n->over_cap.clamp_mhz);
    p = bytes_u8(bytes_u8(bytes_u16(p, n->heartbeat.last), n->heartbeat.watching), n->heartbeat.streak);
    p = bytes_u32(bytes_u32(p, n->heartbeat.silent_us), n->heartbeat.healthy_us);
    p = bytes_u32(bytes_u32(bytes_u32(p, n->job.id), n->job.total_mu), n->job.progress_mu);
    p = bytes_u32(bytes_u32(bytes_u32(p, n->job.checkpoint_mu), n->job.checkpoint_ms), n->job.base_mu);
    p = bytes_u8(bytes_u8(bytes_u64(p, n->job.since_save_us), n->job.workload), n->job.running);
    p = bytes_u8(bytes_u32(bytes_u32(p, n->job.cost_us), n->job.writing_us), n->job.phase_count);
    for (unsigned k = 0; k < JOB_PHASES; ++k) {
        p = bytes_u32(bytes_u8(p, n->job.phases[k].workload), n->job.phases[k].work_mu);
    }
    p = bytes_u32(bytes_u32(p, n->job.writing_mu), n->job.lost_mu);
    p = bytes_u32(bytes_u32(p, n->ecc.corrected), n->ecc.uncorrected);
    p = bytes_u16(bytes_u16(bytes_u16(p, n->accel_resets), n->hangs), n->latch_ups);
    p = bytes_u16(bytes_u16(p, n->leases_rejected), n->lease_expiries);
    return (size_t)(p - out);
}
