/* Hang watch of an accelerator: its heartbeat stands still for too long while it is up. */
#ifndef DAWNLINE_BOARDS_HEARTBEAT_H
#define DAWNLINE_BOARDS_HEARTBEAT_H

#include <stdint.h>

#define HEARTBEAT_STREAK 3            /* hangs in a row that make a fault */
#define HEARTBEAT_HEALTHY_US 60000000 /* of beating that ends a streak */

struct heartbeat {
    uint16_t last;
    uint8_t watching; /* `last` is of the present life */
    uint8_t streak;
    uint32_t silent_us, healthy_us;
};

/* 1 when the accelerator has hung (once per hang; the streak counts it), else 0. up: the accelerator should beat. */
int heartbeat_step(struct heartbeat *h, uint32_t dt_us, uint16_t beat, int up, uint32_t hang_ms);

#endif
