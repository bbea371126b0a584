#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "plant/common.h"
#include "plant/sky.h"

#define EARTH_KM 6378.137
#define SUN_KM 696000.0
#define AU_KM 149597870.7
#define EARTH_RATE_RAD_S 7.2921158553e-5 /* of sidereal angle */
#define OLR_W_M2 237.0                   /* mean outgoing long-wave radiation */
#define ALBEDO 0.30

static double dot(const double a[3], const double b[3]) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* Part of the Sun's disc that the Earth (a sphere of equatorial radius) leaves visible: overlap of two discs of angular
 * radii a and b whose centres stand c apart (Montenbruck and Gill, Satellite Orbits, 3.4.2). */
double plant_sun_fraction(const double r_km[3], const double sun_km[3]) {
    const double to_sun[3] = {sun_km[0] - r_km[0], sun_km[1] - r_km[1], sun_km[2] - r_km[2]};
    const double r2 = dot(r_km, r_km), s2 = dot(to_sun, to_sun), along = -dot(r_km, to_sun);
    if (along <= 0) {
        return 1.0; /* day side */
    }
    /* Far from the shadow's edge no angle is needed: the penumbra is 0.0047 r wide to each side. */
    const double off2 = r2 - along * along / s2, margin = 0.01 * sqrt(r2);
    if (off2 > (EARTH_KM + margin) * (EARTH_KM + margin)) {
        return 1.0;
    }
    if (margin < EARTH_KM && off2 < (EARTH_KM - margin) * (EARTH_KM - margin)) {
        return 0.0;
    }
    const double a = asin(SUN_KM / sqrt(s2)), b = asin(plant_clamp(EARTH_KM / sqrt(r2), 0, 1));
    const double c = acos(plant_clamp(along / sqrt(r2 * s2), -1, 1));
    if (c >= a + b) {
        return 1.0;
    }
    if (c <= b - a) {
        return 0.0;
    }
    const double x = (c * c + a * a - b * b) / (2 * c), y = sqrt(fmax(a * a - x * x, 0));
    const double hidden =
        a * a * acos(plant_clamp(x / a, -1, 1)) + b * b * acos(plant_clamp((c - x) / b, -1, 1)) - c * y;
    return plant_clamp(1 - hidden / (PLANT_PI * a * a), 0, 1);
}

/* View factor from one face of a plate to the Earth when the plate's plane holds the nadir. */
double plant_edge_view_factor(double r_km) {
    const double th = asin(plant_clamp(EARTH_KM / r_km, 0, 1));
    return (th - 0.5 * sin(2 * th)) / PLANT_PI;
}

/* The anomaly's core as an ellipse on the map, about 5 % of the time of a polar orbit. */
static int in_saa(const double r_km[3], double sidereal_rad) {
    const double lat = asin(plant_clamp(r_km[2] / sqrt(dot(r_km, r_km)), -1, 1)) * 180 / PLANT_PI;
    const double lon = remainder((atan2(r_km[1], r_km[0]) - sidereal_rad) * 180 / PLANT_PI, 360);
    const double x = remainder(lon + 45, 360) / 45, y = (lat + 27) / 23;
    return x * x + y * y < 1;
}

/* Cubic Hermite interpolation between two rows; u is 0 at a, 1 at b. */
static void position_between(const struct plant_orbit_row *a, const struct plant_orbit_row *b, double u, double step_s,
                             double out[3]) {
    const double w = 1 - u, ha = w * w * (1 + 2 * u), hb = u * u * (1 + 2 * w), ga = u * w * w, gb = -u * u * w;
    for (int i = 0; i < 3; i++) {
        out[i] = ha * a->r_km[i] + hb * b->r_km[i] + step_s * (ga * a->v_km_s[i] + gb * b->v_km_s[i]);
    }
}

int plant_sky_at(const struct plant_orbit *o, double t_s, struct plant_sky *s) {
    const double x = (t_s - o->t0_s) / o->step_s;
    if (!(x >= 0) || o->rows < 2 || x > o->rows - 1) {
        return PLANT_ERR_ORBIT;
    }
    uint32_t i = (uint32_t)x;
    i = i > o->rows - 2 ? o->rows - 2 : i;
    const struct plant_orbit_row *a = &o->row[i], *b = &o->row[i + 1];
    const double u = x - i;
    double sun_km[3];
    position_between(a, b, u, o->step_s, s->r_km);
    for (int k = 0; k < 3; k++) {
        sun_km[k] = a->sun_km[k] + u * (b->sun_km[k] - a->sun_km[k]); /* 1 degree a day */
    }
    const double distance = sqrt(dot(sun_km, sun_km)), r = sqrt(dot(s->r_km, s->r_km)), au = AU_KM / distance;
    for (int k = 0; k < 3; k++) {
        s->sun_unit[k] = sun_km[k] / distance;
    }
    s->sun_fraction = plant_sun_fraction(s->r_km, sun_km);
    s->flux_w_m2 = PLANT_SOLAR_W_M2 * au * au;
    const double view = plant_edge_view_factor(r), cos_zenith = dot(s->r_km, s->sun_unit) / r;
    s->ir_w_m2 = view * OLR_W_M2;
    s->albedo_w_m2 = view * ALBEDO * s->flux_w_m2 * fmax(cos_zenith, 0);
    s->in_saa = in_saa(s->r_km, o->gmst0_rad + EARTH_RATE_RAD_S * t_s);
    return PLANT_OK;
}
