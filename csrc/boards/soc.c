#include "boards/soc.h"

#include "boards/clamp.h"

#define US_PER_HOUR INT64_C(3600000000)
#define WARM_CDEG 2500
#define HOTTEST_CDEG 6000
#define COLDEST_CDEG (-4000)
#define REST_SHARE 50
#define TAPER_SHARE 20
#define MOST_C 20       /* greatest current, in capacities an hour */
#define REFILL_CPCT 200 /* below full, when charging starts again */

/* Share of the capacity that is usable at a temperature, in 1/100000. */
static int32_t usable_share(int32_t cdeg) {
    if (cdeg >= WARM_CDEG) {
        int32_t above = cdeg < HOTTEST_CDEG ? cdeg - WARM_CDEG : HOTTEST_CDEG - WARM_CDEG;
        return 100000 - above * 3 / 2; /* 3 % over 20 K */
    }
    int32_t below = cdeg > COLDEST_CDEG ? WARM_CDEG - cdeg : WARM_CDEG - COLDEST_CDEG;
    return 100000 - below * 64 / 9; /* 32 % over 45 K */
}

void soc_set_temperature(struct soc *s, int16_t cdeg) {
    int32_t share = usable_share(cdeg);
    if (share != s->share || s->usable_ma_us == 0) {
        s->share = share;
        s->usable_ma_us = s->capacity_ma_us / 100000 * share;
    }
}

void soc_set_capacity(struct soc *s, uint32_t capacity_mah) {
    uint32_t cpct = soc_cpct(s);
    int64_t capacity_ma_us = (int64_t)clamp_min_u32(capacity_mah, SOC_MAX_CAPACITY_MAH) * US_PER_HOUR;
    if (capacity_ma_us == s->capacity_ma_us) {
        return;
    }
    s->share = s->share == 0 ? 100000 : s->share;
    s->capacity_ma_us = capacity_ma_us;
    s->usable_ma_us = capacity_ma_us / 100000 * s->share;
    soc_set(s, cpct, (enum soc_trust)s->trust);
}

void soc_set(struct soc *s, uint32_t cpct, enum soc_trust trust) {
    s->charge_ma_us = s->usable_ma_us / SOC_FULL_CPCT * (int64_t)clamp_min_u32(cpct, SOC_FULL_CPCT);
    s->trust = (uint8_t)trust;
}

uint16_t soc_stored(const struct soc *s) {
    return s->capacity_ma_us == 0 ? 0 : (uint16_t)(s->charge_ma_us / (s->capacity_ma_us / SOC_FULL_CPCT));
}

void soc_restore(struct soc *s, uint16_t stored_cpct) {
    s->charge_ma_us = s->capacity_ma_us / SOC_FULL_CPCT * (int64_t)clamp_min_u32(stored_cpct, SOC_FULL_CPCT);
    s->trust = SOC_ESTIMATED;
}

uint16_t soc_cpct(const struct soc *s) {
    if (s->capacity_ma_us == 0 || s->trust == SOC_UNKNOWN) {
        return SOC_UNKNOWN_CPCT;
    }
    int64_t cpct = s->charge_ma_us / (s->usable_ma_us / SOC_FULL_CPCT);
    return cpct > SOC_FULL_CPCT ? SOC_FULL_CPCT : (uint16_t)cpct;
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

/* What no battery gives is a broken sensor's, and not counted. */
static void count(struct soc *s, uint32_t dt_us, int32_t batt_ma) {
    int64_t most_ma = s->capacity_ma_us / US_PER_HOUR * MOST_C;
    s->charge_ma_us += batt_ma <= most_ma && batt_ma >= -most_ma ? (int64_t)batt_ma * dt_us : 0;
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

static int is_small(const struct soc *s, int32_t batt_ma) {
    int32_t small_ma = share_ma(s, REST_SHARE);
    return batt_ma < small_ma && batt_ma > -small_ma;
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
    if (!is_small(s, batt_ma)) {
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

int soc_wants_rest(const struct soc *s) {
    return s->trust == SOC_UNKNOWN && s->wait_us < SOC_FIRST_WAIT_US;
}

/* The first estimate, from the terminal voltage of a battery that nobody loads or charges. The wait for that is limited
 * before capacity and curve are known (a board that nobody configures must charge), and once more after. */
static void estimate(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma) {
    int ready = s->capacity_ma_us != 0 && s->has_curve;
    if (ready != s->ready) {
        s->ready = (uint8_t)ready;
        s->wait_us = 0;
        s->rest_us = 0;
    }
    s->wait_us = clamp_add_u32(s->wait_us, dt_us);
    s->rest_us = is_small(s, batt_ma) ? clamp_add_u32(s->rest_us, dt_us) : 0;
    if (!ready) {
        return;
    }
    if (s->rest_us >= SOC_FIRST_REST_US || s->wait_us >= SOC_FIRST_WAIT_US) {
        soc_set(s, soc_from_voltage(s->ocv_mv, bus_mv), SOC_ESTIMATED);
        s->rest_us = 0;
    }
}

enum soc_news soc_step(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma, int constant_voltage) {
    if (s->trust == SOC_UNKNOWN || s->capacity_ma_us == 0) {
        estimate(s, dt_us, bus_mv, batt_ma);
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
