#include <math.h>
#include <string.h>

#include "plant/plant.h"

#define BLEED_TAU_S 0.05
#define SUB_STEP_US 1000
#define SAA_RATE 30         /* upsets are that much more frequent inside the South Atlantic Anomaly */
#define BUCK_HEADROOM_V 1.0 /* the array's regulator steps down: its input cannot go below the bus */

size_t plant_bytes(void) {
    return sizeof(struct plant);
}

struct plant_actuators_node *plant_node_in(struct plant *p) {
    return p->node_in;
}

struct plant_actuators_power *plant_power_in(struct plant *p) {
    return &p->power_in;
}

const struct plant_sensors_node *plant_node_out(const struct plant *p) {
    return p->node_out;
}

const struct plant_sensors_power *plant_power_out(const struct plant *p) {
    return &p->power_out;
}

const struct plant_truth *plant_truth_of(const struct plant *p) {
    return &p->truth;
}

double plant_dynamic_w(const struct plant *p, uint32_t node, int workload, uint64_t t_us) {
    if (node >= p->c.node.count || workload < 1 || workload >= PLANT_WORKLOADS) {
        return 0;
    }
    struct plant_node n = p->node[node]; /* its cache of what the data does is of another time */
    return plant_node_dynamic_w(&n, &p->model, node, workload, t_us);
}

double plant_efficiency(const struct plant *p, uint32_t node) {
    return node < p->c.node.count ? p->node[node].efficiency : 0;
}

uint32_t plant_group_of(const struct plant *p, uint32_t node) {
    return node % p->c.thermal.groups;
}

/* Array in radiative balance with what shines on it, nothing drawn: where a flight starts. */
static double array_rest_k(const struct plant_config_array *c, const struct plant_sky *s) {
    const double in = c->absorptance * (s->flux_w_m2 * s->sun_fraction + 2 * s->albedo_w_m2) +
                      (c->emittance_front + c->emittance_back) * s->ir_w_m2;
    return sqrt(sqrt(fmax(in, 1) / ((c->emittance_front + c->emittance_back) * PLANT_SIGMA)));
}

int plant_init(struct plant *p, const struct plant_config *c, const struct plant_orbit *orbit, uint64_t t_us) {
    memset(p, 0, sizeof *p);
    p->c = *c;
    p->orbit = orbit;
    p->t_us = t_us;
    p->second = t_us / 1000000u + 1;
    if (plant_sky_at(orbit, (double)t_us * 1e-6, &p->sky) != PLANT_OK) {
        return PLANT_ERR_ORBIT;
    }
    plant_array_init(&p->array, &c->array, array_rest_k(&c->array, &p->sky));
    plant_array_update(&p->array, p->sky.flux_w_m2 * p->sky.sun_fraction / PLANT_SOLAR_W_M2);
    plant_battery_init(&p->battery, &c->battery);
    plant_electronics_init(&p->el, c->node.count, c->bus.hotel_w, c->node.input_capacitance_uf * 1e-6,
                           c->node.input_min_v, c->battery.series_cells, plant_battery_ocv_v(&p->battery));
    plant_electronics_begin(&p->el);
    plant_thermal_init(&p->thermal, &c->thermal);
    plant_node_model_init(&p->model, &c->node, c->seed);
    for (uint32_t i = 0; i < c->node.count; i++) {
        plant_node_init(&p->node[i], &p->model, i, c->thermal.initial_c + PLANT_ZERO_C);
    }
    p->truth.bus_min_v = p->el.bus_v;
    p->truth.die_peak_c = p->truth.hbm_peak_c = p->truth.radiator_peak_c = -PLANT_ZERO_C;
    plant_report(p, plant_array_voltage_for(&p->array, 0, 0), 0, 0);
    return PLANT_OK;
}

/* ------------------------------------------------------------------ the parts of a step */

/* Draws the chances of every second that begins before `until`. */
static void draw_seconds(struct plant *p, uint64_t until_us) {
    for (; p->second * 1000000u < until_us; p->second++) {
        p->n_planned = 0;
        for (uint32_t i = 0; i < p->c.node.count; i++) {
            plant_node_second(&p->node[i], &p->model, i, p->second, p->sky.in_saa ? SAA_RATE : 1);
            if (p->node[i].transient_us != UINT64_MAX) {
                p->planned[p->n_planned++] = i;
            }
        }
    }
}

static void set_regulator(struct plant *p) {
    struct plant_electronics *e = &p->el;
    const struct plant_actuators_power *in = &p->power_in;
    e->charge_a = plant_clamp(in->charge_a, 0, 1e6);
    e->charge_v = plant_clamp(in->charge_v, 0, 1e5);
    e->uvlo_v = plant_clamp(in->uvlo_v, 0, 1e5);
    e->heater_w = in->heater ? p->c.battery.heater_w : 0;
    if (in->clear_latches) {
        e->uvlo_latched = 0;
    }
}

/* Nodes act on their commands; channels get their settings and loads. */
static void step_nodes(struct plant *p, uint32_t dt_us) {
    struct plant_electronics *e = &p->el;
    const double bus_v = fmax(e->bus_v, 1);
    plant_decay_set(&p->bleed, dt_us * 1e-6, BLEED_TAU_S);
    for (uint32_t i = 0; i < p->c.node.count; i++) {
        plant_electronics_setting(e, i, &p->power_in.channel[i], p->bleed.keep);
    }
    plant_electronics_begin(e);
    for (uint32_t i = 0; i < p->c.node.count; i++) {
        struct plant_node *n = &p->node[i];
        plant_node_step(n, &p->model, i, &p->node_in[i], e->ch[i].powered, p->t_us, dt_us);
        plant_electronics_load(e, i, n->mean_w, n->latch_up_a / bus_v);
    }
}

/* Gives the nodes inside a transient their factor and makes them active; returns when the next transient begins. */
static uint64_t wake_transients(struct plant *p, uint64_t now_us, uint64_t end_us) {
    uint64_t next_us = end_us;
    for (uint32_t k = 0; k < p->n_planned; k++) {
        const uint32_t i = p->planned[k];
        const struct plant_node *n = &p->node[i];
        if (n->transient_us > now_us) {
            next_us = n->transient_us < next_us ? n->transient_us : next_us;
            continue;
        }
        p->el.ch[i].load_factor = plant_node_transient(n, &p->model, now_us);
        if (p->el.ch[i].load_factor != 1) {
            plant_electronics_wake(&p->el, i);
        }
    }
    return next_us;
}

static void run_electronics(struct plant *p, uint32_t dt_us) {
    const uint64_t end_us = p->t_us + dt_us;
    uint64_t now_us = p->t_us;
    while (now_us < end_us) {
        uint64_t next_us = wake_transients(p, now_us, end_us);
        if (plant_electronics_moving(&p->el) && next_us - now_us > SUB_STEP_US) {
            next_us = now_us + SUB_STEP_US;
        }
        const double h_s = plant_electronics_advance(&p->el, &p->battery, (double)(next_us - now_us) * 1e-6);
        now_us += (uint64_t)(h_s * 1e6 + 0.5);
    }
}

static double flow_share(const struct plant *p, uint32_t loop) {
    double all = 0;
    for (uint32_t l = 0; l < p->c.thermal.loops; l++) {
        all += 1 - p->thermal.lost_flow[l];
    }
    return all > 0 ? (1 - p->thermal.lost_flow[loop]) / all : 1.0 / p->c.thermal.loops;
}

static void step_heat(struct plant *p, double array_w, double dt_s) {
    struct plant_thermal *t = &p->thermal;
    struct plant_electronics *e = &p->el;
    memset(t->group_w, 0, sizeof t->group_w);
    for (uint32_t i = 0; i < p->c.node.count; i++) {
        const uint32_t g = plant_group_of(p, i);
        plant_electronics_settle(e, i);
        t->group_w[g] += plant_node_heat(&p->node[i], &p->model, plant_thermal_loop_of(t, g), t->group_k[g],
                                         e->ch[i].energy_j / dt_s, dt_s);
    }
    const double rest_w = (e->hotel_j + e->inrush_j + e->source_j * (1 / p->c.array.converter_efficiency - 1)) / dt_s;
    for (uint32_t l = 0; l < p->c.thermal.loops; l++) {
        t->loop_w[l] = rest_w * flow_share(p, l);
    }
    plant_thermal_step(
        t, p->c.thermal.emissivity * p->sky.ir_w_m2 + p->c.thermal.absorptance_solar * p->sky.albedo_w_m2, dt_s);
    plant_battery_heat(&p->battery, e->heater_j / dt_s, dt_s);
    plant_battery_refresh(&p->battery);
    plant_array_heat(&p->array, p->sky.flux_w_m2 * p->sky.sun_fraction, p->sky.ir_w_m2, p->sky.albedo_w_m2, array_w,
                     dt_s);
}

int plant_step(struct plant *p, uint32_t dt_us) {
    if (dt_us == 0 || dt_us > PLANT_MAX_DT_US) {
        return PLANT_ERR_DT;
    }
    const uint64_t end_us = p->t_us + dt_us;
    const double dt_s = dt_us * 1e-6;
    if (plant_sky_at(p->orbit, (double)end_us * 1e-6, &p->sky) != PLANT_OK) {
        return PLANT_ERR_ORBIT;
    }
    plant_array_update(&p->array, p->sky.flux_w_m2 * p->sky.sun_fraction / PLANT_SOLAR_W_M2);
    for (uint32_t l = 0; l < p->c.thermal.loops; l++) {
        plant_node_flow(&p->model, l, p->thermal.lost_flow[l], dt_s);
    }
    draw_seconds(p, end_us);
    set_regulator(p);
    step_nodes(p, dt_us);
    double array_v = fmax(plant_clamp(p->power_in.array_v, 0, 1e5), p->el.bus_v + BUCK_HEADROOM_V);
    double array_w = array_v * plant_array_current(&p->array, array_v);
    p->el.source_max_w = array_w * p->c.array.converter_efficiency;
    run_electronics(p, dt_us);
    const double used_w = p->el.source_j / dt_s / p->c.array.converter_efficiency;
    if (used_w < array_w * (1 - 1e-9)) { /* the regulator went towards open circuit */
        array_w = used_w;
        array_v = plant_array_voltage_for(&p->array, used_w, array_v);
    }
    step_heat(p, array_w, dt_s);
    p->t_us = end_us;
    plant_report(p, array_v, array_w, dt_s);
    return PLANT_OK;
}
