#include "world/world.h"

#include <stdlib.h>
#include <string.h>

#include "firmware_hash.h"
#include "plant/plant.h"
#include "world/state.h"
#include "world/tape.h"

static int on_done(void *ctx, struct line *l, const struct bus_frame *f) {
    struct world *w = ctx;
    return bench_done(&w->bench, l, f);
}

/* ---------------------------------------------------------------- creation */

static struct sink carve(uint8_t **at, size_t capacity) {
    struct sink s = {.bytes = *at, .capacity = capacity};
    *at += capacity;
    return s;
}

static int allocate(struct world *w) {
    size_t n = w->boards, log = LOG_TAKE_BYTES + n * LOG_BOARD_BYTES;
    size_t rx = n * (LINE_BYTES + 4) + (1 << 18), tx = n * 1024 + (1 << 18);
    w->lines = calloc(n, sizeof *w->lines);
    w->mocks = calloc(n, sizeof(struct mock *));
    w->bench.cap_mw = calloc(n, sizeof *w->bench.cap_mw);
    w->bench.channel_status = calloc(n, 1);
    w->judge.samples = calloc(SAMPLES, sizeof *w->judge.samples);
    w->memory = malloc(n * 5 * LINE_BYTES + log + rx + tx + 2 * LINE_BYTES);
    if (!w->lines || !w->mocks || !w->bench.cap_mw || !w->bench.channel_status || !w->judge.samples || !w->memory)
        return -1;
    uint8_t *at = w->memory;
    for (uint32_t i = 0; i < n; i++) {
        struct line *l = &w->lines[i];
        l->out = carve(&at, 2 * LINE_BYTES);
        l->forward = carve(&at, LINE_BYTES);
        l->held = carve(&at, LINE_BYTES);
        l->log = carve(&at, LINE_BYTES);
    }
    w->log = carve(&at, log);
    w->scratch = carve(&at, LINE_BYTES);
    w->passing = carve(&at, LINE_BYTES);
    bus_batch_init(&w->rx, at, rx);
    bus_batch_init(&w->tx, at + rx, tx);
    return 0;
}

struct world *world_create(const struct world_config *c, struct plant *plant) {
    if (c->nodes == 0 || c->nodes > MAX_NODES || c->dt_us == 0)
        return NULL;
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->config = *c;
    w->plant = plant;
    w->boards = c->nodes + 1;
    if (allocate(w)) {
        world_destroy(w);
        return NULL;
    }
    bench_init(&w->bench, plant, c->nodes, c->strings, c->dt_us);
    w->judge.sample_capacity = SAMPLES;
    judge_init(&w->judge, c);
    for (uint32_t i = 0; i < w->boards; i++)
        line_init(&w->lines[i], (uint16_t)i, on_done, w);
    return w;
}

void world_destroy(struct world *w) {
    if (w == NULL)
        return;
    for (uint32_t i = 0; w->mocks != NULL && i < w->boards; i++)
        mock_destroy(w->mocks[i]);
    free(w->lines);
    free(w->mocks);
    free(w->bench.cap_mw);
    free(w->bench.channel_status);
    free(w->judge.samples);
    free(w->memory);
    free(w);
}

/* ---------------------------------------------------------------- joining and leaving */

int world_join_external(struct world *w, uint32_t board) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state != WORLD_BOARD_ABSENT || w->in_tick)
        return WORLD_ERR_STATE;
    line_restart(l);
    l->external = 1;
    l->stats.state = WORLD_BOARD_JOINING;
    return WORLD_OK;
}

int world_join_mock(struct world *w, uint32_t board, const uint8_t *hardware_id, uint8_t reset_cause) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state != WORLD_BOARD_ABSENT || w->in_tick)
        return WORLD_ERR_STATE;
    if (w->mocks[board] == NULL)
        w->mocks[board] = mock_create(l->kind, l->address, hardware_id);
    struct mock *m = w->mocks[board];
    if (m == NULL)
        return WORLD_ERR_STATE;
    const uint8_t *bytes;
    line_restart(l);
    l->external = 0;
    l->stats.state = WORLD_BOARD_JOINING;
    tape_cut(w->tape, l->board, m);
    tape_boot(w->tape, l->board, reset_cause, mock_nvm(m));
    mock_boot(m, reset_cause);
    size_t n = mock_take(m, &bytes);
    tape_line(w->tape, TAPE_FROM_BOARD, l->board, bytes, n);
    line_receive(l, bytes, n, &l->log);
    return WORLD_OK;
}

int world_hello(const struct world *w, uint32_t board, struct bus_hello *hello) {
    const struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    *hello = l->hello;
    return l->said_hello;
}

int world_next_hello(struct world *w) {
    for (uint32_t i = 0; i < w->boards; i++) {
        struct line *l = &w->lines[i];
        if (l->external && l->new_hello && l->stats.state != WORLD_BOARD_ABSENT) {
            l->new_hello = 0;
            return (int)i;
        }
    }
    return -1;
}

int world_admit(struct world *w, uint32_t board) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state != WORLD_BOARD_JOINING || !l->said_hello || w->in_tick)
        return WORLD_ERR_STATE;
    line_admit(l);
    return WORLD_OK;
}

int world_absent(struct world *w, uint32_t board) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state == WORLD_BOARD_PRESENT) {
        l->stats.absences++;
        l->stats.absent_since_tick = w->tick;
        bench_release(&w->bench, (uint16_t)board);
    }
    if (l->stats.state != WORLD_BOARD_ABSENT)
        tape_absent(w->tape, l->board);
    l->stats.state = WORLD_BOARD_ABSENT;
    line_absent(l);
    return WORLD_OK;
}

size_t world_hello_request(struct world *w, uint32_t board, uint8_t *out) {
    struct line *l = line_of(w, board);
    if (l == NULL || l->stats.state != WORLD_BOARD_JOINING)
        return 0;
    size_t n = line_hello_request(l, out);
    tape_line(w->tape, TAPE_TO_BOARD, l->board, out, n);
    return n;
}

/* ---------------------------------------------------------------- the tick */

/* Hands flight's bytes of the last tick to the lines. */
static void deliver(struct world *w) {
    size_t at = 0, n;
    uint16_t board;
    const uint8_t *bytes;
    while (bus_batch_next(&w->tx, &at, &board, &bytes, &n) == 1) {
        struct line *l = line_of(w, board);
        if (l != NULL)
            sink_put(&l->out, bytes, n);
    }
    bus_batch_clear(&w->tx);
}

/* Those for a board that is not there, or stands still, end where its line ends. */
static void undelivered(struct line *l) {
    l->stats.undelivered_bytes += (uint32_t)l->out.used;
    l->out.used = 0;
}

static void tick_line(struct world *w, struct line *l) {
    if (l->link_faults != NULL)
        l->out.used = link_fault_pass(&l->link_faults, LINK_TO_BOARD, w->t_us, l->out.bytes, l->out.used, LINE_BYTES,
                                      w->scratch.bytes);
    if (l->stats.state != WORLD_BOARD_PRESENT || l->hung) {
        undelivered(l);
        return;
    }
    line_flight_bytes(l, &w->log);
    bench_tick(&w->bench, l, &w->log, l->fresh);
    line_take_held(l, &w->scratch);
}

int world_tick_begin(struct world *w) {
    if (w->in_tick)
        return WORLD_ERR_STATE;
    if (w->log.used > LOG_TAKE_BYTES || w->judge.sample_count == w->judge.sample_capacity || tape_is_full(w->tape))
        return WORLD_LOG_FULL;
    if (plant_step(w->plant, w->config.dt_us) != PLANT_OK)
        return WORLD_ERR_ORBIT;
    w->in_tick = 1;
    w->tick++;
    w->t_us += w->config.dt_us;
    tape_tick(w->tape, w->t_us);
    for (uint32_t i = 0; i < w->boards; i++)
        line_begin(&w->lines[i], w->tick, w->t_us);
    deliver(w);
    for (uint32_t i = 0; i < w->boards; i++)
        tick_line(w, &w->lines[i]);
    return WORLD_OK;
}

size_t world_external_tx(struct world *w, uint32_t board, const uint8_t **bytes) {
    struct line *l = line_of(w, board);
    if (l == NULL || !l->external || l->stats.state != WORLD_BOARD_PRESENT)
        return 0;
    size_t n = l->out.used - l->sent;
    *bytes = l->out.bytes + l->sent;
    l->sent = l->out.used;
    tape_line(w->tape, TAPE_TO_BOARD, l->board, *bytes, n);
    return n;
}

int world_external_rx(struct world *w, uint32_t board, const uint8_t *bytes, size_t n) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state != WORLD_BOARD_ABSENT) {
        tape_line(w->tape, TAPE_FROM_BOARD, l->board, bytes, n);
        line_receive(l, bytes, n, &l->log);
    }
    return line_rx_state(l);
}

int world_ask_again(struct world *w, uint32_t board, const uint8_t **bytes) {
    struct line *l = line_of(w, board);
    if (l == NULL || !l->open)
        return WORLD_ERR_STATE;
    line_ask_again(l);
    return (int)world_external_tx(w, board, bytes);
}

int world_is_waiting(const struct world *w, uint32_t board) {
    const struct line *l = line_of(w, board);
    return l != NULL && l->open && l->external;
}

uint32_t world_waiting(const struct world *w) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->boards; i++)
        n += (uint32_t)(w->lines[i].open && w->lines[i].external);
    return n;
}

/* A mock steps. One that dies of a fault on the way answers no TICK: its outputs fall, and its boot ends the tick. */
static void step_mock(struct world *w, struct line *l) {
    struct mock *m = w->mocks[l->board];
    const uint8_t *bytes;
    tape_cut(w->tape, l->board, m);
    tape_line(w->tape, TAPE_TO_BOARD, l->board, l->out.bytes, l->out.used);
    mock_receive(m, l->out.bytes, l->out.used);
    size_t n = mock_take(m, &bytes), said = m->died ? m->last_words : n;
    tape_line(w->tape, TAPE_FROM_BOARD, l->board, bytes, n);
    line_receive(l, bytes, said, &w->log);
    if (m->died) {
        bench_release(&w->bench, l->board);
        l->open = l->booting = 1;
        line_receive(l, bytes + said, n - said, &w->log);
    }
}

/* One line's bytes of this tick: a mock steps now; then the log and flight's batch get them. */
static void gather(struct world *w, struct line *l) {
    if (l->log.used) {
        sink_put(&w->log, l->log.bytes, l->log.used);
        l->log.used = 0;
    }
    if (!l->external && l->stats.state == WORLD_BOARD_PRESENT && !l->hung)
        step_mock(w, l);
    size_t n = line_to_flight(l);
    const uint8_t *bytes = l->forward.bytes;
    if (l->link_faults != NULL) {
        memcpy(w->passing.bytes, bytes, n);
        bytes = w->passing.bytes;
        n = link_fault_pass(&l->link_faults, LINK_FROM_BOARD, w->t_us, w->passing.bytes, n, LINE_BYTES,
                            w->scratch.bytes);
    }
    if (n)
        bus_batch_append(&w->rx, l->board, bytes, n);
    line_forwarded(l);
}

int world_tick_collect(struct world *w, const struct bus_batch **rx) {
    if (!w->in_tick)
        return WORLD_ERR_STATE;
    if (world_waiting(w))
        return WORLD_ERR_WAITING;
    bus_batch_clear(&w->rx);
    for (uint32_t i = 0; i < w->boards; i++)
        if (w->lines[i].stats.state != WORLD_BOARD_JOINING)
            gather(w, &w->lines[i]);
    judge_tick(&w->judge, w->plant, w->bench.cap_mw, w->t_us);
    *rx = &w->rx;
    return WORLD_OK;
}

struct bus_batch *world_answer(struct world *w) {
    return &w->tx;
}

int world_tick_commit(struct world *w) {
    w->in_tick = 0;
    return WORLD_OK;
}

int world_tick_end(struct world *w, bus_participant step, void *ctx) {
    const struct bus_batch *rx;
    int r = world_tick_collect(w, &rx);
    if (r != WORLD_OK)
        return r;
    int attention = step != NULL ? step(ctx, w->t_us, rx, &w->tx) : 0;
    world_tick_commit(w);
    return attention ? WORLD_ATTENTION : WORLD_OK;
}

int world_run(struct world *w, uint32_t max_ticks, bus_participant step, void *ctx, uint32_t *ticks_done) {
    *ticks_done = 0;
    while (*ticks_done < max_ticks) {
        int r = world_tick_begin(w);
        if (r == WORLD_OK)
            r = world_tick_end(w, step, ctx);
        if (r < 0 || r == WORLD_LOG_FULL)
            return r;
        ++*ticks_done;
        if (r == WORLD_ATTENTION)
            return r;
    }
    return WORLD_OK;
}

/* ---------------------------------------------------------------- what the world knows */

void world_set_tape(struct world *w, struct tape *tape) {
    w->tape = tape;
}

int world_in_tick(const struct world *w) {
    return w->in_tick;
}

uint64_t world_t_us(const struct world *w) {
    return w->t_us;
}

uint64_t world_tick(const struct world *w) {
    return w->tick;
}

int world_call(uintptr_t step, uintptr_t ctx, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx) {
    return ((bus_participant)step)((void *)ctx, t_us, rx, tx);
}

size_t world_take_log(struct world *w, const uint8_t **bytes) {
    size_t n = w->log.used;
    *bytes = w->log.bytes;
    w->log.used = 0;
    return n;
}

int world_link(const struct world *w, uint32_t board, struct world_link *out) {
    const struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    *out = l->stats;
    account_fill(&l->account, out);
    uint64_t dropped = l->out.dropped + l->forward.dropped + l->held.dropped + l->log.dropped;
    out->dropped_bytes = (uint32_t)(dropped + (w->mocks[board] ? w->mocks[board]->dropped : 0));
    return WORLD_OK;
}

void world_score(const struct world *w, struct world_score *out) {
    *out = w->judge.score;
    out->dropped_records = w->rx.dropped + w->tx.dropped;
    out->dropped_hash_bytes = w->log.dropped;
}

size_t world_take_samples(struct world *w, const struct world_sample **rows) {
    size_t n = w->judge.sample_count;
    *rows = w->judge.samples;
    w->judge.sample_count = 0;
    return n;
}

uint64_t world_icd_hash(void) {
    return BUS_ICD_HASH;
}

void world_firmware_hash(uint8_t *out) {
    static const uint8_t hash[8] = FIRMWARE_HASH;
    memcpy(out, hash, sizeof hash);
}
