/* Small things that every part of the plant uses: constants, clamps that also stop a NaN, cached decays, hashed chance.
 */
#ifndef PLANT_COMMON_H
#define PLANT_COMMON_H

#include <math.h>
#include <stdint.h>

#define PLANT_PI 3.14159265358979323846
#define PLANT_ZERO_C 273.15
#define PLANT_SIGMA 5.670374419e-8 /* W/(m2 K4), CODATA */
#define PLANT_SOLAR_W_M2 1361.0    /* at 1 AU */

/* x held between lo and hi; not a number counts as lo. */
static inline double plant_clamp(double x, double lo, double hi) {
    return !(x > lo) ? lo : (x < hi ? x : hi);
}

/* What is left of a first-order lag after one step, kept until the step or the time constant changes. */
struct plant_decay {
    double dt_s, tau_s;
    double keep; /* exp(-dt / tau) */
    double mean; /* mean of exp(-t / tau) over the step */
};

static inline void plant_decay_set(struct plant_decay *d, double dt_s, double tau_s) {
    if (d->dt_s == dt_s && d->tau_s == tau_s) {
        return;
    }
    const double x = dt_s / tau_s;
    d->dt_s = dt_s;
    d->tau_s = tau_s;
    d->keep = exp(-x);
    d->mean = x > 1e-12 ? -expm1(-x) / x : 1.0;
}

/* A hash of (seed, who, when, what): the plant's only source of chance (splitmix64's finaliser, Steele et al. 2014). */
static inline uint64_t plant_chance_mix(uint64_t z) {
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

enum plant_chance_kind {
    PLANT_CHANCE_SPREAD,
    PLANT_CHANCE_PHASE,
    PLANT_CHANCE_TRANSIENT,
    PLANT_CHANCE_START,
    PLANT_CHANCE_ECC,
    PLANT_CHANCE_UPSET,
    PLANT_CHANCE_LOAD,
    PLANT_CHANCE_BOOT
};

/* Uniform in [0, 1). */
static inline double plant_chance(uint64_t seed, uint32_t who, uint64_t when, enum plant_chance_kind what) {
    const uint64_t h = plant_chance_mix(plant_chance_mix(seed ^ ((uint64_t)who << 32 | (uint32_t)what)) ^ when);
    return (double)(h >> 11) * 0x1p-53;
}

#endif
