#include "world/tape.h"

#include <stdlib.h>
#include <string.h>

#include "world/pack.h"

enum { FIRST_BYTES = 1 << 16 };

struct tape {
    uint8_t *bytes, *other; /* what is being filled, and what tape_take gave out last */
    size_t used, capacity, other_capacity, take_bytes;
    int failed;
};

struct tape *tape_create(size_t take_bytes) {
    struct tape *t = calloc(1, sizeof *t);
    if (t != NULL)
        t->take_bytes = take_bytes;
    return t;
}

void tape_destroy(struct tape *t) {
    if (t == NULL)
        return;
    free(t->bytes);
    free(t->other);
    free(t);
}

static int grow(struct tape *t, size_t need) {
    size_t capacity = t->capacity ? t->capacity : FIRST_BYTES;
    while (capacity < need)
        capacity *= 2;
    uint8_t *bytes = realloc(t->bytes, capacity);
    if (bytes == NULL)
        return -1;
    t->bytes = bytes;
    t->capacity = capacity;
    return 0;
}

/* Room for one record with n bytes, its head written; NULL: not recorded, and nothing is from now on. */
static uint8_t *begin(struct tape *t, uint8_t kind, size_t n) {
    if (t == NULL || t->failed)
        return NULL;
    size_t need = t->used + TAPE_HEAD_BYTES + n;
    if (n > UINT32_MAX || (need > t->capacity && grow(t, need))) {
        t->failed = 1;
        return NULL;
    }
    uint8_t *out = t->bytes + t->used;
    t->used = need;
    out[0] = kind;
    pack_put_le(out + 1, n, 4);
    return out + TAPE_HEAD_BYTES;
}

void tape_note(struct tape *t, uint8_t kind, const uint8_t *bytes, size_t n) {
    uint8_t *out = begin(t, kind, n);
    if (out != NULL && n > 0)
        memcpy(out, bytes, n);
}

void tape_tick(struct tape *t, uint64_t t_us) {
    uint8_t *out = begin(t, TAPE_TICK, 8);
    if (out != NULL)
        pack_put_le(out, t_us, 8);
}

void tape_line(struct tape *t, uint8_t kind, uint16_t board, const uint8_t *bytes, size_t n) {
    uint8_t *out = n > 0 ? begin(t, kind, 2 + n) : NULL;
    if (out == NULL)
        return;
    pack_put_le(out, board, 2);
    memcpy(out + 2, bytes, n);
}

void tape_boot(struct tape *t, uint16_t board, uint8_t cause, const uint8_t *nvm) {
    size_t n = nvm != NULL ? WORLD_NVM_BYTES : 0;
    uint8_t *out = begin(t, TAPE_BOOT, 3 + n);
    if (out == NULL)
        return;
    pack_put_le(out, board, 2);
    out[2] = cause;
    if (nvm != NULL)
        memcpy(out + 3, nvm, n);
}

void tape_absent(struct tape *t, uint16_t board) {
    uint8_t *out = begin(t, TAPE_ABSENT, 2);
    if (out != NULL)
        pack_put_le(out, board, 2);
}

void tape_cut(struct tape *t, uint16_t board, const struct mock *m) {
    uint8_t *out = m->cut_armed ? begin(t, TAPE_CUT, 6) : NULL;
    if (out == NULL)
        return;
    pack_put_le(out, board, 2);
    pack_put_le(out + 2, m->cut_left, 4);
}

int tape_is_full(const struct tape *t) {
    return t != NULL && t->used >= t->take_bytes;
}

int tape_failed(const struct tape *t) {
    return t->failed;
}

size_t tape_used(const struct tape *t) {
    return t->used;
}

size_t tape_take(struct tape *t, const uint8_t **bytes) {
    size_t n = t->used, capacity = t->capacity;
    uint8_t *full = t->bytes;
    *bytes = full;
    t->bytes = t->other;
    t->capacity = t->other_capacity;
    t->other = full;
    t->other_capacity = capacity;
    t->used = 0;
    return n;
}

size_t tape_find(const uint8_t *records, size_t n, size_t at, uint64_t kinds) {
    while (at < n && n - at >= TAPE_HEAD_BYTES) {
        uint8_t kind = records[at];
        if (kind < 64 && kinds >> kind & 1)
            return at;
        uint64_t length = pack_get_le(records + at + 1, 4);
        at = length <= n - at - TAPE_HEAD_BYTES ? at + TAPE_HEAD_BYTES + (size_t)length : n;
    }
    return n;
}

/* ---------------------------------------------------------------- flight's steps */

int tap_step(void *ctx, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx) {
    struct tap *tap = ctx;
    int attention = tap->step(tap->ctx, t_us, rx, tx);
    uint8_t *out = begin(tap->tape, TAPE_STEP, 12 + rx->used + tx->used);
    if (out == NULL)
        return attention;
    pack_put_le(out, t_us, 8);
    pack_put_le(out + 8, rx->used, 4);
    if (rx->used > 0)
        memcpy(out + 12, rx->data, rx->used);
    if (tx->used > 0)
        memcpy(out + 12 + rx->used, tx->data, tx->used);
    return attention;
}
