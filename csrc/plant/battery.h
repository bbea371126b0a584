/* Li-ion pack: open-circuit voltage by charge, resistance by temperature, two polarisation pairs (RC). */
#ifndef PLANT_BATTERY_H
#define PLANT_BATTERY_H

#include "plant/common.h"
#include "plant/interface.h"

enum { PLANT_BATTERY_RC = 2 };

struct plant_battery {
    struct plant_config_battery c;
    double soc, v_v[PLANT_BATTERY_RC]; /* voltages over the polarisation pairs; positive while charging */
    double temp_k;
    double shorted_cells, lost_capacity; /* faults */
    /* from the temperature and the faults */
    double cells, at_temp_k, at_lost_capacity, r0_ohm, r_ohm[PLANT_BATTERY_RC], capacity_as;
    struct plant_decay slow[PLANT_BATTERY_RC], fast[PLANT_BATTERY_RC]; /* of the last two lengths of a step */
    double loss_j, step_loss_j;                                        /* since the start; since battery_heat */
};

void plant_battery_init(struct plant_battery *b, const struct plant_config_battery *c);
/* Recomputes what depends on temperature and faults; cheap while the temperature stands. */
void plant_battery_refresh(struct plant_battery *b);
/* Open-circuit voltage of the pack, and the terminal voltage without the drop over R0. */
double plant_battery_ocv_v(const struct plant_battery *b);
double plant_battery_emf_v(const struct plant_battery *b);
/* One electrical step at constant current i_a (positive charges). */
void plant_battery_step(struct plant_battery *b, double i_a, double dt_s);
/* One step of the temperature with heater_w; takes the losses since the last call as heat. */
void plant_battery_heat(struct plant_battery *b, double heater_w, double dt_s);
/* Energy: chemical (integral of OCV over charge, 0 at empty) and in the polarisation capacitances. */
double plant_battery_stored_j(const struct plant_battery *b);
double plant_battery_rc_j(const struct plant_battery *b);

#endif
