#include "leases/air.h"

#include <string.h>

static uint64_t latest(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t put(struct air *a, uint64_t due, const uint8_t *bytes, size_t n) {
    if (a->count == AIR_FRAMES || n > BUS_MAX_WIRE)
        return 0;
    struct air_frame *f = &a->frames[a->count++];
    f->due = due;
    f->n = (uint16_t)n;
    memcpy(f->bytes, bytes, n);
    return due;
}

uint64_t air_send(struct air *a, const struct scenario *s, uint64_t *random, struct tally *t, uint64_t due,
                  const uint8_t *bytes, size_t n) {
    if (due < a->out_until || chance(random, s->lost)) {
        t->lost++;
        a->trouble = latest(a->trouble, due);
        return 0;
    }
    uint64_t first = due;
    if (chance(random, s->late)) {
        t->late++;
        first = due + between(random, 1, s->late_ticks);
        a->trouble = latest(a->trouble, first);
    }
    uint64_t last = put(a, first, bytes, n);
    if (last == 0) {
        a->trouble = latest(a->trouble, due);
        return 0;
    }
    if (chance(random, s->doubled)) {
        t->doubled++;
        last = latest(last, put(a, due + random_below(random, s->late_ticks + UINT64_C(1)), bytes, n));
    }
    return last;
}

const struct air_frame *air_next(struct air *a, uint64_t tick, struct air_frame *out) {
    for (uint16_t k = 0; k < a->count; k++) {
        if (a->frames[k].due > tick)
            continue;
        *out = a->frames[k];
        a->count--;
        memmove(&a->frames[k], &a->frames[k + 1], (a->count - k) * sizeof a->frames[0]);
        return out;
    }
    return NULL;
}
