#include "world/link_fault.h"

#include <string.h>

#include "world/random.h"

struct out {
    uint8_t *bytes;
    size_t used, capacity;
};

/* Returns 0 when it does not fit. */
static int emit(struct out *o, const uint8_t *bytes, size_t n) {
    if (n > o->capacity - o->used)
        return 0;
    memcpy(o->bytes + o->used, bytes, n);
    o->used += n;
    return 1;
}

static void pass(struct link_fault_way *w, struct out *o, const uint8_t *bytes, size_t n) {
    if (!emit(o, bytes, n))
        w->bytes_lost += n;
}

/* Bytes of the first frame: up to the delimiter that ends its run, or all when none does. */
static size_t frame_length(const uint8_t *bytes, size_t n) {
    size_t i = 0;
    while (i < n && bytes[i] == 0)
        i++;
    const uint8_t *end = i < n ? memchr(bytes + i, 0, n - i) : NULL;
    return end == NULL ? n : (size_t)(end - bytes) + 1;
}

/* ---------------------------------------------------------------- what is held */

static void hold(struct link_fault_way *w, uint64_t due_us, const uint8_t *bytes, size_t n) {
    if (n > UINT16_MAX || w->capacity - w->held < LINK_FAULT_HELD_HEAD ||
        n > w->capacity - w->held - LINK_FAULT_HELD_HEAD) {
        w->bytes_lost += n;
        return;
    }
    uint8_t *at = w->hold + w->held;
    const uint16_t length = (uint16_t)n;
    memcpy(at, &due_us, sizeof due_us);
    memcpy(at + sizeof due_us, &length, sizeof length);
    memcpy(at + LINK_FAULT_HELD_HEAD, bytes, n);
    w->held += LINK_FAULT_HELD_HEAD + n;
}

/* What is due comes, in order; what finds no room in this tick comes in the next. */
static void release(struct link_fault_way *w, uint64_t t_us, int all, struct out *o) {
    size_t at = 0;
    while (at < w->held) {
        uint64_t due_us;
        uint16_t length;
        memcpy(&due_us, w->hold + at, sizeof due_us);
        memcpy(&length, w->hold + at + sizeof due_us, sizeof length);
        if ((!all && due_us > t_us) || !emit(o, w->hold + at + LINK_FAULT_HELD_HEAD, length))
            break;
        at += LINK_FAULT_HELD_HEAD + length;
    }
    memmove(w->hold, w->hold + at, w->held - at);
    w->held -= at;
}

/* ---------------------------------------------------------------- one frame through one fault */

static void drop(struct link_fault_way *w, const struct link_fault *f, struct out *o, const uint8_t *bytes, size_t n) {
    if (!random_strikes(&w->random, f->rate)) {
        pass(w, o, bytes, n);
        return;
    }
    w->hits++;
    w->bytes_lost += n;
}

static void duplicate(struct link_fault_way *w, const struct link_fault *f, struct out *o, const uint8_t *bytes,
                      size_t n) {
    pass(w, o, bytes, n);
    if (random_strikes(&w->random, f->rate) && emit(o, bytes, n)) {
        w->hits++;
        w->bytes_added += n;
    }
}

static void flip(struct link_fault_way *w, const struct link_fault *f, struct out *o, const uint8_t *bytes, size_t n) {
    int hit = 0;
    size_t at = o->used;
    if (!emit(o, bytes, n)) {
        w->bytes_lost += n;
        return;
    }
    for (; at < o->used; at++) {
        if (random_strikes(&w->random, f->rate)) {
            o->bytes[at] ^= (uint8_t)(1u << random_below(&w->random, 8));
            hit = 1;
        }
    }
    w->hits += (uint64_t)hit;
}

static void truncate(struct link_fault_way *w, const struct link_fault *f, struct out *o, const uint8_t *bytes,
                     size_t n) {
    size_t kept = n;
    if (n > 1 && random_strikes(&w->random, f->rate)) {
        kept = 1 + random_below(&w->random, n - 1);
        w->hits++;
        w->bytes_lost += n - kept;
    }
    pass(w, o, bytes, kept);
}

static void insert(struct link_fault_way *w, const struct link_fault *f, struct out *o, const uint8_t *bytes,
                   size_t n) {
    if (random_strikes(&w->random, f->rate)) {
        size_t before = o->used;
        for (uint32_t i = 0; i < f->bytes; i++) {
            uint8_t garbage = (uint8_t)random_below(&w->random, 256);
            (void)emit(o, &garbage, 1);
        }
        w->bytes_added += o->used - before;
        w->hits++;
    }
    pass(w, o, bytes, n);
}

static void frame(struct link_fault *f, struct link_fault_way *w, uint64_t t_us, struct out *o, const uint8_t *bytes,
                  size_t n) {
    w->frames++;
    switch (f->kind) {
    case LINK_FAULT_DROP:
        drop(w, f, o, bytes, n);
        return;
    case LINK_FAULT_DUPLICATE:
        duplicate(w, f, o, bytes, n);
        return;
    case LINK_FAULT_FLIP:
        flip(w, f, o, bytes, n);
        return;
    case LINK_FAULT_TRUNCATE:
        truncate(w, f, o, bytes, n);
        return;
    case LINK_FAULT_INSERT:
        insert(w, f, o, bytes, n);
        return;
    case LINK_FAULT_DISCONNECT:
        w->hits++;
        w->bytes_lost += n;
        return;
    default: /* delay and stall; behind what a lifted one holds yet, for the order */
        w->hits += !f->lifted;
        hold(w, f->kind == LINK_FAULT_STALL ? UINT64_MAX : t_us + f->delay_us, bytes, n);
    }
}

/* A frame that a mock never sends. The type is never hidden by COBS: it is the first byte, and not 0. */
static int is_of_hardware(const uint8_t *bytes, size_t n) {
    size_t i = 0;
    while (i < n && bytes[i] == 0)
        i++;
    if (n - i < 2 || bytes[i + 1] >> 6 != BUS_VERSION)
        return 0;
    unsigned type = bytes[i + 1] & 0x3F, facts = bus_message_facts((uint8_t)type);
    return facts != 0 && !(facts & BUS_IS_HASHED) && type != BUS_MSG_HELLO && type != BUS_MSG_HELLO_REQ;
}

static void frame_beside(struct link_fault *f, struct link_fault_way *w, uint64_t t_us, struct out *o,
                         const uint8_t *bytes, size_t n) {
    struct link_fault_way before = *w;
    w->random = w->random_beside;
    frame(f, w, t_us, o, bytes, n);
    before.random_beside = w->random;
    before.held = w->held;
    *w = before;
}

static size_t one(struct link_fault *f, int direction, uint64_t t_us, const uint8_t *bytes, size_t n, uint8_t *to,
                  size_t capacity) {
    struct link_fault_way *w = &f->way[direction];
    struct out o = {.bytes = to, .capacity = capacity};
    while (n > 0) {
        size_t length = frame_length(bytes, n);
        if (is_of_hardware(bytes, length))
            frame_beside(f, w, t_us, &o, bytes, length);
        else
            frame(f, w, t_us, &o, bytes, length);
        bytes += length;
        n -= length;
    }
    if (w->held > 0)
        release(w, t_us, f->lifted, &o);
    return o.used;
}

size_t link_fault_pass(struct link_fault **list, int direction, uint64_t t_us, uint8_t *bytes, size_t n,
                       size_t capacity, uint8_t *scratch) {
    while (*list != NULL) {
        struct link_fault *f = *list;
        if (f->lifted && f->way[0].held + f->way[1].held == 0) {
            *list = f->next;
            continue;
        }
        if (f->way[direction].on) {
            n = one(f, direction, t_us, bytes, n, scratch, capacity);
            memcpy(bytes, scratch, n);
        }
        list = &f->next;
    }
    return n;
}
