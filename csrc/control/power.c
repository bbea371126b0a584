/* The power board: its telemetry, its configuration, and which channels shall be on. */
#include "control/internal.h"

#include <string.h>

/* What a sensor reads that cannot be is no matter of the frame: balance.c sees to it. */
static int plausible(const struct bus_power_tlm *t) {
    return t->soc_cpct <= 10000 && t->batt_cdeg > -10000 && t->batt_cdeg < 15000;
}

static void on_telemetry(struct ctl *c, const struct bus_header *h, const uint8_t *payload) {
    struct bus_power_tlm t;
    if (bus_power_tlm_decode(&t, payload, h->length) != 0 || !plausible(&t)) {
        c->bad_payloads++;
        return;
    }
    uint64_t at_us = h->t_us < c->t_us ? h->t_us : c->t_us;
    if (c->power.tlm_us && at_us <= c->power.tlm_us)
        return;
    c->power.probed = c->power.tlm.mode == BUS_CHARGE_MODE_SWEEP;
    uint64_t since_us = c->power.tlm_us ? at_us - c->power.tlm_us : 0;
    c->power.heard = t;
    c->power.tlm_us = at_us;
    ctl_balance(c, since_us);
    if (at_us > c->links[0].tlm_us)
        c->links[0].tlm_us = at_us;
    if (t.flags & BUS_POWER_FLAG_UNCONFIGURED)
        ctl_unconfigured(c, 0);
}

static void on_channels(struct ctl *c, const struct bus_header *h, const uint8_t *payload) {
    struct bus_power_channels p;
    if (bus_power_channels_decode(&p, payload, h->length) != 0 || p.base % CTL_CHANNEL_PAGE != 0 ||
        p.base + p.count > c->config.nodes) {
        c->bad_payloads++;
        return;
    }
    for (uint16_t k = 0; k < p.count; k++) {
        struct ctl_node *n = &c->nodes[p.base + k];
        n->channel = p.channels[k].state;
        n->channel_ma = p.channels[k].mean_ma;
        n->channel_us = c->t_us;
        if (!n->channel_known) { /* what was on before this session stays on until its node has been heard */
            int off = n->channel == BUS_CHANNEL_STATE_OFF || n->channel == BUS_CHANNEL_STATE_QUARANTINED;
            n->mask = !off;
            n->channel_known = 1;
        }
    }
    c->power.pages_seen |= UINT64_C(1) << (p.base / CTL_CHANNEL_PAGE);
}

void ctl_power_frame(struct ctl *c, const struct bus_header *h, const uint8_t *payload) {
    if (h->type == BUS_MSG_POWER_TLM)
        on_telemetry(c, h, payload);
    else if (h->type == BUS_MSG_POWER_CHANNELS)
        on_channels(c, h, payload);
    else
        c->unknown_frames++;
}

static void send_shed_channels(struct ctl *c, uint8_t page) {
    uint16_t base = (uint16_t)(page * CTL_MASK_PAGE);
    struct bus_shed_channels m = {.session = c->session, .base = base};
    m.command_seq = ctl_command_begin(c, 0, BUS_MSG_SHED_CHANNELS);
    while (m.count < CTL_MASK_PAGE && base + m.count < c->config.nodes) {
        m.tier[m.count] = c->config.shed_tier[base + m.count];
        m.count++;
    }
    ctl_command_send(c, 0, bus_shed_channels_encode(&m, c->links[0].command.payload));
}

/* The next step of its configuration. */
void ctl_power_configure(struct ctl *c) {
    struct ctl_link *l = &c->links[0];
    uint8_t *out = l->command.payload;
    if (l->config_step == 0) {
        struct bus_power_config m = c->config.power;
        m.session = c->session;
        m.command_seq = ctl_command_begin(c, 0, BUS_MSG_POWER_CONFIG);
        ctl_command_send(c, 0, bus_power_config_encode(&m, out));
    } else if (l->config_step == 1) {
        struct bus_battery_curve m = c->config.curve;
        m.session = c->session;
        m.command_seq = ctl_command_begin(c, 0, BUS_MSG_BATTERY_CURVE);
        ctl_command_send(c, 0, bus_battery_curve_encode(&m, out));
    } else if (l->config_step == 2) {
        struct bus_shed_tiers m = c->config.tiers;
        m.session = c->session;
        m.command_seq = ctl_command_begin(c, 0, BUS_MSG_SHED_TIERS);
        ctl_command_send(c, 0, bus_shed_tiers_encode(&m, out));
    } else {
        send_shed_channels(c, (uint8_t)(l->config_step - 3));
    }
}

static void send_mask(struct ctl *c, uint8_t page) {
    uint16_t base = (uint16_t)(page * CTL_MASK_PAGE);
    struct bus_channels_set m = {.session = c->session, .base = base};
    m.command_seq = ctl_command_begin(c, 0, BUS_MSG_CHANNELS_SET);
    while (m.count < CTL_MASK_PAGE && base + m.count < c->config.nodes) {
        if (c->nodes[base + m.count].mask)
            m.mask[m.count / 8] |= (uint8_t)(1 << m.count % 8);
        m.count++;
    }
    m.mask_bytes = (uint8_t)((m.count + 7) / 8);
    ctl_command_send(c, 0, bus_channels_set_encode(&m, c->links[0].command.payload));
    c->power.refresh_us = c->t_us + c->config.power.silence_ms * UINT64_C(1000) / 4;
}

static void mask_acked(struct ctl *c, const struct ctl_command *command) {
    struct bus_channels_set m;
    if (bus_channels_set_decode(&m, command->payload, command->length) != 0)
        return;
    for (uint16_t k = 0; k < m.count; k++)
        c->power.acked_mask[m.base + k] = m.mask[k / 8] >> k % 8 & 1;
}

/* After a stale session or sequence it is sent again, with the newer ones. */
static void clear_acked(struct ctl *c, const struct ctl_command *command, uint8_t code) {
    struct bus_channel_clear m;
    if (code == BUS_ACK_CODE_STALE_SESSION || code == BUS_ACK_CODE_STALE_SEQUENCE ||
        bus_channel_clear_decode(&m, command->payload, command->length) != 0)
        return;
    int good = code == BUS_ACK_CODE_OK || code == BUS_ACK_CODE_REPEATED;
    c->nodes[m.channel].clear = good ? CTL_CLEAR_NONE : CTL_CLEAR_REFUSED;
}

void ctl_power_lost(struct ctl *c) {
    for (uint16_t i = 0; i < c->config.nodes; i++)
        if (c->nodes[i].clear == CTL_CLEAR_WANTED)
            c->nodes[i].clear = CTL_CLEAR_REFUSED;
}

void ctl_power_acked(struct ctl *c, const struct ctl_command *command, uint8_t code) {
    int good = code == BUS_ACK_CODE_OK || code == BUS_ACK_CODE_REPEATED;
    if (command->type == BUS_MSG_CHANNELS_SET && good)
        mask_acked(c, command);
    else if (command->type == BUS_MSG_CHANNELS_SET)
        c->links[0].retry_us = c->t_us + CTL_SECOND_US;
    else if (command->type == BUS_MSG_CHANNEL_CLEAR)
        clear_acked(c, command, code);
    else if (command->type == BUS_MSG_RESET && good)
        c->links[0].reset_wanted = 0;
}

/* Every page of channel states has been seen, so that no mask is sent before it is known what is on. */
static int channels_known(const struct ctl *c) {
    unsigned pages = (c->config.nodes + CTL_CHANNEL_PAGE - 1u) / CTL_CHANNEL_PAGE;
    return c->power.pages_seen == (pages == 64 ? UINT64_MAX : (UINT64_C(1) << pages) - 1);
}

static int send_dirty_mask(struct ctl *c) {
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        if (c->nodes[i].mask != c->power.acked_mask[i]) {
            send_mask(c, (uint8_t)(i / CTL_MASK_PAGE));
            return 1;
        }
    }
    return 0;
}

static int send_clear(struct ctl *c) {
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        if (c->nodes[i].clear == CTL_CLEAR_WANTED) {
            struct bus_channel_clear m = {.session = c->session, .channel = i};
            m.command_seq = ctl_command_begin(c, 0, BUS_MSG_CHANNEL_CLEAR);
            ctl_command_send(c, 0, bus_channel_clear_encode(&m, c->links[0].command.payload));
            return 1;
        }
    }
    return 0;
}

static int send_reset(struct ctl *c) {
    if (!c->links[0].reset_wanted)
        return 0;
    struct bus_reset m = {.session = c->session};
    m.command_seq = ctl_command_begin(c, 0, BUS_MSG_RESET);
    ctl_command_send(c, 0, bus_reset_encode(&m, c->links[0].command.payload));
    return 1;
}

/* An under-voltage trip has cleared the wanted channels on the board: nodes start anew, one after the other. */
static void watch_uvlo(struct ctl *c) {
    uint8_t uvlo = (c->power.tlm.flags & BUS_POWER_FLAG_UVLO_LATCHED) != 0;
    if (uvlo && !c->power.uvlo)
        for (uint16_t i = 0; i < c->config.nodes; i++)
            c->nodes[i].mask = c->power.acked_mask[i] = 0;
    c->power.uvlo = uvlo;
}

void ctl_power_tick(struct ctl *c) {
    if (!ctl_ready(c, 0))
        return;
    watch_uvlo(c);
    if (!ctl_command_free(c, 0) || c->t_us < c->links[0].retry_us || !channels_known(c))
        return;
    if (send_reset(c) || send_dirty_mask(c) || send_clear(c))
        return;
    if (c->t_us >= c->power.refresh_us) { /* also tells it that flight is alive */
        uint8_t pages = (uint8_t)((c->config.nodes + CTL_MASK_PAGE - 1) / CTL_MASK_PAGE);
        c->power.refresh_page = (uint8_t)((c->power.refresh_page + 1) % pages);
        send_mask(c, c->power.refresh_page);
    }
}
