#include <string.h>

#include "leases/boards.h"

#define HANG_US 2000000u /* a controller that hangs is reset by its watchdog */

static uint64_t ticks_of(const struct fly *f, uint64_t us) {
    return us / f->scenario->tick_us + 1;
}

/* ---- the port of a controller */
static void on_tx(void *ctx, const uint8_t *bytes, size_t n) {
    struct node *node = ctx;
    struct fly *f = node->fly;
    (void)air_send(&node->up, f->scenario, &f->random, f->tally, f->tick, bytes, n);
}

static int nvm_read(void *ctx, uint32_t offset, uint8_t *out, size_t n) {
    memcpy(out, ((struct node *)ctx)->nvm + offset, n);
    return 0;
}

static int nvm_write(void *ctx, uint32_t offset, const uint8_t *in, size_t n) {
    memcpy(((struct node *)ctx)->nvm + offset, in, n);
    return 0;
}

static void boot(struct node *n, uint8_t cause) {
    const struct board_port port = {.ctx = n, .tx = on_tx, .nvm_read = nvm_read, .nvm_write = nvm_write};
    struct board_identity id = {.kind = BUS_BOARD_KIND_COMPUTE_NODE, .role = bus_address_of((uint16_t)(n->index + 1))};
    id.hardware_id[0] = (uint8_t)(n->index + 1);
    board_boot(n->board, &id, &port, cause);
}

void nodes_init(struct fly *f) {
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        struct node *n = &f->nodes[i];
        n->fly = f;
        n->index = i;
        n->idle_mw = f->config.idle_mw;
        n->appetite_mw = f->config.node.max_mw;
        memset(n->nvm, 0xFF, sizeof n->nvm);
        boot(n, BUS_RESET_CAUSE_POWER_ON);
    }
}

/* ---- faults */
static void fail(struct fly *f, struct node *n) {
    f->tally->boards_failed++;
    uint64_t until = f->tick + between(&f->random, 1, (uint32_t)ticks_of(f, HANG_US));
    switch (random_below(&f->random, 8)) {
    case 0:
        n->dead = 1;
        n->until = f->tick + between(&f->random, 1, (uint32_t)ticks_of(f, 15000000));
        n->accel = BUS_NODE_STATE_OFF;
        n->done = (struct bus_done_node){.command = BUS_ACCEL_COMMAND_OFF};
        break;
    case 1:
        n->hangs = 1;
        n->until = until;
        break;
    case 2:
        memset(n->nvm, 0xFF, sizeof n->nvm);
        boot(n, BUS_RESET_CAUSE_BROWN_OUT);
        break;
    case 3:
        n->stopped = 1;
        break;
    case 4:
        n->accel = n->accel == BUS_NODE_STATE_OFF ? n->accel : BUS_NODE_STATE_BOOT;
        n->boot_left_us = f->config.node.boot_ms * UINT64_C(1000);
        n->ordered = 0;
        break;
    case 5:
        n->hot_until = f->tick + between(&f->random, 1, (uint32_t)ticks_of(f, 20000000));
        break;
    case 6:
        n->over_until = f->tick + between(&f->random, 1, (uint32_t)ticks_of(f, 5000000));
        break;
    default:
        boot(n, BUS_RESET_CAUSE_WATCHDOG);
    }
    n->trouble = f->tick;
}

/* 1 while the board works. */
static int works(struct fly *f, struct node *n) {
    if (!n->dead && !n->hangs && chance(&f->random, f->scenario->board))
        fail(f, n);
    if (!n->dead && !n->hangs)
        return 1;
    n->trouble = f->tick;
    if (f->tick < n->until)
        return 0;
    boot(n, n->dead ? BUS_RESET_CAUSE_POWER_ON : BUS_RESET_CAUSE_WATCHDOG);
    n->dead = n->hangs = 0;
    return 1;
}

/* ---- the accelerator */
static void accelerate(struct fly *f, struct node *n) {
    uint8_t command = n->done.command, state = n->accel;
    int off = state == BUS_NODE_STATE_OFF || state == BUS_NODE_STATE_HALTED;
    if (!n->channel || command == BUS_ACCEL_COMMAND_OFF) {
        n->accel = BUS_NODE_STATE_OFF;
        n->stopped = 0;
    } else if (command == BUS_ACCEL_COMMAND_RESET) {
        n->accel = BUS_NODE_STATE_HALTED;
        n->stopped = 0;
    } else if (off && command == BUS_ACCEL_COMMAND_BOOT) {
        n->accel = BUS_NODE_STATE_BOOT;
        n->boot_left_us = f->config.node.boot_ms * UINT64_C(1000) / 2 + random_below(&f->random, 500000);
        n->work_mu = 0;
        n->ordered = state == BUS_NODE_STATE_OFF;
        f->tally->boots++;
    } else if (state == BUS_NODE_STATE_BOOT) {
        uint64_t dt_us = f->scenario->tick_us;
        n->boot_left_us -= dt_us < n->boot_left_us ? dt_us : n->boot_left_us;
        n->accel = n->boot_left_us ? BUS_NODE_STATE_BOOT : BUS_NODE_STATE_IDLE;
    } else if (!off) {
        n->accel = command == BUS_ACCEL_COMMAND_RUN ? BUS_NODE_STATE_ACTIVE : BUS_NODE_STATE_IDLE;
    }
}

/* Any draw up to its cap; more while it draws too much. */
static void draw(struct fly *f, struct node *n) {
    if (chance(&f->random, 20000))
        n->appetite_mw = between(&f->random, n->idle_mw, f->config.node.max_mw + f->config.node.max_mw / 4);
    uint32_t most = n->done.cap_mw;
    most += f->tick < n->over_until ? most / 2 : 0;
    n->drawn_mw = 0;
    if (n->accel == BUS_NODE_STATE_BOOT)
        n->drawn_mw = f->config.boot_mw;
    else if (n->accel == BUS_NODE_STATE_ACTIVE)
        n->drawn_mw = n->appetite_mw < most ? n->appetite_mw : most;
    else if (n->accel != BUS_NODE_STATE_OFF)
        n->drawn_mw = n->idle_mw;
    int up = n->accel == BUS_NODE_STATE_IDLE || n->accel == BUS_NODE_STATE_ACTIVE;
    n->beat = (uint16_t)(n->beat + (up && !n->stopped));
    n->work_mu += up && !n->stopped ? n->drawn_mw / 1000 : 0;
}

static void step(struct fly *f, struct node *n) {
    struct air_frame frame;
    while (air_next(&n->down, f->tick, &frame))
        board_receive(n->board, frame.bytes, frame.n);
    int16_t die_cdeg = (int16_t)(f->tick < n->hot_until ? between(&f->random, 8200, 8900) : 5000);
    const struct bus_tick_node sensors = {
        .dt_us = f->scenario->tick_us,
        .bus_mv = n->channel ? BUS_MV : 0,
        .mean_ma = (uint16_t)(n->drawn_mw * UINT64_C(1000) / BUS_MV),
        .die_cdeg = die_cdeg,
        .hbm_cdeg = 5000,
        .coolant_cdeg = 3000,
        .heartbeat = n->beat,
        .accel_state = n->accel,
        .work_mu = n->work_mu,
    };
    (void)board_step_node(n->board, f->t_us, &sensors, &n->done);
    if (n->board->reset_pending || n->board->reset_due) {
        boot(n, BUS_RESET_CAUSE_COMMANDED);
        n->trouble = f->tick;
    }
}

void nodes_tick(struct fly *f) {
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        struct node *n = &f->nodes[i];
        struct air_frame frame;
        accelerate(f, n);
        draw(f, n);
        if (works(f, n))
            step(f, n);
        else
            while (air_next(&n->down, f->tick, &frame)) { /* nobody hears it */
            }
    }
}

uint32_t node_cap_mw(const struct node *n, uint32_t boot_mw) {
    if (n->accel == BUS_NODE_STATE_OFF || n->accel == BUS_NODE_STATE_FAULT)
        return 0;
    const struct lease *lease = &n->board->as.node.node.lease;
    uint32_t floor_mw = n->fly->config.node.floor_mw;
    if (n->hangs && lease->expiry_us <= n->fly->t_us && n->done.cap_mw > floor_mw)
        return floor_mw;
    int boots = n->accel == BUS_NODE_STATE_BOOT && n->ordered && n->done.cap_mw < boot_mw;
    return boots ? boot_mw : n->done.cap_mw;
}
