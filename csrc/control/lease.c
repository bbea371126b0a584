/* The ledger of leases (design.md, section 7): what may be in force, lower first, then raise. */
#include "control/internal.h"

#include "bus/frame.h"

#define SILENT_US 700000u
#define RESEND_US 400000u /* telemetry that acknowledges comes within 200 ms */

/* Drops what can no longer be in force: overtaken by a lease that was seen in force, or expired. A tick of slack: the
 * board drops its lease in the step whose telemetry we are about to read. */
static void prune(const struct ctl *c, struct ctl_node *n, uint32_t seen) {
    uint8_t kept = 0;
    for (uint8_t k = 0; k < n->lease_count; k++) {
        int gone = n->leases[k].seq < seen || n->leases[k].expiry_us + c->config.tick_us < c->t_us;
        if (!gone)
            n->leases[kept++] = n->leases[k];
    }
    n->lease_count = kept;
}

void ctl_lease_acked(struct ctl_node *n, uint32_t seq) {
    uint8_t kept = 0;
    for (uint8_t k = 0; k < n->lease_count; k++)
        if (n->leases[k].seq >= seq)
            n->leases[kept++] = n->leases[k];
    n->lease_count = kept;
}

/* Merging keeps the greater cap, the later expiry and the later sequence: never less than what may be in force. */
static void enter(struct ctl_node *n, struct ctl_lease lease) {
    if (n->lease_count == CTL_LEASES) {
        struct ctl_lease *a = &n->leases[0], *b = &n->leases[1];
        b->cap_mw = a->cap_mw > b->cap_mw ? a->cap_mw : b->cap_mw;
        b->expiry_us = a->expiry_us > b->expiry_us ? a->expiry_us : b->expiry_us;
        ctl_lease_acked(n, a->seq + 1);
    }
    n->leases[n->lease_count++] = lease;
}

void ctl_lease_foreign(struct ctl *c, struct ctl_node *n) {
    int throttled = n->tlm.flags & (BUS_NODE_FLAG_THROTTLE_DIE | BUS_NODE_FLAG_THROTTLE_HBM);
    uint32_t cap = throttled || n->tlm.cap_mw > c->config.node.max_mw ? c->config.node.max_mw : n->tlm.cap_mw;
    struct ctl_lease lease = {.expiry_us = c->t_us + CTL_TTL_MAX_US, .seq = 0, .cap_mw = cap};
    n->lease_count = 0;
    n->lease_mw = 0; /* it may have expired since: what it gave needs room, as any other raise */
    enter(n, lease);
}

static uint32_t greatest(const struct ctl_node *n) {
    uint32_t cap = 0;
    for (uint8_t k = 0; k < n->lease_count; k++)
        cap = n->leases[k].cap_mw > cap ? n->leases[k].cap_mw : cap;
    return cap;
}

uint32_t ctl_lease_in_force(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    int heard = n->tlm_us != 0;
    int channel_off = ctl_ready(c, 0) && n->channel_known && !n->mask && n->channel == BUS_CHANNEL_STATE_OFF;
    if (channel_off && n->phase == CTL_PHASE_OFF)
        return 0;
    if (!heard && ctl_age(c->t_us, c->start_us) < CTL_TTL_MAX_US)
        return c->config.node.max_mw; /* an earlier session may have granted that much */
    int64_t cap = ctl_max(greatest(n), c->config.node.floor_mw);
    if (n->phase == CTL_PHASE_START || n->boot_ordered || n->tlm.state == BUS_NODE_STATE_BOOT)
        cap = ctl_max(cap, c->config.boot_mw);
    if (n->phase == CTL_PHASE_OFF && heard && ctl_ready(c, (uint16_t)(1 + node)) && n->lease_count == 0 &&
        (n->tlm.state == BUS_NODE_STATE_OFF || n->tlm.state == BUS_NODE_STATE_FAULT))
        cap = 0;
    if (!heard || c->links[1 + node].status == SPACE_BOARD_STATUS_LOST)
        return (uint32_t)cap;
    return (uint32_t)ctl_max(cap, ctl_max(n->tlm.power_mw, n->tlm.cap_mw)); /* a reset lets late leases in again */
}

static void send(struct ctl *c, uint16_t node, uint32_t cap_mw) {
    struct ctl_node *n = &c->nodes[node];
    const struct bus_lease m = {
        .session = c->session,
        .lease_seq = ++n->lease_seq,
        .cap_mw = cap_mw,
        .expiry_us = c->t_us + c->set.lease_ttl_us,
        .clock_mhz = n->lock.mhz,
    };
    if (n->lock.mhz != n->sent.mhz || n->lock.workload != n->sent.workload) {
        n->sent = n->lock;
        n->lock_seq = m.lease_seq;
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    ctl_link_send(c, (uint16_t)(1 + node), BUS_MSG_LEASE, payload, bus_lease_encode(&m, payload));
    enter(n, (struct ctl_lease){.expiry_us = m.expiry_us, .seq = m.lease_seq, .cap_mw = cap_mw});
    n->lease_mw = cap_mw;
    n->lease_us = c->t_us;
}

/* Nodes that hold leases: those that are up, or on their way, and heard of late: a lease of a board that has died
 * should not outlive it. */
static int leased(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    uint64_t silent_us = ctl_age(c->t_us, n->tlm_us), limit_us = 3 * (uint64_t)c->config.tick_us;
    limit_us = limit_us < SILENT_US ? SILENT_US : limit_us;
    return ctl_ready(c, (uint16_t)(1 + node)) && n->tlm_us != 0 && silent_us <= limit_us &&
           (n->phase == CTL_PHASE_UP || n->phase == CTL_PHASE_START);
}

/* The first lease of a node comes at once, one that was not acknowledged in time again; renewals are spread over the
 * nodes. */
static int due(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    if (n->lease_us == 0 || n->lease_count == 0)
        return 1;
    if (n->lease_count > 1 && ctl_age(c->t_us, n->lease_us) >= RESEND_US)
        return 1;
    uint64_t period = c->set.lease_renew_us < c->set.lease_ttl_us / 2 ? c->set.lease_renew_us : c->set.lease_ttl_us / 2;
    uint64_t offset = period * node / c->config.nodes;
    uint64_t slot = (c->t_us + offset) / period;
    return slot != (n->lease_us + offset) / period;
}

static int64_t refresh_sum(struct ctl *c) {
    int64_t sum = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        prune(c, n, 0);
        n->in_force_mw = ctl_lease_in_force(c, i);
        sum += n->in_force_mw;
    }
    return sum;
}

/* A lower cap lowers what it may draw, soon: a boot draws what it draws, and a line that has lost one cap may lose
 * more. */
static int yields(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    int late = n->lease_count > 1 && n->leases[1].expiry_us + RESEND_US <= c->t_us + c->set.lease_ttl_us;
    return leased(c, node) && !late && n->phase == CTL_PHASE_UP && n->tlm.state != BUS_NODE_STATE_BOOT;
}

/* Cuts targets, each in proportion to what it has above the floor, so that they fit the limit beside all else that is
 * in force: what the allocator leaves to vary, and the headroom that it gives, may add up to more. */
static void fit(struct ctl *c, int64_t limit) {
    int64_t fixed = 0, above = 0, floor_mw = c->config.node.floor_mw;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        fixed += yields(c, i) ? floor_mw : n->in_force_mw;
        above += yields(c, i) ? ctl_max(0, n->target_mw - floor_mw) : 0;
    }
    int64_t left = ctl_max(0, limit - fixed);
    if (above <= left)
        return;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        if (yields(c, i))
            n->target_mw = (uint32_t)(floor_mw + ctl_max(0, n->target_mw - floor_mw) * left / above);
    }
}

/* Lowers what is above its target: all of it when the sum must fall, else only by a worthwhile step. A lease that has
 * expired is at the floor already. */
static void lower(struct ctl *c, int must) {
    uint32_t step = must ? 0 : c->config.node.max_mw / 100;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (leased(c, i) && n->lease_count > 0 && n->lease_mw > n->target_mw + step)
            send(c, i, n->target_mw);
    }
}

static int raises(const struct ctl *c, uint16_t node) {
    return leased(c, node) && c->nodes[node].lease_us != c->t_us;
}

static int64_t granted(const struct ctl *c, const struct ctl_node *n) {
    return ctl_max(n->lease_count > 0 ? n->lease_mw : 0, c->config.node.floor_mw);
}

static int64_t rise_of(const struct ctl *c, const struct ctl_node *n) {
    return ctl_max(0, n->target_mw - granted(c, n));
}

/* What all caps together may rise by in this tick. What the ticks before have left over is kept up to a step, so that
 * a low limit comes in steps that are worth a frame: no second has more than the limit and a step. */
static int64_t rise_allowed(struct ctl *c, int64_t step) {
    int64_t per_s = (int64_t)c->config.nodes * c->config.node.max_mw * c->set.rise_permille / 1000;
    c->rise_mw = ctl_min(c->rise_mw, step) + per_s * c->config.tick_us / 1000000;
    return c->rise_mw;
}

static int64_t rise_wanted(const struct ctl *c) {
    int64_t sum = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++)
        sum += raises(c, i) ? rise_of(c, &c->nodes[i]) : 0;
    return sum;
}

/* Of what all may rise by, what one gets: all that it wants, or its part, at least a step; or its turn has not come. */
static int64_t rise_given(const struct ctl *c, int64_t rise, int64_t part, int64_t step) {
    int64_t given = ctl_min(rise, ctl_max(part, step));
    return given <= c->rise_mw ? given : c->rise_mw >= step ? c->rise_mw : 0;
}

/* Raises and renews, from another node on in every tick, with what the supply leaves beside all that may be in force.
 * What a node draws above its cap, and a cap that was lowered, are in that sum, but give no right to a cap. */
static void raise(struct ctl *c, int64_t room) {
    uint32_t step = c->config.node.max_mw / 100;
    int64_t wanted = rise_wanted(c), allowed = rise_allowed(c, step + 1);
    uint16_t next = (uint16_t)((c->grant_from + 1) % c->config.nodes), waits = 0;
    for (uint16_t k = 0; k < c->config.nodes; k++) {
        uint16_t i = (uint16_t)((c->grant_from + k) % c->config.nodes);
        struct ctl_node *n = &c->nodes[i];
        if (!raises(c, i))
            continue;
        int64_t rise = rise_of(c, n), part = wanted > allowed ? rise * allowed / wanted : rise;
        int64_t given = rise_given(c, rise, part, step + 1);
        if (given == 0 && rise > step && waits++ == 0)
            next = i;
        given = ctl_min(given, ctl_max(0, room));
        uint32_t cap = (uint32_t)ctl_min(n->target_mw, granted(c, n) + given);
        int renew = due(c, i) || n->lock.mhz != n->sent.mhz;
        if (!renew && cap <= n->lease_mw + step)
            continue;
        room -= given;
        c->rise_mw -= given;
        n->in_force_mw = (uint32_t)(n->in_force_mw + given);
        c->supply.lease_sum += given;
        send(c, i, cap);
    }
    c->grant_from = next;
}

void ctl_lease_tick(struct ctl *c) {
    int64_t sum = refresh_sum(c);
    int64_t limit = ctl_lease_limit(c);
    c->supply.lease_sum = sum;
    if (sum > limit)
        fit(c, limit);
    lower(c, sum > limit);
    int falls = c->t_us < c->supply.falls_until_us;
    raise(c, falls ? 0 : limit - sum); /* what is measured is old: a supply that falls is less by now */
}
