/* The planner and the allocator by themselves: their answers for a state of the satellite (test_horizon.py,
 * test_worth.py). */
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

struct situation {
    uint64_t t_us, entry_us, exit_us, period_us;
    int64_t array_mw, hotel_mw;
    int32_t soc_cpct, reserve_cpct, target_cpct;
    uint16_t working[CTL_WORKLOADS];
};

struct answer {
    int64_t sun_mw, dark_mw;
    uint8_t scarce;
};

/* A working node: full speed above idle, and what its speed is worth. */
struct bidder {
    uint32_t dynamic_mw;
    uint16_t weight_permille;
    float speed; /* learned: against its curve; 0: not known */
    uint8_t workload;
};

static struct ctl *satellite(const struct ctl_config *config, const struct situation *s) {
    struct ctl *c = calloc(1, ctl_bytes(config->nodes));
    if (c == NULL || ctl_init(c, config) != 0)
        abort();
    c->t_us = s->t_us;
    c->set.soc_reserve_cpct = s->reserve_cpct;
    c->set.soc_target_cpct = s->target_cpct;
    c->power.tlm.soc_cpct = (uint16_t)s->soc_cpct;
    c->power.tlm.hotel_mw = (uint32_t)s->hotel_mw;
    c->power.tlm.batt_cdeg = 2500;
    c->battery.ohm = (float)config->resistance_uohm * 1e-6f;
    c->supply.outlook = s->array_mw;
    c->supply.entry_us = s->entry_us;
    c->supply.exit_us = s->exit_us;
    c->supply.period_us = s->period_us;
    uint16_t node = 0;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++)
        for (uint16_t k = 0; k < s->working[w] && node < config->nodes; k++, node++) {
            struct ctl_node *n = &c->nodes[node];
            n->tlm.state = BUS_NODE_STATE_ACTIVE;
            n->workload = w;
            n->dynamic_mw = (config->curves[w].least_mw + config->curves[w].most_mw) / 2;
            n->idle_mw = config->idle_mw;
            n->thermal_mw = config->node.max_mw;
        }
    return c;
}

void plan_horizon(const struct ctl_config *config, const struct situation *s, struct answer *out) {
    struct ctl *c = satellite(config, s);
    ctl_horizon(c);
    *out = (struct answer){c->supply.sun_mw, c->supply.dark_mw, c->supply.scarce};
    free(c);
}

/* Speed of so many nodes of each workload on so many mW (negative: less than their floors), of those that work. */
float plan_speed(const struct ctl_config *config, const struct situation *s, const uint16_t *on, float watts_mw) {
    struct ctl *c = satellite(config, s);
    struct ctl_fleet f;
    ctl_fleet_of(c, &f);
    float speed = ctl_fleet_speed(&f, on, watts_mw);
    free(c);
    return speed;
}

/* The draw that each of the first `count` nodes is given of so many mW in all, without headroom. */
void plan_share(const struct ctl_config *config, const struct bidder *bidders, uint16_t count, int64_t watts_mw,
                uint32_t *out_mw) {
    const struct situation none = {0};
    struct ctl *c = satellite(config, &none);
    c->supply.budget = c->supply.grantable = watts_mw;
    for (uint16_t i = 0; i < count; i++) {
        struct ctl_node *n = &c->nodes[i];
        c->links[1 + i].status = SPACE_BOARD_STATUS_READY;
        n->tlm_us = 1;
        n->phase = CTL_PHASE_UP;
        n->tlm.state = BUS_NODE_STATE_ACTIVE;
        n->tlm.workload = n->workload = bidders[i].workload;
        n->dynamic_mw = bidders[i].dynamic_mw;
        n->idle_mw = config->idle_mw;
        n->thermal_mw = n->near_mw = n->demand_mw = config->node.max_mw;
        n->weight_permille = bidders[i].weight_permille;
        n->speed = bidders[i].speed;
    }
    ctl_allocate(c);
    for (uint16_t i = 0; i < count; i++)
        out_mw[i] = c->nodes[i].target_mw;
    free(c);
}
