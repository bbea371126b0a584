/* Bounds that a node's own telemetry sets: temperature, what it draws, and whether it keeps its cap. */
#include "control/internal.h"

#define DERATE_BAND_CDEG 500 /* from full power to the floor */
#define DERATE_END_CDEG 100  /* where the band ends, below the limit at which the board throttles */
#define COOLANT_BAND_CDEG 800
#define OVER_CAP_US CTL_SECOND_US
#define DEMAND_MIN_MW 20000

/* 1000: cool; 0: the band is used up. */
static int64_t permille_of_band(int32_t limit_cdeg, int32_t cdeg, int32_t band_cdeg) {
    return ctl_clamp((limit_cdeg - DERATE_END_CDEG - cdeg) * INT64_C(1000) / band_cdeg, 0, 1000);
}

static void derate(struct ctl *c, struct ctl_node *n) {
    int64_t floor_mw = c->config.node.floor_mw, span_mw = c->config.node.max_mw - floor_mw;
    int32_t die_limit = c->config.node.die_limit_cdeg, hbm_limit = c->config.node.hbm_limit_cdeg;
    die_limit = c->set.die_limit_cdeg < die_limit ? c->set.die_limit_cdeg : die_limit;
    hbm_limit = c->set.hbm_limit_cdeg < hbm_limit ? c->set.hbm_limit_cdeg : hbm_limit;
    int64_t coolant = permille_of_band(c->set.coolant_limit_cdeg, n->tlm.coolant_cdeg, COOLANT_BAND_CDEG);
    int64_t f = ctl_min(coolant, permille_of_band(die_limit, n->tlm.die_cdeg, DERATE_BAND_CDEG));
    f = ctl_min(f, permille_of_band(hbm_limit, n->tlm.hbm_cdeg, DERATE_BAND_CDEG));
    int64_t wanted = floor_mw + span_mw * f / 1000, now = n->thermal_mw;
    /* Down at once; up by a quarter of the way, so that a die near its limit settles instead of swinging. */
    n->thermal_mw = (uint32_t)(wanted < now || now == 0 ? wanted : now + (wanted - now + 3) / 4);
    n->coolant_pct = (uint8_t)(coolant / 10);
}

/* A cap is not a draw: a node that leaves watts unused is offered little more than it takes. */
static void demand(struct ctl *c, struct ctl_node *n) {
    int64_t max_mw = c->config.node.max_mw, power = n->tlm.power_mw, now = n->demand_mw;
    int64_t wanted = power + power / 8 + DEMAND_MIN_MW;
    if (n->tlm.state != BUS_NODE_STATE_ACTIVE || n->tlm.cap_mw == 0)
        wanted = max_mw; /* unknown until it works */
    else if (power * 100 >= (int64_t)n->tlm.cap_mw * 92)
        wanted = now + now / 8 + DEMAND_MIN_MW; /* takes all it gets: offer more */
    else if (wanted < now)
        wanted = now - (now - wanted) / 8;
    n->demand_mw = (uint32_t)ctl_clamp(wanted, c->config.node.floor_mw, max_mw);
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

void ctl_guard_telemetry(struct ctl *c, uint16_t node) {
    derate(c, &c->nodes[node]);
    demand(c, &c->nodes[node]);
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
