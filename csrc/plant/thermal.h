/* Coolant and radiator: groups of cold plates -> two loops -> one panel each. */
#ifndef PLANT_THERMAL_H
#define PLANT_THERMAL_H

#include "plant/interface.h"

struct plant_thermal {
    struct plant_config_thermal c;
    double lost_flow[PLANT_MAX_LOOPS]; /* fault: 1 is a stopped pump */
    double group_k[PLANT_MAX_GROUPS], loop_k[PLANT_MAX_LOOPS], panel_k[PLANT_MAX_LOOPS];
    double group_w[PLANT_MAX_GROUPS]; /* in: heat from the cold plates of the group */
    double loop_w[PLANT_MAX_LOOPS];   /* in: heat of the power electronics and the rest of the bus */
    double radiated_j;
};

void plant_thermal_init(struct plant_thermal *t, const struct plant_config_thermal *c);
/* Loop that cools a group: the first half of the groups hangs on loop 0. */
uint32_t plant_thermal_loop_of(const struct plant_thermal *t, uint32_t group);
/* One step; absorbed_w_m2 on each emitting square metre of the panels. */
void plant_thermal_step(struct plant_thermal *t, double absorbed_w_m2, double dt_s);

#endif
