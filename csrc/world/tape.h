/* The tape: what a recording holds, as records in memory, in the order in which it happened.
 *
 * A record is u8 kind, u32 n (little-endian), n bytes; enum tape_kind in world.cdef.h says what they are. Whoever holds
 * the tape takes the bytes away from time to time (tape_take); until then it grows. All functions take a NULL tape:
 * nothing is recorded. */
#ifndef WORLD_TAPE_H
#define WORLD_TAPE_H

#include <stddef.h>
#include <stdint.h>

#include "bus/batch.h"
#include "world/mock.h"
#include "world/world.h"

enum { TAPE_HEAD_BYTES = 5 };

void tape_tick(struct tape *t, uint64_t t_us);
void tape_line(struct tape *t, uint8_t kind, uint16_t board, const uint8_t *bytes, size_t n);
void tape_absent(struct tape *t, uint16_t board);
void tape_cut(struct tape *t, uint16_t board, const struct mock *m); /* nothing when no cut is armed */

#endif
