/*
 * What passes between the world and a participant in one tick: bytes per board, in (board, sequence) order.
 *
 * A record is: u16 board index, u16 n (both little-endian), n bytes. The memory is the caller's.
 * Board index: 0 is the power board, 1 + i is node i.
 */
#ifndef DAWNLINE_BUS_BATCH_H
#define DAWNLINE_BUS_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct bus_batch {
    uint8_t *data;
    size_t used, capacity;
    uint32_t dropped; /* records that did not fit, since the batch was set up */
};

/* An empty batch over `capacity` bytes of the caller's. */
void bus_batch_init(struct bus_batch *b, uint8_t *data, size_t capacity);

/* Forgets the records; `dropped` stays. */
void bus_batch_clear(struct bus_batch *b);

/* Adds a record; 0, or BUS_ERR_LENGTH when it does not fit (it is then counted in `dropped`, and nothing else changes).
 */
int bus_batch_append(struct bus_batch *b, uint16_t board, const uint8_t *bytes, size_t n);

/*
 * Reads the record at *at (0 to begin with) and moves *at behind it. Returns 1, 0 at the end, or BUS_ERR_LENGTH when
 * the bytes from *at on are no record. *bytes points into the batch.
 */
int bus_batch_next(const struct bus_batch *b, size_t *at, uint16_t *board, const uint8_t **bytes, size_t *n);

/*
 * Who takes part in every tick beside the world; flight's loop is one. rx: bytes that boards sent it in this tick;
 * tx: bytes that it sends, delivered just before the next TICK. Returns 0, or non-zero to stop the run after this tick.
 */
typedef int (*bus_participant)(void *ctx, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx);

/* Bus address of a board index. */
uint16_t bus_address_of(uint16_t index);

/* Board index of a bus address; -1 when it is no board's. */
int bus_index_of(uint16_t address);

#endif
