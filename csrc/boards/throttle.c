#include "boards/throttle.h"

#define LOWEST_CDEG (-15000)
#define HIGHEST_CDEG 20000

static void take_sample(struct throttle *h, int16_t cdeg, int16_t limit_cdeg) {
    if (cdeg >= LOWEST_CDEG && cdeg <= HIGHEST_CDEG) {
        h->cdeg = cdeg;
        h->bad_steps = 0;
    } else if (h->bad_steps < THROTTLE_HOLD_STEPS) {
        ++h->bad_steps;
    } else {
        h->cdeg = limit_cdeg;
    }
}

static uint32_t allowed(int below, uint32_t floor_mw, uint32_t max_mw) {
    if (below >= THROTTLE_BAND_CDEG || max_mw <= floor_mw) {
        return max_mw;
    }
    if (below <= 0) {
        return floor_mw;
    }
    return floor_mw + (uint32_t)((uint64_t)(max_mw - floor_mw) * (uint32_t)below / THROTTLE_BAND_CDEG);
}

uint32_t throttle_step(struct throttle *h, int16_t cdeg, int16_t limit_cdeg, uint32_t floor_mw, uint32_t max_mw,
                       uint32_t demand_mw) {
    take_sample(h, cdeg, limit_cdeg);
    int below = limit_cdeg - h->cdeg;
    if (below <= 0) {
        h->latched = 1;
    } else if (below >= THROTTLE_HYSTERESIS_CDEG) {
        h->latched = 0;
    }
    if (below <= -THROTTLE_HALT_CDEG) {
        h->halted = 1;
    } else if (below >= THROTTLE_RESUME_CDEG) {
        h->halted = 0;
    }
    uint32_t cap_mw = h->latched ? floor_mw : allowed(below, floor_mw, max_mw);
    if (cap_mw < demand_mw) {
        h->throttled = 1;
    } else if (below >= THROTTLE_BAND_CDEG + THROTTLE_HYSTERESIS_CDEG || cap_mw >= demand_mw + demand_mw / 16) {
        h->throttled = 0;
    }
    return cap_mw;
}
