#include "boards/shed.h"

#include <string.h>

#include "boards/clamp.h"

static int is_sound(const struct bus_shed_tier *tiers, uint8_t count) {
    for (unsigned i = 0; i < count; ++i) {
        if (tiers[i].leave_cpct <= tiers[i].enter_cpct) {
            return 0;
        }
        if (i > 0 && (tiers[i].enter_cpct > tiers[i - 1].enter_cpct || tiers[i].enter_mv > tiers[i - 1].enter_mv)) {
            return 0;
        }
    }
    return count <= SHED_TIERS;
}

int shed_load(struct shed *s, const struct bus_shed_tier *tiers, uint8_t count) {
    if (!is_sound(tiers, count)) {
        return -1;
    }
    memset(s->tiers, 0, sizeof s->tiers);
    memcpy(s->tiers, tiers, count * sizeof tiers[0]);
    memset(s->low_us, 0, sizeof s->low_us);
    s->high_us = 0;
    s->count = count;
    s->tier = (uint8_t)clamp_min_u32(s->tier, count);
    return 0;
}

static void try_enter(struct shed *s, uint32_t dt_us, int soc_known, uint16_t soc_cpct, uint32_t bus_mv) {
    for (unsigned i = 0; i < s->count; ++i) {
        int low = bus_mv < s->tiers[i].enter_mv || (soc_known && soc_cpct < s->tiers[i].enter_cpct);
        s->low_us[i] = low ? clamp_add_u32(s->low_us[i], dt_us) : 0;
        if (s->low_us[i] >= SHED_ENTER_US && s->tier < i + 1) {
            s->tier = (uint8_t)(i + 1);
            s->high_us = 0;
        }
    }
}

static void try_leave(struct shed *s, uint32_t dt_us, int soc_known, uint16_t soc_cpct, uint32_t bus_mv) {
    if (s->tier == 0) {
        return;
    }
    const struct bus_shed_tier *t = &s->tiers[s->tier - 1];
    int high = bus_mv >= t->enter_mv + t->enter_mv / SHED_MARGIN && (!soc_known || soc_cpct >= t->leave_cpct);
    s->high_us = high ? clamp_add_u32(s->high_us, dt_us) : 0;
    if (s->high_us >= SHED_LEAVE_US) {
        --s->tier;
        s->high_us = 0;
    }
}

uint8_t shed_step(struct shed *s, uint32_t dt_us, int soc_known, uint16_t soc_cpct, uint32_t bus_mv) {
    s->tier = (uint8_t)clamp_min_u32(s->tier, s->count);
    try_enter(s, dt_us, soc_known, soc_cpct, bus_mv);
    try_leave(s, dt_us, soc_known, soc_cpct, bus_mv);
    return s->tier;
}

int shed_hits(const struct shed *s, uint8_t channel_tier) {
    if (s->tier == 0 || channel_tier == SHED_NEVER) {
        return 0;
    }
    return s->tier == s->count || channel_tier <= s->tier;
}
