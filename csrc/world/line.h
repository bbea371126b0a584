/* One board's line, seen from the bench: what goes out in a tick, how what comes in is split between bench and flight,
 * and the ledger that is compared with the board's own count of the same bytes. */
#ifndef WORLD_LINE_H
#define WORLD_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "bus/bus_icd.h"
#include "bus/receiver.h"
#include "world/world.h"

/* Bytes in order; what does not fit is counted, never written. */
struct sink {
    uint8_t *bytes;
    size_t used, capacity;
    uint64_t dropped;
};
void sink_put(struct sink *s, const uint8_t *bytes, size_t n);

enum { LOG_TO_BOARD = 0, LOG_FROM_BOARD = 1, LOG_RECORD_BYTES = 13 };
/* One record of the hash log (world_take_log). */
void log_put(struct sink *log, uint64_t tick, uint16_t board, uint8_t direction, const uint8_t *bytes, size_t n);

/* Takes a DONE or done_channels of the open tick. Returns the flags of a DONE (BUS_DONE_FLAG_*; 0 for done_channels),
 * or -1 when the payload is malformed. */
typedef int (*line_done)(void *ctx, uint16_t board, const struct bus_frame *f);

/* What the two ends compare: everything but HELLO and HELLO_REQ. */
struct ledger {
    uint64_t tx_bytes, tx_frames, rx_bytes, rx_frames;
};

/* One epoch: from one boot of the board to the next. */
struct epoch {
    struct ledger base; /* the line's ledger where the epoch began */
    uint32_t boot_count;
    int known; /* 0: the bench joined in the middle of it; the first report sets the base */
    int32_t gap_rx_bytes, gap_rx_frames, gap_tx_bytes, gap_tx_frames; /* differences counted already */
    struct bus_link_report last;
};

struct line {
    uint16_t board, address;
    uint8_t kind;
    uint8_t external;
    uint8_t open;    /* TICK is out, DONE has not come; or booting */
    uint8_t booting; /* DONE told of a reset: the boot's HELLO is waited for, its end of the line is deaf until then */
    uint8_t fresh;   /* said a boot's HELLO since the last tick began: all pages next */
    uint8_t expect_set; /* expect_seq is valid */
    uint16_t bench_seq, expect_seq;
    uint64_t tick, t_us;         /* of the open tick */
    struct ledger ledger, begin; /* now; when the tick began */
    size_t tick_at, sent;        /* in out: where the TICK frames begin; what world_external_tx has given out */
    size_t later;                /* bytes at the end of `forward` that flight hears one tick later: what a boot says */
    struct sink out, forward, held, log;
    struct bus_receiver from_board, from_flight;
    struct bus_hello hello; /* the last; kind 0: not decodable */
    uint8_t said_hello;     /* since the board began to join */
    uint8_t new_hello;      /* not judged yet */
    struct epoch epoch;
    struct world_link stats;
    line_done done;
    void *done_ctx;
};

/* Forget what was half received or not yet sent; counters stay. The board begins to join. */
void line_restart(struct line *l);

/* A tick begins: the caller puts flight's bytes into `out`, line_flight_bytes counts and logs their frames, line_open
 * ends them (from then on the board is waited for), and the bench frames of the tick follow. */
void line_begin(struct line *l, uint64_t tick, uint64_t t_us);
void line_flight_bytes(struct line *l, struct sink *log);
void line_open(struct line *l);
void line_bench_frame(struct line *l, uint8_t type, const uint8_t *payload, size_t n, struct sink *log);

/* Bytes from the board. While a tick is open they are split up to DONE (when DONE tells of a reset, up to the boot's
 * HELLO), what is behind it is held for the next tick; while the board joins only HELLO is kept. log: where hash
 * records go. */
void line_receive(struct line *l, const uint8_t *bytes, size_t n, struct sink *log);

/* Takes what was held for this tick; scratch: LINE's size of memory to hold it meanwhile. */
void line_take_held(struct line *l, struct sink *scratch);

/* Gives out what flight hears of this tick: bytes at the beginning of `forward`, until line_forwarded takes them away.
 */
size_t line_to_flight(const struct line *l);
void line_forwarded(struct line *l);

/* Asks a board that is late again: appends the TICK frames of the open tick, flagged as repeated; or, to one that
 * boots, a HELLO_REQ. */
void line_ask_again(struct line *l);

/* Encodes a HELLO_REQ. Returns its length. */
size_t line_hello_request(struct line *l, uint8_t out[static BUS_MAX_WIRE]);

#endif
