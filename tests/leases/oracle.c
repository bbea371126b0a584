#include "leases/oracle.h"

#define SECOND_US 1000000u
#define FRESH_US 400000u /* grants may count on telemetry that is 0.3 s old, whose sweep hides a tick */
#define WATCHDOG_US 2500000u

static int is_newer(const struct sent *s, uint32_t session, uint32_t seq) {
    return s->session > session || (s->session == session && s->seq > seq);
}

/* It may arrive yet, for all that this flight can know. */
static int comes(const struct fly *f, const struct sent *s) {
    return s->expiry_us > f->t_us && (s->last_due >= f->tick || s->session == f->config.session);
}

/* What the board has overtaken, or done: only a reset can bring it back. */
static void forget(struct watched *w, const struct node *n) {
    const struct board *b = n->board;
    const struct lease *now = &b->as.node.node.lease;
    if (!is_newer(&w->newest, now->session, now->sequence))
        w->newest = (struct sent){.session = now->session, .seq = now->sequence};
    for (uint32_t k = 0; k < ORACLE_LEASES; k++)
        if (!is_newer(&w->leases[k], now->session, now->sequence))
            w->leases[k].expiry_us = 0;
    if (n->accel != BUS_NODE_STATE_OFF || !is_newer(&w->boot, b->commands.session, b->commands.newest))
        w->boot.expiry_us = 0;
}

void oracle_begin(struct oracle *o, const struct fly *f) {
    o->guaranteed_mw[f->tick % ORACLE_RECENT] = supply_guaranteed_mw(f);
    for (uint16_t i = 0; i < f->scenario->nodes; i++)
        forget(&o->nodes[i], &f->nodes[i]);
}

void oracle_sent(struct oracle *o, struct fly *f, uint16_t index, const struct bus_frame *frame, uint64_t last_due) {
    struct watched *w = &o->nodes[index];
    struct bus_lease m;
    struct bus_node_power power;
    if (frame->header.type == BUS_MSG_LEASE && bus_lease_decode(&m, frame->payload, frame->header.length) == 0) {
        uint32_t most = f->config.node.max_mw, cap_mw = m.cap_mw < most ? m.cap_mw : most;
        const struct sent *before = &w->leases[(w->count + ORACLE_LEASES - 1) % ORACLE_LEASES];
        f->tally->leases++;
        f->tally->lowered += w->count > 0 && cap_mw < before->cap_mw;
        w->leases[w->count++ % ORACLE_LEASES] =
            (struct sent){m.session, m.lease_seq, cap_mw, m.expiry_us, last_due};
    } else if (frame->header.type == BUS_MSG_NODE_POWER &&
               bus_node_power_decode(&power, frame->payload, frame->header.length) == 0) {
        w->boot = power.on ? (struct sent){power.session, power.command_seq, f->config.boot_mw, UINT64_MAX, last_due}
                           : (struct sent){0};
    }
}

int64_t oracle_stake_mw(const struct oracle *o, const struct fly *f, uint16_t index) {
    const struct watched *w = &o->nodes[index];
    const struct node *n = &f->nodes[index];
    const struct compute_node *board = &n->board->as.node.node;
    int again = is_newer(&w->newest, board->lease.session, board->lease.sequence);
    int64_t cap_mw = again ? 0 : node_cap_mw(n, f->config.boot_mw);
    int off = n->accel == BUS_NODE_STATE_OFF || n->done.command == BUS_ACCEL_COMMAND_OFF;
    const struct command_log *done = &n->board->commands;
    int told = comes(f, &w->boot) && is_newer(&w->boot, done->session, done->newest);
    int starts = told || (board->wanted_on && !n->dead);
    if (off && (!starts || !n->channel))
        return 0;
    uint32_t least_mw = off ? f->config.boot_mw : f->config.node.floor_mw;
    cap_mw = cap_mw < least_mw ? least_mw : cap_mw;
    for (uint32_t k = 0; k < ORACLE_LEASES && k < w->count; k++) {
        const struct sent *l = &w->leases[k];
        if (comes(f, l) && is_newer(l, board->lease.session, board->lease.sequence) &&
            l->session >= n->board->commands.session)
            cap_mw = l->cap_mw > cap_mw ? l->cap_mw : cap_mw;
    }
    return cap_mw;
}

static void blame(struct fly *f, int64_t node, int64_t sum_mw, int64_t guaranteed_mw) {
    if (f->tally->first_tick != 0)
        return;
    f->tally->first_tick = f->tick;
    f->tally->first_node = node;
    f->tally->first_sum_mw = sum_mw;
    f->tally->first_guaranteed_mw = guaranteed_mw;
}

/* The greatest guarantee that flight may have had in mind. */
static int64_t recent_mw(const struct oracle *o, const struct fly *f) {
    int64_t best = o->guaranteed_mw[f->tick % ORACLE_RECENT];
    for (uint64_t k = 1; k <= FRESH_US / f->scenario->tick_us && k < f->tick; k++) {
        int64_t then = o->guaranteed_mw[(f->tick - k) % ORACLE_RECENT];
        best = then > best ? then : best;
    }
    return best;
}

static void judge_grants(struct oracle *o, struct fly *f, const int64_t before_mw[]) {
    int64_t sum_mw = 0, sum_before_mw = 0;
    int raises = -1;
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        int64_t stake_mw = oracle_stake_mw(o, f, i);
        sum_before_mw += before_mw[i];
        sum_mw += stake_mw;
        if (stake_mw > before_mw[i]) {
            raises = i;
            f->tally->raises++;
        }
    }
    if (raises < 0 || sum_mw <= recent_mw(o, f) || sum_mw <= sum_before_mw)
        return;
    f->tally->granted_above++;
    blame(f, raises, sum_mw, recent_mw(o, f));
}

/* It hears and is heard, and has for a second: nothing of it was lost or late, it worked, and flight knows it. */
static int reachable(const struct fly *f, uint16_t i, const struct ctl *c) {
    const struct node *n = &f->nodes[i];
    return c != NULL && n->trouble < f->tick && n->down.trouble < f->tick && n->up.trouble < f->tick &&
           ctl_board(c, (uint16_t)(1 + i), NULL, NULL) == SPACE_BOARD_STATUS_READY;
}

static void judge_sum(struct oracle *o, struct fly *f, uint64_t ttl_us, const struct ctl *c) {
    int64_t sum_mw = 0, guaranteed_mw = o->guaranteed_mw[f->tick % ORACLE_RECENT];
    int high = 0;
    for (uint16_t i = 0; i < f->scenario->nodes; i++)
        sum_mw += node_cap_mw(&f->nodes[i], f->config.boot_mw);
    if (c != NULL && guaranteed_mw > 0) {
        f->tally->sum_mw += (uint64_t)sum_mw;
        f->tally->guaranteed_mw += (uint64_t)guaranteed_mw;
    }
    int over = sum_mw > guaranteed_mw;
    f->tally->over_ticks += (uint64_t)over;
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        const struct node *n = &f->nodes[i];
        int above = over && n->accel != BUS_NODE_STATE_OFF && n->accel != BUS_NODE_STATE_BOOT &&
                    n->done.cap_mw > f->config.node.floor_mw;
        struct watched *w = &o->nodes[i];
        high |= above;
        w->stayed_us = above && reachable(f, i, c) ? w->stayed_us + f->scenario->tick_us : 0;
        if (w->stayed_us > SECOND_US) {
            f->tally->stayed_above++;
            blame(f, i, sum_mw, guaranteed_mw);
        }
    }
    o->above_us = high ? o->above_us + f->scenario->tick_us : 0;
    if (o->above_us > SECOND_US + ttl_us + WATCHDOG_US) {
        f->tally->outlived++;
        blame(f, -1, sum_mw, guaranteed_mw);
    }
}

void oracle_end(struct oracle *o, struct fly *f, const int64_t before_mw[], uint64_t ttl_us, const struct ctl *c) {
    judge_grants(o, f, before_mw);
    judge_sum(o, f, ttl_us, c);
}
