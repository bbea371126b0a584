/* The clock of a board that flies by itself: its own time base, led by the times in the frames of flight.
 *
 * Before flight is heard it runs from 0 by itself. The first time heard sets it; later ones are followed by an eighth
 * of the difference each, and a difference of more than CLOCK_JUMP_US at once. It never goes back: when it is ahead it
 * stands still, until the time that leads it has come. */
#ifndef DAWNLINE_BOARDS_CLOCK_H
#define DAWNLINE_BOARDS_CLOCK_H

#include <stdint.h>

#define CLOCK_JUMP_US 1000000u

/* All zero to begin with. */
struct clock {
    uint64_t local_us; /* of the time base since the start, without its wraps */
    uint64_t t_us;     /* last given out */
    int64_t offset_us; /* of the led time to the local one */
    uint32_t last_us;  /* as the time base said it last */
    uint8_t led;       /* flight was heard */
};

/* flight said that it is flight_us, when the time base (which wraps at 32 bits) said base_us. */
void clock_follow(struct clock *c, uint64_t flight_us, uint32_t base_us);

/* The time now: never less than what the last call gave. To be called at least once in 71 minutes. */
uint64_t clock_now(struct clock *c, uint32_t base_us);

#endif
