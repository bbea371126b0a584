/* The world: plant, bench and boards in lock-step. It owns simulated time and keeps score.
 *
 * One tick: the plant steps to the end of the period; every board gets flight's bytes of the tick before and a TICK;
 * boards step; barrier (all DONE); what boards sent to flight is delivered in (board, sequence) order; the participant
 * (flight's loop) steps once; its bytes wait for the next tick. Boards are mocks (csrc/boards in this process) or
 * external (their bytes travel through whoever calls world_external_*), mixed at will.
 *
 * Memory comes from the heap in world_create and nowhere else. Board index: 0 the power board, 1 + i node i. */
#ifndef WORLD_H
#define WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "boards/board.h"
#include "bus/batch.h"
#include "bus/bus_icd.h"
#include "bus/frame.h"

struct plant;
#include "world/world.cdef.h"

#endif
