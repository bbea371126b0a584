#include "boards/link.h"

#include <string.h>

#include "boards/clamp.h"

void link_init(struct link *l, const struct board_port *port, uint16_t role) {
    memset(l, 0, sizeof *l);
    l->port = *port;
    l->role = role;
}

static struct link_peer *peer_of(struct link *l, uint16_t address) {
    return address == BUS_ADDRESS_BENCH ? &l->bench : &l->flight;
}

static size_t put(struct link *l, const struct bus_header *h, const uint8_t *payload) {
    uint8_t wire[BUS_MAX_WIRE];
    size_t n = bus_frame_encode(h, payload, wire);
    l->port.tx(l->port.ctx, wire, n);
    return n;
}

static struct bus_header header_of(const struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, size_t n) {
    return (struct bus_header){.type = type, .src = l->role, .dst = dst, .t_us = t_us, .length = (uint8_t)n};
}

void link_send(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, const uint8_t *payload, size_t n) {
    struct bus_header h = header_of(l, dst, type, t_us, n);
    h.seq = peer_of(l, dst)->tx_seq++;
    l->tx_bytes += (uint32_t)put(l, &h, payload);
    l->tx_frames++;
}

void link_send_again(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, uint16_t seq, const uint8_t *payload,
                     size_t n) {
    struct bus_header h = header_of(l, dst, type, t_us, n);
    h.seq = seq;
    h.flags = BUS_FRAME_FLAG_REPEAT;
    l->tx_bytes += (uint32_t)put(l, &h, payload);
    l->tx_frames++;
}

void link_send_outside(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, const uint8_t *payload, size_t n) {
    struct bus_header h = header_of(l, dst, type, t_us, n);
    (void)put(l, &h, payload);
}

uint16_t link_next_seq(const struct link *l, uint16_t dst) {
    return dst == BUS_ADDRESS_BENCH ? l->bench.tx_seq : l->flight.tx_seq;
}

void link_note(struct link *l, const struct bus_frame *f) {
    struct link_peer *peer = peer_of(l, f->header.src);
    uint16_t ahead = (uint16_t)(f->header.seq - peer->rx_seq);
    if (peer->heard && ahead > INT16_MAX) {
        return; /* an old frame, or one sent again */
    }
    if (peer->heard) {
        uint32_t gaps = (uint32_t)l->sequence_gaps + ahead;
        l->sequence_gaps = gaps > UINT16_MAX ? UINT16_MAX : (uint16_t)gaps;
    }
    peer->heard = 1;
    peer->rx_seq = (uint16_t)(f->header.seq + 1);
}

void link_note_outside(struct link *l, const struct bus_frame *f) {
    l->outside_bytes += (uint32_t)f->wire_length;
    l->outside_frames++;
}

void link_note_hello(struct link *l, const struct bus_frame *f) {
    link_note_outside(l, f);
    peer_of(l, f->header.src)->heard = 0; /* who asks may have begun anew, with other numbers */
}

void link_unknown(struct link *l) {
    clamp_count_u16(&l->unknown_frames);
}

uint32_t link_rx_frames(const struct link *l, const struct bus_receiver *r) {
    return r->rx_frames - l->outside_frames;
}

uint16_t link_rx_errors(const struct bus_receiver *r) {
    return (uint16_t)(r->crc_errors + r->cobs_errors + r->length_errors);
}

void link_report(const struct link *l, const struct bus_receiver *r, struct bus_link_report *out) {
    *out = (struct bus_link_report){
        .rx_bytes = r->rx_bytes - l->outside_bytes,
        .rx_frames = link_rx_frames(l, r),
        .tx_bytes = l->tx_bytes,
        .tx_frames = l->tx_frames,
        .crc_errors = r->crc_errors,
        .cobs_errors = r->cobs_errors,
        .length_errors = r->length_errors,
        .sequence_gaps = l->sequence_gaps,
        .unknown_frames = (uint16_t)(l->unknown_frames + r->version_errors),
    };
}
