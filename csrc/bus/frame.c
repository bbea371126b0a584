#include "frame.h"

#include "cobs.h"
#include "crc32c.h"

#include <string.h>

_Static_assert(BUS_HEADER_BYTES == 15, "the two words below are the header");
_Static_assert(BUS_MAX_BODY <= BUS_COBS_MAX_DATA, "a body is one COBS block");

#define MAX_TYPE 63u
#define TIME_BITS 48

static inline void put_u64(uint8_t *p, uint64_t v) {
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static inline uint64_t get_u64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v |= (uint64_t)p[i] << 8 * i;
    }
    return v;
}

static inline void put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static inline uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

size_t bus_frame_encode(const struct bus_header *h, const uint8_t *payload, uint8_t out[static BUS_MAX_WIRE]) {
    if (h->type > MAX_TYPE || h->length > BUS_MAX_PAYLOAD || h->t_us >> TIME_BITS != 0) {
        return 0;
    }
    uint8_t *body = out + 2; /* out[0] is the delimiter, out[1] the first code byte */
    uint64_t version_type = (uint64_t)BUS_VERSION << 6 | h->type;
    put_u64(body, version_type | (uint64_t)h->src << 8 | (uint64_t)h->dst << 24 | (uint64_t)h->flags << 40 |
                      (uint64_t)h->seq << 48);
    put_u64(body + 8, h->t_us | (uint64_t)h->length << TIME_BITS); /* its eighth byte is overwritten next */
    if (h->length > 0) {
        memcpy(body + BUS_HEADER_BYTES, payload, h->length);
    }
    size_t checked = BUS_HEADER_BYTES + (size_t)h->length;
    put_u32(body + checked, bus_crc32c(0, body, checked));
    size_t n = checked + BUS_CRC_BYTES;
    bus_cobs_encode(out + 1, n);
    out[0] = 0;
    out[2 + n] = 0;
    return n + 3;
}

int bus_body_check(const uint8_t *body, size_t n, struct bus_header *h) {
    if (n < BUS_HEADER_BYTES + BUS_CRC_BYTES || n > BUS_MAX_BODY) {
        return BUS_BODY_LENGTH;
    }
    size_t checked = n - BUS_CRC_BYTES;
    if (bus_crc32c(0, body, checked) != get_u32(body + checked)) {
        return BUS_BODY_CRC;
    }
    uint64_t first = get_u64(body);
    uint64_t second = get_u64(body + 7); /* the last 8 bytes of the header: its first byte belongs to seq */
    if ((first >> 6 & 3u) != BUS_VERSION) {
        return BUS_BODY_VERSION;
    }
    if (second >> 56 != checked - BUS_HEADER_BYTES) {
        return BUS_BODY_LENGTH;
    }
    h->type = (uint8_t)(first & MAX_TYPE);
    h->src = (uint16_t)(first >> 8);
    h->dst = (uint16_t)(first >> 24);
    h->flags = (uint8_t)(first >> 40);
    h->seq = (uint16_t)(first >> 48);
    h->t_us = second >> 8 & ((UINT64_C(1) << TIME_BITS) - 1);
    h->length = (uint8_t)(second >> 56);
    return 0;
}
