/* The ledger of leases by itself, on boards that take every lease at once: caps for what the allocator wants. */
#include <stdlib.h>

#include "control/internal.h"

struct rise {
    uint32_t ticks, tick_us;
    uint16_t nodes;
    uint32_t floor_mw, max_mw;
    double per_s; /* cap_rise */
};

static void prepare(struct ctl *c, const struct rise *r) {
    struct space_parameters p;
    space_parameters_default(&p);
    p.cap_rise = r->per_s;
    ctl_set_parameters(c, &p);
    c->supply.grantable = (int64_t)r->nodes * r->max_mw * 2; /* it is not the supply that binds */
    for (uint16_t i = 0; i < r->nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        c->links[1 + i].status = SPACE_BOARD_STATUS_READY;
        n->phase = CTL_PHASE_UP;
        n->tlm.state = BUS_NODE_STATE_ACTIVE;
        n->tlm.cap_mw = r->floor_mw;
    }
}

static void take(struct ctl *c, uint16_t node) {
    struct ctl_node *n = &c->nodes[node];
    if (n->lease_us != c->t_us)
        return;
    ctl_lease_acked(n, n->lease_seq);
    n->tlm.cap_mw = n->lease_mw;
}

/* targets_mw, out: caps_mw: of each tick and node. Returns 0, -1: what it was asked cannot be. */
int rise_fly(const struct rise *r, const uint32_t *targets_mw, uint32_t *caps_mw) {
    const struct ctl_config config = {
        .nodes = r->nodes,
        .session = 1,
        .tick_us = r->tick_us,
        .node = {.floor_mw = r->floor_mw, .max_mw = r->max_mw},
    };
    static uint8_t bytes[1 << 20];
    struct bus_batch tx;
    struct ctl *c = calloc(1, ctl_bytes(r->nodes));
    if (c == NULL || ctl_init(c, &config) != 0) {
        free(c);
        return -1;
    }
    prepare(c, r);
    bus_batch_init(&tx, bytes, sizeof bytes);
    c->tx = &tx;
    for (uint32_t k = 0; k < r->ticks; k++) {
        bus_batch_clear(&tx);
        c->t_us += r->tick_us;
        for (uint16_t i = 0; i < r->nodes; i++) {
            c->nodes[i].tlm_us = c->t_us;
            c->nodes[i].target_mw = targets_mw[k * r->nodes + i];
        }
        ctl_lease_tick(c);
        for (uint16_t i = 0; i < r->nodes; i++) {
            take(c, i);
            caps_mw[k * r->nodes + i] = c->nodes[i].tlm.cap_mw;
        }
    }
    free(c);
    return 0;
}
