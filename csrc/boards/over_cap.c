#include "boards/over_cap.h"

#include "boards/clamp.h"

/* By the square of what is too much, less 5 %; at least 1/10. Power falls faster than the clock, but the cap may have
 * lowered the clock already, by how much is not known, and a lock bites only below that. */
static void lower(struct over_cap *o, uint32_t power_mw, uint32_t cap_mw, uint32_t clock_mhz, uint32_t clock_max_mhz) {
    uint32_t fit = (uint32_t)((uint64_t)clock_mhz * cap_mw / power_mw * cap_mw / power_mw * 95 / 100);
    o->clamp_mhz = (uint16_t)clamp_max_u32(fit, clamp_max_u32(clock_max_mhz / 10, 1));
}

static void raise_clock(struct over_cap *o, uint32_t clock_max_mhz) {
    uint32_t next = o->clamp_mhz + clamp_max_u32(clock_max_mhz / 16, 1);
    o->clamp_mhz = next >= clock_max_mhz ? 0 : (uint16_t)next;
}

void over_cap_step(struct over_cap *o, uint32_t dt_us, uint32_t power_mw, uint32_t cap_mw, uint16_t clock_mhz,
                   uint16_t clock_max_mhz) {
    uint32_t free_mhz = clock_mhz != 0 ? clock_mhz : clock_max_mhz;
    uint32_t now_mhz = o->clamp_mhz != 0 && o->clamp_mhz < free_mhz ? o->clamp_mhz : free_mhz;
    int falls = power_mw < o->last_mw - o->last_mw / 32;
    int over = power_mw > clamp_add_u32(cap_mw, cap_mw / 20) && !falls;
    int under = power_mw < cap_mw - cap_mw / 20;
    o->last_mw = power_mw;
    o->over_us = over ? clamp_add_u32(o->over_us, dt_us) : 0;
    o->under_us = under && o->clamp_mhz != 0 ? clamp_add_u32(o->under_us, dt_us) : 0;
    if (o->over_us > OVER_CAP_PATIENCE_US) {
        lower(o, power_mw, cap_mw, now_mhz, clock_max_mhz);
        o->over_us = 0;
    } else if (o->under_us >= OVER_CAP_RELEASE_US) {
        raise_clock(o, clock_max_mhz);
        o->under_us = OVER_CAP_RELEASE_US / 2;
    }
}
