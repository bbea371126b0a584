#include <math.h>
#include <string.h>

#include "plant/common.h"
#include "plant/thermal.h"

#define GROUP_SHARE 0.25 /* of a loop's heat capacity that sits in its groups' manifolds */

void plant_thermal_init(struct plant_thermal *t, const struct plant_config_thermal *c) {
    memset(t, 0, sizeof *t);
    t->c = *c;
    for (int i = 0; i < PLANT_MAX_GROUPS; i++) {
        t->group_k[i] = c->initial_c + PLANT_ZERO_C;
    }
    for (int i = 0; i < PLANT_MAX_LOOPS; i++) {
        t->loop_k[i] = t->panel_k[i] = c->initial_c + PLANT_ZERO_C;
    }
}

uint32_t plant_thermal_loop_of(const struct plant_thermal *t, uint32_t group) {
    return group * t->c.loops / t->c.groups;
}

/* Coolant and panel of one loop, linearised and implicit: stable for any dt, and what leaves one enters the other.
 *   C dT = heat - ua (T - P);  Cp dP = ua (T - P) + area (absorbed - eps sigma P^4) */
static void loop_step(struct plant_thermal *t, uint32_t l, double heat_w, double absorbed_w_m2, double dt_s) {
    const double area = t->c.radiator_m2 / t->c.loops, emit = t->c.emissivity * PLANT_SIGMA * area;
    const double ua = t->c.radiator_w_per_k / t->c.loops * (1 - t->lost_flow[l]);
    const double coolant = t->loop_k[l], p = t->panel_k[l], p3 = p * p * p;
    const double flow_w = ua * (coolant - p), out_w = emit * p3 * p - area * absorbed_w_m2;
    const double c = t->c.coolant_j_per_k * (1 - GROUP_SHARE) / dt_s, cp = t->c.capacity_j_per_m2_k * area / dt_s;
    const double a = c + ua, b = cp + ua + 4 * emit * p3, det = a * b - ua * ua;
    const double f = heat_w - flow_w, g = flow_w - out_w;
    const double d_coolant = (f * b + g * ua) / det, d_panel = (g * a + f * ua) / det;
    t->loop_k[l] = plant_clamp(coolant + d_coolant, 20, 1500);
    t->panel_k[l] = plant_clamp(p + d_panel, 20, 1500);
    t->radiated_j += (out_w + 4 * emit * p3 * d_panel) * dt_s;
}

void plant_thermal_step(struct plant_thermal *t, double absorbed_w_m2, double dt_s) {
    double heat_w[PLANT_MAX_LOOPS];
    for (uint32_t l = 0; l < t->c.loops; l++) {
        heat_w[l] = t->loop_w[l];
    }
    const double per_loop = (double)t->c.groups / t->c.loops;
    const double c = t->c.coolant_j_per_k * GROUP_SHARE / per_loop / dt_s;
    for (uint32_t g = 0; g < t->c.groups; g++) {
        const uint32_t l = plant_thermal_loop_of(t, g);
        const double flow = t->c.flow_w_per_k / t->c.groups * (1 - t->lost_flow[l]);
        const double d = (t->group_w[g] - flow * (t->group_k[g] - t->loop_k[l])) / (c + flow);
        t->group_k[g] = plant_clamp(t->group_k[g] + d, 20, 1500);
        heat_w[l] += t->group_w[g] - c * d; /* what it did not keep went on into the loop */
    }
    for (uint32_t l = 0; l < t->c.loops; l++) {
        loop_step(t, l, heat_w[l], absorbed_w_m2, dt_s);
    }
}
