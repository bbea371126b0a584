#include "control/internal.h"

#include <string.h>

size_t ctl_bytes(uint16_t nodes) {
    if (nodes < 1 || nodes > CTL_NODES_MAX)
        return 0;
    return sizeof(struct ctl) + (nodes + 1u) * sizeof(struct ctl_link) + nodes * sizeof(struct ctl_node);
}

int ctl_init(struct ctl *c, const struct ctl_config *config) {
    size_t bytes = ctl_bytes(config->nodes);
    if (bytes == 0)
        return CTL_ERR_NODES;
    memset(c, 0, bytes);
    c->config = *config;
    c->session = config->session;
    c->mode = SPACE_MODE_SAFE;
    c->mode_reason = SPACE_MODE_REASON_START;
    c->links = (struct ctl_link *)(c + 1);
    c->nodes = (struct ctl_node *)(c->links + config->nodes + 1);
    for (uint16_t b = 0; b <= config->nodes; b++)
        ctl_link_init(&c->links[b]);
    for (uint16_t i = 0; i < config->nodes; i++)
        ctl_node_forget(&c->nodes[i]);
    ctl_balance_init(c);
    ctl_estimate_init(c);
    ctl_heat_init(c);
    struct space_parameters p;
    space_parameters_default(&p);
    ctl_set_parameters(c, &p);
    return 0;
}

void ctl_event(struct ctl *c, uint16_t code, uint16_t source, int32_t arg0, int32_t arg1) {
    if (c->event_count == CTL_EVENTS) {
        c->events_dropped++;
        return;
    }
    uint16_t at = (uint16_t)((c->event_head + c->event_count++) % CTL_EVENTS);
    c->events[at] = (struct ctl_event){.t_us = c->t_us, .code = code, .source = source, .arg0 = arg0, .arg1 = arg1};
}

size_t ctl_events(struct ctl *c, struct ctl_event *out, size_t max) {
    size_t n = 0;
    while (n < max && c->event_count > 0) {
        out[n++] = c->events[c->event_head];
        c->event_head = (uint16_t)((c->event_head + 1) % CTL_EVENTS);
        c->event_count--;
    }
    return n;
}

static void start(struct ctl *c) {
    c->started = 1;
    c->start_us = c->t_us;
    c->steady_us = c->t_us;
}

int ctl_step(void *ctl, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx) {
    struct ctl *c = ctl;
    uint32_t dropped = tx->dropped;
    c->t_us = t_us;
    c->tx = tx;
    c->attention = 0;
    if (!c->started)
        start(c);
    size_t at = 0, n;
    uint16_t board;
    const uint8_t *bytes;
    while (bus_batch_next(rx, &at, &board, &bytes, &n) == 1)
        if (board <= c->config.nodes)
            ctl_link_receive(c, board, bytes, n);
    for (board = 0; board <= c->config.nodes; board++) {
        ctl_link_tick(c, board);
        ctl_identify_tick(c, board);
    }
    ctl_guard_tick(c);
    ctl_cooling_tick(c);
    ctl_supply_tick(c);
    ctl_mode_tick(c);
    ctl_plan_tick(c);
    ctl_nodes_tick(c);
    ctl_allocate(c);
    ctl_lease_tick(c);
    ctl_power_tick(c);
    c->batch_dropped += tx->dropped - dropped;
    c->tx = NULL;
    c->attention_kept |= c->attention;
    return c->attention;
}

int ctl_take_attention(struct ctl *c) {
    int kept = c->attention_kept;
    c->attention_kept = 0;
    return kept;
}

static uint32_t micro(double seconds) {
    return (uint32_t)(seconds * 1e6 + 0.5);
}

static int32_t scaled(double value, double scale) {
    return (int32_t)(value * scale + (value < 0 ? -0.5 : 0.5));
}

void ctl_set_parameters(struct ctl *c, const struct space_parameters *p) {
    c->set = (struct ctl_settings){
        .lease_ttl_us = micro(p->lease_ttl_s),
        .lease_renew_us = micro(p->lease_renew_s),
        .lost_after_us = micro(p->lost_after_s),
        .hold_us = micro(p->hold_s),
        .margin_permille = scaled(p->budget_margin, 1000),
        .charge_permille = scaled(p->charge_share, 1000),
        .rise_permille = scaled(p->cap_rise, 1000),
        .soc_target_cpct = scaled(p->soc_target, 10000),
        .soc_reserve_cpct = scaled(p->soc_reserve, 10000),
        .soc_safe_cpct = scaled(p->soc_safe, 10000),
        .die_limit_cdeg = scaled(p->die_limit_c, 100),
        .hbm_limit_cdeg = scaled(p->hbm_limit_c, 100),
        .coolant_limit_cdeg = scaled(p->coolant_limit_c, 100),
        .boot_parallel = (uint16_t)scaled(p->boot_parallel, 1),
    };
}

void ctl_set_forecast(struct ctl *c, uint64_t entry_us, uint64_t exit_us, uint64_t period_us) {
    c->supply.entry_us = entry_us;
    c->supply.exit_us = exit_us;
    c->supply.period_us = period_us;
}

int ctl_want_node(struct ctl *c, uint16_t node, int on) {
    if (node >= c->config.nodes)
        return CTL_ERR_NODE;
    c->nodes[node].wanted = on != 0;
    c->nodes[node].faults = 0;
    c->nodes[node].boot_us = 0;
    return 0;
}

int ctl_set_job(struct ctl *c, uint16_t node, const struct ctl_job *job) {
    if (node >= c->config.nodes)
        return CTL_ERR_NODE;
    struct ctl_node *n = &c->nodes[node];
    n->job = *job;
    n->managed = 1;
    if (job->job_id != 0 && !job->stop)
        n->weight_permille = job->weight_permille;
    return 0;
}

int ctl_reset_board(struct ctl *c, uint16_t board) {
    if (board > c->config.nodes)
        return CTL_ERR_NODE;
    if (!ctl_ready(c, board))
        return CTL_ERR_STATUS;
    c->links[board].reset_wanted = 1;
    return 0;
}

int ctl_clear_channel(struct ctl *c, uint16_t node) {
    if (node >= c->config.nodes)
        return CTL_ERR_NODE;
    if (!ctl_ready(c, 0))
        return CTL_ERR_STATUS;
    c->nodes[node].clear = CTL_CLEAR_WANTED;
    return 0;
}
