#include "boards/charger.h"

#include "boards/clamp.h"
#include "bus/bus_icd.h"

/* Latches at one threshold, releases at another. */
static uint8_t latch(uint8_t was, int enter, int leave) {
    return (uint8_t)(enter || (was && !leave));
}

/* The current limit at a temperature: full in the middle, a quarter at the ends. */
static uint32_t derated_ma(uint32_t max_ma, int cdeg) {
    int distance, width;
    if (cdeg < CHARGER_COOL_CDEG) {
        distance = cdeg - CHARGER_COLD_CDEG;
        width = CHARGER_COOL_CDEG - CHARGER_COLD_CDEG;
    } else if (cdeg > CHARGER_WARM_CDEG) {
        distance = CHARGER_HOT_CDEG - cdeg;
        width = CHARGER_HOT_CDEG - CHARGER_WARM_CDEG;
    } else {
        return max_ma;
    }
    uint32_t part = distance > 0 ? (uint32_t)distance : 0;
    return max_ma / 4 + (uint32_t)((uint64_t)(max_ma - max_ma / 4) * part / (uint32_t)width);
}

static int watch_temperature(struct charger *c, const struct charger_inputs *in) {
    uint8_t was_cold = c->cold, was_hot = c->hot;
    c->cold = latch(c->cold, in->batt_cdeg <= CHARGER_COLD_CDEG, in->batt_cdeg >= CHARGER_COLD_CLEAR_CDEG);
    c->hot = latch(c->hot, in->batt_cdeg >= CHARGER_HOT_CDEG, in->batt_cdeg <= CHARGER_HOT_CLEAR_CDEG);
    if (c->cold && !was_cold) {
        return BUS_CHARGE_MODE_TOO_COLD;
    }
    return c->hot && !was_hot ? BUS_CHARGE_MODE_TOO_HOT : 0;
}

static void watch_charge(struct charger *c, const struct charger_inputs *in) {
    uint16_t limit_cpct = in->soc_limit_cpct;
    int above = in->soc_known && limit_cpct < 10000 && in->soc_cpct >= limit_cpct;
    int below = !in->soc_known || in->soc_cpct + CHARGER_HELD_CPCT <= limit_cpct;
    c->held = latch(c->held, above || in->full, below && !in->full);
}

/* Which limit of the last step's binds now. The array standing above its wanted voltage shows it as well. */
static uint8_t binding(const struct charger *c, const struct charger_inputs *in) {
    int32_t limit_ma = clamp_u32_to_i32(c->charge_ma);
    int32_t near_ma = limit_ma - (limit_ma / 50 > 20 ? limit_ma / 50 : 20);
    if (in->bus_mv >= c->charge_mv - c->charge_mv / 500) {
        return BUS_CHARGE_MODE_CONSTANT_VOLTAGE;
    }
    if (in->batt_ma >= near_ma) {
        return BUS_CHARGE_MODE_CONSTANT_CURRENT;
    }
    return in->array_mv > in->wanted_mv + in->wanted_mv / 64 ? BUS_CHARGE_MODE_CONSTANT_CURRENT : 0;
}

static void watch_limits(struct charger *c, const struct charger_inputs *in) {
    uint8_t now = in->array_present && c->charge_mv != 0 ? binding(c, in) : 0;
    if (now != 0) {
        c->limiting = now;
        c->settle_steps = CHARGER_SETTLE_STEPS;
    } else if (c->settle_steps > 0) {
        --c->settle_steps;
    } else {
        c->limiting = 0;
    }
}

static uint8_t mode_of(const struct charger *c, const struct charger_inputs *in) {
    if (!in->array_present) {
        return BUS_CHARGE_MODE_OFF;
    }
    if (c->cold) {
        return BUS_CHARGE_MODE_TOO_COLD;
    }
    if (c->hot || in->temperature_bad) {
        return BUS_CHARGE_MODE_TOO_HOT;
    }
    if (c->held) {
        return BUS_CHARGE_MODE_HELD;
    }
    return c->limiting != 0 ? c->limiting : BUS_CHARGE_MODE_MPPT;
}

int charger_step(struct charger *c, const struct charger_inputs *in) {
    int blocked = watch_temperature(c, in);
    watch_charge(c, in);
    watch_limits(c, in);
    int stops = c->cold || c->hot || c->held || in->temperature_bad || in->over_voltage || in->rest;
    c->charge_ma = stops ? 0 : derated_ma(in->max_ma, in->batt_cdeg);
    c->charge_mv = in->max_mv;
    c->mode = mode_of(c, in);
    return blocked;
}
