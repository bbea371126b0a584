/* What Python and the ground read of the loop. */
#include "control/internal.h"

const struct ctl_node *ctl_nodes(const struct ctl *c) {
    return c->nodes;
}

uint8_t ctl_board(const struct ctl *c, uint16_t board, uint32_t *boot_count, uint8_t *refusal) {
    if (board > c->config.nodes)
        return SPACE_BOARD_STATUS_UNKNOWN;
    const struct ctl_link *l = &c->links[board];
    if (boot_count)
        *boot_count = l->boot_count;
    if (refusal)
        *refusal = l->refusal;
    return l->status;
}

static void count_link(struct ctl_status *s, const struct ctl_link *l) {
    s->boards_ready = (uint16_t)(s->boards_ready + (l->status == SPACE_BOARD_STATUS_READY));
    s->boards_lost = (uint16_t)(s->boards_lost + (l->status == SPACE_BOARD_STATUS_LOST));
    s->boards_refused = (uint16_t)(s->boards_refused + (l->status == SPACE_BOARD_STATUS_REFUSED));
    s->frames_received += l->receiver.rx_frames;
    s->frames_sent += l->tx_frames;
    s->bytes_received += l->receiver.rx_bytes;
    s->bytes_sent += l->tx_bytes;
    s->crc_errors += l->receiver.crc_errors;
    s->cobs_errors += l->receiver.cobs_errors;
    s->length_errors += l->receiver.length_errors;
    s->unknown_frames += l->receiver.version_errors;
}

void ctl_get_status(const struct ctl *c, struct ctl_status *out) {
    *out = (struct ctl_status){
        .mode = c->mode,
        .mode_reason = c->mode_reason,
        .sunlit = c->supply.sunlit,
        .commanded_safe = c->commanded_safe,
        .session = c->session,
        .sequence_gaps = c->sequence_gaps,
        .stale_frames = c->stale_frames,
        .bad_payloads = c->bad_payloads,
        .unknown_frames = c->unknown_frames,
        .retransmissions = c->retransmissions,
        .command_timeouts = c->command_timeouts,
        .batch_dropped = c->batch_dropped,
        .events_dropped = c->events_dropped,
        .soc_cpct = c->power.tlm.soc_cpct,
        .guaranteed_mw = (uint32_t)ctl_max(0, c->supply.guaranteed),
        .lease_sum_mw = (uint32_t)c->supply.lease_sum,
        .available_mw = (uint32_t)ctl_max(0, c->supply.available),
        .budget_mw = (uint32_t)ctl_max(0, c->supply.budget),
    };
    for (uint16_t b = 0; b <= c->config.nodes; b++)
        count_link(out, &c->links[b]);
}

size_t ctl_hk_power(const struct ctl *c, uint8_t out[static SPACE_MAX_PAYLOAD]) {
    const struct bus_power_tlm *t = &c->power.heard;
    uint64_t age_ms = ctl_age(c->t_us, c->power.tlm_us) / 1000;
    const struct space_hk_power hk = {
        .charge_mode = t->mode,
        .flags = t->flags,
        .tier = t->tier,
        .bus_mv = t->bus_mv,
        .batt_ma = t->batt_ma,
        .batt_cdeg = t->batt_cdeg,
        .soc_cpct = t->soc_cpct,
        .array_mw = t->array_mw,
        .array_mv = t->array_mv,
        .array_cdeg = t->array_cdeg,
        .strings_live = t->strings_live,
        .load_mw = t->load_mw,
        .hotel_mw = t->hotel_mw,
        .guaranteed_mw = (uint32_t)ctl_max(0, c->supply.guaranteed),
        .lease_sum_mw = (uint32_t)c->supply.lease_sum,
        .available_mw = (uint32_t)ctl_max(0, c->supply.available),
        .budget_mw = (uint32_t)ctl_max(0, c->supply.budget),
        .sunlit = c->supply.sunlit,
        .tlm_age_ms = age_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)age_ms,
    };
    return space_hk_power_encode(&hk, out);
}

static struct space_node_row row(const struct ctl *c, uint16_t i) {
    const struct ctl_node *n = &c->nodes[i];
    const struct bus_node_tlm *t = &n->heard;
    return (struct space_node_row){
        .node = i,
        .status = c->links[1 + i].status,
        .state = t->state,
        .channel = n->channel,
        .workload = t->workload,
        .flags = t->flags,
        .wanted = n->wanted,
        .power_mw = t->power_mw,
        .cap_mw = t->cap_mw,
        .lease_mw = n->lease_mw,
        .die_cdeg = t->die_cdeg,
        .hbm_cdeg = t->hbm_cdeg,
        .coolant_cdeg = t->coolant_cdeg,
        .job_id = t->job_id,
        .progress_mu = t->progress_mu,
    };
}

static struct space_health_row health_row(const struct ctl *c, uint16_t board) {
    static const struct bus_node_health none;
    const struct bus_node_health *h = board == 0 ? &none : &c->nodes[board - 1].health;
    const struct bus_link_report *l = &c->links[board].report;
    const struct bus_hardware_report *w = &c->links[board].hardware;
    return (struct space_health_row){
        .address = bus_address_of(board),
        .ecc_corrected = h->ecc_corrected,
        .ecc_uncorrected = h->ecc_uncorrected,
        .accel_resets = h->accel_resets,
        .hangs = h->hangs,
        .latch_ups = h->latch_ups,
        .leases_rejected = h->leases_rejected,
        .commands_rejected = h->commands_rejected,
        .lease_expiries = h->lease_expiries,
        .checkpoints = h->checkpoints,
        .writing_mu = h->writing_mu,
        .lost_mu = h->lost_mu,
        .rx_frames = l->rx_frames,
        .tx_frames = l->tx_frames,
        .crc_errors = l->crc_errors,
        .cobs_errors = l->cobs_errors,
        .length_errors = l->length_errors,
        .sequence_gaps = l->sequence_gaps,
        .unknown_frames = l->unknown_frames,
        .rx_lost = w->rx_lost,
        .overruns = w->overruns,
        .framing_errors = w->framing_errors,
        .noise_errors = w->noise_errors,
    };
}

size_t ctl_hk_health(const struct ctl *c, uint16_t base, uint8_t out[static SPACE_MAX_PAYLOAD]) {
    struct space_hk_health hk = {.base = base, .total = (uint16_t)(c->config.nodes + 1)};
    size_t rows = sizeof hk.boards / sizeof hk.boards[0];
    for (uint16_t b = base; b <= c->config.nodes && hk.count < rows; b++)
        hk.boards[hk.count++] = health_row(c, b);
    return space_hk_health_encode(&hk, out);
}

size_t ctl_hk_nodes(const struct ctl *c, uint16_t base, uint8_t out[static SPACE_MAX_PAYLOAD]) {
    struct space_hk_nodes hk = {.base = base, .total = c->config.nodes};
    size_t rows = sizeof hk.nodes / sizeof hk.nodes[0];
    for (uint16_t i = base; i < c->config.nodes && hk.count < rows; i++)
        hk.nodes[hk.count++] = row(c, i);
    return space_hk_nodes_encode(&hk, out);
}
