#include "world/pack.h"

#include <string.h>

#include "bus/cobs.h"
#include "bus/frame.h"
#include "world/tape.h"

enum { CONTEXTS = 8192, CONTEXT_SHIFT = 32 - 13, BOARDS = 2048, PAYLOAD_MAX = BUS_MAX_PAYLOAD };
enum { AT_SRC = 1, AT_SEQ = 6, AT_TIME = 8, AT_LENGTH = 14, TIME_BYTES = 6 }; /* in a frame's header */
enum { FROM = 0, TO = 1 };
#define TIME_MASK ((UINT64_C(1) << 48) - 1)

/* The last frame of a type on a board, one way. A slot is taken over by whoever needs it. */
struct context {
    uint32_t key;   /* 0: empty */
    uint64_t ahead; /* its time less that of the tick, modulo 2^48 */
    uint8_t body[BUS_HEADER_BYTES + PAYLOAD_MAX];
};

struct pack {
    uint64_t t_us, dt_us;
    uint16_t board;                  /* of the last record */
    uint16_t next_seq[2][2][BOARDS]; /* way; with flight, with the bench; board */
    struct context contexts[CONTEXTS];
};

/* Bytes read and written, both within bounds; `bad` sticks. */
struct stream {
    const uint8_t *in, *in_end;
    uint8_t *out, *out_end;
    int bad;
};

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
    for (size_t i = 0; i < CONTEXTS; i++)
        p->contexts[i].key = 0;
}

/* ---------------------------------------------------------------- streams */

static void put(struct stream *s, const uint8_t *bytes, size_t n) {
    if (s->bad || n > (size_t)(s->out_end - s->out)) {
        s->bad = 1;
        return;
    }
    if (n > 0)
        memcpy(s->out, bytes, n);
    s->out += n;
}

static void put_u8(struct stream *s, uint8_t value) {
    put(s, &value, 1);
}

static void put_le(struct stream *s, uint64_t value, int n) {
    uint8_t bytes[8];
    pack_put_le(bytes, value, n);
    put(s, bytes, (size_t)n);
}

/* n bytes of what comes in; NULL when there are fewer. */
static const uint8_t *take(struct stream *s, size_t n) {
    if (s->bad || n > (size_t)(s->in_end - s->in)) {
        s->bad = 1;
        return NULL;
    }
    const uint8_t *at = s->in;
    s->in += n;
    return at;
}

static uint64_t take_le(struct stream *s, int n) {
    const uint8_t *at = take(s, (size_t)n);
    return at != NULL ? pack_get_le(at, n) : 0;
}

/* ---------------------------------------------------------------- contexts */

static struct context *context_of(struct pack *p, int way, uint16_t board, uint8_t type) {
    uint32_t key = ((uint32_t)board << 7 | (uint32_t)way << 6 | (type & 63u)) + 1;
    struct context *c = &p->contexts[key * UINT32_C(2654435761) >> CONTEXT_SHIFT];
    if (c->key != key) {
        c->key = key;
        c->ahead = 0;
        memset(c->body, 0, sizeof c->body);
    }
    return c;
}

static uint16_t *seq_of(struct pack *p, int way, uint16_t board, const uint8_t *body) {
    uint64_t other = pack_get_le(body + AT_SRC + (way == TO ? 0 : 2), 2);
    return &p->next_seq[way][other == BUS_ADDRESS_BENCH][board % BOARDS];
}

static uint64_t time_of(const uint8_t *body) {
    return pack_get_le(body + AT_TIME, TIME_BYTES);
}

static void remember(struct pack *p, struct context *c, int way, uint16_t board, const uint8_t *body) {
    c->ahead = (time_of(body) - p->t_us) & TIME_MASK;
    memcpy(c->body, body, BUS_HEADER_BYTES + (size_t)body[AT_LENGTH]);
    *seq_of(p, way, board, body) = (uint16_t)(pack_get_le(body + AT_SEQ, 2) + 1);
}

/* ---------------------------------------------------------------- frames */

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
static void put_rest(struct stream *s, const uint8_t *payload, const uint8_t *before, size_t n) {
    uint8_t out[PAYLOAD_MAX + PAYLOAD_MAX / 8 + 1], *at = out;
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
    put(s, out, (size_t)(at - out));
}

static void take_rest(struct stream *s, uint8_t *payload, const uint8_t *before, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        unsigned mask = (unsigned)take_le(s, 1), changes = 0;
        for (unsigned bits = mask; bits; bits &= bits - 1)
            changes++;
        const uint8_t *change = take(s, changes);
        for (size_t k = 0; change != NULL && k < 8 && i + k < n; k++)
            payload[i + k] = (uint8_t)(before[i + k] + (mask >> k & 1 ? *change++ : 0));
    }
}

static void put_frame(struct pack *p, struct stream *s, int way, uint16_t board, const uint8_t *body) {
    struct context *c = context_of(p, way, board, body[0]);
    size_t n = body[AT_LENGTH];
    uint16_t ahead_seq = (uint16_t)(pack_get_le(body + AT_SEQ, 2) - *seq_of(p, way, board, body));
    uint64_t ahead = (time_of(body) - p->t_us) & TIME_MASK;
    if (memcmp(body, c->body, BUS_HEADER_BYTES + n) == 0) {
        put_u8(s, PACK_AGAIN);
        put_u8(s, body[0]);
        return;
    }
    int next = memcmp(body, c->body, AT_SEQ) == 0 && n == c->body[AT_LENGTH] && ahead_seq == 0 && ahead == c->ahead;
    put_u8(s, next ? PACK_NEXT : PACK_OTHER);
    put_u8(s, body[0]);
    if (!next) {
        put(s, body + AT_SRC, AT_SEQ - AT_SRC);
        put_le(s, ahead_seq, 2);
        put_le(s, ahead, TIME_BYTES);
        put_u8(s, (uint8_t)n);
    }
    put_rest(s, body + BUS_HEADER_BYTES, c->body + BUS_HEADER_BYTES, n);
    remember(p, c, way, board, body);
}

/* The body of a PACK_NEXT or PACK_OTHER. */
static void take_body(struct pack *p, struct stream *s, int kind, int way, uint16_t board, uint8_t *body) {
    struct context *c = context_of(p, way, board, body[0]);
    uint64_t ahead = c->ahead;
    uint16_t ahead_seq = 0;
    memcpy(body + 1, c->body + 1, BUS_HEADER_BYTES - 1);
    if (kind == PACK_OTHER) {
        const uint8_t *head = take(s, AT_SEQ - AT_SRC);
        if (head == NULL)
            return;
        memcpy(body + AT_SRC, head, AT_SEQ - AT_SRC);
        ahead_seq = (uint16_t)take_le(s, 2);
        ahead = take_le(s, TIME_BYTES);
        body[AT_LENGTH] = (uint8_t)take_le(s, 1);
    }
    if (body[AT_LENGTH] > PAYLOAD_MAX)
        s->bad = 1;
    else
        take_rest(s, body + BUS_HEADER_BYTES, c->body + BUS_HEADER_BYTES, body[AT_LENGTH]);
    if (s->bad)
        return;
    pack_put_le(body + AT_SEQ, (uint64_t)ahead_seq + *seq_of(p, way, board, body), 2);
    pack_put_le(body + AT_TIME, p->t_us + ahead, TIME_BYTES);
    remember(p, c, way, board, body);
}

static void take_frame(struct pack *p, struct stream *s, int kind, int way, uint16_t board) {
    uint8_t body[BUS_HEADER_BYTES + PAYLOAD_MAX] = {(uint8_t)take_le(s, 1)}, wire[BUS_MAX_WIRE];
    if (kind == PACK_AGAIN)
        memcpy(body, context_of(p, way, board, body[0])->body, sizeof body);
    else
        take_body(p, s, kind, way, board, body);
    if (s->bad)
        return;
    struct bus_header h = {.type = body[0] & 63u,
                           .src = (uint16_t)pack_get_le(body + AT_SRC, 2),
                           .dst = (uint16_t)pack_get_le(body + AT_SRC + 2, 2),
                           .flags = body[AT_SEQ - 1],
                           .seq = (uint16_t)pack_get_le(body + AT_SEQ, 2),
                           .t_us = time_of(body),
                           .length = body[AT_LENGTH]};
    put(s, wire, bus_frame_encode(&h, body + BUS_HEADER_BYTES, wire));
}

/* n bytes of a line as frames and what is between them, PACK_END behind. */
static void put_line(struct pack *p, struct stream *s, int way, uint16_t board, size_t n) {
    const uint8_t *at = take(s, n), *end = s->in, *raw = at;
    uint8_t body[BUS_MAX_RUN];
    if (at == NULL)
        return;
    put_le(s, (uint16_t)(board - p->board), 2);
    p->board = board;
    while (raw < end) {
        size_t wire = 0;
        while (at < end && (wire = frame_at(at, end, body)) == 0)
            at++;
        if (at > raw) {
            put_u8(s, PACK_RAW);
            put_le(s, (uint64_t)(at - raw), 4);
            put(s, raw, (size_t)(at - raw));
        }
        if (wire > 0)
            put_frame(p, s, way, board, body);
        at += wire;
        raw = at;
    }
    put_u8(s, PACK_END);
}

/* The other way: board into *board, bytes appended. */
static void take_line(struct pack *p, struct stream *s, int way, uint16_t *board) {
    int kind;
    *board = p->board = (uint16_t)(p->board + take_le(s, 2));
    while ((kind = (int)take_le(s, 1)) != PACK_END && !s->bad) {
        if (kind == PACK_RAW) {
            size_t n = take_le(s, 4);
            const uint8_t *raw = take(s, n);
            if (raw != NULL)
                put(s, raw, n);
        } else if (kind <= PACK_AGAIN) {
            take_frame(p, s, kind, way, *board);
        } else {
            s->bad = 1;
        }
    }
}

/* ---------------------------------------------------------------- records */

static void put_time(struct pack *p, struct stream *s, uint64_t t_us) {
    uint64_t dt_us = t_us - p->t_us;
    int kind = dt_us == 0 ? PACK_TIME_SAME : dt_us == p->dt_us ? PACK_TIME_NEXT : PACK_TIME_OTHER;
    put_u8(s, (uint8_t)kind);
    if (kind == PACK_TIME_OTHER)
        put_le(s, dt_us, 8);
    p->dt_us = dt_us ? dt_us : p->dt_us;
    p->t_us = t_us;
}

static uint64_t take_time(struct pack *p, struct stream *s) {
    int kind = (int)take_le(s, 1);
    uint64_t dt_us = kind == PACK_TIME_SAME ? 0 : kind == PACK_TIME_NEXT ? p->dt_us : take_le(s, 8);
    s->bad |= kind > PACK_TIME_OTHER;
    p->dt_us = dt_us ? dt_us : p->dt_us;
    return p->t_us += dt_us;
}

/* A batch of n bytes; whoever reads it back needs no length: each record has a 1 before it, a 0 stands at the end. */
static void put_batch(struct pack *p, struct stream *s, int way, size_t n) {
    const uint8_t *end = s->in + n;
    while (!s->bad && s->in < end) {
        uint16_t board = (uint16_t)take_le(s, 2), length = (uint16_t)take_le(s, 2);
        put_u8(s, 1);
        put_line(p, s, way, board, length);
    }
    put_u8(s, 0);
}

static size_t take_batch(struct pack *p, struct stream *s, int way) {
    uint8_t *begin = s->out;
    while (take_le(s, 1) == 1 && !s->bad) {
        uint8_t *head = s->out;
        uint16_t board;
        put_le(s, 0, 4);
        take_line(p, s, way, &board);
        if (s->bad)
            break;
        pack_put_le(head, board, 2);
        pack_put_le(head + 2, (uint64_t)(s->out - head) - 4, 2);
    }
    return (size_t)(s->out - begin);
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
static void put_record(struct pack *p, struct stream *s, uint8_t kind, size_t n) {
    int line = (kind == TAPE_TO_BOARD || kind == TAPE_FROM_BOARD) && n >= 2;
    int step = kind == TAPE_STEP && (size_t)(s->in_end - s->in) >= n && is_step(s->in, n);
    put_u8(s, kind);
    if (kind == TAPE_TICK && n == 8) {
        put_u8(s, 1);
        put_time(p, s, take_le(s, 8));
    } else if (line) {
        put_u8(s, 1);
        uint16_t board = (uint16_t)take_le(s, 2);
        put_line(p, s, kind == TAPE_TO_BOARD ? TO : FROM, board, n - 2);
    } else if (step) {
        put_u8(s, 1);
        put_time(p, s, take_le(s, 8));
        size_t rx = take_le(s, 4);
        put_batch(p, s, FROM, rx);
        put_batch(p, s, TO, n - 12 - rx);
    } else {
        const uint8_t *bytes = take(s, n);
        put_u8(s, 0);
        put_le(s, n, 4);
        if (bytes != NULL)
            put(s, bytes, n);
    }
}

static void take_record(struct pack *p, struct stream *s) {
    uint8_t *head = s->out, kind = (uint8_t)take_le(s, 1), packed = (uint8_t)take_le(s, 1);
    uint16_t board;
    put_u8(s, kind);
    put_le(s, 0, 4);
    if (!packed) {
        size_t n = take_le(s, 4);
        const uint8_t *bytes = take(s, n);
        if (bytes != NULL)
            put(s, bytes, n);
    } else if (kind == TAPE_TICK) {
        put_le(s, take_time(p, s), 8);
    } else if (kind == TAPE_TO_BOARD || kind == TAPE_FROM_BOARD) {
        put_le(s, 0, 2);
        take_line(p, s, kind == TAPE_TO_BOARD ? TO : FROM, &board);
        if (!s->bad)
            pack_put_le(head + TAPE_HEAD_BYTES, board, 2);
    } else if (kind == TAPE_STEP) {
        put_le(s, take_time(p, s), 8);
        uint8_t *rx = s->out;
        put_le(s, 0, 4);
        size_t n = take_batch(p, s, FROM);
        take_batch(p, s, TO);
        if (!s->bad)
            pack_put_le(rx, n, 4);
    } else {
        s->bad = 1;
    }
    if (!s->bad)
        pack_put_le(head + 1, (uint64_t)(s->out - head) - TAPE_HEAD_BYTES, 4);
}

size_t pack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity) {
    struct stream s = {.in = in, .in_end = in + n, .out = out, .out_end = out + capacity};
    while (s.in < s.in_end && !s.bad) {
        uint8_t kind = (uint8_t)take_le(&s, 1);
        put_record(p, &s, kind, take_le(&s, 4));
    }
    return s.bad ? 0 : (size_t)(s.out - out);
}

int unpack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity) {
    struct stream s = {.in = in, .in_end = in + n, .out = out, .out_end = out + capacity};
    while (s.in < s.in_end && !s.bad)
        take_record(p, &s);
    return s.bad || s.out != s.out_end ? -1 : 0;
}
