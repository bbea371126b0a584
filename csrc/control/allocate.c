/* Shares the budget among nodes: equal caps for those that work, less for those that do not take theirs (water-filling
 * with reclaim). Two bounds hold at once: caps against the guarantee, measured draw against the energy budget. */
#include "control/internal.h"

struct share {
    int64_t caps, draw, slack;
    uint32_t top; /* greatest upper bound */
};

static int flexible(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    return ctl_ready(c, (uint16_t)(1 + node)) && n->tlm_us != 0 && n->phase == CTL_PHASE_UP &&
           n->tlm.state == BUS_NODE_STATE_ACTIVE;
}

static uint32_t upper(const struct ctl *c, const struct ctl_node *n) {
    int64_t bound = ctl_min(ctl_min(n->thermal_mw, n->demand_mw), c->config.node.max_mw);
    return (uint32_t)ctl_max(bound - n->penalty_mw, c->config.node.floor_mw);
}

/* Measured draw; that of a board that is silent, by its channel. */
static int64_t draw(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    if (ctl_ready(c, (uint16_t)(1 + node)))
        return n->tlm.power_mw;
    if (ctl_ready(c, 0) && n->channel_known)
        return (int64_t)n->channel_ma * c->power.tlm.bus_mv / 1000;
    return n->in_force_mw;
}

/* Sets aside what the others hold, and leaves each working node's upper bound in target_mw. */
static struct share survey(struct ctl *c) {
    struct share s = {0};
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        int64_t boot = n->phase == CTL_PHASE_START ? c->config.boot_mw : 0;
        if (!flexible(c, i)) {
            n->target_mw = c->config.node.floor_mw;
            int held = n->phase == CTL_PHASE_UP && n->lease_count > 0 && ctl_ready(c, (uint16_t)(1 + i));
            s.caps += held ? ctl_max(n->target_mw, n->tlm.power_mw) : n->in_force_mw;
            s.draw += ctl_max(draw(c, i), boot);
            continue;
        }
        n->target_mw = upper(c, n);
        s.top = n->target_mw > s.top ? n->target_mw : s.top;
        int unused = (int64_t)n->tlm.power_mw * 100 < (int64_t)n->tlm.cap_mw * 92;
        if (unused)
            s.slack += ctl_max(0, (int64_t)(n->target_mw < n->lease_mw ? n->target_mw : n->lease_mw) - n->tlm.power_mw);
    }
    return s;
}

static int64_t filled(const struct ctl *c, uint32_t level) {
    int64_t sum = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (flexible(c, i))
            sum += ctl_clamp(level, c->config.node.floor_mw, n->target_mw);
    }
    return sum;
}

/* The highest level at which the caps do not exceed the total; at least the floor. */
static uint32_t water_level(const struct ctl *c, uint32_t top, int64_t total) {
    uint32_t low = c->config.node.floor_mw, high = top;
    if (low >= high || filled(c, high) <= total)
        return high > low ? high : low;
    while (high - low > 16) { /* 16 mW */
        uint32_t middle = low + (high - low) / 2;
        if (filled(c, middle) <= total)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void ctl_allocate(struct ctl *c) {
    struct share s = survey(c);
    int64_t boots = ctl_max(0, ctl_min(c->waiting, c->set.boot_parallel - c->booting)) * c->config.boot_mw;
    int64_t caps = ctl_lease_limit(c) - s.caps - boots;
    int64_t energy = c->supply.budget - s.draw - boots + s.slack;
    uint32_t level = water_level(c, s.top, ctl_max(0, ctl_min(caps, energy)));
    c->supply.hungry = level < s.top || c->waiting > 0;
    for (uint16_t i = 0; i < c->config.nodes; i++)
        if (flexible(c, i))
            c->nodes[i].target_mw = (uint32_t)ctl_clamp(level, c->config.node.floor_mw, c->nodes[i].target_mw);
}
