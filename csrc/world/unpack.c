/* The way back from what pack.c has packed. Nothing of what comes in is trusted but that it ends. */
#include <string.h>

#include "world/pack.h"
#include "world/tape.h"

static void put_zeros(struct pack_stream *s, size_t n) {
    static const uint8_t zeros[16] = {0};
    pack_put(s, zeros, n);
}

static void take_changes(struct pack_stream *s, uint8_t *payload, const uint8_t *before, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        unsigned mask = (unsigned)pack_take_le(s, 1), changes = 0;
        for (unsigned bits = mask; bits; bits &= bits - 1)
            changes++;
        const uint8_t *change = pack_take(s, changes);
        for (size_t k = 0; change != NULL && k < 8 && i + k < n; k++)
            payload[i + k] = (uint8_t)(before[i + k] + (mask >> k & 1 ? *change++ : 0));
    }
}

/* The header of a frame of this element, but for sequence and time, which are the expected ones and these more. */
static void take_header(struct pack_stream *s, int other, uint8_t *body, uint64_t *ahead, uint16_t *ahead_seq) {
    const uint8_t *head = other ? pack_take(s, AT_SEQ - AT_SRC) : NULL;
    if (head == NULL)
        return;
    memcpy(body + AT_SRC, head, AT_SEQ - AT_SRC);
    *ahead_seq = (uint16_t)pack_take_le(s, 2);
    *ahead = pack_take_le(s, TIME_BYTES);
    body[AT_LENGTH] = (uint8_t)pack_take_le(s, 1);
    s->bad |= body[AT_LENGTH] > BUS_MAX_PAYLOAD;
}

static void take_frame(struct pack *p, struct pack_stream *s, int other, int way, uint16_t board, uint8_t type) {
    struct pack_context *c = pack_context_of(p, way, board, type);
    uint8_t body[PACK_BODY] = {0}, wire[BUS_MAX_WIRE];
    uint64_t ahead = c->ahead;
    uint16_t ahead_seq = 0;
    memcpy(body, c->body, BUS_HEADER_BYTES);
    body[0] = (uint8_t)(BUS_VERSION << 6 | type);
    take_header(s, other, body, &ahead, &ahead_seq);
    if (s->bad)
        return;
    pack_put_le(body + AT_SEQ, (uint64_t)ahead_seq + *pack_seq_of(p, way, board, body), 2);
    pack_put_le(body + AT_TIME, p->t_us + ahead, TIME_BYTES);
    take_changes(s, body + BUS_HEADER_BYTES, c->body + BUS_HEADER_BYTES, body[AT_LENGTH]);
    struct bus_header h = {.type = type,
                           .src = (uint16_t)pack_get_le(body + AT_SRC, 2),
                           .dst = (uint16_t)pack_get_le(body + AT_SRC + 2, 2),
                           .flags = body[AT_SEQ - 1],
                           .seq = (uint16_t)pack_get_le(body + AT_SEQ, 2),
                           .t_us = pack_time_of(body),
                           .length = body[AT_LENGTH]};
    size_t n = bus_frame_encode(&h, body + BUS_HEADER_BYTES, wire);
    pack_put(s, wire, n);
    if (!s->bad)
        pack_remember(p, c, way, board, body, wire, n);
}

static void take_again(struct pack *p, struct pack_stream *s, int way, uint16_t board, uint8_t type) {
    const struct pack_context *c = pack_context_of(p, way, board, type);
    s->bad |= c->wire_length == 0;
    pack_put(s, c->wire, c->wire_length);
}

/* A line: its board, bytes appended. */
static uint16_t take_line(struct pack *p, struct pack_stream *s, int way) {
    unsigned first, ahead = (unsigned)pack_take_le(s, 1);
    uint16_t board = p->board = (uint16_t)(p->board + (ahead < PACK_FAR ? ahead : pack_take_le(s, 2)));
    while ((first = (unsigned)pack_take_le(s, 1)) != PACK_END && !s->bad) {
        uint8_t type = (uint8_t)(first & PACK_TYPE);
        if (first == PACK_RAW) {
            size_t n = pack_take_le(s, 4);
            const uint8_t *raw = pack_take(s, n);
            if (raw != NULL)
                pack_put(s, raw, n);
        } else if (first < PACK_NEXT) {
            s->bad = 1;
        } else if ((first & PACK_OTHER) == PACK_AGAIN) {
            take_again(p, s, way, board, type);
        } else {
            take_frame(p, s, first >= PACK_OTHER, way, board, type);
        }
    }
    return board;
}

static uint64_t take_time(struct pack *p, struct pack_stream *s) {
    int kind = (int)pack_take_le(s, 1);
    uint64_t dt_us = kind == PACK_TIME_SAME ? 0 : kind == PACK_TIME_NEXT ? p->dt_us : pack_take_le(s, 8);
    s->bad |= kind > PACK_TIME_OTHER;
    p->dt_us = dt_us ? dt_us : p->dt_us;
    return p->t_us += dt_us;
}

static size_t take_batch(struct pack *p, struct pack_stream *s, int way) {
    const uint8_t *begin = s->out;
    while (pack_take_le(s, 1) == 1 && !s->bad) {
        uint8_t *head = s->out;
        put_zeros(s, 4);
        uint16_t board = take_line(p, s, way);
        if (s->bad)
            break;
        pack_put_le(head, board, 2);
        pack_put_le(head + 2, (uint64_t)(s->out - head) - 4, 2);
    }
    return (size_t)(s->out - begin);
}

/* The body of a record of this kind, which has a form of its own. */
static void take_body(struct pack *p, struct pack_stream *s, uint8_t kind) {
    uint8_t *body = s->out;
    int line = kind == TAPE_TO_BOARD || kind == TAPE_FROM_BOARD;
    put_zeros(s, line ? 2 : kind == TAPE_STEP ? 12 : 8);
    if (line) {
        uint16_t board = take_line(p, s, kind == TAPE_TO_BOARD ? TO : FROM);
        if (!s->bad)
            pack_put_le(body, board, 2);
        return;
    }
    uint64_t t_us = take_time(p, s);
    size_t rx = kind == TAPE_STEP ? take_batch(p, s, FROM) : 0;
    if (kind == TAPE_STEP)
        take_batch(p, s, TO);
    if (s->bad)
        return;
    pack_put_le(body, t_us, 8);
    if (kind == TAPE_STEP)
        pack_put_le(body + 8, rx, 4);
}

static void take_record(struct pack *p, struct pack_stream *s) {
    unsigned first = (unsigned)pack_take_le(s, 1);
    uint8_t *head = s->out, kind = (uint8_t)(first & ~(unsigned)PACK_PACKED);
    put_zeros(s, TAPE_HEAD_BYTES);
    if (first < PACK_PACKED) {
        size_t n = pack_take_le(s, 4);
        const uint8_t *bytes = pack_take(s, n);
        if (bytes != NULL)
            pack_put(s, bytes, n);
    } else if (kind == TAPE_TICK || kind == TAPE_TO_BOARD || kind == TAPE_FROM_BOARD || kind == TAPE_STEP) {
        take_body(p, s, kind);
    } else {
        s->bad = 1;
    }
    if (s->bad)
        return;
    head[0] = kind;
    pack_put_le(head + 1, (uint64_t)(s->out - head) - TAPE_HEAD_BYTES, 4);
}

int unpack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity) {
    struct pack_stream s = {.in = in, .in_end = in + n, .out = out, .out_end = out + capacity};
    while (s.in < s.in_end && !s.bad)
        take_record(p, &s);
    return s.bad || s.out != s.out_end ? -1 : 0;
}
