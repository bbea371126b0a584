#include "world/pack.h"

#include <string.h>

#include "bus/cobs.h"
#include "world/tape.h"

size_t pack_bytes(void) {
    return sizeof(struct pack);
}

size_t pack_bound(size_t n) {
    return 2 * n + 64;
}

void pack_reset(struct pack *p) {
    p->t_us = p->dt_us = 0;
    p->board = 0;
    memset(p->next_seq, 0, sizeof p->next_seq);
    for (size_t i = 0; i < PACK_CONTEXTS; i++)
        p->contexts[i].key = 0;
}

/* ---------------------------------------------------------------- what both ways share */

void pack_put_le(uint8_t *out, uint64_t value, int n) {
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint64_t pack_get_le(const uint8_t *in, int n) {
    uint64_t value = 0;
    for (int i = 0; i < n; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

void pack_put(struct pack_stream *s, const uint8_t *bytes, size_t n) {
    if (s->bad || n > (size_t)(s->out_end - s->out)) {
        s->bad = 1;
        return;
    }
    if (n > 0)
        memcpy(s->out, bytes, n);
    s->out += n;
}

const uint8_t *pack_take(struct pack_stream *s, size_t n) {
    if (s->bad || n > (size_t)(s->in_end - s->in)) {
        s->bad = 1;
        return NULL;
    }
    const uint8_t *at = s->in;
    s->in += n;
    return at;
}

uint64_t pack_take_le(struct pack_stream *s, int n) {
    const uint8_t *at = pack_take(s, (size_t)n);
    return at != NULL ? pack_get_le(at, n) : 0;
}

static uint32_t key_of(int way, uint16_t board, uint8_t type) {
    return ((uint32_t)board << 7 | (uint32_t)way << 6 | (type & PACK_TYPE)) + 1;
}

static struct pack_context *place_of(struct pack *p, uint32_t key) {
    return &p->contexts[key * UINT32_C(2654435761) >> PACK_CONTEXT_SHIFT];
}

struct pack_context *pack_context_of(struct pack *p, int way, uint16_t board, uint8_t type) {
    uint32_t key = key_of(way, board, type);
    struct pack_context *c = place_of(p, key);
    if (c->key != key) {
        c->key = key;
        c->wire_length = 0;
        c->ahead = 0;
        memset(c->body, 0, sizeof c->body);
    }
    return c;
}

uint16_t *pack_seq_of(struct pack *p, int way, uint16_t board, const uint8_t *body) {
    uint64_t other = pack_get_le(body + AT_SRC + (way == TO ? 0 : 2), 2);
    return &p->next_seq[way][other == BUS_ADDRESS_BENCH][board % PACK_BOARDS];
}

uint64_t pack_time_of(const uint8_t *body) {
    return pack_get_le(body + AT_TIME, TIME_BYTES);
}

void pack_remember(struct pack *p, struct pack_context *c, int way, uint16_t board, const uint8_t *body,
                   const uint8_t *wire, size_t wire_length) {
    c->ahead = (pack_time_of(body) - p->t_us) & PACK_TIME_MASK;
    memcpy(c->body, body, BUS_HEADER_BYTES + (size_t)body[AT_LENGTH]);
    memcpy(c->wire, wire, wire_length);
    c->wire_length = (uint32_t)wire_length;
    *pack_seq_of(p, way, board, body) = (uint16_t)(pack_get_le(body + AT_SEQ, 2) + 1);
}

/* ---------------------------------------------------------------- packing */

static void put_u8(struct pack_stream *s, unsigned value) {
    uint8_t byte = (uint8_t)value;
    pack_put(s, &byte, 1);
}

static void put_le(struct pack_stream *s, uint64_t value, int n) {
    uint8_t bytes[8];
    pack_put_le(bytes, value, n);
    pack_put(s, bytes, (size_t)n);
}

/* Length of the frame at p when it is the last one of its type again; else 0. Its type stands behind the first code. */
static size_t again_at(struct pack *p, int way, uint16_t board, const uint8_t *at, const uint8_t *end) {
    if (end - at < (ptrdiff_t)BUS_WIRE_OVERHEAD)
        return 0;
    uint32_t key = key_of(way, board, at[2]);
    const struct pack_context *c = place_of(p, key);
    int same = c->key == key && c->wire_length > 0 && c->wire_length <= (size_t)(end - at);
    return same && memcmp(at, c->wire, c->wire_length) == 0 ? c->wire_length : 0;
}

/* Length on the wire of the good frame at p, its body decoded; 0 when there is none. */
static size_t frame_at(const uint8_t *p, const uint8_t *end, uint8_t body[static BUS_MAX_RUN]) {
    size_t room = (size_t)(end - p);
    if (room < BUS_WIRE_OVERHEAD || p[0] != 0)
        return 0;
    const uint8_t *delimiter = memchr(p + 1, 0, room - 1 < BUS_MAX_RUN + 1 ? room - 1 : BUS_MAX_RUN + 1);
    struct bus_header h;
    size_t run = delimiter != NULL ? (size_t)(delimiter - p) - 1 : 0;
    if (run == 0 || bus_cobs_decode(body, p + 1, run) != 0 || bus_body_check(body, run - 1, &h) != 0)
        return 0;
    return run + 2;
}

/* What is added to the payload `before` to give this one: per 8 bytes a mask of those that change, and these. */
static void put_changes(struct pack_stream *s, const uint8_t *payload, const uint8_t *before, size_t n) {
    uint8_t out[BUS_MAX_PAYLOAD + BUS_MAX_PAYLOAD / 8 + 1], *at = out;
    for (size_t i = 0; i < n; i += 8) {
        uint8_t *mask = at++;
        *mask = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) {
            uint8_t change = (uint8_t)(payload[i + k] - before[i + k]);
            *at = change;
            at += change != 0;
            *mask |= (uint8_t)((change != 0) << k);
        }
    }
    pack_put(s, out, (size_t)(at - out));
}

static void put_frame(struct pack *p, struct pack_stream *s, int way, uint16_t board, const uint8_t *body,
                      const uint8_t *wire, size_t wire_length) {
    unsigned type = body[0] & PACK_TYPE;
    struct pack_context *c = pack_context_of(p, way, board, (uint8_t)type);
    size_t n = body[AT_LENGTH];
    uint16_t ahead_seq = (uint16_t)(pack_get_le(body + AT_SEQ, 2) - *pack_seq_of(p, way, board, body));
    uint64_t ahead = (pack_time_of(body) - p->t_us) & PACK_TIME_MASK;
    int goes_on = memcmp(body, c->body, AT_SEQ) == 0 && n == c->body[AT_LENGTH];
    if (goes_on && ahead_seq == 0 && ahead == c->ahead) {
        put_u8(s, PACK_NEXT | type);
    } else {
        put_u8(s, PACK_OTHER | type);
        pack_put(s, body + AT_SRC, AT_SEQ - AT_SRC);
        put_le(s, ahead_seq, 2);
        put_le(s, ahead, TIME_BYTES);
        put_u8(s, (unsigned)n);
    }
    put_changes(s, body + BUS_HEADER_BYTES, c->body + BUS_HEADER_BYTES, n);
    pack_remember(p, c, way, board, body, wire, wire_length);
}

static void put_board(struct pack *p, struct pack_stream *s, uint16_t board) {
    uint16_t ahead = (uint16_t)(board - p->board);
    put_u8(s, ahead < PACK_FAR ? ahead : PACK_FAR);
    if (ahead >= PACK_FAR)
        put_le(s, ahead, 2);
    p->board = board;
}

/* n bytes of a line as frames and what is between them, PACK_END behind. */
static void put_line(struct pack *p, struct pack_stream *s, int way, uint16_t board, size_t n) {
    const uint8_t *at = pack_take(s, n), *end = s->in, *raw = at;
    uint8_t body[BUS_MAX_RUN];
    if (at == NULL)
        return;
    put_board(p, s, board);
    while (raw < end) {
        size_t again = again_at(p, way, board, at, end), wire = again;
        while (at < end && wire == 0 && (wire = frame_at(at, end, body)) == 0)
            at++;
        if (at > raw) {
            put_u8(s, PACK_RAW);
            put_le(s, (uint64_t)(at - raw), 4);
            pack_put(s, raw, (size_t)(at - raw));
        }
        if (again > 0)
            put_u8(s, PACK_AGAIN | (at[2] & PACK_TYPE));
        else if (wire > 0)
            put_frame(p, s, way, board, body, at, wire);
        at += wire;
        raw = at;
    }
    put_u8(s, PACK_END);
}

static void put_time(struct pack *p, struct pack_stream *s, uint64_t t_us) {
    uint64_t dt_us = t_us - p->t_us;
    int kind = dt_us == 0 ? PACK_TIME_SAME : dt_us == p->dt_us ? PACK_TIME_NEXT : PACK_TIME_OTHER;
    put_u8(s, (unsigned)kind);
    if (kind == PACK_TIME_OTHER)
        put_le(s, dt_us, 8);
    p->dt_us = dt_us ? dt_us : p->dt_us;
    p->t_us = t_us;
}

/* A batch of n bytes; whoever reads it back needs no length: each record has a 1 before it, a 0 stands at the end. */
static void put_batch(struct pack *p, struct pack_stream *s, int way, size_t n) {
    const uint8_t *end = s->in + n;
    while (!s->bad && s->in < end) {
        uint16_t board = (uint16_t)pack_take_le(s, 2), length = (uint16_t)pack_take_le(s, 2);
        put_u8(s, 1);
        put_line(p, s, way, board, length);
    }
    put_u8(s, 0);
}

/* Are n bytes whole records of a batch? */
static int is_batch(const uint8_t *bytes, size_t n) {
    size_t at = 0;
    while (n - at >= 4 && pack_get_le(bytes + at + 2, 2) <= n - at - 4)
        at += 4 + pack_get_le(bytes + at + 2, 2);
    return at == n;
}

static int is_step(const uint8_t *body, size_t n) {
    size_t rx = n >= 12 ? pack_get_le(body + 8, 4) : 0;
    return n >= 12 && rx <= n - 12 && is_batch(body + 12, rx) && is_batch(body + 12 + rx, n - 12 - rx);
}

/* Packs the n bytes of one record. What is not of the form that its kind has goes as any other record does. */
static void put_record(struct pack *p, struct pack_stream *s, uint8_t kind, size_t n) {
    int whole = (size_t)(s->in_end - s->in) >= n;
    int line = (kind == TAPE_TO_BOARD || kind == TAPE_FROM_BOARD) && n >= 2;
    int packed = whole && (line || (kind == TAPE_TICK && n == 8) || (kind == TAPE_STEP && is_step(s->in, n)));
    s->bad |= kind >= PACK_PACKED;
    put_u8(s, packed ? kind | PACK_PACKED : kind);
    if (!packed) {
        const uint8_t *bytes = pack_take(s, n);
        put_le(s, n, 4);
        if (bytes != NULL)
            pack_put(s, bytes, n);
    } else if (line) {
        uint16_t board = (uint16_t)pack_take_le(s, 2);
        put_line(p, s, kind == TAPE_TO_BOARD ? TO : FROM, board, n - 2);
    } else {
        put_time(p, s, pack_take_le(s, 8));
        size_t rx = kind == TAPE_STEP ? pack_take_le(s, 4) : 0;
        if (kind == TAPE_STEP) {
            put_batch(p, s, FROM, rx);
            put_batch(p, s, TO, n - 12 - rx);
        }
    }
}

size_t pack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity) {
    struct pack_stream s = {.in = in, .in_end = in + n, .out = out, .out_end = out + capacity};
    while (s.in < s.in_end && !s.bad) {
        uint8_t kind = (uint8_t)pack_take_le(&s, 1);
        put_record(p, &s, kind, pack_take_le(&s, 4));
    }
    return s.bad ? 0 : (size_t)(s.out - out);
}
