/* The solar array: parallel strings of cells in series, each a single diode with series resistance behind a
 * blocking diode. Strings in the same state are one class and solved once. Formulas: docs/physics.md. */
#ifndef PLANT_ARRAY_H
#define PLANT_ARRAY_H

#include "plant/interface.h"

struct plant_array_class {
    uint32_t strings; /* in this state; 0: none */
    double light;     /* share of the array's light */
    double shadow;    /* share of the cells in shadow */
    double vd;        /* last junction voltage: where the next solution starts */
};

struct plant_array {
    struct plant_config_array c;
    double a28_v, rs_ohm; /* of a whole string, fitted to the data sheet's points */
    double temp_k;
    struct plant_diode diode; /* at the temperature, in full light */
    double light;             /* flux on the cells over 1,361 W/m2 */
    uint32_t classes;
    struct plant_array_class of[PLANT_MAX_STRINGS];
    uint8_t open[PLANT_MAX_STRINGS], class_of[PLANT_MAX_STRINGS];
    double lost_light[PLANT_MAX_STRINGS], shadow[PLANT_MAX_STRINGS];
    int mixed;                        /* strings differ: maxima are searched, not followed */
    double mpp_v, mpp_w, mpp_vd;      /* of the array's terminals; junction voltage of a string there */
    double spill_vd;                  /* the same where the regulator last gave power away */
    double mixed_light, mixed_temp_k; /* conditions at which the mixed maximum was searched */
};

void plant_array_init(struct plant_array *a, const struct plant_config_array *c, double temp_k);
/* After a change of open, lost_light or shadow. */
void plant_array_regroup(struct plant_array *a);
/* New conditions: light (0 and up) and a->temp_k; finds the maximum-power point anew. */
void plant_array_update(struct plant_array *a, double light);
/* Strings that give current in light. */
uint32_t plant_array_live(const struct plant_array *a);
/* Current of the whole array in A at terminal voltage v >= 0. */
double plant_array_current(struct plant_array *a, double v);
double plant_array_class_current(struct plant_array *a, struct plant_array_class *k, double v);
/* Terminal voltage towards open circuit at which the array gives w (not above its maximum). */
double plant_array_voltage_for(struct plant_array *a, double w, double from_v);
/* One step of the array's temperature; power_w is drawn from its terminals. */
void plant_array_heat(struct plant_array *a, double light_w_m2, double ir_w_m2, double albedo_w_m2, double power_w,
                      double dt_s);

#endif
