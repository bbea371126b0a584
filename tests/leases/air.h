/* One way of a line: frames that are lost, doubled and late, each by itself, so that they also overtake each other. */
#ifndef LEASES_AIR_H
#define LEASES_AIR_H

#include <stddef.h>

#include "bus/frame.h"
#include "leases/scenario.h"

#define AIR_FRAMES 96

struct air_frame {
    uint64_t due; /* tick */
    uint16_t n;
    uint8_t bytes[BUS_MAX_WIRE];
};

struct air {
    struct air_frame frames[AIR_FRAMES];
    uint16_t count;
    uint64_t out_until; /* tick: nothing comes before */
    uint64_t trouble;   /* tick: last one for which a frame was missing */
};

/* Sends a frame that is due at a tick, as the scenario wills. Returns the tick in which its last copy comes; 0: never.
 */
uint64_t air_send(struct air *a, const struct scenario *s, uint64_t *random, struct tally *t, uint64_t due,
                  const uint8_t *bytes, size_t n);

/* The next frame that is due, or NULL. It is valid until the next call. */
const struct air_frame *air_next(struct air *a, uint64_t tick, struct air_frame *out);

#endif
