/* The account of one board's line: both ends count what they send and what they receive, and every byte and frame that
 * one end has sent and the other has not received is named (docs/board-bus.md).
 *
 * An epoch lasts from one boot of the board to the next: there the board's counters begin at 0. What was sent since the
 * board last answered is in doubt: it may or may not have arrived. When the line ends, or the board boots, what is in
 * doubt counts as lost until the board's next link_report tells that it did arrive. */
#ifndef WORLD_ACCOUNT_H
#define WORLD_ACCOUNT_H

#include <stdint.h>

#include "bus/bus_icd.h"
#include "world/world.h"

struct tally {
    uint64_t bytes, frames;
};

struct epoch {
    struct tally tx_base, rx_base;                    /* the account where the board's counters were 0 */
    struct tally lost_at_reset;                       /* named when the epoch began, not proven yet */
    struct tally lost_to_board;                       /* named after outages, not proven yet */
    struct tally rx_slack;                            /* may have been heard before the HELLO that told of the boot */
    int32_t tx_bytes, tx_frames, rx_bytes, rx_frames; /* differences of the two ends that are named already */
    uint32_t missing_bytes, missing_frames;           /* of those, what only the board's hardware_report can explain */
    uint32_t hw_lost;                                 /* bytes that it does explain */
    uint32_t boot_count, damage_here;
    uint16_t damage_there;
    uint8_t hardware_id[12];
    uint8_t begun;
    uint8_t answered; /* since something was named: what is older than the answer does not arrive any more */
    uint8_t known;    /* 0: nobody heard the boot; its first report sets the bases */
    uint8_t outage;   /* since the last comparison */
    uint8_t compared;
    struct bus_link_report report;
    struct bus_hardware_report hardware;
};

struct account {
    struct tally tx, rx; /* since creation; everything but what stands outside (HELLO and its like) */
    struct tally proven; /* of tx: the board has answered what was sent behind it */
    struct epoch epoch;
    struct world_link *stats;
};

/* 1 when this is the board and the boot of the current epoch. */
int account_is_same(const struct account *a, const struct bus_hello *hello);

/* The board has answered a TICK; asked: of tx, up to it. */
void account_answered(struct account *a, const struct tally *asked);

/* A HELLO tells of a boot. at: of tx, what was on its way before it. heard: it is the boot's own. */
void account_boot(struct account *a, const struct bus_hello *hello, const struct tally *at, int heard);

/* The line ended; and is there again, with the boot of before. */
void account_outage(struct account *a);
void account_resume(struct account *a);

/* Compares the two ends. wire_length: of the report's own frame, which is in rx and not in the report. settled: nothing
 * was sent since the TICK whose step reports. */
void account_report(struct account *a, const struct bus_link_report *r, size_t wire_length, int settled);
void account_hardware(struct account *a, const struct bus_hardware_report *r);

/* Fills in what is not counted but follows from the account. */
void account_fill(const struct account *a, struct world_link *out);

#endif
