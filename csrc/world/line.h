/* One board's line, seen from the bench: what goes out in a tick, how what comes in is split between bench and flight,
 * and what is sent again when the board does not answer. */
#ifndef WORLD_LINE_H
#define WORLD_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "bus/bus_icd.h"
#include "bus/receiver.h"
#include "world/account.h"
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

struct line;
enum { LINE_DONE_BAD = -1, LINE_DONE_INCOMPLETE = -2 };
/* Takes a DONE or done_channels of the open tick. Returns the flags of a DONE (BUS_DONE_FLAG_*; 0 for done_channels),
 * LINE_DONE_BAD when the payload is malformed, LINE_DONE_INCOMPLETE when pages that belong to the DONE are missing. */
typedef int (*line_done)(void *ctx, struct line *l, const struct bus_frame *f);

struct line {
    uint16_t board, address;
    uint8_t kind;
    uint8_t external;
    uint8_t open;    /* TICK is out, DONE has not come; or booting */
    uint8_t booting; /* DONE told of a reset: the boot's HELLO is waited for, its end of the line is deaf until then */
    uint8_t fresh;   /* said a boot's HELLO since the last tick began: all pages next */
    uint8_t hung;    /* by a fault: gets neither bytes nor TICK */
    uint8_t expect_set; /* expect_seq is valid */
    uint8_t damaged;    /* something arrived damaged since the TICK was last sent: perhaps the answer */
    uint8_t copies;     /* how often the TICK was sent again */
    uint8_t answered;   /* this boot has answered a TICK */
    uint8_t unsure;     /* a HELLO may have got lost, or it stood still: the next TICK comes behind a request */
    uint16_t bench_seq, expect_seq;
    uint64_t tick, t_us; /* of the open tick */
    uint64_t done_pages; /* pages of done_channels that arrived in it */
    struct account account;
    struct tally begin, asked; /* of the account's tx: when the tick began; behind its TICK as sent first */
    size_t tick_at, tick_end;  /* in out: the TICK frames */
    size_t sent;               /* in out: what world_external_tx has given out */
    size_t later;              /* bytes at the end of `forward` that flight hears one tick later: what a boot says */
    struct sink out, forward, held, log;
    struct bus_receiver from_board, from_flight;
    struct bus_hello hello; /* the last; kind 0: not decodable */
    uint8_t said_hello;     /* since the board began to join */
    uint8_t new_hello;      /* not judged yet */
    uint8_t heard_boot;     /* the boot that the last HELLO tells of has said so itself */
    struct world_link stats;
    struct link_fault *link_faults;
    struct sensor_fault *sensor_faults;
    line_done done;
    void *done_ctx;
};

void line_init(struct line *l, uint16_t board, line_done done, void *done_ctx);

/* Forget what was half received or not yet sent; counters stay. The board begins to join. */
void line_restart(struct line *l);

/* The board has proven who it is, by its last HELLO: present from the next tick on. */
void line_admit(struct line *l);

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

/* Asks a board that is late again: puts the TICK frames of the open tick, flagged as repeated, behind what was given
 * out; or, to one that boots, a HELLO_REQ. */
void line_ask_again(struct line *l);

/* The line ended. */
void line_absent(struct line *l);

/* enum world_rx bits. */
int line_rx_state(const struct line *l);

/* Encodes a HELLO_REQ. Returns its length. */
size_t line_hello_request(struct line *l, uint8_t out[static BUS_MAX_WIRE]);

#endif
