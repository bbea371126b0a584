/* Physics of the satellite: Sun, array, battery, electronics, accelerators, heat. Host only (double, libm).
 *
 * What always holds:
 *  1. plant_step uses no heap, no clock, no libc state and no chance but hashes of (seed, node, time);
 *  2. whatever the actuators, sensors and truth are finite;
 *  3. the bus balances in every sub-step: array used - converter loss = loads + battery terminals. */
#ifndef PLANT_H
#define PLANT_H

#include <stddef.h>
#include <stdint.h>

#include "plant/array.h"
#include "plant/battery.h"
#include "plant/electronics.h"
#include "plant/node.h"
#include "plant/interface.h"
#include "plant/sky.h"
#include "plant/thermal.h"

struct plant {
    struct plant_config c;
    const struct plant_orbit *orbit;
    uint64_t t_us, second; /* second: the next one to draw upsets for */
    struct plant_sky sky;
    struct plant_array array;
    struct plant_battery battery;
    struct plant_electronics el;
    struct plant_thermal thermal;
    struct plant_node_model model;
    struct plant_decay bleed;
    uint32_t planned[PLANT_MAX_NODES], n_planned; /* nodes with a transient in this second */
    struct plant_actuators_node node_in[PLANT_MAX_NODES];
    struct plant_actuators_power power_in;
    struct plant_sensors_node node_out[PLANT_MAX_NODES];
    struct plant_sensors_power power_out;
    struct plant_truth truth;
    struct plant_node node[PLANT_MAX_NODES];
};

/* Sensors and truth of the step of dt_s that ended (0: none was done yet). */
void plant_report(struct plant *p, double array_v, double array_w, double dt_s);
/* Cooling group of a node: equal numbers, in turn. */
uint32_t plant_group_of(const struct plant *p, uint32_t node);

#endif
