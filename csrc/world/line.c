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

void line_init(struct line *l, uint16_t board, line_done done, void *done_ctx) {
    l->board = board;
    l->address = bus_address_of(board);
    l->kind = board == 0 ? BUS_BOARD_KIND_POWER_BOARD : BUS_BOARD_KIND_COMPUTE_NODE;
    l->done = done;
    l->done_ctx = done_ctx;
    l->account.stats = &l->stats;
    line_restart(l);
}

void line_restart(struct line *l) {
    bus_receiver_init(&l->from_board);
    bus_receiver_init(&l->from_flight);
    l->out.used = l->forward.used = l->held.used = l->log.used = 0;
    l->tick_at = l->tick_end = l->sent = l->later = 0;
    l->said_hello = l->new_hello = l->heard_boot = 0;
    l->open = l->booting = l->fresh = l->expect_set = l->damaged = l->answered = l->unsure = 0;
    l->bench_seq = 0;
}

void line_absent(struct line *l) {
    l->open = l->booting = 0;
    account_outage(&l->account);
}

void line_begin(struct line *l, uint64_t tick, uint64_t t_us) {
    l->tick = tick;
    l->t_us = t_us;
    l->out.used = l->tick_at = l->tick_end = l->sent = 0;
    l->damaged = l->copies = 0;
    l->done_pages = 0;
    l->begin = l->asked = l->account.tx;
}

void line_flight_bytes(struct line *l, struct sink *log) {
    const uint8_t *p = l->out.bytes, *end = p + l->out.used;
    struct bus_frame f;
    int r;
    l->stats.tx_bytes += l->out.used;
    l->account.tx.bytes += l->out.used;
    while ((r = bus_receiver_next(&l->from_flight, &p, end, &f)) != BUS_RX_MORE) {
        l->stats.tx_frames += (uint64_t)(r == BUS_RX_FRAME);
        if (r == BUS_RX_FRAME && is_outside(f.header.type)) {
            l->account.tx.bytes -= f.wire_length;
            continue;
        }
        l->account.tx.frames += (uint64_t)(r == BUS_RX_FRAME);
        log_put(log, l->tick, l->board, LOG_TO_BOARD, f.wire, f.wire_length);
    }
}

size_t line_hello_request(struct line *l, uint8_t out[static BUS_MAX_WIRE]) {
    struct bus_header h = {
        .type = BUS_MSG_HELLO_REQ, .src = BUS_ADDRESS_BENCH, .dst = BUS_ADDRESS_ANY, .t_us = l->t_us};
    size_t n = bus_frame_encode(&h, NULL, out);
    l->stats.tx_frames++;
    l->stats.tx_bytes += n;
    return n;
}

static void request_hello(struct line *l) {
    uint8_t wire[BUS_MAX_WIRE];
    sink_put(&l->out, wire, line_hello_request(l, wire));
}

void line_open(struct line *l) {
    if (l->unsure)
        request_hello(l);
    l->tick_at = l->tick_end = l->out.used;
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
    l->account.tx.frames++;
    l->account.tx.bytes += *length;
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
    l->tick_end = l->out.used;
    l->asked = l->account.tx;
    if (wire != NULL)
        log_put(log, l->tick, l->board, LOG_TO_BOARD, wire, length);
}

/* A board that has booted unheard takes no repeated TICK before the bench has asked for its HELLO. */
static void retransmit(struct line *l) {
    const uint8_t *p = l->out.bytes + l->tick_at, *end = l->out.bytes + l->tick_end;
    struct bus_receiver again;
    struct bus_frame f;
    bus_receiver_init(&again);
    if (l->copies > 0 || !l->answered)
        request_hello(l);
    int r;
    while ((r = bus_receiver_next(&again, &p, end, &f)) != BUS_RX_MORE) {
        size_t length;
        if (r != BUS_RX_FRAME)
            continue;
        f.header.flags |= BUS_FRAME_FLAG_REPEAT;
        append(l, &f.header, f.payload, &length);
    }
    l->copies = (uint8_t)(l->copies < UINT8_MAX ? l->copies + 1 : UINT8_MAX);
    l->stats.retransmissions++;
}

void line_ask_again(struct line *l) {
    if (l->out.used > l->sent)
        return; /* it stands there already */
    l->out.used = l->sent = l->tick_end;
    l->damaged = 0;
    if (l->booting)
        request_hello(l);
    else
        retransmit(l);
}

int line_rx_state(const struct line *l) {
    int doubtful = l->damaged && l->from_board.used == 0;
    return (l->open ? WORLD_RX_WAITING : 0) | (l->booting ? WORLD_RX_BOOTING : 0) |
           (l->open && doubtful ? WORLD_RX_DAMAGED : 0) | (l->out.used > l->sent ? WORLD_RX_TO_SEND : 0);
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

/* Flight hears of a boot as the boot said it, also when that got lost and this is the answer to a request of the bench.
 */
static void tell_boot(struct line *l, const struct bus_frame *f) {
    uint8_t wire[BUS_MAX_WIRE];
    struct bus_header as_boot = f->header;
    as_boot.dst = BUS_ADDRESS_ANY;
    forward(l, wire, bus_frame_encode(&as_boot, f->payload, wire));
}

static void begin_epoch(struct line *l, const struct tally *at) {
    account_boot(&l->account, &l->hello, at, l->heard_boot);
    l->fresh = 1;
    l->expect_set = l->answered = 0;
    l->done_pages = 0;
}

/* A board that is there has booted. */
static void on_boot(struct line *l, const struct bus_frame *f) {
    int mid_tick = l->open && !l->booting, unsent = mid_tick && l->sent == 0;
    /* When the boot was not heard, nobody knows which bytes of this tick came before it: they stay in doubt. */
    begin_epoch(l, unsent || (mid_tick && !l->heard_boot) ? &l->begin : &l->account.tx);
    if (f->header.dst == BUS_ADDRESS_BENCH)
        tell_boot(l, f);
    else
        forward(l, f->wire, f->wire_length);
    if (l->booting)
        l->open = l->booting = 0;
    else if (mid_tick && !unsent && f->header.dst != BUS_ADDRESS_BENCH) /* else the TICK stood behind the request */
        line_ask_again(l);
}

void line_admit(struct line *l) {
    if (account_is_same(&l->account, &l->hello)) {
        account_resume(&l->account);
    } else {
        begin_epoch(l, &l->account.tx);
        if (!l->heard_boot)
            account_outage(&l->account); /* since its boot somebody else may have had the line */
    }
    l->stats.state = WORLD_BOARD_PRESENT;
    l->fresh = 1;
    if (l->from_board.used)
        l->account.rx.bytes += l->from_board.used + 1u; /* and the delimiter: the rest of this frame counts as well */
}

static void on_hello(struct line *l, const struct bus_frame *f) {
    struct bus_hello hello;
    int damaged = bus_hello_decode(&hello, f->payload, f->header.length), boot = f->header.dst == BUS_ADDRESS_ANY;
    l->heard_boot = boot || (l->heard_boot && hello.boot_count == l->hello.boot_count);
    l->said_hello = l->new_hello = 1;
    l->hello = damaged ? (struct bus_hello){0} : hello;
    if (damaged)
        return;
    l->unsure = 0;
    int is_new = !account_is_same(&l->account, &hello) || (l->booting && boot);
    if (l->stats.state == WORLD_BOARD_PRESENT && is_new)
        on_boot(l, f);
    else if (f->header.dst != BUS_ADDRESS_BENCH)
        forward(l, f->wire, f->wire_length);
}

static void on_report(struct line *l, const struct bus_frame *f) {
    struct bus_link_report r;
    int now = l->open && f->header.t_us == l->t_us; /* else it was on its way when the line ended */
    if (now && bus_link_report_decode(&r, f->payload, f->header.length) == 0)
        account_report(&l->account, &r, f->wire_length, l->copies == 0 && !l->unsure);
}

static void on_outside(struct line *l, const struct bus_frame *f) {
    struct bus_hardware_report hardware;
    if (f->header.type == BUS_MSG_HELLO) {
        on_hello(l, f);
        return;
    }
    if (l->stats.state != WORLD_BOARD_PRESENT)
        return;
    l->stats.crashes += f->header.type == BUS_MSG_CRASH;
    if (f->header.type == BUS_MSG_HARDWARE_REPORT &&
        bus_hardware_report_decode(&hardware, f->payload, f->header.length) == 0)
        account_hardware(&l->account, &hardware);
    if (f->header.dst != BUS_ADDRESS_BENCH)
        forward(l, f->wire, f->wire_length);
}

static void close_tick(struct line *l, int flags) {
    account_answered(&l->account, &l->asked);
    l->answered = 1;
    l->booting = flags & BUS_DONE_FLAG_RESET ? 1 : 0;
    l->open = l->booting;
}

/* A frame for the bench. */
static void on_bench_frame(struct line *l, const struct bus_frame *f, struct sink *log) {
    uint8_t type = f->header.type;
    int repeat = f->header.flags & BUS_FRAME_FLAG_REPEAT;
    int done = type == BUS_MSG_DONE_NODE || type == BUS_MSG_DONE_POWER;
    if (!repeat) {
        if (l->expect_set && f->header.seq != l->expect_seq) {
            l->stats.gaps_received++;
            l->unsure = 1;
        }
        l->expect_seq = (uint16_t)(f->header.seq + 1);
        l->expect_set = 1;
        log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
    }
    int awaited = l->open && !l->booting && f->header.t_us == l->t_us && (done || type == BUS_MSG_DONE_CHANNELS);
    int flags = awaited ? l->done(l->done_ctx, l, f) : LINE_DONE_BAD;
    if (flags == LINE_DONE_INCOMPLETE)
        l->damaged = 1;
    else if (flags < 0 && !repeat && (l->answered || f->header.t_us >= l->t_us))
        l->stats.stray_done++; /* a repeated one was asked for twice; before its first answer, a boot may step a late
                                  TICK */
    else if (flags >= 0 && done)
        close_tick(l, flags);
}

static void on_frame(struct line *l, const struct bus_frame *f, struct sink *log) {
    int present = l->stats.state == WORLD_BOARD_PRESENT;
    l->stats.rx_frames++;
    if (is_outside(f->header.type)) {
        l->account.rx.bytes -= present ? f->wire_length : 0;
        on_outside(l, f);
        return;
    }
    l->account.rx.bytes += present ? 0 : f->wire_length;
    l->account.rx.frames++;
    if (f->header.type == BUS_MSG_LINK_REPORT)
        on_report(l, f);
    if (!present)
        return;
    if (f->header.dst == BUS_ADDRESS_BENCH) {
        on_bench_frame(l, f, log);
        return;
    }
    forward(l, f->wire, f->wire_length);
    if (!(f->header.flags & BUS_FRAME_FLAG_REPEAT))
        log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
}

static void on_damage(struct line *l, const struct bus_frame *f, struct sink *log) {
    l->unsure = 1;
    if (l->stats.state != WORLD_BOARD_PRESENT || l->booting)
        return; /* what a line carried before its board said who it is */
    l->stats.damaged_received++;
    l->damaged = 1;
    forward(l, f->wire, f->wire_length);
    log_put(log, l->tick, l->board, LOG_FROM_BOARD, f->wire, f->wire_length);
}

void line_receive(struct line *l, const uint8_t *bytes, size_t n, struct sink *log) {
    const uint8_t *p = bytes, *end = bytes + n;
    int present = l->stats.state == WORLD_BOARD_PRESENT;
    while (!present || l->open) {
        const uint8_t *before = p;
        struct bus_frame f;
        int r = bus_receiver_next(&l->from_board, &p, end, &f);
        l->stats.rx_bytes += (uint64_t)(p - before);
        l->account.rx.bytes += present ? (uint64_t)(p - before) : 0;
        if (r == BUS_RX_MORE)
            return;
        if (r == BUS_RX_DAMAGED)
            on_damage(l, &f, log);
        else
            on_frame(l, &f, log);
    }
    sink_put(&l->held, p, (size_t)(end - p));
}

void line_take_held(struct line *l, struct sink *scratch) {
    if (l->held.used == 0)
        return;
    scratch->used = 0;
    sink_put(scratch, l->held.bytes, l->held.used);
    l->held.used = 0;
    line_receive(l, scratch->bytes, scratch->used, &l->log);
}
