#include "boards/guard.h"

#include <string.h>

#include "boards/board_state.h"

#define BEGIN offsetof(struct board, id)
#define LIST offsetof(struct board, as.power.power.channels.list)

_Static_assert(BEGIN % 4 == 0 && LIST % 4 == 0 && sizeof(struct lcl) % 4 == 0 && sizeof(struct board) % 4 == 0 &&
                   offsetof(struct board, as) % 4 == 0 && sizeof(struct node_side) % 4 == 0,
               "what is guarded are whole words");

/* The guard: sum and length of what is copied, and the copy. */
enum { SUM, BYTES, COPY };
_Static_assert(COPY == GUARD_HEAD_WORDS, "the head is what stands before the copy");

size_t board_guard_words(uint8_t kind) {
    size_t n = board_bytes(kind);
    return n == 0 ? 0 : COPY + (n - BEGIN) / 4;
}

/* Bytes that are guarded: channels that are not there have nothing to lose. */
static size_t used_bytes(const struct board *b, uint8_t kind) {
    size_t all = board_bytes(kind) - BEGIN;
    if (kind == BUS_BOARD_KIND_COMPUTE_NODE) {
        return all;
    }
    size_t used = LIST - BEGIN + b->as.power.power.channels.count * sizeof(struct lcl);
    return used < all ? used : all;
}

static uint32_t word(const uint8_t *p) {
    uint32_t w;
    __builtin_memcpy(&w, __builtin_assume_aligned(p, sizeof w), sizeof w);
    return w;
}

/* Any one changed word changes it: each step can be undone. */
static uint32_t add(uint32_t sum, uint32_t w) {
    return (sum << 1 | sum >> 31) + w;
}

static uint32_t sum_of(const uint8_t *p, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 4) {
        sum = add(sum, word(p + i));
    }
    return sum;
}

static void take_copy(const struct board *b, uint8_t kind, uint32_t *guard) {
    const uint8_t *state = (const uint8_t *)b + BEGIN;
    size_t n = used_bytes(b, kind);
    uint32_t sum = 0;
    for (size_t i = 0; i < n / 4; ++i) {
        uint32_t w = word(state + 4 * i);
        guard[COPY + i] = w;
        sum = add(sum, w);
    }
    guard[SUM] = sum;
    guard[BYTES] = (uint32_t)n;
}

/* Takes the copy. Returns how many bytes differed; *first: where the first one is. */
static uint32_t restore(uint8_t *state, const uint8_t *copy, size_t n, uint32_t *first) {
    uint32_t differ = 0;
    for (size_t i = n; i-- > 0;) {
        if (state[i] != copy[i]) {
            *first = (uint32_t)(BEGIN + i);
            ++differ;
        }
    }
    memcpy(state, copy, n);
    return differ;
}

/* 0, or -1: of state, copy and sum no two agree. */
static int vote(struct board *b, uint8_t kind, const uint32_t *guard) {
    uint8_t *state = (uint8_t *)b + BEGIN;
    const uint8_t *copy = (const uint8_t *)(guard + COPY);
    size_t n = guard[BYTES];
    uint32_t first = 0;
    if (n > board_bytes(kind) - BEGIN || sum_of(state, n) == guard[SUM]) {
        return 0; /* whole; or it cannot be told, and the guard is what is damaged */
    }
    if (sum_of(copy, n) != guard[SUM]) {
        return memcmp(state, copy, n) == 0 ? 0 : -1;
    }
    uint32_t differ = restore(state, copy, n, &first);
    events_add(board_events(b), BUS_EVENT_BOARD_MEMORY_REPAIRED, (int32_t)first, (int32_t)differ);
    return 0;
}

/* ---- what only orders change */

/* Takes a part of the state from the copy. Returns how many bytes differed; `only_count`: changes nothing. */
static uint32_t put_back(struct board *b, const uint8_t *copy, struct board_range part, int only_count) {
    uint8_t *state = (uint8_t *)b;
    uint32_t differ = 0;
    for (size_t i = part.at; i < (size_t)part.at + part.size; ++i) {
        differ += state[i] != copy[i - BEGIN];
        state[i] = only_count ? state[i] : copy[i - BEGIN];
    }
    return differ;
}

static uint32_t put_order(struct board *b, const uint8_t *copy, unsigned order, int only_count) {
    uint32_t differ = 0;
    struct board_range part = board_order_part(b, order, 0);
    for (unsigned k = 0; part.size > 0; part = board_order_part(b, order, ++k)) {
        differ += put_back(b, copy, part, only_count);
    }
    return differ;
}

/* What does not fit its sum is taken from the copy, as long as no order came that set it, or only the sum is damaged.
 * 0, or -1: an order was executed, and what it set is damaged. */
static int mend(struct board *b, const uint8_t *copy, unsigned order, uint32_t *differ) {
    const struct board_range sum = {(uint16_t)(offsetof(struct board, orders) + order * sizeof b->orders[0]),
                                    sizeof b->orders[0]};
    if (put_back(b, copy, sum, 1) != 0 && put_order(b, copy, order, 1) != 0) {
        return -1;
    }
    *differ += put_order(b, copy, order, 0) + put_back(b, copy, sum, 0);
    return board_order_fits(b, order) ? 0 : -1;
}

void board_guard_begin(const struct board *b, uint8_t kind, uint32_t *guard) {
    take_copy(b, kind, guard);
}

int board_guard_close(struct board *b, uint8_t kind, uint32_t *guard) {
    const uint8_t *copy = (const uint8_t *)(guard + COPY);
    size_t n = guard[BYTES];
    uint32_t differ = 0;
    for (unsigned order = 0; order < BOARD_ORDERS; ++order) {
        if (board_order_fits(b, order)) {
            continue;
        }
        if (n > board_bytes(kind) - BEGIN || sum_of(copy, n) != guard[SUM] || mend(b, copy, order, &differ) != 0) {
            return -1;
        }
    }
    if (differ != 0) {
        events_add(board_events(b), BUS_EVENT_BOARD_MEMORY_REPAIRED, 0, (int32_t)differ);
        if (kind != BUS_BOARD_KIND_COMPUTE_NODE) { /* the electronics may have been told wrong settings */
            b->as.power.power.channels.dirty_settings = ~UINT64_C(0);
        }
    }
    take_copy(b, kind, guard);
    return 0;
}

int board_guard_open(struct board *b, uint8_t kind, const uint32_t *guard) {
    if (vote(b, kind, guard) != 0 || b->id.kind != kind || b->id.role != b->link.role) {
        return -1; /* the latter two: its boot or an order went wrong */
    }
    for (unsigned order = 0; order < BOARD_ORDERS; ++order) {
        if (!board_order_fits(b, order)) {
            return -1;
        }
    }
    return 0;
}
