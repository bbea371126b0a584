/*
 * Frames from a stream of bytes, in chunks of any size.
 *
 *            0 (idle)                      byte                        0
 *          +---------+                 +----------+        +----------------------> frame or damaged
 *          |         v      byte       |          v        |
 *   start --> [ between frames ] ---> [ in a run, used 1..212 ] --- 213th byte ---> damaged (length)
 *                   ^                                                    |
 *                   +-------------------- 0 ----- [ skipping ] <---------+   (every other byte is dropped)
 *
 * The only thing that it waits for is the next delimiter; no length is trusted before the CRC is. Damage therefore
 * costs the frame that it hits (two when it takes away the only delimiter between them), and the next delimiter puts it
 * back in step. Every byte is in rx_bytes; every run of non-zero bytes ends up in exactly one of the other counters.
 * docs/board-bus.md lists what is trusted and what always holds.
 */
#ifndef DAWNLINE_BUS_RECEIVER_H
#define DAWNLINE_BUS_RECEIVER_H

#include "frame.h"

#include <stddef.h>
#include <stdint.h>

struct bus_frame {
    struct bus_header header;
    const uint8_t *payload; /* header.length bytes */
    const uint8_t *wire;    /* as bus_frame_encode writes it, both delimiters included, however it arrived */
    size_t wire_length;
};

/* Counters wrap. All are 0 after bus_receiver_init. */
struct bus_receiver {
    uint32_t rx_bytes;       /* all bytes consumed: idle, damaged and dropped ones included */
    uint32_t rx_frames;      /* good frames */
    uint16_t crc_errors;     /* runs whose CRC-32C differs */
    uint16_t cobs_errors;    /* runs that are not COBS */
    uint16_t length_errors;  /* runs too short or too long for a frame, or of another length than their header says */
    uint16_t version_errors; /* whole frames of another protocol version */
    uint16_t used;           /* bytes of the unfinished run in wire[1..] */
    uint8_t skipping;        /* 1: drop bytes up to the next delimiter */
    uint8_t wire[BUS_MAX_WIRE + 1];
    uint8_t body[BUS_MAX_RUN];
};

enum bus_rx {
    BUS_RX_MORE = 0,    /* all bytes are consumed */
    BUS_RX_FRAME = 1,   /* a good frame; there may be more in the same bytes */
    BUS_RX_DAMAGED = 2, /* a run that is no frame of this version: counted, wire holds it (its first 213 bytes when it
                           is longer) between delimiters; header and payload hold nothing */
};

/* As if a delimiter had just arrived. */
void bus_receiver_init(struct bus_receiver *r);

/*
 * Consumes bytes from *p on, up to the end of the next frame or to `end`, and advances *p. Returns any bus_rx.
 * Pointers in *f are valid until the next call, or until the caller's bytes change: a frame that lies whole in them is
 * not copied, only decoded.
 */
int bus_receiver_next(struct bus_receiver *r, const uint8_t **p, const uint8_t *end, struct bus_frame *f);

#endif
