#include <math.h>

#include "plant/plant.h"

static double celsius(double k) {
    return k - PLANT_ZERO_C;
}

static void report_node(struct plant *p, uint32_t i, double dt_s, double bus_v) {
    const struct plant_node *n = &p->node[i];
    const struct plant_channel *c = &p->el.ch[i];
    struct plant_sensors_node *o = &p->node_out[i];
    struct plant_sensors_channel *s = &p->power_out.channel[i];
    double mean_a = 0, min_a = 0, max_a = 0;
    if (dt_s > 0) {
        mean_a = c->charge_as / dt_s;
        min_a = mean_a;
        max_a = mean_a;
        if (c->touched) { /* steady before and after: its extremes follow from the mean of what was left */
            min_a = fmin(c->min_a, mean_a);
            max_a = fmax(c->max_a, mean_a);
        } else if (mean_a > 0) {
            min_a = c->load_w / p->el.max_v;
            max_a = fmax(c->load_w / p->el.min_v, mean_a);
        }
    }
    o->bus_mv = c->connected ? (c->active ? c->v_v : bus_v) * 1000 : 0;
    o->mean_ma = mean_a * 1000;
    o->min_ma = min_a * 1000;
    o->max_ma = max_a * 1000;
    o->die_c = celsius(n->die_k);
    o->hbm_c = celsius(n->hbm_k);
    o->coolant_c = celsius(p->thermal.group_k[plant_group_of(p, i)]);
    o->work_mu = (uint32_t)(uint64_t)n->work_mu;
    o->heartbeat = (uint16_t)(n->awake_us / PLANT_NODE_HEARTBEAT_US);
    o->ecc_corrected = n->ecc_corrected;
    o->ecc_uncorrected = n->ecc_uncorrected;
    o->accel_state = n->state;
    s->mean_ma = mean_a * 1000;
    s->max_ma = max_a * 1000;
    s->status = c->status;
}

static void report_power(struct plant *p, double array_v, double array_w, double dt_s, double bus_v) {
    const struct plant_electronics *e = &p->el;
    struct plant_sensors_power *o = &p->power_out;
    o->bus_mv = bus_v * 1000;
    o->bus_min_mv = (dt_s > 0 ? e->min_v : bus_v) * 1000;
    o->bus_max_mv = (dt_s > 0 ? e->max_v : bus_v) * 1000;
    o->batt_ma = (dt_s > 0 ? e->charge_int / dt_s : 0) * 1000;
    o->batt_c = celsius(p->battery.temp_k);
    o->array_mv = array_v * 1000;
    o->array_ma = (array_w > 0 ? array_w / array_v : 0) * 1000;
    o->array_c = celsius(p->array.temp_k);
    o->hotel_ma = (dt_s > 0 ? e->hotel_j / dt_s / bus_v : 0) * 1000;
    o->flags = (e->uvlo_latched ? PLANT_FLAG_UVLO : 0) | (p->array.mpp_v > bus_v ? PLANT_FLAG_ARRAY : 0) |
               (e->over_voltage ? PLANT_FLAG_OVER_VOLTAGE : 0);
    double class_ma[PLANT_MAX_STRINGS];
    for (uint32_t k = 0; k < p->array.classes; k++) {
        const int live = array_w > 0 && p->array.of[k].light > 0;
        class_ma[k] = live ? 1000 * plant_array_class_current(&p->array, &p->array.of[k], array_v) : 0;
    }
    for (uint32_t s = 0; s < p->c.array.strings; s++) {
        o->string_ma[s] = class_ma[p->array.class_of[s]];
    }
}

static double largest_string_w(struct plant_array *a) {
    double best_a = 0;
    if (!a->mixed && a->mpp_w > 0) {
        return a->mpp_w / plant_array_live(a);
    }
    for (uint32_t k = 0; k < a->classes && a->mpp_w > 0; k++) {
        if (a->of[k].light > 0) {
            best_a = fmax(best_a, plant_array_class_current(a, &a->of[k], a->mpp_v));
        }
    }
    return best_a * a->mpp_v;
}

static void report_heat(struct plant *p) {
    struct plant_truth *t = &p->truth;
    t->die_max_c = t->hbm_max_c = t->coolant_max_c = -PLANT_ZERO_C;
    for (uint32_t i = 0; i < p->c.node.count; i++) {
        const double die_c = celsius(p->node[i].die_k);
        if (die_c > t->die_max_c) {
            t->die_max_c = die_c;
            t->die_max_node = i;
        }
        t->hbm_max_c = fmax(t->hbm_max_c, celsius(p->node[i].hbm_k));
    }
    for (uint32_t g = 0; g < p->c.thermal.groups; g++) {
        t->coolant_max_c = fmax(t->coolant_max_c, celsius(p->thermal.group_k[g]));
    }
    for (uint32_t l = 0; l < p->c.thermal.loops; l++) {
        t->radiator_c[l] = celsius(p->thermal.panel_k[l]);
        t->radiator_peak_c = fmax(t->radiator_peak_c, t->radiator_c[l]);
    }
    t->die_peak_c = fmax(t->die_peak_c, t->die_max_c);
    t->hbm_peak_c = fmax(t->hbm_peak_c, t->hbm_max_c);
    t->radiated_j = p->thermal.radiated_j;
    t->array_c = celsius(p->array.temp_k);
    t->batt_c = celsius(p->battery.temp_k);
}

static void report_energy(struct plant *p, double array_w, double dt_s) {
    struct plant_truth *t = &p->truth;
    const struct plant_electronics *e = &p->el;
    t->array_available_w = p->array.mpp_w;
    t->array_used_w = array_w;
    t->largest_string_w = largest_string_w(&p->array);
    t->array_available_j += p->array.mpp_w * dt_s;
    t->array_used_j += array_w * dt_s;
    t->converter_loss_j += array_w * dt_s - e->source_j;
    t->soc = p->battery.soc;
    t->batt_in_j += e->batt_in_j;
    t->batt_out_j += e->batt_out_j;
    t->batt_loss_j = p->battery.loss_j;
    t->batt_stored_j = plant_battery_stored_j(&p->battery);
    t->batt_rc_j = plant_battery_rc_j(&p->battery);
    t->nodes_j += e->nodes_j;
    t->hotel_j += e->hotel_j;
    t->heater_j += e->heater_j;
    t->inrush_j += e->inrush_j;
    t->uvlo_trips = e->uvlo_trips;
    t->lcl_trips = e->lcl_trips;
    t->brown_outs = e->brown_outs;
    t->batt_v = t->bus_v = e->bus_v;
    if (dt_s > 0) {
        t->batt_a = e->charge_int / dt_s;
        t->nodes_w = e->nodes_j / dt_s;
        t->hotel_w = e->hotel_j / dt_s;
        t->bus_min_v = fmin(t->bus_min_v, e->min_v);
    }
    t->bus_tick_min_v = dt_s > 0 ? e->min_v : e->bus_v;
}

static void report_sky(struct plant *p, double dt_s) {
    struct plant_truth *t = &p->truth;
    t->t_s = (double)p->t_us * 1e-6;
    for (int k = 0; k < 3; k++) {
        t->r_km[k] = p->sky.r_km[k];
        t->sun_unit[k] = p->sky.sun_unit[k];
    }
    t->sun_fraction = p->sky.sun_fraction;
    t->flux_w_m2 = p->sky.flux_w_m2;
    t->in_saa = p->sky.in_saa;
    t->eclipse_s += p->sky.sun_fraction < 0.5 ? dt_s : 0;
}

void plant_report(struct plant *p, double array_v, double array_w, double dt_s) {
    struct plant_truth *t = &p->truth;
    const double bus_v = dt_s > 0 ? p->el.v_int / p->el.dt_s : p->el.bus_v;
    report_sky(p, dt_s);
    report_energy(p, array_w, dt_s);
    report_heat(p);
    report_power(p, array_v, array_w, dt_s, bus_v);
    for (uint32_t i = 0; i < p->c.node.count; i++) {
        const struct plant_node *n = &p->node[i];
        report_node(p, i, dt_s, bus_v);
        t->work[i] += n->step_work;
        t->work_total += n->step_work;
        t->active_s_total += n->state == PLANT_NODE_ACTIVE ? dt_s : 0;
        t->node_j[i] += p->el.ch[i].energy_j;
        t->draw_w[i] = dt_s > 0 ? p->el.ch[i].energy_j / dt_s : 0;
    }
}
