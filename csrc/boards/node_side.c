/* A compute node's messages: frames and persistent memory around its pure step. */
#include <string.h>

#include "boards/board_state.h"
#include "bus/crc32c.h"

/* ---- persistent memory */

static size_t encode_config(const struct bus_node_config *config, uint8_t out[static BUS_MAX_PAYLOAD]) {
    struct bus_node_config m = *config;
    m.session = 0;
    m.command_seq = 0;
    return bus_node_config_encode(&m, out);
}

static void keep_config(struct board *b, const struct bus_node_config *before, int was_configured) {
    uint8_t now[BUS_MAX_PAYLOAD], was[BUS_MAX_PAYLOAD];
    size_t n = encode_config(&b->as.node.node.config, now);
    (void)encode_config(before, was);
    if (!was_configured || memcmp(now, was, n) != 0) {
        (void)board_store(b, BOARD_BLOCK_CONFIG, now);
    }
}

void node_side_boot(struct board *b) {
    struct compute_node *node = &b->as.node.node;
    struct bus_node_config config;
    uint8_t payload[BUS_MAX_PAYLOAD];
    if (board_load(b, BOARD_BLOCK_CONFIG, payload) == 0 &&
        bus_node_config_decode(&config, payload, BUS_NODE_CONFIG_BYTES) == 0) {
        (void)compute_node_configure(node, &config);
    }
    if (board_load(b, BOARD_BLOCK_JOB, payload) == 0) {
        job_restore(&node->job, payload);
    }
}

int node_side_is_kept(struct board *b) {
    const struct compute_node *node = &b->as.node.node;
    uint8_t now[BUS_MAX_PAYLOAD], kept[BUS_MAX_PAYLOAD];
    size_t n = encode_config(&node->config, now);
    return !node->configured || (board_load(b, BOARD_BLOCK_CONFIG, kept) == 0 && memcmp(now, kept, n) == 0);
}

static void save_job(struct board *b) {
    struct job *job = &b->as.node.node.job;
    uint8_t record[JOB_RECORD_BYTES];
    if (!job->save_due) {
        return;
    }
    job_record(job, record);
    if (board_store(b, BOARD_BLOCK_JOB, record) == 0) {
        job_saved(job);
    }
}

/* ---- commands and leases */

static uint8_t fault_of(int error) {
    return error == BUS_ERR_LENGTH ? BUS_ACK_CODE_BAD_LENGTH : BUS_ACK_CODE_OUT_OF_RANGE;
}

static uint8_t take_config(struct board *b, const struct bus_frame *f) {
    struct compute_node *node = &b->as.node.node;
    struct bus_node_config m, before = node->config;
    int was_configured = node->configured;
    int error = bus_node_config_decode(&m, f->payload, f->header.length);
    if (error != 0) {
        return fault_of(error);
    }
    uint8_t code = compute_node_configure(node, &m);
    if (code != BUS_ACK_CODE_OK) {
        return code;
    }
    uint8_t now[BUS_MAX_PAYLOAD];
    board_ordered(b, ORDER_CONFIG);
    size_t n = bus_node_config_encode(&node->config, now);
    if (memcmp(now, f->payload, n) != 0) {
        board_order_doubted(b, ORDER_CONFIG);
    } else {
        keep_config(b, &before, was_configured);
    }
    return code;
}

static uint8_t take_power(struct board *b, const struct bus_frame *f) {
    struct bus_node_power m;
    int error = bus_node_power_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : compute_node_power(&b->as.node.node, &m);
}

static uint8_t take_job(struct board *b, const struct bus_frame *f) {
    struct bus_node_job m = {.phase_count = 0}; /* and no phases beyond those that come */
    int error = bus_node_job_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : compute_node_job(&b->as.node.node, &m);
}

static uint8_t take_job_stop(struct board *b, const struct bus_frame *f) {
    struct bus_node_job_stop m;
    int error = bus_node_job_stop_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : compute_node_job_stop(&b->as.node.node, &m);
}

uint8_t node_side_command(struct board *b, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_NODE_CONFIG:
        return take_config(b, f);
    case BUS_MSG_NODE_POWER:
        return take_power(b, f);
    case BUS_MSG_NODE_JOB:
        return take_job(b, f);
    case BUS_MSG_NODE_JOB_STOP:
        return take_job_stop(b, f);
    default:
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
}

static int take_lease(struct board *b, const struct bus_frame *f) {
    struct bus_lease m;
    if (bus_lease_decode(&m, f->payload, f->header.length) != 0) {
        return 0;
    }
    if (compute_node_lease(&b->as.node.node, b->t_us, b->commands.session, &m) == LEASE_TAKEN) {
        const struct lease *l = &b->as.node.node.lease;
        board_ordered(b, ORDER_LEASE);
        if (l->cap_mw != m.cap_mw || l->expiry_us != m.expiry_us) {
            board_order_doubted(b, ORDER_LEASE);
        }
        command_log_raise(&b->commands, m.session);
    }
    return 1;
}

/* ---- telemetry */

static uint16_t centivolts(uint32_t mv) {
    return mv / 10 > UINT16_MAX ? UINT16_MAX : (uint16_t)(mv / 10);
}

static void fill_tlm(const struct compute_node *n, struct bus_node_tlm *out) {
    *out = (struct bus_node_tlm){
        .state = n->state,
        .workload = n->workload,
        .flags = n->flags,
        .power_mw = n->power_mw,
        .cap_mw = n->cap_mw,
        .lease_session = n->lease.session,
        .lease_seq = n->lease.sequence,
        .die_cdeg = n->die.cdeg,
        .hbm_cdeg = n->hbm.cdeg,
        .coolant_cdeg = n->coolant_cdeg,
        .bus_cv = centivolts(n->bus_mv),
        .job_id = n->job.id,
        .progress_mu = n->job.progress_mu,
        .checkpoint_mu = n->job.checkpoint_mu,
    };
}

static int is_news(const struct bus_node_tlm *now, const struct bus_node_tlm *last) {
    return now->state != last->state || now->flags != last->flags || now->job_id != last->job_id ||
           now->workload != last->workload || now->lease_session != last->lease_session ||
           now->lease_seq != last->lease_seq;
}

static void tell_tlm(struct board *b) {
    struct node_side *side = &b->as.node;
    struct bus_node_tlm m;
    fill_tlm(&side->node, &m);
    if (b->t_us < side->next_tlm_us && !is_news(&m, &side->last)) {
        return;
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    board_tell(b, BUS_MSG_NODE_TLM, payload, bus_node_tlm_encode(&m, payload));
    side->last = m;
    side->next_tlm_us = b->t_us + BOARD_NODE_TLM_US;
}

static void tell_health(struct board *b) {
    struct node_side *side = &b->as.node;
    const struct compute_node *n = &side->node;
    if (b->t_us < side->next_health_us) {
        return;
    }
    struct bus_node_health m = {
        .ecc_corrected = n->ecc.corrected,
        .ecc_uncorrected = n->ecc.uncorrected,
        .accel_resets = n->accel_resets,
        .hangs = n->hangs,
        .latch_ups = n->latch_ups,
        .leases_rejected = n->leases_rejected,
        .commands_rejected = b->commands_rejected,
        .lease_expiries = n->lease_expiries,
        .checkpoints = n->job.checkpoints,
        .writing_mu = n->job.writing_mu,
        .lost_mu = n->job.lost_mu,
    };
    uint8_t payload[BUS_MAX_PAYLOAD];
    board_tell(b, BUS_MSG_NODE_HEALTH, payload, bus_node_health_encode(&m, payload));
    side->next_health_us += BOARD_REPORT_US;
}

/* ---- TICK */

static void fill_done(const struct board *b, struct bus_done_node *out) {
    const struct compute_node *n = &b->as.node.node;
    uint8_t state[COMPUTE_NODE_STATE_BYTES];
    size_t bytes = compute_node_serialise(n, state);
    *out = (struct bus_done_node){
        .cap_mw = n->cap_mw,
        .clock_mhz = n->clock_mhz,
        .command = n->command,
        .workload = n->workload,
        .flags = b->reset_due ? BUS_DONE_FLAG_RESET : 0,
        .state_hash = bus_crc32c(0, state, bytes),
        .rx_frames = link_rx_frames(&b->link, &b->receiver),
        .rx_errors = link_rx_errors(&b->receiver),
    };
}

static void answer(struct board *b) {
    struct done_cache *d = &b->done;
    struct bus_done_node m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    fill_done(b, &m);
    d->type = BUS_MSG_DONE_NODE;
    d->seq = link_next_seq(&b->link, BUS_ADDRESS_BENCH);
    d->length = (uint8_t)bus_done_node_encode(&m, payload);
    memcpy(d->payload, payload, d->length);
    link_send(&b->link, BUS_ADDRESS_BENCH, d->type, b->t_us, payload, d->length);
}

/* The step that board_accepts_tick or board_begin_step has begun. */
static void step(struct board *b, const struct bus_tick_node *sensors) {
    struct node_side *side = &b->as.node;
    if (b->clock_is_new) {
        side->next_tlm_us = b->t_us;
        side->next_health_us = b->t_us + BOARD_REPORT_US;
    }
    compute_node_step(&side->node, b->t_us, sensors);
    save_job(b);
    board_tell_events(b, &side->node.events);
    tell_tlm(b);
    tell_health(b);
    board_tell_link(b);
}

int board_step_node(struct board *b, uint64_t t_us, const struct bus_tick_node *sensors, struct bus_done_node *out) {
    if (board_begin_step(b, t_us, sensors->dt_us) != 0) {
        return -1;
    }
    step(b, sensors);
    fill_done(b, out);
    b->reset_pending = b->reset_due;
    return 0;
}

static int take_tick(struct board *b, const struct bus_frame *f) {
    struct bus_tick_node sensors;
    if (bus_tick_node_decode(&sensors, f->payload, f->header.length) != 0) {
        return 0;
    }
    if (!board_accepts_tick(b, f, sensors.dt_us)) {
        return 1;
    }
    step(b, &sensors);
    answer(b);
    b->reset_pending = b->reset_due;
    return 1;
}

int node_side_frame(struct board *b, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_TICK_NODE:
        return take_tick(b, f);
    case BUS_MSG_LEASE:
        return take_lease(b, f);
    default:
        return 0;
    }
}
