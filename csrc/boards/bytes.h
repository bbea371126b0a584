/* Fixed-width little-endian integers into a byte buffer: for state hashes and persistent memory. */
#ifndef DAWNLINE_BOARDS_BYTES_H
#define DAWNLINE_BOARDS_BYTES_H

#include <stdint.h>

static inline uint8_t *bytes_u8(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    return p + 1;
}

static inline uint8_t *bytes_u16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static inline uint8_t *bytes_u32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
    return p + 4;
}

static inline uint8_t *bytes_u64(uint8_t *p, uint64_t v) {
    return bytes_u32(bytes_u32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static inline uint32_t bytes_get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

#endif
