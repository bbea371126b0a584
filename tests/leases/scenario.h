/* What a flight of the lease test is made of, and what came of it. Chances are in a million. */
#ifndef LEASES_SCENARIO_H
#define LEASES_SCENARIO_H

#include <stdint.h>

#include "world/random.h"

#define NODES_MAX 16

struct scenario {
    uint64_t seed;
    uint32_t ticks, tick_us;
    uint16_t nodes;
    uint32_t lost, doubled, late; /* of a frame, on every line, both ways */
    uint32_t late_ticks;          /* a late frame comes up to so many ticks later */
    uint32_t outage;              /* in a tick, of a line, one way or both */
    uint32_t restart;             /* in a tick, of flight */
    uint32_t board;               /* in a tick, of a node: it dies, resets, hangs, forgets, is hot, draws too much */
    uint32_t power_board;         /* in a tick: it resets, is silent, or its sensors stick */
    uint32_t supply;              /* in a tick: the array, its strings, the hotel, the battery */
    uint32_t ground;              /* in a tick: nodes on and off, mode, board reset, another forecast */
    uint32_t margin_permille;     /* share of the guarantee that leases may take; 0: at most 98 % */
};

struct tally {
    uint64_t ticks, flights, leases, raises, lowered, boots, boards_failed, supply_falls, lost, doubled, late;
    uint64_t over_ticks;            /* in which the sum was above the guarantee, for whatever reason */
    uint64_t sum_mw, guaranteed_mw; /* added up, in ticks in which flight ran and there was a guarantee */
    uint64_t granted_above;         /* violations: grants that lifted the sum above the guarantee */
    uint64_t stayed_above;          /* nodes that hear, above their floor for more than a second too long */
    uint64_t outlived;              /* sums above the guarantee for longer than leases live */
    uint64_t first_tick;            /* of a violation; 0: none */
    int64_t first_node, first_sum_mw, first_guaranteed_mw; /* node -1: all */
};

static inline int chance(uint64_t *random, uint32_t in_a_million) {
    return random_below(random, 1000000) < in_a_million;
}

static inline uint32_t between(uint64_t *random, uint32_t low, uint32_t high) {
    return low + random_below(random, (uint64_t)high - low + 1);
}

#endif
