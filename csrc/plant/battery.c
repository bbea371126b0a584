#include <math.h>
#include <string.h>

#include "plant/battery.h"

enum { POINTS = PLANT_OCV_POINTS };
#define BELOW_EMPTY_V 20.0 /* slope of the OCV outside 0 to 1, V per unit of charge: the steep ends */
#define ABOVE_FULL_V 5.0
#define LEAST_CELL_V 0.5
#define ACTIVATION_K (19000.0 / 8.314462618) /* 19 kJ/mol over the gas constant */
#define R0_REFERENCE_K 298.0

/* R1/R0, R2/R0 and their time constants: 25 mOhm, 12 mOhm x 280 F, 4 mOhm x 1,900 F of a 3 Ah cell. */
static const double rc_ratio[PLANT_BATTERY_RC] = {12.0 / 25.0, 4.0 / 25.0};
static const double rc_tau_s[PLANT_BATTERY_RC] = {0.012 * 280, 0.004 * 1900};

/* Capacity over temperature: .68 at -20, 1 at 25, .97 at 45 degC. */
static double capacity_factor(double temp_c) {
    const double t = plant_clamp(temp_c, -40, 60);
    return t < 25 ? 1 - (25 - t) * (0.32 / 45) : 1 - (t - 25) * (0.03 / 20);
}

void plant_battery_init(struct plant_battery *b, const struct plant_config_battery *c) {
    memset(b, 0, sizeof *b);
    b->c = *c;
    b->soc = c->soc_initial;
    b->temp_k = c->temp_initial_c + PLANT_ZERO_C;
    b->at_temp_k = -1;
    plant_battery_refresh(b);
}

void plant_battery_refresh(struct plant_battery *b) {
    const double cells = fmax(b->c.series_cells - b->shorted_cells, 1);
    if (fabs(b->temp_k - b->at_temp_k) < 0.01 && cells == b->cells) {
        return;
    }
    const double before_j = b->capacity_as > 0 ? plant_battery_stored_j(b) + plant_battery_rc_j(b) : 0;
    b->at_temp_k = b->temp_k;
    b->cells = cells;
    b->r0_ohm = cells * b->c.cell_r0_ohm * exp(ACTIVATION_K * (1 / b->temp_k - 1 / R0_REFERENCE_K));
    for (int k = 0; k < PLANT_BATTERY_RC; k++) {
        b->r_ohm[k] = b->r0_ohm * rc_ratio[k];
    }
    const double capacity_as =
        3600 * b->c.capacity_ah * (1 - b->lost_capacity) * capacity_factor(b->temp_k - PLANT_ZERO_C);
    if (b->capacity_as > 0 && b->lost_capacity == b->at_lost_capacity) {
        b->soc *= b->capacity_as / capacity_as; /* heat moves the capacity, not the charge in it */
    }
    b->at_lost_capacity = b->lost_capacity;
    b->capacity_as = capacity_as;
    if (before_j > 0) {
        b->loss_j += before_j - plant_battery_stored_j(b) -
                     plant_battery_rc_j(b); /* what that takes or gives: no heat of ours */
    }
}

double plant_battery_ocv_v(const struct plant_battery *b) {
    const double *ocv = b->c.ocv_cell_v;
    double cell;
    if (b->soc <= 0) {
        cell = ocv[0] + BELOW_EMPTY_V * b->soc;
    } else if (b->soc >= 1) {
        cell = ocv[POINTS - 1] + ABOVE_FULL_V * (b->soc - 1);
    } else {
        const double x = b->soc * (POINTS - 1);
        const int i = (int)x;
        cell = ocv[i] + (x - i) * (ocv[i + 1] - ocv[i]);
    }
    return b->cells * fmax(cell, LEAST_CELL_V);
}

double plant_battery_emf_v(const struct plant_battery *b) {
    return plant_battery_ocv_v(b) + b->v_v[0] + b->v_v[1];
}

static const struct plant_decay *lag(struct plant_battery *b, int k, double dt_s) {
    struct plant_decay *d = dt_s > 0.001001 ? &b->slow[k] : &b->fast[k];
    plant_decay_set(d, dt_s, rc_tau_s[k]);
    return d;
}

void plant_battery_step(struct plant_battery *b, double i_a, double dt_s) {
    double loss = i_a * i_a * b->r0_ohm * dt_s;
    for (int k = 0; k < PLANT_BATTERY_RC; k++) {
        const struct plant_decay *d = lag(b, k, dt_s);
        const double end_v = i_a * b->r_ohm[k], away = b->v_v[k] - end_v, farads = rc_tau_s[k] / b->r_ohm[k];
        const double before = b->v_v[k];
        b->v_v[k] = end_v + away * d->keep;
        /* Taken in at the pair, less what its capacitance holds more: the resistor's heat, exactly. */
        const double taken = i_a * (end_v + away * d->mean) * dt_s;
        loss += taken - 0.5 * farads * (b->v_v[k] * b->v_v[k] - before * before);
    }
    const double moved = i_a * dt_s / b->capacity_as;
    if (i_a > 0) {
        loss += (1 - b->c.coulombic_efficiency) * i_a * plant_battery_ocv_v(b) * dt_s;
    }
    b->soc += i_a > 0 ? moved * b->c.coulombic_efficiency : moved;
    b->soc = plant_clamp(b->soc, -0.2, 1.2);
    b->step_loss_j += loss;
    b->loss_j += loss;
}

void plant_battery_heat(struct plant_battery *b, double heater_w, double dt_s) {
    const double g = b->c.sink_w_per_k, sink_k = b->c.sink_c + PLANT_ZERO_C, c = b->c.heat_capacity_j_per_k;
    const double heat_w = b->step_loss_j / dt_s + heater_w - g * (b->temp_k - sink_k);
    b->temp_k = plant_clamp(b->temp_k + dt_s * heat_w / (c + dt_s * g), 150, 450);
    b->step_loss_j = 0;
}

double plant_battery_stored_j(const struct plant_battery *b) {
    const double *ocv = b->c.ocv_cell_v, q = b->capacity_as * b->cells;
    const double inside = plant_clamp(b->soc, 0, 1), x = inside * (POINTS - 1);
    double v = 0;
    int i = 0;
    for (; i + 1 < POINTS && i + 1 <= x; i++) {
        v += 0.5 * (ocv[i] + ocv[i + 1]) / (POINTS - 1);
    }
    if (i + 1 < POINTS) {
        const double u = x - i;
        v += u * (ocv[i] + 0.5 * u * (ocv[i + 1] - ocv[i])) / (POINTS - 1);
    }
    const double under = fmin(b->soc, 0), over = fmax(b->soc - 1, 0);
    v += under * (ocv[0] + 0.5 * BELOW_EMPTY_V * under) + over * (ocv[POINTS - 1] + 0.5 * ABOVE_FULL_V * over);
    return v * q;
}

double plant_battery_rc_j(const struct plant_battery *b) {
    double e = 0;
    for (int k = 0; k < PLANT_BATTERY_RC; k++) {
        e += 0.5 * rc_tau_s[k] / b->r_ohm[k] * b->v_v[k] * b->v_v[k];
    }
    return e;
}
