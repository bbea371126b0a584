#include <math.h>
#include <string.h>

#include "plant/node.h"

/* Voltage over clock: flat below the knee, then rising to 1; dynamic power f V(f)^2 (docs/physics.md). */
#define KNEE 0.45
#define V_MIN 0.75
#define CLOCK_MIN 0.106    /* of the greatest clock; below, pulses are skipped */
#define DECODE_STATIC 0.55 /* share of decode's dynamic power that does not follow the clock: HBM traffic */
#define LEAKAGE_PER_K 0.006
#define LEAKAGE_REFERENCE_K (50 + PLANT_ZERO_C)
#define REGULATION 0.995 /* a capped accelerator holds its mean just below the cap */
#define HALTED_OVER_IDLE 0.5
#define ACTIVITY_SLOT_US 8000000u
#define DIE_TAU_S 1.5
#define HBM_TAU_S 4.0
#define NO_FLOW_K_PER_W 2.0 /* cold plate to structure when its pump stands */
#define RESETTABLE 1

/* Dynamic power at full speed over that of training, and its least value (data and batch change it over time). */
static const double class_power[PLANT_WORKLOADS] = {0, 1.0, 0.95, 0.343};
static const double class_least[PLANT_WORKLOADS] = {1, 0.97, 0.85, 0.22};
/* HBM heat per watt of the node, relative to training. */
static const double class_hbm[PLANT_WORKLOADS] = {0.75, 1.0, 0.85, 2.0};

struct point {
    double y, speed;
};
/* RTX 3090 measurements over the cap (K35), turned from cap/TDP into shares of dynamic power. */
static const struct point prefill[] = {{0, 0}, {.219, .14}, {.375, .26}, {.531, .60}, {.687, .85}, {.844, .94}, {1, 1}};
static const struct point decode[] = {{0, 0}, {.30, .17}, {.50, .86}, {.65, .94}, {.80, .97}, {.90, .99}, {1, 1}};

static double interpolate(const struct point *p, int n, double y) {
    int i = 0;
    while (i < n - 2 && y > p[i + 1].y) {
        i++;
    }
    return p[i].speed + (y - p[i].y) / (p[i + 1].y - p[i].y) * (p[i + 1].speed - p[i].speed);
}

/* Share of dynamic power at clock f (0 to 1) of a class. */
double plant_clock_power(int workload, double f) {
    const double x = plant_clamp(f, 0, 1), v = x <= KNEE ? V_MIN : V_MIN + (1 - V_MIN) * (x - KNEE) / (1 - KNEE);
    const double core = x * v * v;
    return workload == 3 ? DECODE_STATIC + (1 - DECODE_STATIC) * core : 0.85 * core + 0.15 * x;
}

/* Clock that training reaches on a share y of its dynamic power: its speed. Below the least clock it is paused. */
static double training_speed(double y) {
    const double least = plant_clock_power(1, CLOCK_MIN);
    if (y <= least) {
        return CLOCK_MIN * y / least;
    }
    double lo = CLOCK_MIN, hi = 1;
    for (int n = 0; n < 50; n++) {
        const double mid = 0.5 * (lo + hi);
        *(plant_clock_power(1, mid) < y ? &lo : &hi) = mid;
    }
    return lo;
}

double plant_speed(int workload, double y) {
    const double share = plant_clamp(y, 0, 1);
    switch (workload) {
    case 1:
        return training_speed(share);
    case 2:
        return interpolate(prefill, sizeof prefill / sizeof *prefill, share);
    case 3:
        return interpolate(decode, sizeof decode / sizeof *decode, share);
    default:
        return 0;
    }
}

void plant_node_model_init(struct plant_node_model *m, const struct plant_config_node *c, uint64_t seed) {
    memset(m, 0, sizeof *m);
    m->c = *c;
    m->seed = seed;
    for (int k = 0; k <= PLANT_CURVE_STEPS; k++) {
        for (int w = 1; w < PLANT_WORKLOADS; w++) {
            m->speed[w][k] = plant_speed(w, (double)k / PLANT_CURVE_STEPS);
        }
    }
}

static double speed(const struct plant_node_model *m, int workload, double y) {
    const double x = plant_clamp(y, 0, 1) * PLANT_CURVE_STEPS;
    const int k = x >= PLANT_CURVE_STEPS ? PLANT_CURVE_STEPS - 1 : (int)x;
    const double *s = &m->speed[workload][k];
    return s[0] + (x - k) * (s[1] - s[0]);
}

void plant_node_init(struct plant_node *n, const struct plant_node_model *m, uint32_t index, double temp_k) {
    memset(n, 0, sizeof *n);
    n->efficiency = 1 + m->c.power_spread * (2 * plant_chance(m->seed, index, 0, PLANT_CHANCE_SPREAD) - 1);
    n->activity_phase = plant_chance(m->seed, index, 0, PLANT_CHANCE_PHASE);
    n->activity_slot = UINT64_MAX;
    n->plate_k = n->die_k = n->hbm_k = temp_k;
    n->clock_share = 1;
    n->transient_us = UINT64_MAX;
}

/* ------------------------------------------------------------------ chance */

/* A hang or latch-up by radiation; the greater the rate the sooner (at most one a second). */
static void upset(struct plant_node *n, const struct plant_node_model *m, uint32_t index, uint64_t second,
                  double rate) {
    const double u = plant_chance(m->seed, index, second, PLANT_CHANCE_UPSET);
    const double hang = m->c.hang_per_day * rate / 86400, latch = m->c.latch_up_per_day * rate / 86400;
    if (n->state == PLANT_NODE_OFF) {
        return;
    }
    if (u < latch) {
        n->latch_up_a = fmax(n->latch_up_a, 100);
    } else if (u < latch + hang && !n->hang) {
        n->hang = RESETTABLE;
    }
}

void plant_node_second(struct plant_node *n, const struct plant_node_model *m, uint32_t index, uint64_t second,
                       double rate) {
    if (m->c.hang_per_day > 0 || m->c.latch_up_per_day > 0) {
        upset(n, m, index, second, rate);
    }
    if (n->state == PLANT_NODE_IDLE || n->state == PLANT_NODE_ACTIVE) {
        const double u = plant_chance(m->seed, index, second, PLANT_CHANCE_ECC) * 3600 / rate;
        if (u < m->c.ecc_uncorrected_per_h) {
            n->ecc_uncorrected++;
        } else if (u < m->c.ecc_uncorrected_per_h + m->c.ecc_corrected_per_h) {
            n->ecc_corrected++;
        }
    }
    n->transient_us = UINT64_MAX;
    if (n->state == PLANT_NODE_ACTIVE && n->workload >= 1 && n->workload <= 2 && m->c.transient_period_s > 0 &&
        plant_chance(m->seed, index, second, PLANT_CHANCE_TRANSIENT) * m->c.transient_period_s < 1) {
        const double room = 1e6 - 2000 * m->c.transient_ms;
        n->transient_us =
            second * 1000000u + (uint64_t)(room * plant_chance(m->seed, index, second, PLANT_CHANCE_START));
    }
}

double plant_node_transient(const struct plant_node *n, const struct plant_node_model *m, uint64_t t_us) {
    const double into_ms = n->transient_us <= t_us ? (double)(t_us - n->transient_us) * 1e-3 : -1;
    if (into_ms < 0 || into_ms >= 2 * m->c.transient_ms) {
        return 1;
    }
    return into_ms < m->c.transient_ms ? m->c.transient_factor : 2 - m->c.transient_factor;
}

/* What the data makes of the class's power: linear between values that change every few seconds. */
static double activity(struct plant_node *n, const struct plant_node_model *m, uint32_t index, int workload,
                       uint64_t t_us) {
    const double x = (double)t_us / ACTIVITY_SLOT_US + n->activity_phase;
    const uint64_t slot = (uint64_t)x;
    if (slot != n->activity_slot) {
        n->activity_slot = slot;
        for (uint32_t k = 0; k < 2; k++) {
            n->activity[k] = plant_chance(m->seed, index, slot + k, PLANT_CHANCE_LOAD);
        }
    }
    const double u = n->activity[0] + (x - (double)slot) * (n->activity[1] - n->activity[0]);
    return class_least[workload] + (1 - class_least[workload]) * u;
}

double plant_node_dynamic_w(struct plant_node *n, const struct plant_node_model *m, uint32_t index, int workload,
                            uint64_t t_us) {
    return (m->c.max_w - m->c.idle_w) * class_power[workload] * activity(n, m, index, workload, t_us) * n->efficiency;
}

/* ------------------------------------------------------------------ states */

void plant_node_power_lost(struct plant_node *n) {
    n->state = PLANT_NODE_OFF;
    n->hang = 0;
    n->latch_up_a = 0;
    n->draw_w = n->mean_w = 0;
    n->step_work = 0;
    n->transient_us = UINT64_MAX;
}

static void boot(struct plant_node *n, const struct plant_node_model *m, uint32_t index) {
    n->state = PLANT_NODE_BOOT;
    n->boots++;
    n->boot_left_s = m->c.boot_s * (0.95 + 0.1 * plant_chance(m->seed, index, n->boots, PLANT_CHANCE_BOOT));
    n->work_mu = 0;
    n->awake_us = 0;
}

static void follow(struct plant_node *n, const struct plant_node_model *m, uint32_t index, int command, int workload,
                   double dt_s) {
    if (command == PLANT_COMMAND_OFF) {
        if (n->state != PLANT_NODE_OFF) {
            plant_node_power_lost(n); /* the controller's own switch: ends a latch-up too */
        }
        return;
    }
    if (command == PLANT_COMMAND_RESET && n->state != PLANT_NODE_OFF && n->hang <= RESETTABLE && n->latch_up_a == 0) {
        n->state = PLANT_NODE_HALTED;
        n->hang = 0;
    }
    if (n->hang || n->latch_up_a > 0) {
        return; /* frozen */
    }
    if (command == PLANT_COMMAND_BOOT && (n->state == PLANT_NODE_OFF || n->state == PLANT_NODE_HALTED)) {
        boot(n, m, index);
    } else if (n->state == PLANT_NODE_BOOT) {
        n->boot_left_s -= dt_s;
        n->state = n->boot_left_s <= 0 ? PLANT_NODE_IDLE : PLANT_NODE_BOOT;
    }
    if (n->state == PLANT_NODE_IDLE || n->state == PLANT_NODE_ACTIVE) {
        n->state = command == PLANT_COMMAND_RUN ? PLANT_NODE_ACTIVE : PLANT_NODE_IDLE;
        n->workload =
            (uint8_t)(command == PLANT_COMMAND_RUN && workload > 0 && workload < PLANT_WORKLOADS ? workload : 0);
    }
}

/* ------------------------------------------------------------------ draw and work */

struct wish {
    double idle_w, span_w, target_w; /* span: dynamic power of the class at full speed */
};

static struct wish active_wish(struct plant_node *n, const struct plant_node_model *m, uint32_t index,
                               const struct plant_actuators_node *in, double idle_w, uint64_t t_us) {
    struct wish w = {.idle_w = idle_w};
    w.span_w = plant_node_dynamic_w(n, m, index, n->workload, t_us);
    const double cap_w = plant_clamp(in->cap_w, 0, 1e9) * REGULATION * (1 + n->overdraw);
    const double lock = plant_clamp(in->clock_mhz, 0, 1e9);
    if (lock != n->clock_mhz || n->locked_class != n->workload) {
        n->clock_mhz = lock;
        n->locked_class = n->workload;
        const double f = fmax(lock / m->c.clock_max_mhz, CLOCK_MIN);
        n->clock_share = lock > 0 && f < 1 ? plant_clock_power(n->workload, f) : 1;
    }
    const double share = w.span_w > 0 ? (cap_w - idle_w) / w.span_w : 0;
    w.target_w = idle_w + w.span_w * plant_clamp(share, 0, n->clock_share);
    return w;
}

static struct wish wish_of(struct plant_node *n, const struct plant_node_model *m, uint32_t index,
                           const struct plant_actuators_node *in, uint64_t t_us) {
    const double leak = 1 + LEAKAGE_PER_K * plant_clamp(n->die_k - LEAKAGE_REFERENCE_K, -60, 60);
    const double idle_w = m->c.idle_w * leak * n->efficiency;
    switch (n->state) {
    case PLANT_NODE_BOOT:
        return (struct wish){.idle_w = idle_w, .target_w = m->c.boot_w};
    case PLANT_NODE_IDLE:
        return (struct wish){.idle_w = idle_w, .target_w = idle_w};
    case PLANT_NODE_ACTIVE:
        return active_wish(n, m, index, in, idle_w, t_us);
    case PLANT_NODE_HALTED:
        return (struct wish){.idle_w = idle_w, .target_w = HALTED_OVER_IDLE * idle_w};
    default:
        return (struct wish){.target_w = m->c.standby_w};
    }
}

void plant_node_step(struct plant_node *n, const struct plant_node_model *m, uint32_t index,
                     const struct plant_actuators_node *in, int powered, uint64_t t_us, uint32_t dt_us) {
    n->step_work = 0;
    if (!powered) {
        if (n->state != PLANT_NODE_OFF || n->latch_up_a > 0) {
            plant_node_power_lost(n);
        }
        n->draw_w = n->mean_w = 0;
        return;
    }
    const double dt_s = dt_us * 1e-6;
    follow(n, m, index, in->command, in->workload, dt_s);
    const int frozen = n->hang || n->latch_up_a > 0;
    if (n->state == PLANT_NODE_OFF) {
        n->draw_w = n->mean_w = m->c.standby_w;
        return;
    }
    const struct wish w = wish_of(n, m, index, in, t_us + dt_us / 2);
    const double away = n->draw_w - w.target_w;
    n->draw_w = w.target_w + away * m->settle.keep;
    n->mean_w = w.target_w + away * m->settle.mean;
    if (frozen) {
        return;
    }
    if (n->state == PLANT_NODE_IDLE || n->state == PLANT_NODE_ACTIVE) {
        n->awake_us += dt_us;
    }
    if (n->state == PLANT_NODE_ACTIVE && n->workload && w.span_w > 0) {
        n->step_work = speed(m, n->workload, (n->mean_w - w.idle_w) / w.span_w) * dt_s;
        n->work_mu += 1000 * n->step_work;
    }
}

/* ------------------------------------------------------------------ heat */

void plant_node_flow(struct plant_node_model *m, uint32_t loop, double lost_flow, double dt_s) {
    const double g = (1 - lost_flow) / m->c.plate_r_k_per_w + lost_flow / NO_FLOW_K_PER_W;
    plant_decay_set(&m->plate[loop], dt_s, m->c.heat_capacity_j_per_k / g);
    plant_decay_set(&m->die, dt_s, DIE_TAU_S);
    plant_decay_set(&m->hbm, dt_s, HBM_TAU_S);
    plant_decay_set(&m->settle, dt_s, m->c.settle_s);
}

double plant_node_heat(struct plant_node *n, const struct plant_node_model *m, uint32_t loop, double coolant_k,
                       double power_w, double dt_s) {
    const double c = m->c.heat_capacity_j_per_k, r = m->plate[loop].tau_s / c;
    const double rest_k = coolant_k + power_w * r, before = n->plate_k;
    n->plate_k = rest_k + (before - rest_k) * m->plate[loop].keep;
    const double die_k = n->plate_k + power_w * m->c.die_r_k_per_w;
    const double hbm_k = n->plate_k + power_w * m->c.hbm_r_k_per_w * class_hbm[n->workload];
    n->die_k = die_k + (n->die_k - die_k) * m->die.keep;
    n->hbm_k = hbm_k + (n->hbm_k - hbm_k) * m->hbm.keep;
    return power_w - c * (n->plate_k - before) / dt_s;
}
