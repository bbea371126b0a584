/* The frame of the board bus: 0x00 | COBS(header, payload, CRC-32C over both, little-endian) | 0x00. */
#ifndef DAWNLINE_BUS_FRAME_H
#define DAWNLINE_BUS_FRAME_H

#include "bus_icd.h"

#include <stddef.h>
#include <stdint.h>

#define BUS_CRC_BYTES 4
#define BUS_MAX_BODY (BUS_HEADER_BYTES + BUS_MAX_PAYLOAD + BUS_CRC_BYTES) /* 211: before COBS */
#define BUS_MAX_RUN (BUS_MAX_BODY + 1)                                    /* 212: between two delimiters */
#define BUS_MAX_WIRE (BUS_MAX_RUN + 2)                                    /* 214: both delimiters included */
#define BUS_WIRE_OVERHEAD (BUS_MAX_WIRE - BUS_MAX_PAYLOAD)                /* 22: wire bytes beside the payload */

struct bus_header {
    uint8_t type; /* BUS_MSG_*, below 64; the version is BUS_VERSION */
    uint16_t src, dst;
    uint8_t flags;  /* enum bus_frame_flag */
    uint16_t seq;   /* counts the frames from src to dst, wraps */
    uint64_t t_us;  /* below 2^48 */
    uint8_t length; /* payload bytes, at most BUS_MAX_PAYLOAD */
};

/*
 * Writes one frame with both delimiters. Returns its bytes (length + BUS_WIRE_OVERHEAD), or 0 when type, t_us or length
 * does not fit the header. `payload` may be NULL when length is 0, and may not overlap `out`.
 */
size_t bus_frame_encode(const struct bus_header *h, const uint8_t *payload, uint8_t out[static BUS_MAX_WIRE]);

enum bus_body_error {
    BUS_BODY_LENGTH = -1,  /* too short for header and CRC, too long, or not the length that the header says */
    BUS_BODY_CRC = -2,     /* CRC-32C differs */
    BUS_BODY_VERSION = -3, /* whole, but of another protocol version */
};

/* Reads the header of a decoded body of n bytes (header, payload, CRC). 0, or any bus_body_error and *h unchanged. */
int bus_body_check(const uint8_t *body, size_t n, struct bus_header *h);

#endif
