/* Thermal throttle of a node: the cap falls linearly over the last kelvins below a limit, from the node's largest cap
 * to its floor at the limit itself. At the limit the floor is latched until it is cooler by a hysteresis; far above it
 * the accelerator must be halted. Temperatures in 0.01 degC. */
#ifndef DAWNLINE_BOARDS_THROTTLE_H
#define DAWNLINE_BOARDS_THROTTLE_H

#include <stdint.h>

#define THROTTLE_BAND_CDEG 150       /* below the limit, where throttling begins */
#define THROTTLE_HYSTERESIS_CDEG 200 /* of the latched floor and of the flags */
#define THROTTLE_HALT_CDEG 800       /* above the limit: not even the floor helps */
#define THROTTLE_RESUME_CDEG 1000    /* below the limit: a halted accelerator may boot again */
#define THROTTLE_HOLD_STEPS 10       /* impossible samples bridged by the last good one; then it is taken as hot */

/* One sensor (die or HBM) against its limit. */
struct throttle {
    int16_t cdeg; /* last sample that is possible */
    uint8_t bad_steps;
    uint8_t throttled, latched, halted;
};

/* Takes a sample against a limit and returns the cap that it allows, between floor_mw and max_mw. demand_mw is
 * the cap that would be in force without throttling: `throttled` tells whether the temperature binds. */
uint32_t throttle_step(struct throttle *h, int16_t cdeg, int16_t limit_cdeg, uint32_t floor_mw, uint32_t max_mw,
                       uint32_t demand_mw);

#endif
