#include <string.h>

#include "leases/boards.h"

static void send(struct fly *f, uint8_t type, const uint8_t *payload, size_t n) {
    struct power *p = &f->power;
    struct bus_header h = {.type = type, .src = BUS_ADDRESS_POWER_BOARD, .dst = BUS_ADDRESS_FLIGHT, .t_us = f->t_us};
    h.seq = bus_message_facts(type) & BUS_IS_HASHED ? p->seq++ : 0;
    h.length = (uint8_t)n;
    uint8_t wire[BUS_MAX_WIRE];
    (void)air_send(&p->up, f->scenario, &f->random, f->tally, f->tick, wire, bus_frame_encode(&h, payload, wire));
}

static void hello(struct fly *f) {
    struct bus_hello m = {.kind = BUS_BOARD_KIND_POWER_BOARD,
                          .role = BUS_ADDRESS_POWER_BOARD,
                          .hardware_id = {99},
                          .icd_hash = BUS_ICD_HASH,
                          .boot_count = f->power.boot_count,
                          .reset_cause = BUS_RESET_CAUSE_POWER_ON};
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(f, BUS_MSG_HELLO, payload, bus_hello_encode(&m, payload));
}

static void pages(struct fly *f) {
    struct bus_power_channels m = {.count = (uint8_t)f->scenario->nodes};
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        m.channels[i].state = f->nodes[i].channel ? BUS_CHANNEL_STATE_ON : BUS_CHANNEL_STATE_OFF;
        m.channels[i].mean_ma = (uint16_t)(f->nodes[i].drawn_mw * UINT64_C(1000) / BUS_MV);
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(f, BUS_MSG_POWER_CHANNELS, payload, bus_power_channels_encode(&m, payload));
}

static void switch_channels(struct fly *f, const struct bus_frame *frame) {
    struct bus_channels_set m;
    if (bus_channels_set_decode(&m, frame->payload, frame->header.length) != 0)
        return;
    for (uint16_t k = 0; k < m.count && m.base + k < f->scenario->nodes; k++)
        f->nodes[m.base + k].channel = m.mask[k / 8] >> k % 8 & 1;
    pages(f);
}

static void command(struct fly *f, const struct bus_frame *frame) {
    struct power *p = &f->power;
    struct bus_ack ack = {.type = frame->header.type};
    if (bus_command_head(frame->payload, frame->header.length, &ack.session, &ack.command_seq) != 0)
        return;
    if (ack.session < p->session) {
        ack.session = p->session;
        ack.code = BUS_ACK_CODE_STALE_SESSION;
    } else if (ack.session == p->session && ack.command_seq == p->command_seq) {
        ack.code = BUS_ACK_CODE_REPEATED;
    } else if (ack.session == p->session && ack.command_seq < p->command_seq) {
        ack.code = BUS_ACK_CODE_STALE_SEQUENCE;
    } else {
        p->session = ack.session;
        p->command_seq = ack.command_seq;
        if (frame->header.type == BUS_MSG_CHANNELS_SET)
            switch_channels(f, frame);
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(f, BUS_MSG_ACK, payload, bus_ack_encode(&ack, payload));
}

static void reset(struct fly *f) {
    struct power *p = &f->power;
    p->boot_count++;
    p->session = p->command_seq = 0;
    p->seq = 0;
    bus_receiver_init(&p->receiver);
    hello(f);
}

void power_init(struct fly *f) {
    reset(f);
}

static void telemetry(struct fly *f) {
    const struct supply *s = &f->supply;
    int64_t load_mw = 0;
    uint16_t on = 0;
    for (uint16_t i = 0; i < f->scenario->nodes; i++) {
        load_mw += f->nodes[i].drawn_mw;
        on = (uint16_t)(on + f->nodes[i].channel);
    }
    int64_t battery_mw = s->told_mw * f->config.converter_permille / 1000 - load_mw - s->hotel_mw;
    const struct bus_power_tlm m = {.mode = s->mode,
                                    .bus_mv = BUS_MV,
                                    .batt_ma = (int32_t)(battery_mw * 1000 / BUS_MV),
                                    .batt_cdeg = 2000,
                                    .soc_cpct = s->soc_cpct,
                                    .array_mw = (uint32_t)s->told_mw,
                                    .largest_string_mw = (uint32_t)(s->told_mw / s->told_strings),
                                    .strings_live = s->told_strings,
                                    .load_mw = (uint32_t)load_mw,
                                    .hotel_mw = (uint32_t)s->hotel_mw,
                                    .channels_on = on};
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(f, BUS_MSG_POWER_TLM, payload, bus_power_tlm_encode(&m, payload));
}

void power_tick(struct fly *f) {
    struct power *p = &f->power;
    struct air_frame frame;
    struct bus_frame got;
    if (f->tick >= p->silent_until && chance(&f->random, f->scenario->power_board)) {
        if (random_below(&f->random, 2))
            reset(f);
        else
            p->silent_until = f->tick + between(&f->random, 1, 80);
    }
    while (air_next(&p->down, f->tick, &frame)) {
        const uint8_t *at = frame.bytes, *end = frame.bytes + frame.n;
        while (f->tick >= p->silent_until && bus_receiver_next(&p->receiver, &at, end, &got) == BUS_RX_FRAME) {
            if (got.header.type == BUS_MSG_HELLO_REQ)
                hello(f);
            else
                command(f, &got);
        }
    }
    if (f->tick < p->silent_until)
        return;
    telemetry(f);
    if (f->t_us % 1000000 < f->scenario->tick_us)
        pages(f);
}
