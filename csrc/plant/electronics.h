/* The fast electronics: bus, array regulator, one latching current limiter per node, under-voltage latch.
 *
 * A channel is steady when its limiter passes all that its load wants: then it is one constant-power load among the
 * others and costs nothing per sub-step. While its input capacitance charges, its limiter limits, its load jumps or it
 * is latched up it is active: then time goes in 1 ms sub-steps. */
#ifndef PLANT_ELECTRONICS_H
#define PLANT_ELECTRONICS_H

#include "plant/battery.h"
#include "plant/common.h"
#include "plant/interface.h"

enum { PLANT_CHANNEL_ON = 1, PLANT_CHANNEL_LIMITING = 2, PLANT_CHANNEL_TRIPPED = 4 };
enum { PLANT_FLAG_UVLO = 1, PLANT_FLAG_ARRAY = 2, PLANT_FLAG_OVER_VOLTAGE = 4 };

struct plant_channel {
    uint8_t connected, tripped, active, powered; /* powered: the input voltage is up, the accelerator may run */
    uint8_t status;                              /* bits seen during the step */
    uint8_t touched;                             /* was active during the step */
    double limit_a, trip_s;
    double load_w, load_factor; /* constant power; factor: of a transient, now */
    double leak_s;              /* conductance of a latch-up */
    double v_v, over_s;         /* input capacitance; time in limitation so far */
    double i_a, charge_as, energy_j, inverse_mark, time_mark, min_a, max_a;
};

struct plant_bus_state {
    double v_v, batt_a, source_w, load_scale; /* load_scale: below 1 when the bus collapses under its loads */
    int over_voltage;
};

struct plant_electronics {
    uint32_t channels;
    double hotel_w, input_f, input_min_v, cells;
    struct plant_channel ch[PLANT_MAX_NODES];
    uint32_t active[PLANT_MAX_NODES], n_active;
    double steady_w; /* all steady channels */
    double bus_v, scan_v, under_s;
    int uvlo_latched;
    /* inputs of the step */
    double source_max_w, charge_a, charge_v, uvlo_v, heater_w;
    /* integrals and extremes over the step */
    double dt_s, v_int, inverse_int, time_int, charge_int, source_j, batt_in_j, batt_out_j, hotel_j, heater_j, nodes_j;
    double inrush_j, min_v, max_v;
    int over_voltage;
    uint32_t uvlo_trips, lcl_trips, brown_outs;
};

void plant_electronics_init(struct plant_electronics *e, uint32_t channels, double hotel_w, double input_f,
                            double input_min_v, double cells, double bus_v);
/* Operating point of the bus. emf_v behind r_ohm; loads: constant power load_w and constant current load_a; the source
 * gives up to source_max_w within the charge current and voltage limits. Solved in closed form. */
struct plant_bus_state plant_bus_solve(double emf_v, double r_ohm, double source_max_w, double load_w, double load_a,
                                       double charge_a, double charge_v, double over_v);
/* A step begins: takes a channel's settings, connects or opens it. bleed: what an open input capacitance keeps. */
void plant_electronics_setting(struct plant_electronics *e, uint32_t i, const struct plant_actuators_channel *in,
                               double bleed);
/* The load of a channel for this step. */
void plant_electronics_load(struct plant_electronics *e, uint32_t i, double load_w, double leak_s);
void plant_electronics_begin(struct plant_electronics *e);
/* Makes a steady channel active. */
void plant_electronics_wake(struct plant_electronics *e, uint32_t i);
int plant_electronics_moving(const struct plant_electronics *e);
/* One sub-step of at most h_s; returns how long it was (shorter when the bus falls below the latch). */
double plant_electronics_advance(struct plant_electronics *e, struct plant_battery *b, double h_s);
/* Mean current, and energy into the load of channel i, over the step so far. */
void plant_electronics_settle(struct plant_electronics *e, uint32_t i);

#endif
