/* State of charge by counting coulombs: an integer in mA * us, so that nothing drifts by rounding. It is anchored to
 * the battery's open-circuit curve after a rest, and at the end of a constant-voltage charge. */
#ifndef DAWNLINE_BOARDS_SOC_H
#define DAWNLINE_BOARDS_SOC_H

#include <stdint.h>

#define SOC_FULL_CPCT 10000
#define SOC_CURVE_POINTS 11
#define SOC_MAX_CAPACITY_MAH 100000000u
#define SOC_REST_US 300000000u      /* |I| < C/50 for so long: the terminals show the open-circuit voltage */
#define SOC_REANCHOR_US 3600000000u /* between two anchors in one rest */
#define SOC_TAPER_US 30000000u      /* constant voltage and I < C/20 for so long: charged */
#define SOC_FIRST_REST_US 2000000u  /* |I| < C/50 for so long is rest enough for a first estimate */
#define SOC_FIRST_WAIT_US 30000000u /* without such a rest the estimate is made anyway */
#define SOC_UNKNOWN_CPCT 5000       /* said while nothing is known */

enum soc_trust {
    SOC_UNKNOWN = 0,
    SOC_ESTIMATED = 1, /* from the terminal voltage after a short rest, or from before a reset */
    SOC_ANCHORED = 2,
};

struct soc {
    int64_t charge_ma_us;
    int64_t capacity_ma_us;            /* at 25 degC; 0: not configured */
    int64_t usable_ma_us;              /* of it, at the battery's temperature: what 100 % means */
    uint32_t ocv_mv[SOC_CURVE_POINTS]; /* at 0, 10 .. 100 % */
    uint32_t rest_us, taper_us;
    uint32_t wait_us; /* for a first estimate */
    int32_t share;    /* usable of the capacity, in 1/100000 */
    uint8_t has_curve, trust;
    uint8_t ready;  /* capacity and curve are known */
    uint8_t rested; /* anchored in this rest */
    uint8_t full;   /* the charge ended at full_cpct; until 2 % are gone */
    uint16_t full_cpct;
};

enum soc_news {
    SOC_NOTHING = 0,
    SOC_ANCHORED_NOW = 1,
};

/* Usable capacity at a temperature: .68 at -20, 1 at 25, .97 at 45 degC (3 Ah NCA cell). The charge stays. */
void soc_set_temperature(struct soc *s, int16_t cdeg);

/* Sets the capacity at 25 degC; keeps the share that is charged. */
void soc_set_capacity(struct soc *s, uint32_t capacity_mah);

/* Sets the state of charge (0.01 %), within 0..10000. */
void soc_set(struct soc *s, uint32_t cpct, enum soc_trust trust);

/* The charge as a share of the capacity at 25 degC (0.01 %), and back: what is kept over a reset, when the temperature
 * is not known yet. soc_restore makes the state of charge estimated. */
uint16_t soc_stored(const struct soc *s);
void soc_restore(struct soc *s, uint16_t stored_cpct);

/* State of charge in 0.01 %, rounded down. */
uint16_t soc_cpct(const struct soc *s);

/* State of charge (0.01 %) at an open-circuit voltage, linear between the curve's points. */
uint16_t soc_from_voltage(const uint32_t ocv_mv[static SOC_CURVE_POINTS], uint32_t mv);

/* 1 while a first estimate needs the battery to rest: do not charge. */
int soc_wants_rest(const struct soc *s);

/* Counts one step of batt_ma (positive charges). constant_voltage: the charger is at its voltage limit. Returns
 * any soc_news. */
enum soc_news soc_step(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma, int constant_voltage);

#endif
