/* One compute node: what it says, what it shall be, and the next command that takes it there. */
#include "control/internal.h"

#include <string.h>

#define AFTER_COMMAND_US 300000u /* telemetry shows the effect of a command in the next step */
#define AFTER_JOB_US CTL_SECOND_US
#define POWER_CYCLE_US (5 * CTL_SECOND_US)
#define BOOT_AGAIN_US (10 * CTL_SECOND_US)
#define BOOT_SLACK_US (30 * CTL_SECOND_US)
#define STOP_MAX_US (15 * CTL_SECOND_US)
#define COOL_DOWN_US (60 * CTL_SECOND_US)
#define LOST_OFF_US (60 * CTL_SECOND_US) /* of silence: nobody holds its accelerator to a cap any more */
#define BOOT_RISE_CDEG 3000              /* a boot without coolant heats a die by so much */

void ctl_node_forget(struct ctl_node *n) {
    memset(n, 0, sizeof *n);
    n->coolant_pct = 100;
}

/* What a sensor reads that cannot be is no matter of the frame: node_sensors.c sees to it. */
static int plausible(const struct ctl *c, const struct bus_node_tlm *t) {
    return t->state <= BUS_NODE_STATE_FAULT && t->workload <= BUS_WORKLOAD_DECODE &&
           t->cap_mw <= 2 * (int64_t)c->config.node.max_mw;
}

static int is_up(const struct ctl_node *n) {
    return n->tlm.state == BUS_NODE_STATE_IDLE || n->tlm.state == BUS_NODE_STATE_ACTIVE ||
           n->tlm.state == BUS_NODE_STATE_HALTED;
}

/* The lease that it says is in force: ours acknowledges; another session's still counts until it has expired. */
static void lease_seen(struct ctl *c, struct ctl_node *n, int first) {
    int newer = n->tlm.lease_session > c->session;
    int taken = n->tlm.lease_session == c->session && n->tlm.lease_seq > n->lease_seq; /* by another one before us */
    if (newer || taken) {
        c->session = n->tlm.lease_session + 1;
        c->attention |= CTL_ATTENTION_SESSION;
    }
    if (n->tlm.lease_session == c->session)
        ctl_lease_acked(n, n->tlm.lease_seq);
    else if ((first || newer || taken) && n->tlm.lease_session != 0 && !(n->tlm.flags & BUS_NODE_FLAG_LEASE_EXPIRED))
        ctl_lease_foreign(c, n);
}

static void on_telemetry(struct ctl *c, uint16_t node, const struct bus_header *h, const uint8_t *payload) {
    struct ctl_node *n = &c->nodes[node];
    struct ctl_link *l = &c->links[1 + node];
    struct bus_node_tlm t;
    if (bus_node_tlm_decode(&t, payload, h->length) != 0 || !plausible(c, &t)) {
        c->bad_payloads++;
        return;
    }
    uint64_t at_us = h->t_us < c->t_us ? h->t_us : c->t_us;
    if (at_us < l->tlm_us)
        return; /* from before it was identified, or overtaken */
    int first = n->tlm_us == 0;
    int job = t.state != n->tlm.state || (t.flags & ~n->tlm.flags & BUS_NODE_FLAG_JOB_DONE);
    uint64_t dt_us = first ? 0 : at_us - n->tlm_us;
    n->heard = t;
    n->tlm_us = at_us;
    ctl_node_check(c, node, dt_us);
    l->tlm_us = at_us;
    if (first || job)
        c->attention |= CTL_ATTENTION_JOB;
    lease_seen(c, n, first);
    if (t.flags & BUS_NODE_FLAG_UNCONFIGURED)
        ctl_unconfigured(c, (uint16_t)(1 + node));
    ctl_guard_telemetry(c, node, dt_us);
}

void ctl_node_frame(struct ctl *c, uint16_t node, const struct bus_header *h, const uint8_t *payload) {
    if (h->type == BUS_MSG_NODE_TLM)
        on_telemetry(c, node, h, payload);
    else if (h->type != BUS_MSG_NODE_HEALTH)
        c->unknown_frames++;
    else if (bus_node_health_decode(&c->nodes[node].health, payload, h->length) != 0)
        c->bad_payloads++;
}

void ctl_node_configure(struct ctl *c, uint16_t node) {
    uint16_t board = (uint16_t)(1 + node);
    struct bus_node_config m = c->config.node;
    m.session = c->session;
    m.command_seq = ctl_command_begin(c, board, BUS_MSG_NODE_CONFIG);
    ctl_command_send(c, board, bus_node_config_encode(&m, c->links[board].command.payload));
}

void ctl_node_acked(struct ctl *c, uint16_t node, const struct ctl_command *command, uint8_t code) {
    struct ctl_node *n = &c->nodes[node];
    int good = code == BUS_ACK_CODE_OK || code == BUS_ACK_CODE_REPEATED;
    int slow = !good || command->type == BUS_MSG_NODE_JOB;
    n->retry_us = c->t_us + (slow ? AFTER_JOB_US : AFTER_COMMAND_US);
    if (command->type == BUS_MSG_RESET && good)
        c->links[1 + node].reset_wanted = 0;
    if (command->type == BUS_MSG_NODE_POWER && good && n->phase == CTL_PHASE_STOP)
        n->boot_ordered = 0;
}

/* ------------------------------------------------------------------ phases */
static void enter(struct ctl *c, struct ctl_node *n, uint8_t phase) {
    n->boot_ordered = (uint8_t)(n->boot_ordered && phase == CTL_PHASE_STOP);
    n->phase = phase;
    n->phase_us = c->t_us;
}

/* What it was told and has not confirmed is not said again: it may be an order to boot. */
static void stop(struct ctl *c, struct ctl_node *n, int fault, uint32_t wait_us) {
    c->links[1 + (n - c->nodes)].command.type = 0;
    n->faults = (uint8_t)(n->faults + (fault && n->faults < CTL_FAULTS_MAX));
    n->boot_us = c->t_us + wait_us;
    enter(c, n, CTL_PHASE_STOP);
}

static int may_boot(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    return n->wanted && !n->rest && n->faults < CTL_FAULTS_MAX && c->t_us >= n->boot_us &&
           c->mode == SPACE_MODE_NOMINAL && ctl_ready(c, 0) && ctl_ready(c, (uint16_t)(1 + node)) && n->tlm_us != 0 &&
           n->channel_known && n->channel != BUS_CHANNEL_STATE_QUARANTINED && n->channel != BUS_CHANNEL_STATE_TRIPPED &&
           n->channel != BUS_CHANNEL_STATE_SHED && n->tlm.die_cdeg <= c->config.node.die_limit_cdeg - BOOT_RISE_CDEG &&
           n->tlm.hbm_cdeg <= c->config.node.hbm_limit_cdeg - BOOT_RISE_CDEG;
}

/* What is in force, with so much more, fits what caps may count on. */
static int fits(const struct ctl *c, int64_t more_mw) {
    return c->supply.lease_sum + more_mw <= c->supply.grantable;
}

/* Watts for a boot are there, in caps and in the energy budget. */
static int can_afford_boot(const struct ctl *c) {
    return fits(c, c->config.boot_mw) && c->supply.load + c->config.boot_mw <= c->supply.budget;
}

static void phase_off(struct ctl *c, uint16_t node) {
    struct ctl_node *n = &c->nodes[node];
    if (is_up(n)) {
        n->wanted = (uint8_t)(n->wanted || c->config.adopt);
        enter(c, n, CTL_PHASE_UP);
    } else if (n->tlm.state == BUS_NODE_STATE_BOOT) {
        n->wanted = (uint8_t)(n->wanted || c->config.adopt);
        enter(c, n, CTL_PHASE_START);
    } else if (n->tlm.state == BUS_NODE_STATE_FAULT && n->faults < CTL_FAULTS_MAX) {
        stop(c, n, 1, POWER_CYCLE_US);
    } else if (!n->wanted || n->rest) {
        n->mask = 0;
    } else if (may_boot(c, node)) {
        if (c->booting >= c->set.boot_parallel || !can_afford_boot(c)) {
            c->waiting++;
            return;
        }
        n->mask = 1;
        c->supply.lease_sum += c->config.boot_mw;
        c->supply.load += c->config.boot_mw;
        c->booting++;
        enter(c, n, CTL_PHASE_START);
    }
}

static void phase_start(struct ctl *c, struct ctl_node *n) {
    uint64_t limit_us = c->config.node.boot_ms * UINT64_C(2000) + BOOT_SLACK_US;
    if (is_up(n))
        enter(c, n, CTL_PHASE_UP);
    else if (!n->wanted)
        stop(c, n, 0, 0);
    else if (n->tlm.state == BUS_NODE_STATE_FAULT)
        stop(c, n, 1, POWER_CYCLE_US);
    else if (ctl_age(c->t_us, n->phase_us) > limit_us)
        stop(c, n, 1, BOOT_AGAIN_US);
}

static void phase_up(struct ctl *c, struct ctl_node *n) {
    if (!n->wanted || n->rest) {
        stop(c, n, 0, 0);
    } else if (n->tlm.state == BUS_NODE_STATE_FAULT) {
        stop(c, n, 1, POWER_CYCLE_US);
    } else if (n->tlm.flags & BUS_NODE_FLAG_OVER_TEMPERATURE) { /* idling heats it too, without coolant */
        stop(c, n, 0, COOL_DOWN_US);
    } else if (n->tlm.state == BUS_NODE_STATE_OFF) { /* power lost, shed, or its board was reset */
        n->boot_us = c->t_us + 2 * CTL_SECOND_US;
        enter(c, n, CTL_PHASE_OFF);
    }
}

/* Of a board that is silent for long the channel is switched off; when it speaks again its node boots as any other. */
static void phase_lost(struct ctl *c, struct ctl_node *n) {
    int wanted = n->wanted && !n->rest && ctl_age(c->t_us, n->tlm_us) <= LOST_OFF_US;
    if (n->tlm_us == 0 || wanted)
        return;
    if (n->phase == CTL_PHASE_OFF)
        n->mask = 0;
    else
        stop(c, n, 0, POWER_CYCLE_US);
}

static void phase_stop(struct ctl *c, struct ctl_node *n, int ready) {
    int off = ready && n->tlm.state == BUS_NODE_STATE_OFF && !n->boot_ordered;
    if (!off && ctl_age(c->t_us, n->phase_us) < STOP_MAX_US)
        return;
    n->mask = 0;
    enter(c, n, CTL_PHASE_OFF);
}

static void update_phase(struct ctl *c, uint16_t node) {
    struct ctl_node *n = &c->nodes[node];
    int ready = ctl_ready(c, (uint16_t)(1 + node)) && n->tlm_us != 0;
    if (n->phase == CTL_PHASE_STOP)
        phase_stop(c, n, ready);
    else if (!ready)
        phase_lost(c, n);
    else if (n->phase == CTL_PHASE_OFF)
        phase_off(c, node);
    else if (n->phase == CTL_PHASE_START)
        phase_start(c, n);
    else if (n->phase == CTL_PHASE_UP)
        phase_up(c, n);
}

/* ------------------------------------------------------------------ commands */
static void send_power(struct ctl *c, uint16_t board, int on) {
    struct bus_node_power m = {.session = c->session, .on = on != 0};
    m.command_seq = ctl_command_begin(c, board, BUS_MSG_NODE_POWER);
    ctl_command_send(c, board, bus_node_power_encode(&m, c->links[board].command.payload));
}

static void send_job(struct ctl *c, uint16_t board, const struct ctl_job *j, uint32_t start_mu) {
    struct bus_node_job m = {.session = c->session,
                             .job_id = j->job_id,
                             .workload = j->workload,
                             .total_mu = j->total_mu,
                             .start_mu = start_mu,
                             .checkpoint_ms = j->checkpoint_ms,
                             .checkpoint_cost_ms = j->checkpoint_cost_ms,
                             .phase_count = j->phase_count};
    memcpy(m.phases, j->phases, sizeof m.phases);
    m.command_seq = ctl_command_begin(c, board, BUS_MSG_NODE_JOB);
    ctl_command_send(c, board, bus_node_job_encode(&m, c->links[board].command.payload));
}

static void send_job_stop(struct ctl *c, uint16_t board, uint32_t job_id) {
    struct bus_node_job_stop m = {.session = c->session, .job_id = job_id};
    m.command_seq = ctl_command_begin(c, board, BUS_MSG_NODE_JOB_STOP);
    ctl_command_send(c, board, bus_node_job_stop_encode(&m, c->links[board].command.payload));
}

static void send_reset(struct ctl *c, uint16_t board) {
    struct bus_reset m = {.session = c->session};
    m.command_seq = ctl_command_begin(c, board, BUS_MSG_RESET);
    ctl_command_send(c, board, bus_reset_encode(&m, c->links[board].command.payload));
}

static void command_job(struct ctl *c, uint16_t board, struct ctl_node *n) {
    const struct ctl_job *j = &n->job;
    int active = n->tlm.state == BUS_NODE_STATE_ACTIVE;
    int done = (n->tlm.flags & BUS_NODE_FLAG_JOB_DONE) != 0;
    if (!active && n->tlm.state != BUS_NODE_STATE_IDLE)
        return;
    if (j->stop && !(active && n->tlm.job_id == j->job_id))
        return;
    if (j->stop || (j->job_id == 0 && n->tlm.job_id != 0))
        send_job_stop(c, board, active ? n->tlm.job_id : 0);
    else if (j->job_id != 0 && n->tlm.job_id != j->job_id)
        send_job(c, board, j, j->start_mu);
    else if (j->job_id != 0 && !active && !done) /* it has the job, but was restarted: go on where it was safe */
        send_job(c, board, j, n->tlm.checkpoint_mu > j->start_mu ? n->tlm.checkpoint_mu : j->start_mu);
}

/* Its boot is in the sum already; no order is given when the supply has fallen meanwhile. */
static void order_boot(struct ctl *c, uint16_t board, struct ctl_node *n) {
    if (fits(c, 0)) {
        n->boot_ordered = 1;
        send_power(c, board, 1);
    } else if (!n->boot_ordered) {
        enter(c, n, CTL_PHASE_OFF);
    }
}

static void command_stop(struct ctl *c, uint16_t board, struct ctl_node *n) {
    if (n->tlm.state == BUS_NODE_STATE_ACTIVE)
        send_job_stop(c, board, n->tlm.job_id);
    else if (n->tlm.state != BUS_NODE_STATE_OFF || n->boot_ordered)
        send_power(c, board, 0);
}

static void tick(struct ctl *c, uint16_t node) {
    uint16_t board = (uint16_t)(1 + node);
    struct ctl_node *n = &c->nodes[node];
    update_phase(c, node);
    if (!ctl_ready(c, board) || !ctl_command_free(c, board) || c->t_us < n->retry_us || n->tlm_us == 0)
        return;
    if (c->links[board].reset_wanted)
        send_reset(c, board);
    else if (n->phase == CTL_PHASE_STOP)
        command_stop(c, board, n);
    else if (n->phase == CTL_PHASE_START && n->channel == BUS_CHANNEL_STATE_ON && n->tlm.state == BUS_NODE_STATE_OFF)
        order_boot(c, board, n);
    else if (n->phase == CTL_PHASE_UP && n->managed)
        command_job(c, board, n);
}

static void count(struct ctl *c) {
    c->booting = c->waiting = 0;
    c->supply.load = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        int starts = n->phase == CTL_PHASE_START;
        c->booting = (uint16_t)(c->booting + starts);
        int silent = !ctl_ready(c, (uint16_t)(1 + i));
        int64_t draw = silent ? (int64_t)n->channel_ma * c->power.tlm.bus_mv / 1000 : n->tlm.power_mw;
        c->supply.load += ctl_max(draw, starts ? c->config.boot_mw : 0);
    }
}

void ctl_nodes_tick(struct ctl *c) {
    count(c);
    for (uint16_t i = 0; i < c->config.nodes; i++)
        tick(c, i);
}
