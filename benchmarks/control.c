/* A step of flight's layers alone, for benchmarks/control.py: the allocator (L2) and the plan (L3) of so many nodes
 * that all work, with half the watts that they would take. */
#include "control/internal.h"

#include <stdlib.h>
#include <time.h>

#define START_US (1000 * (uint64_t)CTL_SECOND_US)

struct ctl *bench_open(const struct ctl_config *config);
void bench_close(struct ctl *c);
void bench_node(struct ctl *c, uint16_t node, uint8_t workload, uint32_t dynamic_mw);
void bench_budget(struct ctl *c, int64_t mw);
void bench_allocate(struct ctl *c, uint32_t times, double out_us[]);
void bench_rest(struct ctl *c, uint32_t times, double out_us[]);
void bench_horizon(struct ctl *c, uint32_t times, double out_us[]);
uint32_t bench_target_mw(const struct ctl *c, uint16_t node);

struct ctl *bench_open(const struct ctl_config *config) {
    struct ctl *c = aligned_alloc(64, (ctl_bytes(config->nodes) + 63) / 64 * 64);
    if (c == NULL || ctl_init(c, config) != 0)
        return NULL;
    c->t_us = START_US;
    c->mode = SPACE_MODE_NOMINAL;
    c->links[0].status = SPACE_BOARD_STATUS_READY;
    c->power.tlm = (struct bus_power_tlm){.bus_mv = config->power.charge_mv, .soc_cpct = 6000, .batt_cdeg = 2000};
    c->power.tlm.hotel_mw = config->hotel_mw;
    c->power.tlm_us = START_US;
    c->supply.outlook = (int64_t)config->array_mw * 3 / 4;
    c->supply.exit_us = START_US + 2100 * (uint64_t)CTL_SECOND_US;
    c->supply.period_us = 5900 * (uint64_t)CTL_SECOND_US;
    c->supply.entry_us = START_US;
    return c;
}

void bench_close(struct ctl *c) {
    free(c);
}

/* It works, at its floor. */
void bench_node(struct ctl *c, uint16_t node, uint8_t workload, uint32_t dynamic_mw) {
    struct ctl_node *n = &c->nodes[node];
    uint32_t most_mw = c->config.node.max_mw;
    c->links[1 + node].status = SPACE_BOARD_STATUS_READY;
    n->tlm = (struct bus_node_tlm){.state = BUS_NODE_STATE_ACTIVE, .workload = workload, .power_mw = c->config.idle_mw};
    n->tlm_us = START_US;
    n->phase = CTL_PHASE_UP;
    n->workload = workload;
    n->dynamic_mw = dynamic_mw;
    n->idle_mw = c->config.idle_mw;
    n->thermal_mw = n->near_mw = n->demand_mw = most_mw;
    n->starved = 1; /* so that no share is kept for having been had */
}

/* Energy is what is short; caps may add up to more, so that each share has its headroom. */
void bench_budget(struct ctl *c, int64_t mw) {
    c->supply.budget = mw;
    c->supply.grantable = 2 * mw;
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

void bench_allocate(struct ctl *c, uint32_t times, double out_us[]) {
    for (uint32_t k = 0; k < times; k++) {
        for (uint16_t i = 0; i < c->config.nodes; i++)
            c->nodes[i].starved = 1;
        double start_us = now_us();
        ctl_allocate(c);
        out_us[k] = now_us() - start_us;
    }
}

void bench_rest(struct ctl *c, uint32_t times, double out_us[]) {
    for (uint32_t k = 0; k < times; k++) {
        c->supply.planned = CTL_PLAN_NONE;
        double start_us = now_us();
        ctl_plan_tick(c);
        out_us[k] = now_us() - start_us;
    }
}

void bench_horizon(struct ctl *c, uint32_t times, double out_us[]) {
    for (uint32_t k = 0; k < times; k++) {
        double start_us = now_us();
        ctl_horizon(c);
        out_us[k] = now_us() - start_us;
    }
}

uint32_t bench_target_mw(const struct ctl *c, uint16_t node) {
    return c->nodes[node].target_mw;
}
