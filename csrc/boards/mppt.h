/* Peak-power tracking of the array: perturb and observe, with a periodic full sweep.
 *
 * - Each decision compares three windows, before the perturbation, after it, and after a hold: what changed in the hold
 *   is the Sun (or the temperature) and is taken off (dP-P&O, Sera et al. 2006), so a sunrise does not lead it astray.
 * - The step widens while it climbs and narrows at every turn.
 * - A full sweep looks for a better hill. It goes in bursts of at most 0.7 s (or one step) with tracking between them,
 * so that no dip of the supply lasts longer. It runs once the power is steady after sunrise, when power fell for no
 * known reason, and periodically, so seldom that it costs about 0.2 %.
 * - The voltage follows the array's temperature; while the charger limits the array nothing else moves it.
 * Works at any step of 10 ms to 1 s. */
#ifndef DAWNLINE_BOARDS_MPPT_H
#define DAWNLINE_BOARDS_MPPT_H

#include <stdint.h>

#define MPPT_SWEEP_POINTS 14
#define MPPT_WINDOW_US 50000u /* least time to measure at one voltage */
#define MPPT_BURST_US 700000u /* most time away from the tracked voltage */
#define MPPT_PAUSE 30u        /* tracking between two bursts, in lengths of a burst: a sweep costs 2 % while it lasts */
#define MPPT_SWEEP_US 300000000u /* least time between two periodic sweeps */
#define MPPT_TREND_US 2000000u   /* over which power is compared to tell ramp and drop */

enum mppt_phase {
    MPPT_DARK = 0,    /* no array; waits for sunrise */
    MPPT_LIMITED = 1, /* the charger limits the array */
    MPPT_BEFORE = 2,  /* measures before a perturbation */
    MPPT_AFTER = 3,   /* after it */
    MPPT_HOLD = 4,    /* once more, without perturbing */
    MPPT_PROBE = 5,   /* at a point of a sweep */
};

struct mppt_inputs {
    uint32_t dt_us;
    uint32_t array_mv, array_ma;
    int16_t array_cdeg;
    uint8_t present, limiting;
    uint32_t floor_mv;       /* below it the regulator cannot go (the bus) */
    uint32_t voc_mv, vmp_mv; /* configuration: cold open circuit; peak at 28 degC */
};

/* Averages power over one window at one voltage. */
struct mppt_window {
    uint64_t sum_mw_us;
    uint32_t sum_us, elapsed_us;
    uint8_t fresh; /* no step yet since the voltage changed */
};

struct mppt {
    uint32_t command_mv; /* for the electronics */
    uint32_t track_mv;   /* where tracking stands; a sweep moves only command_mv */
    uint32_t step_mv;
    struct mppt_window window;
    uint32_t before_mw, after_mw; /* of the windows of this decision */
    uint32_t trend_mw, trend_us;
    uint32_t since_sweep_us, pause_us, burst_us;
    uint32_t track_mw, best_mv, best_mw, peak_ma; /* of this burst; peak of this sweep */
    uint32_t from_mv;                             /* track_mv when the sweep began */
    int16_t cdeg;                                 /* temperature that track_mv is meant for */
    int8_t direction;
    uint8_t phase, climbs;
    uint8_t point;               /* next point of the sweep; MPPT_SWEEP_POINTS: none is going on */
    uint8_t sweep_due, settling; /* settling: after sunrise, until the power is steady */
};

enum mppt_news {
    MPPT_NOTHING = 0,
    MPPT_SWEPT = 1, /* a sweep ended: it began at from_mv and is now at track_mv */
};

/* One step: sets m->command_mv. A struct of zeros is a tracker in the dark. Returns any mppt_news. */
enum mppt_news mppt_step(struct mppt *m, const struct mppt_inputs *in);

#endif
