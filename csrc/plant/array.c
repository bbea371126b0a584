#include <math.h>
#include <string.h>

#include "plant/array.h"
#include "plant/common.h"

#define REFERENCE_K (28 + PLANT_ZERO_C)
#define BLOCKING_V 0.7       /* forward drop of a string's blocking diode */
#define BYPASS_OVER_VOC 0.25 /* drop of a bypass diode per cell: 0.7 V for each triple-junction cell */
#define SHADOW_LIGHT 0.15    /* diffuse light on cells in shadow */

/* ------------------------------------------------------------------ one diode */

static double junction_current(const struct plant_diode *d, double vd, double *slope) {
    const double e = d->i0_a * exp(fmin(vd / d->a_v, 600));
    *slope = -e / d->a_v;
    return d->iph_a - (e - d->i0_a);
}

/* Current at terminal voltage v >= 0, never negative (the blocking diode). The root of vd - rs I(vd) = v lies between
 * v and v + rs I(v); the function is convex and rising, so Newton from the right end falls onto it. */
double plant_diode_current(const struct plant_diode *d, double v, double *vd_io) {
    double slope, i = junction_current(d, v, &slope);
    if (!(i > 0)) {
        *vd_io = v;
        return 0;
    }
    const double right = v + d->rs_ohm * i;
    double vd = plant_clamp(*vd_io, v, right);
    for (int n = 0; n < 40; n++) {
        i = junction_current(d, vd, &slope);
        const double step = (vd - d->rs_ohm * i - v) / (1 - d->rs_ohm * slope);
        vd = plant_clamp(vd - step, v, right);
        if (fabs(step) < 1e-10 * d->a_v) {
            break;
        }
    }
    i = junction_current(d, vd, &slope);
    *vd_io = vd;
    return fmax(i, 0);
}

/* Terminal voltage at current 0 <= i < iph. */
static double diode_voltage(const struct plant_diode *d, double i) {
    return d->a_v * log1p((d->iph_a - i) / d->i0_a) - i * d->rs_ohm;
}

/* Power and its first two derivatives by vd at the terminals behind the blocking diode. */
static double diode_power(const struct plant_diode *d, double vd, double *d1, double *d2) {
    double s;
    const double i = junction_current(d, vd, &s), curve = s / d->a_v;
    const double v = vd - d->rs_ohm * i - BLOCKING_V, dv = 1 - d->rs_ohm * s;
    *d1 = s * v + i * dv;
    *d2 = curve * (v - i * d->rs_ohm) + 2 * s * dv;
    return i * v;
}

/* Junction voltage of the greatest power: Newton on the derivative inside a bracket. */
static double diode_mpp(const struct plant_diode *d, double vd, double *power) {
    double lo = 0, hi = d->a_v * log1p(d->iph_a / d->i0_a), d1, d2;
    vd = vd > lo && vd < hi ? vd : 0.9 * hi;
    for (int n = 0; n < 60; n++) {
        *power = diode_power(d, vd, &d1, &d2);
        *(d1 > 0 ? &lo : &hi) = vd;
        double next = d2 < 0 ? vd - d1 / d2 : lo;
        if (!(next > lo && next < hi)) {
            next = 0.5 * (lo + hi);
        }
        if (fabs(next - vd) < 1e-7 * d->a_v) {
            break;
        }
        vd = next;
    }
    return vd;
}

/* ------------------------------------------------------------------ fit to the data sheet */

/* Through (0, Isc) and (Voc, 0) with its maximum at (Vmp, Imp) the curve has one a and one Rs, in closed form (the
 * shunt left out: the published points leave no room for one). Points that ask for a negative Rs get none, and the
 * curve through (Vmp, Imp). */
static void fit(struct plant_array *s) {
    const double ns = s->c.series_cells, voc = ns * s->c.cell_voc_v, vmp = ns * s->c.cell_vmp_v;
    const double isc = s->c.string_isc_a, k = s->c.imp_ratio, imp = isc * k;
    s->a28_v = (2 * vmp - voc) / (log1p(-k) + k / (1 - k));
    s->rs_ohm = vmp / imp - s->a28_v / (isc - imp);
    if (s->a28_v > 1e-3 * voc && s->rs_ohm >= 0) {
        return;
    }
    s->rs_ohm = 0;
    double lo = 1e-3 * voc, hi = 10 * voc;
    for (int n = 0; n < 60; n++) {
        const double mid = 0.5 * (lo + hi),
                     i = isc * (1 - exp((vmp - voc) / mid) * expm1(-vmp / mid) / expm1(-voc / mid));
        *(i > imp ? &lo : &hi) = mid;
    }
    s->a28_v = lo;
}

/* The diode of a string at a temperature and a share of light. Voc moves by its coefficient, a with kT. */
static struct plant_diode diode_at(const struct plant_array *s, double temp_k) {
    const double dt = temp_k - REFERENCE_K;
    struct plant_diode d = {.rs_ohm = s->rs_ohm};
    d.iph_a = s->c.string_isc_a * fmax(1 + s->c.isc_temp_per_k * dt, 0.05);
    d.a_v = s->a28_v * temp_k / REFERENCE_K;
    const double voc = s->c.series_cells * fmax(s->c.cell_voc_v + s->c.voc_temp_v_per_k * dt, 0.1 * s->c.cell_voc_v);
    d.i0_a = d.iph_a / expm1(voc / d.a_v);
    return d;
}

struct plant_diode plant_string_diode(const struct plant_config_array *c, double temp_k) {
    struct plant_array a = {.c = *c};
    fit(&a);
    return diode_at(&a, temp_k);
}

/* ------------------------------------------------------------------ strings and the array */

void plant_array_init(struct plant_array *s, const struct plant_config_array *c, double temp_k) {
    memset(s, 0, sizeof *s);
    s->c = *c;
    s->temp_k = temp_k;
    fit(s);
    plant_array_regroup(s);
}

void plant_array_regroup(struct plant_array *s) {
    s->classes = 0;
    s->mixed = 0;
    for (uint32_t i = 0; i < s->c.strings; i++) {
        const double light = s->open[i] ? 0 : 1 - s->lost_light[i], shadow = s->shadow[i];
        uint32_t k = 0;
        while (k < s->classes && (s->of[k].light != light || s->of[k].shadow != shadow)) {
            k++;
        }
        if (k == s->classes) {
            s->of[s->classes++] = (struct plant_array_class){.light = light, .shadow = shadow};
        }
        s->of[k].strings++;
        s->class_of[i] = (uint8_t)k;
        s->mixed |= light > 0 && (light < 1 || shadow > 0);
    }
    s->mixed_light = -1;
}

static struct plant_diode class_diode(const struct plant_array *s, const struct plant_array_class *k) {
    struct plant_diode d = s->diode;
    d.iph_a *= s->light * k->light;
    return d;
}

/* Voltage of a string with a shadowed part at current i: lit cells, less shadowed cells or their bypass diodes. */
static double shadowed_voltage(const struct plant_diode *d, double shadow, double bypass_v, double i) {
    struct plant_diode dim = *d;
    dim.iph_a *= SHADOW_LIGHT;
    const double lit = i < d->iph_a ? (1 - shadow) * diode_voltage(d, i) : -bypass_v;
    const double dark = i < dim.iph_a ? fmax(shadow * diode_voltage(&dim, i), -bypass_v) : -bypass_v;
    return lit + dark;
}

static double shadowed_current(const struct plant_array *s, const struct plant_diode *d, double shadow, double v) {
    const double bypass = BYPASS_OVER_VOC * s->c.cell_voc_v * shadow * s->c.series_cells;
    double lo = 0, hi = d->iph_a;
    for (int n = 0; n < 50; n++) {
        const double mid = 0.5 * (lo + hi);
        *(shadowed_voltage(d, shadow, bypass, mid) > v ? &lo : &hi) = mid;
    }
    return lo;
}

double plant_array_class_current(struct plant_array *s, struct plant_array_class *k, double v) {
    const struct plant_diode d = class_diode(s, k);
    if (d.iph_a < 1e-6 * s->c.string_isc_a) {
        return 0;
    }
    const double at_cells = v + BLOCKING_V;
    return k->shadow > 0 ? shadowed_current(s, &d, k->shadow, at_cells) : plant_diode_current(&d, at_cells, &k->vd);
}

double plant_array_current(struct plant_array *s, double v) {
    double total = 0;
    for (uint32_t k = 0; k < s->classes; k++) {
        if (s->of[k].light > 0) {
            total += s->of[k].strings * plant_array_class_current(s, &s->of[k], v);
        }
    }
    return total;
}

static double open_circuit_v(const struct plant_array *s) {
    return s->diode.a_v * log1p(s->diode.iph_a * s->light / s->diode.i0_a);
}

/* The greatest of all maxima of an array of unlike strings: a scan, then golden section around its best point. */
static void search_mpp(struct plant_array *s) {
    const double voc = open_circuit_v(s), cut = 0.3819660112501051;
    enum { POINTS = 64 };
    int best = 0;
    double best_w = 0;
    for (int n = 1; n < POINTS; n++) {
        const double v = voc * n / POINTS, w = v * plant_array_current(s, v);
        if (w > best_w) {
            best_w = w;
            best = n;
        }
    }
    double lo = voc * fmax(best - 1, 0) / POINTS, hi = voc * (best + 1) / POINTS;
    double x = lo + cut * (hi - lo), y = hi - cut * (hi - lo), fx = x * plant_array_current(s, x),
           fy = y * plant_array_current(s, y);
    for (int n = 0; n < 30; n++) {
        if (fx > fy) {
            hi = y, y = x, fy = fx;
            x = lo + cut * (hi - lo), fx = x * plant_array_current(s, x);
        } else {
            lo = x, x = y, fx = fy;
            y = hi - cut * (hi - lo), fy = y * plant_array_current(s, y);
        }
    }
    s->mpp_v = 0.5 * (lo + hi);
    s->mpp_w = s->mpp_v * plant_array_current(s, s->mpp_v);
}

uint32_t plant_array_live(const struct plant_array *s) {
    uint32_t live = 0;
    for (uint32_t k = 0; k < s->classes; k++) {
        live += s->of[k].light > 0 ? s->of[k].strings : 0;
    }
    return live;
}

void plant_array_update(struct plant_array *s, double light) {
    s->light = plant_clamp(light, 0, 10);
    s->diode = diode_at(s, s->temp_k);
    if (s->light < 1e-6) {
        s->mpp_w = s->mpp_v = 0;
        return;
    }
    if (s->mixed) {
        /* The search is dear; 0.2 % of light or 0.2 K move the maximum by less than that. */
        if (fabs(s->light - s->mixed_light) > 0.002 * s->light || fabs(s->temp_k - s->mixed_temp_k) > 0.2) {
            search_mpp(s);
            s->mixed_light = s->light;
            s->mixed_temp_k = s->temp_k;
        }
        return;
    }
    const struct plant_array_class full = {.light = 1};
    const struct plant_diode d = class_diode(s, &full);
    double w, d1, d2;
    s->mpp_vd = diode_mpp(&d, s->mpp_vd, &w);
    w = diode_power(&d, s->mpp_vd, &d1, &d2);
    const double i = junction_current(&d, s->mpp_vd, &d1);
    s->mpp_w = fmax(w, 0) * plant_array_live(s);
    s->mpp_v = fmax(s->mpp_vd - i * d.rs_ohm - BLOCKING_V, 0);
}

/* Equal strings: Newton on the power over the junction's voltage, which falls and is concave beyond the maximum. From
 * any start there the next value lies right of the root, and from the right it only comes closer. */
static double equal_voltage_for(struct plant_array *s, double string_w) {
    const struct plant_array_class full = {.light = 1};
    const struct plant_diode d = class_diode(s, &full);
    const double open_vd = d.a_v * log1p(d.iph_a / d.i0_a), least = s->mpp_vd + 1e-4 * (open_vd - s->mpp_vd);
    double slope, d1, d2, vd = plant_clamp(s->spill_vd, least, open_vd);
    for (int n = 0; n < 40; n++) {
        const double step = (diode_power(&d, vd, &d1, &d2) - string_w) / d1;
        vd = d1 < 0 ? plant_clamp(vd - step, least, open_vd) : open_vd;
        if (fabs(step) < 1e-9 * d.a_v) {
            break;
        }
    }
    s->spill_vd = vd;
    return fmax(vd - d.rs_ohm * junction_current(&d, vd, &slope) - BLOCKING_V, s->mpp_v);
}

/* Unlike strings: Illinois' variant of the false position between `lo` and open circuit. */
static double mixed_voltage_for(struct plant_array *s, double w, double lo) {
    double hi = open_circuit_v(s), flo = lo * plant_array_current(s, lo) - w, fhi = -w;
    for (int n = 0; n < 60 && flo > 0 && hi - lo > 1e-7 * hi; n++) {
        const double v = (lo * fhi - hi * flo) / (fhi - flo), f = v * plant_array_current(s, v) - w;
        if (fabs(f) < 1e-8 * s->mpp_w) {
            return v;
        }
        if (f > 0) {
            lo = v, flo = f, fhi *= 0.5;
        } else {
            hi = v, fhi = f, flo *= 0.5;
        }
    }
    return 0.5 * (lo + hi);
}

double plant_array_voltage_for(struct plant_array *s, double w, double from_v) {
    const uint32_t live = plant_array_live(s);
    if (!(s->mpp_w > 0) || live == 0) {
        return from_v;
    }
    return s->mixed ? mixed_voltage_for(s, w, fmax(from_v, s->mpp_v)) : equal_voltage_for(s, w / live);
}

void plant_array_heat(struct plant_array *s, double light_w_m2, double ir_w_m2, double albedo_w_m2, double power_w,
                      double dt_s) {
    const struct plant_config_array *c = &s->c;
    const double emit = (c->emittance_front + c->emittance_back) * PLANT_SIGMA, t = s->temp_k, t3 = t * t * t;
    const double in = c->absorptance * (light_w_m2 + 2 * albedo_w_m2) - power_w / c->area_m2 +
                      (c->emittance_front + c->emittance_back) * ir_w_m2;
    /* Linearised implicit step: stable for any dt, exact in the limit of small ones. */
    s->temp_k =
        plant_clamp(t + dt_s * (in - emit * t3 * t) / (c->mass_capacity_j_per_m2_k + dt_s * 4 * emit * t3), 20, 600);
}
