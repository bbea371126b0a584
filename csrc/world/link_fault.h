/* Faults on a line, on flight's frames alone: TICK and DONE are the bench's own. Pure: the caller owns every byte, and
 * chance is a state of the fault, so that the same scenario gives the same bytes whatever back end the board is on.
 * A frame is what ends with a delimiter; bytes of a tick behind the last delimiter count as one more. Frames that only
 * hardware sends have a chance of their own and no counters, so that they change nothing for the others. Functions and
 * structs: world.cdef.h. */
#ifndef WORLD_LINK_FAULT_H
#define WORLD_LINK_FAULT_H

#include "world/world.h"

enum { LINK_FAULT_HELD_HEAD = 10 }; /* due_us u64, n u16 */

#endif
