/* One board's line: frames in, commands out, and how long it has been silent. */
#include "control/internal.h"

#include "bus/frame.h"

#include <string.h>

void ctl_link_init(struct ctl_link *l) {
    memset(l, 0, sizeof *l);
    bus_receiver_init(&l->receiver);
}

void ctl_link_send(struct ctl *c, uint16_t board, uint8_t type, const uint8_t *payload, size_t n) {
    struct ctl_link *l = &c->links[board];
    const struct bus_header h = {
        .type = type,
        .src = BUS_ADDRESS_FLIGHT,
        .dst = bus_address_of(board),
        .seq = l->tx_seq++,
        .t_us = c->t_us,
        .length = (uint8_t)n,
    };
    uint8_t wire[BUS_MAX_WIRE];
    size_t bytes = bus_frame_encode(&h, payload, wire);
    if (bus_batch_append(c->tx, board, wire, bytes) == 0) {
        l->tx_frames++;
        l->tx_bytes += bytes;
    }
}

int ctl_command_free(const struct ctl *c, uint16_t board) {
    return c->links[board].command.type == 0;
}

uint32_t ctl_command_begin(struct ctl *c, uint16_t board, uint8_t type) {
    struct ctl_link *l = &c->links[board];
    l->command.type = type;
    l->command.tries = 0;
    l->command.seq = ++l->command_seq;
    return l->command.seq;
}

static void transmit(struct ctl *c, uint16_t board) {
    struct ctl_command *k = &c->links[board].command;
    k->sent_us = c->t_us;
    k->tries++;
    ctl_link_send(c, board, k->type, k->payload, k->length);
}

void ctl_command_send(struct ctl *c, uint16_t board, size_t n) {
    struct ctl_command *k = &c->links[board].command;
    k->length = (uint8_t)n;
    if (n == 0)
        k->type = 0; /* the ICD forbids a value of it: configuration is checked before, so nothing to send */
    else
        transmit(c, board);
}

static void raise_session(struct ctl *c, uint32_t seen) {
    if (seen < c->session)
        return;
    c->session = seen + 1;
    c->attention |= CTL_ATTENTION_SESSION;
}

static int is_configuration(uint8_t type) {
    return type == BUS_MSG_NODE_CONFIG || type == BUS_MSG_POWER_CONFIG || type == BUS_MSG_BATTERY_CURVE ||
           type == BUS_MSG_SHED_TIERS || type == BUS_MSG_SHED_CHANNELS;
}

static void on_configuration_ack(struct ctl *c, uint16_t board, uint8_t code) {
    if (code == BUS_ACK_CODE_OK || code == BUS_ACK_CODE_REPEATED)
        ctl_configured(c, board);
    else if (code == BUS_ACK_CODE_OUT_OF_RANGE || code == BUS_ACK_CODE_BAD_LENGTH || code == BUS_ACK_CODE_NOT_SUPPORTED)
        ctl_link_refuse(c, board, SPACE_REFUSAL_CONFIGURATION, code);
    else
        c->links[board].retry_us = c->t_us + CTL_SECOND_US;
}

static void on_ack(struct ctl *c, uint16_t board, const uint8_t *payload, size_t n) {
    struct ctl_link *l = &c->links[board];
    struct bus_ack ack;
    if (bus_ack_decode(&ack, payload, n) != 0) {
        c->bad_payloads++;
        return;
    }
    if (l->command.type == 0 || ack.type != l->command.type || ack.command_seq != l->command.seq)
        return; /* the answer to a retransmission of one that is done */
    if (ack.code == BUS_ACK_CODE_STALE_SESSION || ack.code == BUS_ACK_CODE_STALE_SEQUENCE)
        raise_session(c, ack.session);
    struct ctl_command done = l->command;
    l->command.type = 0;
    if (is_configuration(done.type))
        on_configuration_ack(c, board, ack.code);
    else if (board == 0)
        ctl_power_acked(c, &done, ack.code);
    else
        ctl_node_acked(c, (uint16_t)(board - 1), &done, ack.code);
}

static void on_event(struct ctl *c, uint16_t board, const uint8_t *payload, size_t n) {
    struct bus_event e;
    if (bus_event_decode(&e, payload, n) != 0)
        c->bad_payloads++;
    else
        ctl_event(c, e.code, bus_address_of(board), e.arg0, e.arg1);
}

static void on_link_report(struct ctl *c, struct ctl_link *l, const uint8_t *payload, size_t n) {
    if (bus_link_report_decode(&l->report, payload, n) != 0)
        c->bad_payloads++;
}

static void on_crash(struct ctl *c, uint16_t board, const uint8_t *payload, size_t n) {
    struct bus_crash m;
    if (bus_crash_decode(&m, payload, n) != 0)
        c->bad_payloads++;
    else
        ctl_event(c, BUS_EVENT_BOARD_CRASHED, bus_address_of(board), (int32_t)(m.pc & INT32_MAX), m.exception);
}

/* Frames outside the sequence (csrc/boards/link.h): 1 when it was one. */
static int on_outside(struct ctl *c, uint16_t board, const struct bus_header *h, const uint8_t *payload) {
    struct ctl_link *l = &c->links[board];
    if (h->type == BUS_MSG_CRASH)
        on_crash(c, board, payload, h->length);
    else if (h->type == BUS_MSG_UPDATE_STATUS)
        return 1; /* for whoever updates the board */
    else if (h->type != BUS_MSG_HARDWARE_REPORT)
        return 0;
    else if (bus_hardware_report_decode(&l->hardware, payload, h->length) != 0)
        c->bad_payloads++;
    return 1;
}

/* 0 when the frame is a duplicate, or older than one that was taken. One that is behind but newer follows a late frame
 * from before the board's last boot, where its numbers began anew. */
static int in_sequence(struct ctl *c, struct ctl_link *l, const struct bus_header *h) {
    uint16_t ahead = (uint16_t)(h->seq - l->rx_seq);
    int behind = l->rx_seq_known && (ahead == 0 || ahead >= 0x8000);
    if (behind && h->t_us <= l->rx_us) {
        c->stale_frames++;
        return 0;
    }
    if (l->rx_seq_known && !behind)
        c->sequence_gaps += ahead - 1u;
    l->rx_seq = h->seq;
    l->rx_us = h->t_us;
    l->rx_seq_known = 1;
    return 1;
}

static void on_frame(struct ctl *c, uint16_t board, const struct bus_header *h, const uint8_t *payload) {
    struct ctl_link *l = &c->links[board];
    if (h->type == BUS_MSG_HELLO) {
        ctl_hello(c, board, h, payload);
        return;
    }
    if (l->status != SPACE_BOARD_STATUS_CONFIGURING && l->status != SPACE_BOARD_STATUS_READY)
        return; /* not flown: nothing that it says counts until it has proven who it is */
    if (h->src != bus_address_of(board) || h->dst != BUS_ADDRESS_FLIGHT) {
        c->unknown_frames++;
        return;
    }
    if (on_outside(c, board, h, payload) || !in_sequence(c, l, h))
        return;
    if (h->type == BUS_MSG_ACK)
        on_ack(c, board, payload, h->length);
    else if (h->type == BUS_MSG_EVENT)
        on_event(c, board, payload, h->length);
    else if (h->type == BUS_MSG_LINK_REPORT)
        on_link_report(c, l, payload, h->length);
    else if (board == 0)
        ctl_power_frame(c, h, payload);
    else
        ctl_node_frame(c, (uint16_t)(board - 1), h, payload);
}

void ctl_link_receive(struct ctl *c, uint16_t board, const uint8_t *bytes, size_t n) {
    const uint8_t *end = bytes + n;
    struct bus_frame frame;
    int got;
    while ((got = bus_receiver_next(&c->links[board].receiver, &bytes, end, &frame)) != BUS_RX_MORE)
        if (got == BUS_RX_FRAME)
            on_frame(c, board, &frame.header, frame.payload);
}

static void lose(struct ctl *c, uint16_t board, uint64_t age_us) {
    struct ctl_link *l = &c->links[board];
    int was_ready = l->status == SPACE_BOARD_STATUS_READY;
    l->status = SPACE_BOARD_STATUS_LOST;
    l->hello_us = c->t_us;
    l->command.type = 0;
    l->reset_wanted = 0;
    if (board == 0)
        ctl_power_lost(c);
    c->attention |= CTL_ATTENTION_BOARD;
    ctl_event(c, SPACE_EVENT_BOARD_LOST, bus_address_of(board),
              (int32_t)ctl_clamp((int64_t)age_us / 1000, 0, INT32_MAX), was_ready);
}

/* Age of the last telemetry, and the command that waits for its ACK. */
void ctl_link_tick(struct ctl *c, uint16_t board) {
    struct ctl_link *l = &c->links[board];
    if (l->status != SPACE_BOARD_STATUS_CONFIGURING && l->status != SPACE_BOARD_STATUS_READY)
        return;
    uint64_t age_us = ctl_age(c->t_us, l->tlm_us);
    if (age_us > c->set.lost_after_us) {
        lose(c, board, age_us);
        return;
    }
    if (l->command.type == 0 || ctl_age(c->t_us, l->command.sent_us) < CTL_RESEND_US)
        return;
    if (l->command.tries >= CTL_TRIES) {
        l->command.type = 0;
        c->command_timeouts++;
        return;
    }
    c->retransmissions++;
    transmit(c, board);
}
