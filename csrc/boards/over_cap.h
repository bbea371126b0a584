/* A cap is not a draw: a node that is measured above its cap for long has its clock locked lower, until it fits. */
#ifndef DAWNLINE_BOARDS_OVER_CAP_H
#define DAWNLINE_BOARDS_OVER_CAP_H

#include <stdint.h>

#define OVER_CAP_PATIENCE_US 300000u /* above cap + 5 % for longer, and not on its way down: lower the clock */
#define OVER_CAP_RELEASE_US 2000000u /* below cap - 5 % for so long: raise it again, by steps */

struct over_cap {
    uint32_t over_us, under_us;
    uint32_t last_mw;
    uint16_t clamp_mhz; /* clock lock of this watch; 0: none */
};

/* power_mw was measured while cap_mw was in force; clock_mhz is the lock in force beside this one (0: free). */
void over_cap_step(struct over_cap *o, uint32_t dt_us, uint32_t power_mw, uint32_t cap_mw, uint16_t clock_mhz,
                   uint16_t clock_max_mhz);

#endif
