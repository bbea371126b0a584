/* The bench: what the plant's sensors say, quantised into TICK frames, and what DONE frames tell its actuators. */
#ifndef WORLD_BENCH_H
#define WORLD_BENCH_H

#include <stdint.h>

#include "bus/receiver.h"
#include "world/line.h"

struct plant;

struct bench {
    struct plant *plant;
    uint32_t nodes, strings, dt_us;
    uint16_t channel_page, string_page; /* whose turn it is */
    uint8_t *channel_status;            /* as last sent, per channel */
    uint32_t *cap_mw;                   /* caps in force: of each node's last DONE */
};

void bench_init(struct bench *b, struct plant *plant, uint32_t nodes, uint32_t strings, uint32_t dt_us);

/* Builds the TICK of a line and opens it. all_pages: the board has not had any page yet. */
void bench_tick(struct bench *b, struct line *l, struct sink *log, int all_pages);

/* Takes DONE or done_channels of a board: the plant's actuators. As line_done. */
int bench_done(struct bench *b, struct line *l, const struct bus_frame *f);

/* A board is gone: a node's lines fall (accelerator off); the power board's latching switches and regulator stay. */
void bench_release(struct bench *b, uint16_t board);

#endif
