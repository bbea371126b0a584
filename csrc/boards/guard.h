/* The state of a board a second time, for memory whose bits flip: a microcontroller's has no error correction.
 *
 * Between two calls of board_receive nothing changes the state. So it is summed and copied when one is over, and looked
 * at before the next one: of state, copy and sum the two that agree are right. One flip anywhere, and any damage to one
 * of the three alone, is put right as if it had not been, and told in an event.
 *
 * What flips while the state is being worked on is seen only where no step changes it: who the board is, how it is
 * configured, and a lease. Each has a sum of its own in the state (boards/orders.h), which only such an order makes
 * anew: what does not fit it when the call is over is put back. What flips between that look and the copy is then in
 * both, and what flips in an order as it is executed is in no copy: the board must be booted again.
 *
 * guard: board_guard_words(kind) words of the caller's, beside the state. kind: BUS_BOARD_KIND_* from the caller, as
 * what the state says of itself may be what flipped. */
#ifndef DAWNLINE_BOARDS_GUARD_H
#define DAWNLINE_BOARDS_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "boards/board.h"

#define GUARD_HEAD_WORDS 2

/* Words that a guard takes: its head, and a copy; 0: no such kind. */
size_t board_guard_words(uint8_t kind);

/* After board_boot: whatever the state is, it is right. */
void board_guard_begin(const struct board *b, uint8_t kind, uint32_t *guard);

/* After every board_receive. 0, or -1: the board must be booted again. */
int board_guard_close(struct board *b, uint8_t kind, uint32_t *guard);

/* Before every board_receive. 0, or -1: it cannot be told what is right, and the board must be booted again. */
int board_guard_open(struct board *b, uint8_t kind, const uint32_t *guard);

#endif
