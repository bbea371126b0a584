/* Saturating integer helpers. */
#ifndef DAWNLINE_BOARDS_CLAMP_H
#define DAWNLINE_BOARDS_CLAMP_H

#include <stdint.h>

static inline uint32_t clamp_min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static inline uint32_t clamp_max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static inline uint32_t clamp_add_u32(uint32_t a, uint32_t b) {
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static inline uint32_t clamp_u64_to_u32(uint64_t v) {
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static inline int32_t clamp_u32_to_i32(uint32_t v) {
    return v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

/* Counts one more, up to the largest value. */
static inline void clamp_count_u16(uint16_t *counter) {
    if (*counter < UINT16_MAX) {
        ++*counter;
    }
}

#endif
