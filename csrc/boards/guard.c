#include "boards/guard.h"

#include <string.h>

#include "boards/board_state.h"

#define BEGIN offsetof(struct board, id)
#define LIST offsetof(struct board, as.power.power.channels.list)

_Static_assert(BEGIN % 4 == 0 && LIST % 4 == 0 && sizeof(struct lcl) % 4 == 0 && sizeof(struct board) % 4 == 0 &&
                   offsetof(struct board, as) % 4 == 0 && sizeof(struct node_side) % 4 == 0,
               "what is guarded are whole words");

/* The guard: sum and length of what is copied, sum of what no step changes, that inverted, and the copy. */
enum { SUM, BYTES, FIXED, FIXED_INVERTED, COPY };
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

/* ---- what no step changes */

struct range {
    uint16_t at, size;
};

#define MEMBER(name) {offsetof(struct board, name), sizeof(((struct board *)0)->name)}
#define NODE(name) MEMBER(as.node.node.name)
#define POWER(name) MEMBER(as.power.power.name)
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct range COMMANDS[] = {MEMBER(commands)};
static const struct range ROLE[] = {MEMBER(id.role), MEMBER(link.role)};
static const struct range BOTH[] = {MEMBER(id.kind),      MEMBER(id.hardware_id),  MEMBER(id.firmware_hash),
                                    MEMBER(id.image_crc), MEMBER(id.capabilities), MEMBER(link.port),
                                    MEMBER(update.slots), MEMBER(boot_count),      MEMBER(assignable)};
static const struct range OF_NODE[] = {NODE(config), NODE(configured)};
static const struct range LEASE[] = {NODE(lease.session), NODE(lease.sequence)};
static const struct range OF_LEASE[] = {NODE(lease.cap_mw), NODE(lease.clock_mhz), NODE(lease.expiry_us)};
static const struct range OF_POWER[] = {POWER(config),     POWER(configured),    POWER(channels.count),
                                        POWER(soc.ocv_mv), POWER(soc.has_curve), POWER(strings.count),
                                        POWER(shed.tiers), POWER(shed.count)};

static uint32_t sum_list(uint32_t sum, const struct board *b, const struct range *list, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        for (size_t at = list[i].at; at < (size_t)list[i].at + list[i].size; ++at) {
            sum = add(sum, ((const uint8_t *)b)[at]);
        }
    }
    return sum;
}

static uint32_t sum_of_fixed(const struct board *b, uint8_t kind) {
    uint32_t sum = sum_list(sum_list(0, b, ROLE, COUNT(ROLE)), b, BOTH, COUNT(BOTH));
    if (kind == BUS_BOARD_KIND_COMPUTE_NODE) {
        sum = sum_list(sum, b, OF_NODE, COUNT(OF_NODE));
        return sum_list(sum_list(sum, b, LEASE, COUNT(LEASE)), b, OF_LEASE, COUNT(OF_LEASE));
    }
    sum = sum_list(sum, b, OF_POWER, COUNT(OF_POWER));
    for (size_t i = 0; i < b->as.power.power.channels.count && i < POWER_BOARD_MAX_CHANNELS; ++i) {
        sum = add(sum, b->as.power.power.channels.list[i].tier);
    }
    return sum;
}

static void sum_fixed(const struct board *b, uint8_t kind, uint32_t *guard) {
    guard[FIXED] = sum_of_fixed(b, kind);
    guard[FIXED_INVERTED] = ~guard[FIXED];
}

static int fixed_is_summed(const uint32_t *guard) {
    return guard[FIXED] == ~guard[FIXED_INVERTED];
}

/* Puts a range back as it is in the copy. Returns how many bytes differed; `only_count`: changes nothing. */
static uint32_t put_back(uint8_t *state, const uint8_t *copy, struct range range, int only_count) {
    uint32_t differ = 0;
    for (size_t i = range.at; i < (size_t)range.at + range.size; ++i) {
        differ += state[i] != copy[i - BEGIN];
        state[i] = only_count ? state[i] : copy[i - BEGIN];
    }
    return differ;
}

static uint32_t put_list(uint8_t *state, const uint8_t *copy, const struct range *list, size_t n, int only_count) {
    uint32_t differ = 0;
    for (size_t i = 0; i < n; ++i) {
        differ += put_back(state, copy, list[i], only_count);
    }
    return differ;
}

static uint32_t put_tiers(struct board *b, const uint8_t *copy, int only_count) {
    uint32_t differ = 0;
    for (size_t i = 0; i < b->as.power.power.channels.count && i < POWER_BOARD_MAX_CHANNELS; ++i) {
        struct range tier = {(uint16_t)(LIST + i * sizeof(struct lcl) + offsetof(struct lcl, tier)), 1};
        differ += put_back((uint8_t *)b, copy, tier, only_count);
    }
    return differ;
}

/* What the board is, nothing changes; the rest only an order: a command, which the log of commands shows, or a lease of
 * another number. An address that was assigned stands in two places, and not every board takes one. */
static uint32_t put_fixed(struct board *b, uint8_t kind, const uint8_t *copy, int only_count) {
    uint8_t *state = (uint8_t *)b;
    uint32_t differ = put_list(state, copy, BOTH, COUNT(BOTH), only_count);
    if (b->id.role != b->link.role || !b->assignable) {
        differ += put_list(state, copy, ROLE, COUNT(ROLE), only_count);
    }
    if (put_list(state, copy, COMMANDS, COUNT(COMMANDS), 1) != 0) {
        return differ;
    }
    if (kind != BUS_BOARD_KIND_COMPUTE_NODE) {
        differ += put_list(state, copy, OF_POWER, COUNT(OF_POWER), only_count);
        return differ + put_tiers(b, copy, only_count);
    }
    differ += put_list(state, copy, OF_NODE, COUNT(OF_NODE), only_count);
    if (put_list(state, copy, LEASE, COUNT(LEASE), 1) == 0) {
        differ += put_list(state, copy, OF_LEASE, COUNT(OF_LEASE), only_count);
    }
    return differ;
}

/* Whether an order came that may have changed what is fixed. */
static int has_orders(struct board *b, uint8_t kind, const uint8_t *copy) {
    uint8_t *state = (uint8_t *)b;
    uint32_t differ = put_list(state, copy, COMMANDS, COUNT(COMMANDS), 1);
    if (kind == BUS_BOARD_KIND_COMPUTE_NODE) {
        differ += put_list(state, copy, LEASE, COUNT(LEASE), 1);
    }
    int assigned = b->assignable && b->id.role == b->link.role && put_list(state, copy, ROLE, COUNT(ROLE), 1) != 0;
    return differ != 0 || assigned;
}

void board_guard_begin(const struct board *b, uint8_t kind, uint32_t *guard) {
    take_copy(b, kind, guard);
    sum_fixed(b, kind, guard);
}

void board_guard_close(struct board *b, uint8_t kind, uint32_t *guard) {
    const uint8_t *copy = (const uint8_t *)(guard + COPY);
    size_t n = guard[BYTES];
    int orders = has_orders(b, kind, copy) || !fixed_is_summed(guard);
    if (orders) {
        sum_fixed(b, kind, guard); /* at once: what flips from here on is seen */
    }
    uint32_t differ = put_fixed(b, kind, copy, 1);
    if (differ != 0 && n <= board_bytes(kind) - BEGIN && sum_of(copy, n) == guard[SUM]) {
        (void)put_fixed(b, kind, copy, 0);
        events_add(board_events(b), BUS_EVENT_BOARD_MEMORY_REPAIRED, 0, (int32_t)differ);
        if (kind != BUS_BOARD_KIND_COMPUTE_NODE) { /* the electronics may have been told wrong settings */
            b->as.power.power.channels.dirty_settings = ~UINT64_C(0);
        }
        if (orders) {
            sum_fixed(b, kind, guard);
        }
    }
    take_copy(b, kind, guard);
}

int board_guard_open(struct board *b, uint8_t kind, const uint32_t *guard) {
    if (vote(b, kind, guard) != 0 || b->id.kind != kind || b->id.role != b->link.role) {
        return -1; /* the latter two: its boot or an order went wrong */
    }
    return fixed_is_summed(guard) && sum_of_fixed(b, kind) != guard[FIXED] ? -1 : 0;
}
