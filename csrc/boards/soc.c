#include "boards/soc.h"

#include "boards/clamp.h"

#define US_PER_HOUR INT64_C(3600000000)
#define REST_SHARE 50
#define TAPER_SHARE 20
#define REFILL_CPCT 200 /* below full, when charging starts again */

void soc_set_capacity(struct soc *s, uint32_t capacity_mah) {
    uint32_t cpct = soc_cpct(s);
    int64_t capacity_ma_us = (int64_t)clamp_min_u32(capacity_mah, SOC_MAX_CAPACITY_MAH) * US_PER_HOUR;
    if (capacity_ma_us == s->capacity_ma_us) {
        return;
    }
    s->capacity_ma_us = capacity_ma_us;
    soc_set(s, cpct, (enum soc_trust)s->trust);
}

void soc_set(struct soc *s, uint32_t cpct, enum soc_trust trust) {
    s->charge_ma_us = s->capacity_ma_us / SOC_FULL_CPCT * (int64_t)clamp_min_u32(cpct, SOC_FULL_CPCT);
    s->trust = (uint8_t)trust;
}

uint16_t soc_cpct(const struct soc *s) {
    if (s->capacity_ma_us == 0 || s->trust == SOC_UNKNOWN) {
        return SOC_UNKNOWN_CPCT;
    }
    return (uint16_t)(s->charge_ma_us / (s->capacity_ma_us / SOC_FULL_CPCT));
}

uint16_t soc_from_voltage(const uint32_t ocv_mv[static SOC_CURVE_POINTS], uint32_t mv) {
    if (mv <= ocv_mv[0]) {
        return 0;
    }
    for (unsigned i = 1; i < SOC_CURVE_POINTS; ++i) {
        if (mv < ocv_mv[i]) {
            uint64_t part = (uint64_t)(mv - ocv_mv[i - 1]) * 1000 / (ocv_mv[i] - ocv_mv[i - 1]);
            return (uint16_t)((i - 1) * 1000 + (unsigned)part);
        }
    }
    return SOC_FULL_CPCT;
}

static void count(struct soc *s, uint32_t dt_us, int32_t batt_ma) {
    s->charge_ma_us += (int64_t)batt_ma * dt_us;
    if (s->charge_ma_us < 0) {
        s->charge_ma_us = 0;
    } else if (s->charge_ma_us > s->capacity_ma_us) {
        s->charge_ma_us = s->capacity_ma_us;
    }
}

/* Largest current (mA) that is less than the capacity's 1 / share in an hour. */
static int32_t share_ma(const struct soc *s, int32_t share) {
    return (int32_t)(s->capacity_ma_us / US_PER_HOUR / share);
}

static enum soc_news anchor(struct soc *s, uint32_t bus_mv) {
    soc_set(s, s->has_curve ? soc_from_voltage(s->ocv_mv, bus_mv) : SOC_FULL_CPCT, SOC_ANCHORED);
    return SOC_ANCHORED_NOW;
}

static enum soc_news watch_taper(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma,
                                 int constant_voltage) {
    int tapers = constant_voltage && batt_ma >= 0 && batt_ma < share_ma(s, TAPER_SHARE);
    s->taper_us = tapers ? clamp_add_u32(s->taper_us, dt_us) : 0;
    if (s->taper_us < SOC_TAPER_US || s->full) {
        return SOC_NOTHING;
    }
    enum soc_news news = anchor(s, bus_mv);
    s->full = 1;
    s->full_cpct = soc_cpct(s);
    return news;
}

static enum soc_news watch_rest(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma) {
    int32_t small_ma = share_ma(s, REST_SHARE);
    if (batt_ma >= small_ma || batt_ma <= -small_ma) {
        s->rest_us = 0;
        s->rested = 0;
        return SOC_NOTHING;
    }
    s->rest_us = clamp_add_u32(s->rest_us, dt_us);
    if (!s->has_curve || s->rest_us < (s->rested ? SOC_REANCHOR_US : SOC_REST_US)) {
        return SOC_NOTHING;
    }
    s->rest_us = 0;
    s->rested = 1;
    return anchor(s, bus_mv);
}

enum soc_news soc_step(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma, int constant_voltage) {
    if (s->capacity_ma_us == 0) {
        return SOC_NOTHING;
    }
    if (s->trust == SOC_UNKNOWN && s->has_curve) {
        soc_set(s, soc_from_voltage(s->ocv_mv, bus_mv), SOC_ESTIMATED);
    }
    if (s->trust == SOC_UNKNOWN) {
        return SOC_NOTHING;
    }
    count(s, dt_us, batt_ma);
    s->full = (uint8_t)(s->full && soc_cpct(s) + REFILL_CPCT >= s->full_cpct);
    enum soc_news news = watch_taper(s, dt_us, bus_mv, batt_ma, constant_voltage);
    if (news == SOC_NOTHING) {
        news = watch_rest(s, dt_us, bus_mv, batt_ma);
    }
    return news;
}
