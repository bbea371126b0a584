/* The solar array: parallel strings of cells in series, each a single diode with series resistance behind a
 * blocking diode. Strings in the same state are one class and solved once. Formulas: docs/physics.md. */
#ifndef PLANT_ARRAY_H
#define PLANT_ARRAY_H

#include "plant/interface.h"

struct array_class {
    uint32_t strings; /* in this state; 0: none */
    double light;     /* share of the array's light */
    double shadow;    /* share of the cells in shadow */
    double vd;        /* last junction voltage: where the next solution starts */
};

struct array {
    struct plant_config_array c;
    double a28_v, rs_ohm; /* of a whole string, fitted to the data sheet's points */
    double temp_k;
    struct plant_diode diode; /* at the temperature, in full light */
    double light;             /* flux on the cells over 1,361 W/m2 */
    uint32_t classes;
    struct array_class of[PLANT_MAX_STRINGS];
    uint8_t open[PLANT_MAX_STRINGS], class_of[PLANT_MAX_STRINGS];
    double lost_light[PLANT_MAX_STRINGS], shadow[PLANT_MAX_STRINGS];
    int mixed;                        /* strings differ: maxima are searched, not followed */
    double mpp_v, mpp_w, mpp_vd;      /* of the array's terminals */
    double mixed_light, mixed_temp_k; /* conditions at which the mixed maximum was searched */
};

void array_init(struct array *a, const struct plant_config_array *c, double temp_k);
/* After a change of open, lost_light or shadow. */
void array_regroup(struct array *a);
/* New conditions: light (0 and up) and a->temp_k; finds the maximum-power point anew. */
void array_update(struct array *a, double light);
/* Current of the whole array in A at terminal voltage v >= 0. */
double array_current(struct array *a, double v);
double array_class_current(struct array *a, struct array_class *k, double v);
/* Terminal voltage towards open circuit at which the array gives w (not above its maximum). */
double array_voltage_for(struct array *a, double w, double from_v);
/* One step of the array's temperature; power_w is drawn from its terminals. */
void array_heat(struct array *a, double light_w_m2, double ir_w_m2, double albedo_w_m2, double power_w, double dt_s);

#endif
