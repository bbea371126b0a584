#include "world/line.h"

#include <string.h>

void sink_put(struct sink *s, const uint8_t *bytes, size_t n) {
    if (n > s->capacity - s->used) {
        s->dropped += n;
        return;
    }
    memcpy(s->bytes + s->used, bytes, n);
    s->used += n;
}

static void put_le(uint8_t *out, uint64_t value, int n) {
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void log_put(struct sink *log, uint64_t tick, uint16_t board, uint8_t direction, const uint8_t *bytes, size_t n) {
    if (n + LOG_RECORD_BYTES > log->capacity - log->used) {
        log->dropped += n;
        return;
    }
    uint8_t *out = log->bytes + log->used;
    put_le(out, tick, 8);
    put_le(out + 8, board, 2);
    out[10] = direction;
    put_le(out + 11, n, 2);
    memcpy(out + LOG_RECORD_BYTES, bytes, n);
    log->used += n + LOG_RECORD_BYTES;
}

/* HELLO and its like: in no sequence number, counter or hash (csrc/boards/link.h). */
static int is_outside(uint8_t type) {
    unsigned facts = bus_message_facts(type);
    return facts != 0 && !(facts & BUS_IS_HASHED);
}

void line_restart(struct line *l) {
    bus_receiver_init(&l->from_board);
    bus_receiver_init(&l->from_flight);
    l->out.used = l->forward.used = l->held.used = l->log.used = 0;
    l->tick_at = l->sent = l->later = 0;
    l->said_hello = l->new_hello = 0;
    l->open = l->booting = l->fresh = l->expect_set = 0;
    l->bench_seq = 0;
    l->epoch.known = 0;
    l->begin = l->ledger;
}

void line_begin(struct line *l, uint64_t tick, uint64_t t_us) {
    l->tick = tick;
    l->t_us = t_us;
    l->out.used = l->tick_at = l->sent = 0;
    l->begin = l->ledger;
}

void line_flight_bytes(struct line *l, struct sink *log) {
    const uint8_t *p = l->out.bytes, *end = p + l->out.used;
    struct bus_frame f;
    int r;
    l->stats.tx_bytes += l->out.used;
    l->ledger.tx_bytes += l->out.used;
    while ((r = bus_receiver_next(&l->from_flight, &p, end, &f)) != BUS_RX_MORE) {
        l->stats.tx_frames += (uint64_t)(r == BUS_RX_FRAME);
        if (r == BUS_RX_FRAME && is_outside(f.header.type)) {
            l->ledger.tx_bytes -= f.wire_length;
            continue;
        }
        l->ledger.tx_frames += (uint64_t)(r == BUS_RX_FRAME);
        log_put(log, l->tick, l->board, LOG_TO_BOARD, f.wire, f.wire_length);
    }
}

void line_open(struct line *l) {
    l->tick_at = l->out.used;
    l->open = 1;
    l->fresh = 0;
}

/* Encodes a frame behind what is in `out`. Returns its place, NULL when it does not fit. */
static const uint8_t *append(struct line *l, const struct bus_header *h, const uint8_t *payload, size_t *length) {
    if (BUS_MAX_WIRE > l->out.capacity - l->out.used) {
        l->out.dropped += h->length;
        return NULL;
    }
    uint8_t *wire = l->out.bytes + l->out.used;
    *length = bus_frame_encode(h, payload, wire);
    l->out.used += *length;
    l->stats.tx_frames++;
    l->stats.tx_bytes += *length;
    l->ledger.tx_frames++;
    l->ledger.tx_bytes += *length;
    return wire;
}

void line_bench_frame(struct line *l, uint8_t type, const uint8_t *payload, size_t n, struct sink *log) {
    struct bus_header h = {.type = type,
                           .src = BUS_ADDRESS_BENCH,
                           .dst = l->address,
                           .seq = l->bench_seq++,
                           .t_us = l->t_us,
                           .length = (uint8_t)n};
    size_t length = 0;
    const uint8_t *wire = append(l, &h, payload, &length);
    if (wire != NULL)
        log_put(log, l->tick, l->board, LOG_TO_BOARD, wire, length);
}

size_t line_hello_request(struct line *l, uint8_t out[static BUS_MAX_WIRE]) {
    struct bus_header h = {
        .type = BUS_MSG_HELLO_REQ, .src = BUS_ADDRESS_BENCH, .dst = BUS_ADDRESS_ANY, .t_us = l->t_us};
    size_t n = bus_frame_encode(&h, NULL, out);
    l->stats.tx_frames++;
    l->stats.tx_bytes += n;
    return n;
}

static void retransmit(struct line *l) {
    const uint8_t *p = l->out.bytes + l->tick_at, *end = l->out.bytes + l->out.used;
    struct bus_receiver again;
    struct bus_frame f;
    bus_receiver_init(&again);
    int r;
    while ((r = bus_receiver_next(&again, &p, end, &f)) != BUS_RX_MORE) {
        size_t length;
        if (r != BUS_RX_FRAME || (f.header.flags & BUS_FRAME_FLAG_REPEAT))
            continue;
        f.header.flags |= BUS_FRAME_FLAG_REPEAT;
        append(l, &f.header, f.payload, &length);
    }
    l->stats.retransmissions++;
}

void line_ask_again(struct line *l) {
    uint8_t wire[BUS_MAX_WIRE];
    if (l->booting)
        sink_put(&l->out, wire, line_hello_request(l, wire));
    else
        retransmit(l);
}

/* ---------------------------------------------------------------- to flight */

size_t line_to_flight(const struct line *l) {
    return l->forward.used - l->later;
}

void line_forwarded(struct line *l) {
    memmove(l->forward.bytes, l->forward.bytes + line_to_flight(l), l->later);
    l->forward.used = l->later;
    l->later = 0;
}

static void forward(struct line *l, const uint8_t *wire, size_t n) {
    size_t before = l->forward.used;
    sink_put(&l->forward, wire, n);
    if (l->booting)
        l->later += l->forward.used - before;
}

/* ---------------------------------------------------------------- from the board */

/* A new epoch: from `base` on the two ends count the same. */
static void begin_epoch(struct line *l, const struct ledger *base, uint32_t boot_count, int known) {
    l->epoch = (struct epoch){.base = *base, .boot_count = boot_count, .known = known};
    l->fresh = 1;
    l->expect_set = 0;
    l->stats.epochs++;
}

/* The HELLO that ends a reset. It is told to flight as the boot said it, also when that got lost and this is the answer
 * to a request. */
static void on_boot(struct line *l, const struct bus_frame *f, uint32_t boot_count) {
    uint8_t wire[BUS_MAX_WIRE];
    struct bus_header as_boot = f->header;
    as_boot.dst = BUS_ADDRESS_ANY;
    begin_epoch(l, &l->ledger, boot_count, 1);
    forward(l, wire, bus_frame_encode(&as_boot, f->payload, wire));
    l->booting = l->open = 0;
}

static void on_hello(struct line *l, const struct bus_frame *f) {
    struct bus_hello hello;
    int damaged = bus_hello_decode(&hello, f->payload, f->header.length);
    l->said_hello = l->new_hello = 1;
    l->hello = damaged ? (struct bus_hello){0} : hello;
    if (damaged)
        return;
    int boot = f->header.dst == BUS_ADDRESS_ANY, is_new = hello.boot_count != l->epoch.boot_count;
    if (l->booting && (boot || is_new)) {
        on_boot(l, f, hello.boot_count);
        return;
    }
    if (!is_new && (l->epoch.known || !boot))
        return;
    /* A boot says HELLO to any. Then what was sent since the tick began reached the board after its boot. An answer to
     * a request tells only that a boot was missed. */
    struct ledger base = l->begin;
    base.rx_bytes = l->ledger.rx_bytes;
    base.rx_frames = l->ledger.rx_frames;
    begin_epoch(l, &base, hello.boot_count, boot);
}

/* Counts the change of a difference between the two ends' counts, modulo 2^32. */
static void compare(uint64_t ours, uint64_t base, uint32_t theirs, int32_t *counted, uint32_t *errors, int known) {
    int32_t gap = (int32_t)((uint32_t)(ours - base) - theirs);
    if (known && gap != *counted)
        *errors += (uint32_t)(gap > *counted ? gap - *counted : *counted - gap);
    *counted = gap;
}

/* The report's own frame is not in its counts, and not in the ledger yet. */
static void on_report(struct line *l, const struct bus_frame *f) {
    struct bus_link_report r;
    struct epoch *e = &l->epoch;
    if (bus_link_report_decode(&r, f->payload, f->header.length))
        return;
    struct world_link *s = &l->stats;
    const struct ledger *now = &l->ledger, *base = &e->base;
    compare(now->tx_bytes, base->tx_bytes, r.rx_bytes, &e->gap_rx_bytes, &s->unexplained_bytes, e->known);
    compare(now->tx_frames, base->tx_frames, r.rx_frames, &e->gap_rx_frames, &s->unexplained_frames, e->known);
    compare(now->rx_bytes, base->rx_bytes, r.tx_bytes, &e->gap_tx_bytes, &s->unexplained_bytes, e->known);
    compare(now->rx_frames, base->rx_frames, r.tx_frames, &e->gap_tx_frames, &s->unexplained_frames, e->known);
    s->damaged_at_board += (uint16_t)(r.crc_errors - e->last.crc_errors);
    s->damaged_at_board += (uint16_t)(r.cobs_errors - e->last.cobs_errors);
    s->damaged_at_board += (uint16_t)(r.length_errors - e->last.length_errors);
    s->gaps_at_board += (uint16_t)(r.sequence_gaps - e->last.sequence_gaps);
    s->unknown_at_board += (uint16_t)(r.unknown_frames - e->last.unknown_frames);
    e->last = r;
    e->known = 1;
}

/* A frame for the bench. Returns 1 when it closes the open tick. */
static int on_bench_frame(struct line *l, const struct bus_frame *f, struct sink *log) {
    uint8_t type = f->header.type;
    int repeat = f->header.flags & BUS_FRAME_FLAG_REPEAT;
    if (is_outside(type))
        return 0;
    int done = type == BUS_MSG_DONE_NODE || type == BUS_MSG_DONE_POWER;
    if (!repeat) {
        if (l->expect_set && f->header.seq != l->expect_seq)
            l->stats.gaps_received++;
        l->expect_seq = (uint16_t)(f->header.seq + 1);
        l->expect_set = 1;
        log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
    }
    int awaited = l->open && !l->booting && f->header.t_us == l->t_us && (done || type == BUS_MSG_DONE_CHANNELS);
    int flags = awaited ? l->done(l->done_ctx, l->board, f) : -1;
    if (flags < 0) {
        l->stats.stray_done++;
        return 0;
    }
    if (done && flags & BUS_DONE_FLAG_RESET)
        l->booting = 1;
    else if (done)
        l->open = 0;
    return !l->open;
}

/* Returns 1 when the frame closes the open tick. */
static int on_frame(struct line *l, const struct bus_frame *f, struct sink *log) {
    int present = l->stats.state == WORLD_BOARD_PRESENT;
    l->stats.rx_frames++;
    if (f->header.type == BUS_MSG_LINK_REPORT)
        on_report(l, f);
    if (f->header.type == BUS_MSG_HELLO) {
        int booting = l->booting;
        on_hello(l, f);
        if (booting)
            return !l->open;
    }
    if (!is_outside(f->header.type)) {
        l->ledger.rx_bytes += f->wire_length;
        l->ledger.rx_frames++;
    }
    if (f->header.dst == BUS_ADDRESS_BENCH)
        return present ? on_bench_frame(l, f, log) : 0;
    if (!present && f->header.type != BUS_MSG_HELLO)
        return 0;
    forward(l, f->wire, f->wire_length);
    if (!is_outside(f->header.type) && !(f->header.flags & BUS_FRAME_FLAG_REPEAT))
        log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
    return 0;
}

static void on_damage(struct line *l, const struct bus_frame *f, struct sink *log) {
    if (l->stats.state != WORLD_BOARD_PRESENT || l->booting)
        return; /* what a line carried before its board said who it is */
    l->stats.damaged_received++;
    l->ledger.rx_bytes += f->wire_length;
    forward(l, f->wire, f->wire_length);
    log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
}

void line_receive(struct line *l, const uint8_t *bytes, size_t n, struct sink *log) {
    const uint8_t *p = bytes, *end = bytes + n;
    if (l->stats.state == WORLD_BOARD_PRESENT && !l->open) {
        sink_put(&l->held, bytes, n);
        return;
    }
    for (;;) {
        const uint8_t *before = p;
        struct bus_frame f;
        int r = bus_receiver_next(&l->from_board, &p, end, &f);
        l->stats.rx_bytes += (uint64_t)(p - before);
        if (r == BUS_RX_MORE)
            return;
        if (r == BUS_RX_DAMAGED) {
            on_damage(l, &f, log);
        } else if (on_frame(l, &f, log)) {
            sink_put(&l->held, p, (size_t)(end - p));
            return;
        }
    }
}

void line_take_held(struct line *l, struct sink *scratch) {
    if (l->held.used == 0)
        return;
    scratch->used = 0;
    sink_put(scratch, l->held.bytes, l->held.used);
    l->held.used = 0;
    line_receive(l, scratch->bytes, scratch->used, &l->log);
}
