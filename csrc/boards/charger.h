/* Constant-current, constant-voltage charging within the battery's temperatures. The regulation itself is electronics;
 * this sets its limits and tells which of them binds. */
#ifndef DAWNLINE_BOARDS_CHARGER_H
#define DAWNLINE_BOARDS_CHARGER_H

#include <stdint.h>

#define CHARGER_COLD_CDEG 50        /* at or below: no charge (half a kelvin above the limit of 0 degC) */
#define CHARGER_COLD_CLEAR_CDEG 200 /* at or above: again */
#define CHARGER_COOL_CDEG 1000      /* below: less current, down to a quarter at CHARGER_COLD_CDEG */
#define CHARGER_WARM_CDEG 4000      /* above: less current, down to a quarter at CHARGER_HOT_CDEG */
#define CHARGER_HOT_CDEG 4450       /* at or above: no charge (half a kelvin below the limit of 45 degC) */
#define CHARGER_HOT_CLEAR_CDEG 4250
#define CHARGER_HELD_CPCT 200  /* below the limit, when a held battery is charged again */
#define CHARGER_ROM_MA 1000    /* before a configuration: this current, and up to 2 % above the bus voltage */
#define CHARGER_SETTLE_STEPS 2 /* steps without a binding limit before the tracker goes on */

/* What one step needs to know. */
struct charger_inputs {
    uint32_t bus_mv, array_mv, wanted_mv; /* wanted: what the regulator was told to hold the array at */
    int32_t batt_ma;
    int16_t batt_cdeg;
    uint8_t array_present, temperature_bad, over_voltage;
    uint8_t soc_known, full, rest; /* rest: do not charge, the battery is being looked at */
    uint16_t soc_cpct;
    /* configuration */
    uint32_t max_ma, max_mv;
    uint16_t soc_limit_cpct; /* 10000: no limit but full */
};

struct charger {
    uint32_t charge_ma, charge_mv; /* limits for the electronics */
    uint8_t cold, hot, held;
    uint8_t limiting; /* BUS_CHARGE_MODE_CONSTANT_CURRENT, _VOLTAGE, or 0: the array is not limited */
    uint8_t settle_steps;
    uint8_t mode; /* BUS_CHARGE_MODE_*, sweep apart */
};

/* Takes one step. Returns BUS_CHARGE_MODE_TOO_COLD or _TOO_HOT when charging was just blocked, else 0. */
int charger_step(struct charger *c, const struct charger_inputs *in);

#endif
