/* Flies csrc/control with random boards, lines and supplies: leases_fly, called from test_leases.py. */
#include <stdlib.h>
#include <string.h>

#include "leases/oracle.h"

#define BATCH_BYTES 65536u

struct flown {
    struct fly f;
    struct oracle oracle;
    struct ctl *control; /* NULL: flight is down */
    void *memory;
    uint64_t up_at, ttl_us;
    uint32_t session;
    struct bus_receiver ears[NODES_MAX]; /* that the oracle listens with */
    struct bus_batch rx, tx;
    uint8_t rx_bytes[BATCH_BYTES], tx_bytes[BATCH_BYTES];
};

int leases_fly(const struct scenario *s, struct tally *t);

/* ---- what flies */
static void curve(uint64_t *random, struct ctl_curve *c, uint32_t most_mw) {
    c->least_mw = most_mw / 2;
    c->most_mw = most_mw;
    c->count = (uint8_t)between(random, 1, CTL_PIECES);
    float slope = 2;
    for (uint8_t k = 0; k < c->count; k++) {
        slope *= (float)between(random, 300, 990) * 1e-3f;
        c->pieces[k] = (struct ctl_piece){.width = 1.0f / c->count, .slope = slope, .whole = k == 0 && c->count > 2};
    }
}

static void configure(struct fly *f) {
    struct ctl_config *c = &f->config;
    uint64_t *r = &f->random;
    uint16_t nodes = f->scenario->nodes;
    uint32_t floor_mw = between(r, 30000, 120000), max_mw = between(r, 300000, 1200000);
    c->nodes = nodes;
    c->tick_us = f->scenario->tick_us;
    c->node = (struct bus_node_config){.floor_mw = floor_mw,
                                       .max_mw = max_mw,
                                       .boot_ms = between(r, 1000, 4000),
                                       .clock_max_mhz = 1500,
                                       .die_limit_cdeg = 8500,
                                       .hbm_limit_cdeg = 9500,
                                       .bus_min_mv = 60000,
                                       .latch_up_ma = 60000,
                                       .hang_ms = 1500};
    c->power = (struct bus_power_config){.channels = nodes,
                                         .strings = 6,
                                         .capacity_mah = 20000,
                                         .charge_ma = 10000,
                                         .charge_mv = 100000,
                                         .soc_limit_cpct = 10000,
                                         .uvlo_mv = 60000,
                                         .limit_ma = 50000,
                                         .trip_ms = 10,
                                         .retries = 2,
                                         .retry_ms = 5000,
                                         .stagger_ms = 100,
                                         .silence_ms = between(r, 2000, 20000),
                                         .array_voc_mv = 160000,
                                         .array_vmp_mv = 130000};
    c->curve.count = 11;
    c->tiers.count = 4;
    c->boot_mw = between(r, floor_mw, max_mw);
    c->converter_permille = between(r, 900, 1000);
    c->array_mw = 400000 + nodes * between(r, max_mw / 4, max_mw * 3 / 2);
    c->discharge_mw = 300000 + nodes * between(r, floor_mw, max_mw / 2) + c->boot_mw;
    c->hotel_mw = between(r, 20000, 300000);
    c->heater_mw = 50000;
    c->resistance_uohm = 1000;
    c->array_ppm_per_k = -3000;
    c->soc_floor_cpct = (uint16_t)between(r, 800, 1500);
    c->idle_mw = between(r, 20000, 100000);
    c->adopt = 1;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++)
        curve(r, &c->curves[w], between(r, max_mw / 2, max_mw));
}

static void ground(struct flown *x) {
    struct fly *f = &x->f;
    uint16_t node = (uint16_t)random_below(&f->random, f->scenario->nodes);
    const struct ctl_job job = {.job_id = between(&f->random, 1, 1000000),
                                .total_mu = between(&f->random, 1000, 4000000),
                                .checkpoint_ms = 10000,
                                .workload = (uint8_t)between(&f->random, 1, 3)};
    uint64_t entry_us = f->t_us + UINT64_C(1000) * random_below(&f->random, 600000);
    switch (random_below(&f->random, 8)) {
    case 0:
        (void)ctl_want_node(x->control, node, 0);
        break;
    case 1:
        (void)ctl_set_mode(x->control, random_below(&f->random, 4) ? SPACE_MODE_NOMINAL : SPACE_MODE_SAFE);
        break;
    case 2:
        (void)ctl_reset_board(x->control, (uint16_t)random_below(&f->random, f->scenario->nodes + 1u));
        break;
    case 3:
        ctl_set_forecast(x->control, entry_us, entry_us + between(&f->random, 10, 2100) * UINT64_C(1000000),
                         between(&f->random, 4000, 7000) * UINT64_C(1000000));
        break;
    case 4:
        (void)ctl_set_job(x->control, node, &job);
        break;
    default:
        (void)ctl_want_node(x->control, node, 1);
        (void)ctl_set_mode(x->control, SPACE_MODE_NOMINAL);
    }
}

static void parameters(struct flown *x) {
    uint64_t *r = &x->f.random;
    struct space_parameters p;
    space_parameters_default(&p);
    if (random_below(r, 2)) {
        p.lease_ttl_s = between(r, 15, 60) * 0.1;
        p.lease_renew_s = between(r, 2, 30) * 0.1;
        p.lost_after_s = between(r, 10, 50) * 0.1;
        p.budget_margin = between(r, 80, 98) * 0.01;
        p.cap_rise = between(r, 5, 2000) * 0.01;
    }
    if (x->f.scenario->margin_permille) {
        p.budget_margin = x->f.scenario->margin_permille * 0.001;
        p.cap_rise = 20;
    }
    p.soc_reserve = 0.15;
    p.soc_safe = 0.1;
    p.boot_parallel = between(r, 1, 16);
    p.hold_s = between(r, 1, 3);
    ctl_set_parameters(x->control, &p);
    uint64_t ttl_us = (uint64_t)(p.lease_ttl_s * 1e6);
    x->ttl_us = ttl_us > x->ttl_us ? ttl_us : x->ttl_us;
}

static void start(struct flown *x) {
    struct fly *f = &x->f;
    x->control = x->memory;
    x->session += between(&f->random, 1, 3);
    f->config.session = x->session;
    f->tally->flights++;
    (void)ctl_init(x->control, &f->config);
    parameters(x);
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        const struct ctl_job job = {.job_id = i + 1u, .total_mu = UINT32_MAX, .checkpoint_ms = 10000, .workload = 1 + i % 3};
        (void)ctl_want_node(x->control, i, 1);
        (void)ctl_set_job(x->control, i, &job);
    }
}

/* ---- a tick */
static void collect(struct flown *x, uint16_t board, struct air *up) {
    struct air_frame frame;
    while (air_next(up, x->f.tick, &frame))
        if (x->control != NULL)
            (void)bus_batch_append(&x->rx, board, frame.bytes, frame.n);
}

static void deliver(struct flown *x) {
    struct fly *f = &x->f;
    size_t at = 0, n;
    uint16_t board;
    const uint8_t *bytes;
    while (bus_batch_next(&x->tx, &at, &board, &bytes, &n) == 1) {
        struct air *down = board ? &f->nodes[board - 1].down : &f->power.down;
        uint64_t due = air_send(down, f->scenario, &f->random, f->tally, f->tick + 1, bytes, n);
        const uint8_t *end = bytes + n;
        struct bus_frame frame;
        while (board && bus_receiver_next(&x->ears[board - 1], &bytes, end, &frame) == BUS_RX_FRAME)
            oracle_sent(&x->oracle, f, (uint16_t)(board - 1), &frame, due);
    }
}

static void break_lines(struct fly *f) {
    for (uint16_t b = 0; b <= f->scenario->nodes; b++) {
        if (!chance(&f->random, f->scenario->outage))
            continue;
        struct air *down = b ? &f->nodes[b - 1].down : &f->power.down, *up = b ? &f->nodes[b - 1].up : &f->power.up;
        uint64_t until = f->tick + between(&f->random, 1, 60), ways = between(&f->random, 1, 3);
        down->out_until = ways & 1 ? until : down->out_until;
        up->out_until = ways & 2 ? until : up->out_until;
    }
}

static void fly(struct flown *x) {
    struct fly *f = &x->f;
    int64_t stakes_mw[NODES_MAX];
    f->tick++;
    f->t_us += f->scenario->tick_us;
    break_lines(f);
    supply_tick(f);
    nodes_tick(f);
    power_tick(f);
    oracle_begin(&x->oracle, f);
    if (x->control != NULL && chance(&f->random, f->scenario->restart)) {
        x->control = NULL;
        x->up_at = f->tick + random_below(&f->random, 100);
    }
    if (x->control == NULL && f->tick >= x->up_at)
        start(x);
    bus_batch_clear(&x->rx);
    bus_batch_clear(&x->tx);
    collect(x, 0, &f->power.up);
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        collect(x, (uint16_t)(1 + i), &f->nodes[i].up);
        stakes_mw[i] = oracle_stake_mw(&x->oracle, f, i);
    }
    if (x->control != NULL) {
        if (chance(&f->random, f->scenario->ground))
            ground(x);
        (void)ctl_step(x->control, f->t_us, &x->rx, &x->tx);
        deliver(x);
    }
    oracle_end(&x->oracle, f, stakes_mw, x->ttl_us, x->control);
    f->tally->ticks++;
}

static int prepare(struct flown *x, const struct scenario *s, struct tally *t) {
    struct fly *f = &x->f;
    f->scenario = s;
    f->tally = t;
    f->random = s->seed;
    configure(f);
    bus_batch_init(&x->rx, x->rx_bytes, BATCH_BYTES);
    bus_batch_init(&x->tx, x->tx_bytes, BATCH_BYTES);
    x->memory = aligned_alloc(64, (ctl_bytes(s->nodes) + 63) / 64 * 64);
    size_t stride = board_stride(BUS_BOARD_KIND_COMPUTE_NODE);
    uint8_t *boards = aligned_alloc(64, s->nodes * stride);
    if (x->memory == NULL || boards == NULL) {
        free(boards);
        return 0;
    }
    for (uint16_t i = 0; i < s->nodes; i++) {
        f->nodes[i].board = (struct board *)(boards + i * stride);
        bus_receiver_init(&x->ears[i]);
    }
    supply_init(f);
    power_init(f);
    nodes_init(f);
    return 1;
}

/* Adds what came of it to *t. Returns 0 when there is no memory. */
int leases_fly(const struct scenario *s, struct tally *t) {
    struct flown *x = calloc(1, sizeof *x);
    int ready = x != NULL && prepare(x, s, t);
    for (uint32_t k = 0; ready && k < s->ticks; k++)
        fly(x);
    if (x != NULL) {
        free(x->f.nodes[0].board);
        free(x->memory);
    }
    free(x);
    return ready;
}
