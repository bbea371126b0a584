/*
 * Damaged frames by the million: usage damage TRIALS SEED; prints what happened as one JSON object.
 *
 * A trial sends four random frames, with their own or with shared delimiters, damages the second one, feeds the bytes
 * in random chunks (each in memory of its own and exact size, so that a sanitizer sees any byte read too far), and
 * compares every accepted frame with what was sent.
 */
#include "bus/frame.h"
#include "bus/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 4
#define TARGET 1
#define MAX_STREAM 4096

enum damage { FLIP, BURST, REPLACE, LOSE, INSERT, CUT, BEHEAD, REPEAT, SPLICE, NOISE, KINDS };

struct sent {
    struct bus_header header;
    uint8_t payload[BUS_MAX_PAYLOAD];
    uint8_t wire[BUS_MAX_WIRE];
    size_t wire_length;
    int accepted;
};

struct tally {
    uint64_t damaged, harmless, accepted, wrong, lost_other, lost_next_shared, misaccounted, bytes;
    uint64_t crc_errors, cobs_errors, length_errors, version_errors;
};

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D) >> 11;
}

static size_t below(uint64_t *state, size_t n) {
    return n == 0 ? 0 : (size_t)(next_random(state) % n);
}

static void make_frame(struct sent *s, uint64_t *rng) {
    uint64_t r = next_random(rng);
    s->header.type = (uint8_t)(r & 63u);
    s->header.src = (uint16_t)(r >> 6);
    s->header.dst = (uint16_t)(r >> 22);
    s->header.flags = (uint8_t)(r >> 38 & 1u);
    s->header.seq = (uint16_t)next_random(rng);
    s->header.t_us = next_random(rng) & ((UINT64_C(1) << 48) - 1);
    s->header.length = (uint8_t)(below(rng, 8) == 0 ? below(rng, BUS_MAX_PAYLOAD + 1) : below(rng, 49));
    size_t zeros = below(rng, 4); /* of four bytes, how many are zero */
    for (size_t i = 0; i < s->header.length; i++) {
        uint64_t byte = next_random(rng);
        s->payload[i] = (byte >> 8 & 3u) < zeros ? 0 : (uint8_t)byte;
    }
    s->wire_length = bus_frame_encode(&s->header, s->payload, s->wire);
    s->accepted = 0;
}

static void noise(uint8_t *out, size_t n, uint64_t *rng) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)next_random(rng);
    }
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Damages `n` bytes into `out` (room for 1024); returns the new number of bytes. `other` is an undamaged frame. */
static size_t damage(uint8_t *out, const uint8_t *in, size_t n, const struct sent *other, uint64_t *rng) {
    size_t at = below(rng, n), length = 1 + below(rng, 8);
    memcpy(out, in, n);
    switch ((enum damage)below(rng, KINDS)) {
    case FLIP:
        for (size_t i = below(rng, 3) + 1; i > 0; i--) {
            out[below(rng, n)] ^= (uint8_t)(1u << below(rng, 8));
        }
        return n;
    case BURST:
        for (size_t i = at; i < smaller(at + length, n); i++) {
            out[i] ^= (uint8_t)(1 + below(rng, 255));
        }
        return n;
    case REPLACE:
        noise(out + at, smaller(length, n - at), rng);
        return n;
    case LOSE:
        length = smaller(length, n - at);
        memmove(out + at, out + at + length, n - at - length);
        return n - length;
    case INSERT:
        memcpy(out + at + length, in + at, n - at);
        noise(out + at, length, rng);
        return n + length;
    case CUT:
        return at;
    case BEHEAD:
        memmove(out, out + at, n - at);
        return n - at;
    case REPEAT: /* a piece comes twice (shorter than any frame: a whole frame twice is no damage) */
        length = smaller(2 * length, n - at);
        memcpy(out + at + length, in + at, n - at);
        return n + length;
    case SPLICE: /* the head of this frame, the tail of another */
        if (at < 8 || at >= other->wire_length) {
            return at;
        }
        memcpy(out + at, other->wire + at, other->wire_length - at);
        return other->wire_length;
    default:
        length = below(rng, 500);
        noise(out, length, rng);
        return length;
    }
}

static int same(const struct sent *s, const struct bus_frame *f) {
    const struct bus_header *a = &s->header, *b = &f->header;
    return a->type == b->type && a->src == b->src && a->dst == b->dst && a->flags == b->flags && a->seq == b->seq &&
           a->t_us == b->t_us && a->length == b->length && memcmp(s->payload, f->payload, a->length) == 0 &&
           f->wire_length == s->wire_length && memcmp(f->wire, s->wire, s->wire_length) == 0;
}

/* Feeds the stream in random chunks and marks the frames that arrive; they must be sent ones, in order. */
static void feed(struct bus_receiver *r, const uint8_t *stream, size_t n, struct sent *s, struct tally *t,
                 uint64_t *rng) {
    size_t next = 0, largest = 1 + below(rng, 300);
    for (size_t at = 0; at < n;) {
        size_t length = smaller(1 + below(rng, largest), n - at);
        uint8_t *chunk = malloc(length);
        if (chunk == NULL) {
            abort();
        }
        memcpy(chunk, stream + at, length);
        const uint8_t *p = chunk;
        struct bus_frame f;
        for (int kind; (kind = bus_receiver_next(r, &p, chunk + length, &f)) != BUS_RX_MORE;) {
            if (kind != BUS_RX_FRAME) {
                continue;
            }
            while (next < FRAMES && !same(&s[next], &f)) {
                next++;
            }
            if (next == FRAMES) {
                t->wrong++;
            } else {
                s[next++].accepted = 1;
                t->accepted++;
            }
        }
        free(chunk);
        at += length;
    }
}

static size_t count_runs(const uint8_t *stream, size_t n) {
    size_t runs = 0;
    for (size_t i = 0; i < n; i++) {
        runs += stream[i] != 0 && (i + 1 == n || stream[i + 1] == 0);
    }
    return runs;
}

static void account(const struct bus_receiver *r, const uint8_t *stream, size_t n, struct tally *t) {
    size_t judged = (size_t)r->rx_frames + r->crc_errors + r->cobs_errors + r->length_errors + r->version_errors;
    t->misaccounted += r->rx_bytes != n || judged != count_runs(stream, n);
    t->bytes += n;
    t->crc_errors += r->crc_errors;
    t->cobs_errors += r->cobs_errors;
    t->length_errors += r->length_errors;
    t->version_errors += r->version_errors;
}

/* One trial; nothing is tallied when the damage happened to change nothing. */
static void trial(struct tally *t, uint64_t *rng) {
    struct sent s[FRAMES];
    uint8_t stream[MAX_STREAM], broken[1024];
    size_t n = 0, shared = below(rng, 2); /* 1: a frame's opening delimiter is the closing one of the frame before */
    for (int i = 0; i < FRAMES; i++) {
        make_frame(&s[i], rng);
    }
    for (int i = 0; i < FRAMES; i++) {
        size_t skip = i > 0 ? shared : 0;
        const uint8_t *bytes = s[i].wire + skip;
        size_t length = s[i].wire_length - skip;
        if (i == TARGET) {
            size_t damaged = damage(broken, bytes, length, &s[0], rng);
            if (damaged == length && memcmp(broken, bytes, length) == 0) {
                return;
            }
            bytes = broken;
            length = damaged;
        }
        memcpy(stream + n, bytes, length);
        n += length;
    }
    struct bus_receiver r;
    bus_receiver_init(&r);
    feed(&r, stream, n, s, t, rng);
    account(&r, stream, n, t);
    t->damaged++;
    t->harmless += (uint64_t)s[TARGET].accepted; /* the damage fell between the frames */
    t->lost_next_shared += shared && !s[TARGET + 1].accepted;
    t->lost_other += !s[0].accepted || (!shared && !s[TARGET + 1].accepted) || !s[TARGET + 2].accepted;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: damage TRIALS SEED\n");
        return 2;
    }
    uint64_t trials = strtoull(argv[1], NULL, 10), rng = strtoull(argv[2], NULL, 10) * 2 + 1;
    struct tally t = {0};
    while (t.damaged < trials) {
        trial(&t, &rng);
    }
#define SHOW(name) (unsigned long long)t.name
    printf("{\"damaged\": %llu, \"harmless\": %llu, \"accepted\": %llu, \"wrong\": %llu, \"lost_other\": %llu, "
           "\"lost_next_shared\": %llu, \"misaccounted\": %llu, \"bytes\": %llu, \"crc_errors\": %llu, "
           "\"cobs_errors\": %llu, \"length_errors\": %llu, \"version_errors\": %llu}\n",
           SHOW(damaged), SHOW(harmless), SHOW(accepted), SHOW(wrong), SHOW(lost_other), SHOW(lost_next_shared),
           SHOW(misaccounted), SHOW(bytes), SHOW(crc_errors), SHOW(cobs_errors), SHOW(length_errors),
           SHOW(version_errors));
    return 0;
}
