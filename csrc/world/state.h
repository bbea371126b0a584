/* What the files that make up the world share. Nothing else includes it. */
#ifndef WORLD_STATE_H
#define WORLD_STATE_H

#include "world/bench.h"
#include "world/judge.h"
#include "world/line.h"
#include "world/mock.h"

enum {
    MAX_NODES = 1024,
    LINE_BYTES = 8192,        /* flight's bytes of one tick, its TICK, or what a board sends in one */
    LOG_TAKE_BYTES = 1 << 18, /* the log is taken when it holds so much */
    LOG_BOARD_BYTES = 12288,  /* room for one more tick, per board */
    SAMPLES = 1024,
};

struct world {
    struct world_config config;
    struct plant *plant;
    struct bench bench;
    struct judge judge;
    uint32_t boards;
    uint64_t tick, t_us;
    int in_tick;
    struct line *lines;
    struct mock **mocks;
    struct bus_batch rx, tx;
    struct sink log, scratch, passing;
    struct tape *tape; /* the caller's; NULL: nothing is recorded */
    uint8_t *memory;   /* every buffer of bytes, one block */
};

/* NULL: no such board. */
static inline struct line *line_of(const struct world *w, uint32_t board) {
    return board < w->boards ? &w->lines[board] : NULL;
}

#endif
