/* Chance of the faults: splitmix64 (Steele et al. 2014), whose state the fault owns. */
#ifndef WORLD_RANDOM_H
#define WORLD_RANDOM_H

#include <stdint.h>

static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* The high half, which is what everything here is drawn from. */
static inline uint32_t random_u32(uint64_t *state) {
    return (uint32_t)(random_next(state) >> 32);
}

/* 1 with a chance of rate / 2^32. */
static inline int random_strikes(uint64_t *state, uint64_t rate) {
    return random_u32(state) < rate;
}

/* Evenly from 0 to n - 1; n at most 2^32. */
static inline uint32_t random_below(uint64_t *state, uint64_t n) {
    return (uint32_t)(random_u32(state) * n >> 32);
}

#endif
