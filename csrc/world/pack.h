/* Packing: a tape's records in fewer and more alike bytes, for a compressor behind it. Nothing is lost.
 *
 * A frame is told by what differs from the last frame of its type on its board: COBS and CRC fall away because they
 * follow from the rest, sequence and time because they go on as before. Bytes that are no frame stay as they are.
 * docs/replay.md gives the format. The memory is the caller's: pack_bytes() bytes, aligned as for uint64_t.
 *
 * This is what pack.c and unpack.c share; the functions are in world.cdef.h. */
#ifndef WORLD_PACK_H
#define WORLD_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "bus/frame.h"
#include "world/world.h"

/* First byte of an element of a line; of the last three the type of the frame is the lower part. */
enum pack_element { PACK_END = 0, PACK_RAW = 1, PACK_NEXT = 0x40, PACK_AGAIN = 0x80, PACK_OTHER = 0xC0 };
enum pack_time { PACK_TIME_SAME = 0, PACK_TIME_NEXT = 1, PACK_TIME_OTHER = 2 };
enum {
    PACK_TYPE = 0x3F,   /* of the first byte of an element */
    PACK_PACKED = 0x80, /* of the first byte of a record */
    PACK_FAR = 0xFF,    /* the board's difference does not fit a byte */
    PACK_CONTEXTS = 8192,
    PACK_CONTEXT_SHIFT = 32 - 13,
    PACK_BOARDS = 2048,
    PACK_BODY = BUS_HEADER_BYTES + BUS_MAX_PAYLOAD,
};
enum { AT_SRC = 1, AT_SEQ = 6, AT_TIME = 8, AT_LENGTH = 14, TIME_BYTES = 6 }; /* in a frame's header */
enum { FROM = 0, TO = 1 };
#define PACK_TIME_MASK ((UINT64_C(1) << 48) - 1)

/* The last frame of a type on a board, one way. A place is taken over by whoever needs it. */
struct pack_context {
    uint32_t key;         /* 0: empty */
    uint32_t wire_length; /* 0: no frame yet */
    uint64_t ahead;       /* its time less that of the tick, modulo 2^48 */
    uint8_t body[PACK_BODY], wire[BUS_MAX_WIRE];
};

struct pack {
    uint64_t t_us, dt_us;
    uint16_t board;                       /* of the last line */
    uint16_t next_seq[2][2][PACK_BOARDS]; /* way; with flight, with the bench; board */
    struct pack_context contexts[PACK_CONTEXTS];
};

/* Bytes read and written, both within bounds; `bad` sticks. */
struct pack_stream {
    const uint8_t *in, *in_end;
    uint8_t *out, *out_end;
    int bad;
};

void pack_put_le(uint8_t *out, uint64_t value, int n);
uint64_t pack_get_le(const uint8_t *in, int n);

void pack_put(struct pack_stream *s, const uint8_t *bytes, size_t n);
/* n bytes of what comes in; NULL when there are fewer. */
const uint8_t *pack_take(struct pack_stream *s, size_t n);
uint64_t pack_take_le(struct pack_stream *s, int n);

/* The place of a frame; its own afterwards. */
struct pack_context *pack_context_of(struct pack *p, int way, uint16_t board, uint8_t type);
/* The sequence that is expected next, of a frame with this header. */
uint16_t *pack_seq_of(struct pack *p, int way, uint16_t board, const uint8_t *body);
uint64_t pack_time_of(const uint8_t *body);
void pack_remember(struct pack *p, struct pack_context *c, int way, uint16_t board, const uint8_t *body,
                   const uint8_t *wire, size_t wire_length);

#endif
