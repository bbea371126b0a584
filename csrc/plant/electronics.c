#include <math.h>
#include <string.h>

#include "plant/electronics.h"

#define SUB_STEP_S 0.001
#define UVLO_S 0.002         /* the latch waits for that long */
#define POWER_GOOD 0.98      /* of the bus: the input capacitance counts as charged */
#define OVER_V_PER_CELL 4.25 /* hardware limit of the regulator, whatever it is told */
#define HOTEL_FULL_V 2.6     /* per cell; below, the hotel's converters give up, at HOTEL_OFF_V they are off */
#define HOTEL_OFF_V 2.3
#define LEAST_BUS_V 0.5
#define SHORT_SHARE 0.9 /* of the short-circuit current: the most that limiters draw together */

void plant_electronics_init(struct plant_electronics *e, uint32_t channels, double hotel_w, double input_f,
                            double input_min_v, double cells, double bus_v) {
    memset(e, 0, sizeof *e);
    e->channels = channels;
    e->hotel_w = hotel_w;
    e->input_f = fmax(input_f, 1e-9);
    e->input_min_v = input_min_v;
    e->cells = cells;
    e->bus_v = e->scan_v = bus_v;
}

/* ------------------------------------------------------------------ the bus */

/* V = emf + r (source - load) / V - r load_a: a quadratic in V. Without a root the loads take what can be had. */
static double bus_voltage(double emf_v, double r_ohm, double net_w, double load_a) {
    const double b = emf_v - r_ohm * load_a, d = b * b + 4 * r_ohm * net_w;
    return fmax(d > 0 && b > 0 ? 0.5 * (b + sqrt(d)) : 0.5 * b, LEAST_BUS_V);
}

struct plant_bus_state plant_bus_solve(double emf_v, double r_ohm, double source_max_w, double load_w, double load_a,
                                       double charge_a, double charge_v, double over_v) {
    struct plant_bus_state s = {.source_w = source_max_w, .load_scale = 1};
    s.v_v = bus_voltage(emf_v, r_ohm, source_max_w - load_w, load_a);
    const double limit_v = fmin(charge_v, over_v), current_v = emf_v + r_ohm * charge_a;
    const double top_v = fmax(fmin(limit_v, current_v), LEAST_BUS_V);
    if (s.v_v > top_v) {
        const double alone_v = bus_voltage(emf_v, r_ohm, -load_w, load_a);
        s.over_voltage = over_v <= fmin(charge_v, current_v);
        s.v_v = fmax(alone_v, top_v); /* the battery alone may stand above the limit: then the source gives nothing */
        s.source_w = alone_v >= top_v ? 0 : s.v_v * ((s.v_v - emf_v) / r_ohm + load_a) + load_w;
    }
    s.batt_a = (s.v_v - emf_v) / r_ohm;
    const double had_w = s.source_w - s.v_v * (s.batt_a + load_a);
    if (load_w > 0 && had_w < load_w * (1 - 1e-12)) {
        s.load_scale = fmax(had_w / load_w, 0);
    }
    return s;
}

/* ------------------------------------------------------------------ channels */

static void mark(struct plant_electronics *e, struct plant_channel *c) {
    c->inverse_mark = e->inverse_int;
    c->time_mark = e->time_int;
}

/* Books what a steady channel drew since its mark. */
void plant_electronics_settle(struct plant_electronics *e, uint32_t i) {
    struct plant_channel *c = &e->ch[i];
    if (!c->active && c->connected) {
        c->charge_as += c->load_w * (e->inverse_int - c->inverse_mark);
        c->energy_j += c->load_w * (e->time_int - c->time_mark);
        c->v_v = e->bus_v;
    }
    mark(e, c);
}

static void activate(struct plant_electronics *e, uint32_t i) {
    e->ch[i].active = e->ch[i].touched = 1;
    e->active[e->n_active++] = i;
}

void plant_electronics_wake(struct plant_electronics *e, uint32_t i) {
    struct plant_channel *c = &e->ch[i];
    if (c->active || !c->connected) {
        return;
    }
    plant_electronics_settle(e, i);
    e->steady_w -= c->load_w;
    activate(e, i);
}

static void to_rest(struct plant_electronics *e, uint32_t i) {
    struct plant_channel *c = &e->ch[i];
    c->active = 0;
    c->over_s = 0;
    mark(e, c);
    e->steady_w += c->load_w;
}

/* Opens a channel; a caller that walks the active list drops it there. */
static void open_channel(struct plant_electronics *e, uint32_t i) {
    struct plant_channel *c = &e->ch[i];
    if (!c->active) {
        plant_electronics_settle(e, i);
        e->steady_w -= c->load_w;
    }
    c->connected = c->powered = c->active = 0;
    c->load_w = c->leak_s = c->over_s = c->i_a = 0;
}

static void compact(struct plant_electronics *e) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < e->n_active; k++) {
        if (e->ch[e->active[k]].active) {
            e->active[n++] = e->active[k];
        }
    }
    e->n_active = n;
}

void plant_electronics_setting(struct plant_electronics *e, uint32_t i, const struct plant_actuators_channel *in,
                               double bleed) {
    struct plant_channel *c = &e->ch[i];
    c->limit_a = plant_clamp(in->limit_a, 0, 1e5);
    c->trip_s = plant_clamp(in->trip_s, SUB_STEP_S, 10);
    c->charge_as = c->energy_j = c->inverse_mark = c->time_mark = 0;
    c->min_a = 1e9;
    c->max_a = 0;
    c->touched = c->active;
    c->load_factor = 1;
    if (!in->on) {
        c->tripped = 0; /* switched off and on again: the limiter is armed anew */
    }
    const int want = in->on && !c->tripped && !e->uvlo_latched;
    if (want && !c->connected) {
        c->connected = 1;
        c->powered = 0;
        c->load_w = c->leak_s = c->over_s = 0;
        activate(e, i);
    } else if (!want && c->connected) {
        open_channel(e, i);
    }
    if (!c->connected && c->v_v > 0) {
        c->v_v = c->v_v > 0.5 ? c->v_v * bleed : 0;
    }
    c->status = (uint8_t)((c->connected ? PLANT_CHANNEL_ON : 0) | (c->tripped ? PLANT_CHANNEL_TRIPPED : 0));
}

void plant_electronics_load(struct plant_electronics *e, uint32_t i, double load_w, double leak_s) {
    struct plant_channel *c = &e->ch[i];
    if (!c->connected) {
        return;
    }
    if (!c->active) {
        e->steady_w += load_w - c->load_w;
    }
    c->load_w = load_w;
    c->leak_s = leak_s;
    if (leak_s > 0 || load_w > 0.98 * c->limit_a * e->bus_v) {
        plant_electronics_wake(e, i);
    }
}

void plant_electronics_begin(struct plant_electronics *e) {
    e->v_int = e->inverse_int = e->time_int = e->charge_int = e->source_j = e->batt_in_j = e->batt_out_j = 0;
    e->hotel_j = e->heater_j = e->nodes_j = e->inrush_j = e->dt_s = 0;
    e->min_v = 1e9;
    e->max_v = 0;
    e->over_voltage = 0;
    e->scan_v = e->bus_v;
    compact(e);
    /* Summed anew now and then would cost more than it gives: steady_w is rebuilt here, so it cannot drift. */
    e->steady_w = 0;
    for (uint32_t i = 0; i < e->channels; i++) {
        e->steady_w += e->ch[i].connected && !e->ch[i].active ? e->ch[i].load_w : 0;
    }
}

int plant_electronics_moving(const struct plant_electronics *e) {
    return e->n_active > 0 || e->under_s > 0;
}

/* ------------------------------------------------------------------ one sub-step */

static double wanted_w(const struct plant_electronics *e, const struct plant_channel *c) {
    return c->powered && c->v_v >= e->input_min_v ? c->load_w * c->load_factor : 0;
}

/* Current that an active channel takes at bus voltage v: to fill its capacitance within h, and its load. */
static double channel_demand(const struct plant_electronics *e, struct plant_channel *c, double v, double h_s) {
    const double load_a = wanted_w(e, c) / fmax(c->v_v, 1) + c->leak_s * c->v_v;
    return fmax(e->input_f * (v - c->v_v) / h_s + load_a, 0);
}

static void trip(struct plant_electronics *e, uint32_t i) {
    e->ch[i].tripped = 1;
    e->ch[i].status |= PLANT_CHANNEL_TRIPPED;
    e->lcl_trips++;
    open_channel(e, i);
}

/* Moves an active channel on by h at its current, chosen before the bus was solved. */
static void channel_step(struct plant_electronics *e, uint32_t i, double v, double h_s, int limiting) {
    struct plant_channel *c = &e->ch[i];
    const double load_w = wanted_w(e, c), drawn_w = load_w + c->leak_s * c->v_v * c->v_v;
    const double out_a = load_w / fmax(c->v_v, 1) + c->leak_s * c->v_v;
    const double bus_w = v * c->i_a;
    c->charge_as += c->i_a * h_s;
    c->energy_j += drawn_w * h_s;
    c->min_a = fmin(c->min_a, c->i_a);
    c->max_a = fmax(c->max_a, c->i_a);
    e->nodes_j += drawn_w * h_s;
    e->inrush_j += (bus_w - drawn_w) * h_s;
    c->v_v = plant_clamp(c->v_v + (c->i_a - out_a) * h_s / e->input_f, 0, v);
    if (c->powered && c->v_v < e->input_min_v) {
        c->powered = 0;
        e->brown_outs++;
    } else if (!c->powered && c->v_v >= POWER_GOOD * v && c->v_v >= e->input_min_v) {
        c->powered = 1;
    }
    c->over_s = limiting ? c->over_s + h_s : 0;
    if (limiting) {
        c->status |= PLANT_CHANNEL_LIMITING;
        if (c->over_s > c->trip_s - 0.5 * SUB_STEP_S) {
            trip(e, i);
        }
    } else if (c->v_v >= 0.999 * v && c->leak_s == 0 && c->load_factor == 1 && c->powered) {
        to_rest(e, i);
    }
}

/* A falling bus makes constant-power loads draw more: those near their limit become active. */
static void scan(struct plant_electronics *e) {
    for (uint32_t i = 0; i < e->channels; i++) {
        const struct plant_channel *c = &e->ch[i];
        if (c->connected && !c->active && (c->load_w > 0.98 * c->limit_a * e->bus_v || e->bus_v < e->input_min_v)) {
            plant_electronics_wake(e, i);
        }
    }
    e->scan_v = e->bus_v;
}

static void watch_under_voltage(struct plant_electronics *e, double h_s) {
    if (e->uvlo_latched || !(e->bus_v < e->uvlo_v)) {
        e->under_s = 0;
        return;
    }
    e->under_s += h_s;
    if (e->under_s > UVLO_S - 0.5 * SUB_STEP_S) {
        e->uvlo_latched = 1;
        e->uvlo_trips++;
        e->under_s = 0;
        for (uint32_t i = 0; i < e->channels; i++) {
            if (e->ch[i].connected) {
                open_channel(e, i);
            }
        }
        e->n_active = 0;
        e->steady_w = 0;
    }
}

static void book(struct plant_electronics *e, const struct plant_bus_state *s, double hotel_w, double h_s) {
    e->bus_v = s->v_v;
    e->dt_s += h_s;
    e->v_int += s->v_v * h_s;
    e->inverse_int += s->load_scale / s->v_v * h_s;
    e->time_int += s->load_scale * h_s;
    e->charge_int += s->batt_a * h_s;
    e->source_j += s->source_w * h_s;
    *(s->batt_a > 0 ? &e->batt_in_j : &e->batt_out_j) += fabs(s->batt_a) * s->v_v * h_s;
    e->hotel_j += hotel_w * s->load_scale * h_s;
    e->heater_j += e->heater_w * s->load_scale * h_s;
    e->nodes_j += e->steady_w * s->load_scale * h_s;
    e->min_v = fmin(e->min_v, s->v_v);
    e->max_v = fmax(e->max_v, s->v_v);
    e->over_voltage |= s->over_voltage;
}

double plant_electronics_advance(struct plant_electronics *e, struct plant_battery *b, double h_s) {
    const double before_v = e->bus_v;
    const double hotel_w =
        e->hotel_w * plant_clamp((before_v / e->cells - HOTEL_OFF_V) / (HOTEL_FULL_V - HOTEL_OFF_V), 0, 1);
    const double emf_v = fmax(plant_battery_emf_v(b), 2 * LEAST_BUS_V), short_a = SHORT_SHARE * emf_v / b->r0_ohm;
    uint8_t limiting[PLANT_MAX_NODES];
    double active_a = 0;
    for (uint32_t k = 0; k < e->n_active; k++) {
        struct plant_channel *c = &e->ch[e->active[k]];
        const double demand_a = channel_demand(e, c, before_v, h_s);
        limiting[k] = demand_a > c->limit_a;
        c->i_a = fmin(demand_a, c->limit_a);
        active_a += c->i_a;
    }
    for (uint32_t k = 0; k < e->n_active && active_a > short_a; k++) { /* more than a shorted battery gives */
        e->ch[e->active[k]].i_a *= short_a / active_a;
    }
    active_a = fmin(active_a, short_a);
    const struct plant_bus_state s =
        plant_bus_solve(emf_v, b->r0_ohm, e->source_max_w, e->steady_w + hotel_w + e->heater_w, active_a, e->charge_a,
                        e->charge_v, OVER_V_PER_CELL * e->cells);
    if (h_s > SUB_STEP_S && (s.v_v < 0.97 * e->scan_v || (s.v_v < e->uvlo_v && !e->uvlo_latched))) {
        h_s = SUB_STEP_S; /* something will move: look again in a millisecond (nothing was active, so no demand was) */
    }
    book(e, &s, hotel_w, h_s);
    plant_battery_step(b, s.batt_a, h_s);
    for (uint32_t k = 0; k < e->n_active; k++) {
        channel_step(e, e->active[k], s.v_v, h_s, limiting[k]);
    }
    compact(e);
    if (e->bus_v < 0.97 * e->scan_v || e->bus_v < e->input_min_v) {
        scan(e);
    }
    watch_under_voltage(e, h_s);
    return h_s;
}
