/* Bounds that a node's own telemetry sets: temperature, what it draws, and whether it keeps its cap. */
#include "control/internal.h"

#define GUARD_CDEG 100          /* below the limits, where nodes are held */
#define DERATE_CDEG_MS 25000000 /* a kelvin too warm for 250 s takes all of the span */
#define DERATE_DT_MS 1000
#define OVER_CAP_US CTL_SECOND_US
#define DEMAND_MIN_MW 20000
#define DATA_US INT64_C(8000000) /* what the data makes of a draw changes in about that time */
#define HELD_US 2000000u         /* held by its cap for longer: what it would draw is not known any more */
#define FREE_US 600000u          /* not held for longer: its draw has settled */
#define FREE_PCT 96              /* of the cap: below, it is not the cap that holds a node */
#define FOLLOWS_US 500000        /* a draw has followed a cap that rises by then */

static int32_t lesser(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* How far below the temperatures to hold (above 0) or above them, in 0.01 K. */
static int32_t cool_cdeg(const struct ctl *c, const struct ctl_node *n, int32_t guard_cdeg) {
    int32_t die = lesser(c->config.node.die_limit_cdeg, c->set.die_limit_cdeg) - n->tlm.die_cdeg;
    int32_t hbm = lesser(c->config.node.hbm_limit_cdeg, c->set.hbm_limit_cdeg) - n->tlm.hbm_cdeg;
    return lesser(lesser(die, hbm), c->set.coolant_limit_cdeg - n->tlm.coolant_cdeg) - guard_cdeg;
}

/* Holds a node just below its limits: integrates what is missing, so that it settles there whatever its cooling is;
 * what comes faster than that is met in proportion, near the limit. dt_us: since the telemetry before. */
static void derate(struct ctl *c, struct ctl_node *n, uint64_t dt_us) {
    int64_t floor_mw = c->config.node.floor_mw, span_mw = c->config.node.max_mw - floor_mw;
    int64_t dt_ms = ctl_min((int64_t)dt_us / 1000, DERATE_DT_MS), cool = cool_cdeg(c, n, GUARD_CDEG);
    int64_t now = n->thermal_mw == 0 ? c->config.node.max_mw : n->thermal_mw;
    now += cool * dt_ms * span_mw / DERATE_CDEG_MS;
    int64_t near_mw = floor_mw + span_mw * ctl_clamp(cool_cdeg(c, n, 0), 0, GUARD_CDEG) / GUARD_CDEG;
    now = ctl_clamp(now, ctl_max(floor_mw, 1), c->config.node.max_mw); /* 0: not begun */
    n->thermal_mw = (uint32_t)now;
    n->near_mw = (uint32_t)(cool >= 0 ? c->config.node.max_mw : near_mw);
    int64_t coolant = c->set.coolant_limit_cdeg - n->tlm.coolant_cdeg;
    n->coolant_pct = (uint8_t)ctl_clamp(coolant * 100 / (2 * GUARD_CDEG), 0, 100);
}

/* The share of a node's draw above idle at full speed that its clock holds it at, as its telemetry shows: 0 when that
 * is not the lock that was sent, or it has not settled. */
static float share_of(struct ctl_node *n) {
    int locked = (n->tlm.flags & BUS_NODE_FLAG_CLOCK_LOCKED) != 0;
    int known = n->tlm.lease_seq >= n->lock_seq && locked == (n->sent.mhz != 0) &&
                (!locked || n->tlm.workload == n->sent.workload);
    float share = !known ? 0 : locked ? n->sent.share : 1;
    if (share != n->share) {
        n->share = share;
        n->share_us = n->tlm_us;
    }
    return ctl_age(n->tlm_us, n->share_us) >= FREE_US ? share : 0;
}

/* The cap that its draw can have followed by now: one that is raised step by step is ahead of the draw that it holds.
 */
static void follow(struct ctl_node *n, uint64_t dt_us) {
    int64_t rise = (int64_t)n->tlm.cap_mw - n->followed_mw;
    rise = rise > 0 ? rise * ctl_min((int64_t)dt_us, FOLLOWS_US) / FOLLOWS_US : rise;
    n->followed_mw = (uint32_t)(n->followed_mw + rise);
}

/* Of the draw, what does no work, by the die's temperature; and the rest at full speed: seen while no cap
 * holds the node, else kept for a while, and then no better known than for the workload. A cap is not a draw: a node
 * that leaves watts unused is offered little more than it takes. */
static void learn(struct ctl *c, struct ctl_node *n, uint64_t dt_us) {
    int64_t leak = 1000 + 6 * ctl_clamp(n->tlm.die_cdeg - 5000, -6000, 6000) / 100; /* permille of that at 50 degC */
    n->idle_mw = (uint32_t)(c->config.idle_mw * leak / 1000);
    n->demand_mw = c->config.node.max_mw;
    if (n->tlm.state != BUS_NODE_STATE_ACTIVE || n->tlm.workload >= CTL_WORKLOADS)
        return;
    const struct ctl_curve *curve = &c->config.curves[n->tlm.workload];
    int64_t drawn = ctl_max(0, (int64_t)n->tlm.power_mw - n->idle_mw), dynamic = n->dynamic_mw;
    int free = (int64_t)n->tlm.power_mw * 100 < (int64_t)n->followed_mw * FREE_PCT;
    if (free != n->free) {
        n->free = (uint8_t)free;
        n->free_us = n->tlm_us;
    }
    uint64_t since_us = ctl_age(n->tlm_us, n->free_us);
    float share = share_of(n);
    int64_t least = share > 0 ? (int64_t)((float)drawn / share) : drawn;
    int64_t typical = ((int64_t)curve->least_mw + curve->most_mw) / 2;
    if (n->tlm.workload != n->workload) {
        dynamic = typical;
    } else if (free && since_us >= FREE_US && share > 0) {
        dynamic = least;
        int64_t most = n->idle_mw + dynamic, little_more = most + most / 8 + DEMAND_MIN_MW;
        n->demand_mw = (uint32_t)ctl_clamp(little_more, c->config.node.floor_mw, c->config.node.max_mw);
    } else if (!free && since_us >= HELD_US) {
        dynamic += (typical - dynamic) * ctl_min((int64_t)dt_us, DATA_US) / DATA_US;
    }
    n->dynamic_mw = (uint32_t)ctl_max(dynamic, least);
    n->workload = n->tlm.workload;
}

static void keep_cap(struct ctl *c, uint16_t node) {
    struct ctl_node *n = &c->nodes[node];
    int64_t power = n->tlm.power_mw, cap = n->tlm.cap_mw;
    int working = n->tlm.state == BUS_NODE_STATE_IDLE || n->tlm.state == BUS_NODE_STATE_ACTIVE;
    if (!working || power <= cap + cap / 20 + 5000) {
        n->over_us = 0;
        n->over_told = 0;
        n->penalty_mw = (uint32_t)(n->penalty_mw - n->penalty_mw / 32);
        return;
    }
    if (n->over_us == 0)
        n->over_us = n->tlm_us;
    if (ctl_age(n->tlm_us, n->over_us) < OVER_CAP_US)
        return;
    n->penalty_mw = (uint32_t)ctl_clamp(power - cap, n->penalty_mw, c->config.node.max_mw);
    if (!n->over_told)
        ctl_event(c, SPACE_EVENT_NODE_OVER_CAP, bus_address_of((uint16_t)(1 + node)), (int32_t)power, (int32_t)cap);
    n->over_told = 1;
}

void ctl_guard_telemetry(struct ctl *c, uint16_t node, uint64_t dt_us) {
    derate(c, &c->nodes[node], dt_us);
    follow(&c->nodes[node], dt_us);
    learn(c, &c->nodes[node], dt_us);
    keep_cap(c, node);
}

/* Tells when the coolant begins to bind, and when it no longer does. */
void ctl_guard_tick(struct ctl *c) {
    uint8_t least = 100;
    int16_t hottest = INT16_MIN;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (n->tlm_us == 0 || n->coolant_pct > least)
            continue;
        least = n->coolant_pct;
        hottest = n->tlm.coolant_cdeg;
    }
    if (!c->derated && least < 95)
        ctl_event(c, SPACE_EVENT_THERMAL_DERATE, BUS_ADDRESS_FLIGHT, hottest, least);
    if (least < 95)
        c->derated = 1;
    else if (least == 100)
        c->derated = 0;
}
