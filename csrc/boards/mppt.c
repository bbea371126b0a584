#include "boards/mppt.h"

#include "boards/clamp.h"

#define TEMPERATURE_PPM 2500 /* per kelvin: fall of the peak voltage, between triple junction (2570) and silicon */
#define REFERENCE_CDEG 2800
#define SWEEP_COST 200      /* a periodic sweep comes after so many times its own length */
#define RETRY_US 30000000u  /* least time between two sweeps for a drop of power */
#define SETTLE_US 60000000u /* a sunrise that never gets steady is swept after so long */

static uint32_t lowest(const struct mppt_inputs *in) {
    return clamp_max_u32(in->voc_mv / 100 * 35, in->floor_mv);
}

static uint32_t highest(const struct mppt_inputs *in) {
    return clamp_max_u32(in->voc_mv, lowest(in));
}

static uint32_t bounded(const struct mppt_inputs *in, int64_t mv) {
    int64_t low = lowest(in), high = highest(in);
    return (uint32_t)(mv < low ? low : (mv > high ? high : mv));
}

static uint32_t least_step(const struct mppt_inputs *in) {
    return clamp_max_u32(in->vmp_mv / 400, 1);
}

static uint32_t greatest_step(const struct mppt_inputs *in) {
    return clamp_max_u32(in->vmp_mv / 40, 1);
}

/* Change of the peak voltage (mV) when the array warms from one temperature to another. */
static int64_t thermal_shift(const struct mppt_inputs *in, int32_t from_cdeg, int32_t to_cdeg) {
    return -(int64_t)in->vmp_mv * TEMPERATURE_PPM * (to_cdeg - from_cdeg) / 100000000;
}

static uint32_t power_mw(const struct mppt_inputs *in) {
    return clamp_u64_to_u32((uint64_t)in->array_mv * in->array_ma / 1000);
}

/* ---- windows */

static void open_window(struct mppt *m, uint32_t command_mv, enum mppt_phase phase) {
    m->window = (struct mppt_window){.fresh = command_mv != m->command_mv};
    m->command_mv = command_mv;
    m->phase = (uint8_t)phase;
}

/* Adds a step to the window; the first short step after a change of voltage is left out. 1 when the window is full. */
static int measure(struct mppt_window *w, const struct mppt_inputs *in) {
    int skip = w->fresh && in->dt_us < MPPT_WINDOW_US;
    w->fresh = 0;
    w->elapsed_us = clamp_add_u32(w->elapsed_us, in->dt_us);
    if (!skip) {
        w->sum_mw_us += (uint64_t)power_mw(in) * in->dt_us;
        w->sum_us += in->dt_us;
    }
    return w->elapsed_us >= MPPT_WINDOW_US && w->sum_us > 0;
}

static uint32_t average_mw(const struct mppt_window *w) {
    return clamp_u64_to_u32(w->sum_mw_us / w->sum_us);
}

/* ---- sweep */

static int is_sweeping(const struct mppt *m) {
    return m->point < MPPT_SWEEP_POINTS;
}

static uint32_t point_mv(const struct mppt_inputs *in, unsigned point) {
    uint32_t low = lowest(in);
    return low + (uint32_t)((uint64_t)(highest(in) - low) * point / (MPPT_SWEEP_POINTS - 1));
}

/* Also goes on with a sweep that paused. */
static void begin_burst(struct mppt *m, const struct mppt_inputs *in, uint32_t now_mw) {
    if (!is_sweeping(m)) {
        m->point = 0;
        m->peak_ma = 0;
        m->from_mv = m->track_mv;
        m->sweep_due = 0;
    }
    m->burst_us = 0;
    m->pause_us = 0;
    m->track_mw = now_mw;
    m->best_mw = now_mw + now_mw / 100;
    m->best_mv = m->track_mv;
    open_window(m, point_mv(in, m->point), MPPT_PROBE);
}

static void end_burst(struct mppt *m, const struct mppt_inputs *in) {
    if (m->best_mv != m->track_mv) {
        m->track_mv = m->best_mv;
        m->step_mv = greatest_step(in) / 2;
    }
    m->climbs = 0;
    m->trend_us = 0;
    open_window(m, m->track_mv, MPPT_BEFORE);
}

static enum mppt_news probe(struct mppt *m, const struct mppt_inputs *in) {
    uint32_t mw = average_mw(&m->window), took_us = m->window.elapsed_us;
    if (mw > m->best_mw) {
        m->best_mw = mw;
        m->best_mv = bounded(in, in->array_mv);
    }
    m->peak_ma = clamp_max_u32(m->peak_ma, in->array_ma);
    m->burst_us = clamp_add_u32(m->burst_us, took_us);
    ++m->point;
    if (in->array_ma < m->peak_ma / 50) {
        m->point = MPPT_SWEEP_POINTS; /* open circuit: nothing above */
    }
    if (is_sweeping(m) && m->burst_us + took_us <= MPPT_BURST_US) {
        open_window(m, point_mv(in, m->point), MPPT_PROBE);
        return MPPT_NOTHING;
    }
    end_burst(m, in);
    if (is_sweeping(m)) {
        return MPPT_NOTHING;
    }
    m->since_sweep_us = 0;
    return MPPT_SWEPT;
}

static int is_periodic_due(const struct mppt *m, const struct mppt_inputs *in) {
    uint64_t sweep_us = (uint64_t)clamp_max_u32(in->dt_us, MPPT_WINDOW_US) * MPPT_SWEEP_POINTS;
    return m->since_sweep_us >= clamp_max_u32(clamp_u64_to_u32(sweep_us * SWEEP_COST), MPPT_SWEEP_US);
}

/* Compares power over MPPT_TREND_US: steady after sunrise, or fallen by more than an eighth. */
static void watch_trend(struct mppt *m, const struct mppt_inputs *in, uint32_t now_mw) {
    if (m->trend_us < MPPT_TREND_US) {
        return;
    }
    uint32_t was_mw = m->trend_mw;
    uint32_t change_mw = now_mw > was_mw ? now_mw - was_mw : was_mw - now_mw;
    int known = was_mw != 0;
    m->trend_us = 0;
    m->trend_mw = now_mw;
    if (m->settling && ((known && change_mw <= was_mw / 32) || m->since_sweep_us >= SETTLE_US)) {
        m->settling = 0;
        m->sweep_due = 1;
    }
    int fell = known && now_mw < was_mw - was_mw / 8;
    int again = fell && !m->settling && (is_sweeping(m) || m->since_sweep_us >= RETRY_US);
    m->sweep_due = (uint8_t)(m->sweep_due || again || (!is_sweeping(m) && is_periodic_due(m, in)));
}

/* ---- perturb and observe */

/* Moves the tracked voltage along with the array's temperature since the last time. */
static void follow_temperature(struct mppt *m, const struct mppt_inputs *in) {
    int64_t shift_mv = thermal_shift(in, m->cdeg, in->array_cdeg);
    if (shift_mv != 0) {
        m->track_mv = bounded(in, m->track_mv + shift_mv);
        m->cdeg = in->array_cdeg;
    }
}

static void perturb(struct mppt *m, const struct mppt_inputs *in, uint32_t now_mw) {
    m->before_mw = now_mw;
    follow_temperature(m, in);
    int64_t next_mv = (int64_t)m->track_mv + (int64_t)m->direction * m->step_mv;
    if (next_mv != bounded(in, next_mv)) { /* past a bound: turn */
        m->direction = (int8_t)-m->direction;
        next_mv = (int64_t)m->track_mv + (int64_t)m->direction * m->step_mv;
    }
    m->track_mv = bounded(in, next_mv);
    open_window(m, m->track_mv, MPPT_AFTER);
}

/* What the perturbation did, less what the hold shows would have happened anyway. */
static void decide(struct mppt *m, const struct mppt_inputs *in, uint32_t hold_mw) {
    int64_t gain_mw = 2 * (int64_t)m->after_mw - m->before_mw - hold_mw;
    int64_t noise_mw = in->array_mv / 500 + hold_mw / 8192; /* two units of the current sensor, and what light does */
    if (gain_mw > noise_mw) {
        m->climbs = (uint8_t)(m->climbs < 2 ? m->climbs + 1 : 2);
        m->step_mv = m->climbs < 2 ? m->step_mv : clamp_min_u32(m->step_mv + m->step_mv / 2, greatest_step(in));
        return;
    }
    m->direction = (int8_t)-m->direction;
    m->climbs = 0;
    m->step_mv = clamp_max_u32(m->step_mv / 2, least_step(in));
}

static void next_decision(struct mppt *m, const struct mppt_inputs *in, uint32_t now_mw) {
    watch_trend(m, in, now_mw);
    int rested = m->pause_us >= MPPT_PAUSE * m->burst_us;
    if (is_sweeping(m) ? rested : m->sweep_due) {
        begin_burst(m, in, now_mw);
    } else {
        perturb(m, in, now_mw);
    }
}

/* Where the peak is expected at a temperature. */
static uint32_t expected_mv(const struct mppt_inputs *in) {
    return bounded(in, in->vmp_mv + thermal_shift(in, REFERENCE_CDEG, in->array_cdeg));
}

/* The array cannot reach the voltage it is told, it stands at its open circuit: the peak is well below. */
static int out_of_reach(struct mppt *m, const struct mppt_inputs *in) {
    int reached = in->array_ma > 0 && in->array_mv + m->command_mv / 32 >= m->command_mv;
    if (m->window.fresh || reached) {
        return 0;
    }
    uint32_t standing_mv = clamp_min_u32(in->array_mv, m->command_mv);
    uint32_t next_mv = bounded(in, (int64_t)standing_mv * 9 / 10);
    m->track_mv = next_mv < m->track_mv ? next_mv : expected_mv(in);
    m->direction = -1;
    open_window(m, m->track_mv, MPPT_BEFORE);
    return 1;
}

static enum mppt_news track(struct mppt *m, const struct mppt_inputs *in) {
    if (m->phase != MPPT_PROBE && out_of_reach(m, in)) {
        return MPPT_NOTHING;
    }
    if (!measure(&m->window, in)) {
        return MPPT_NOTHING;
    }
    uint32_t mw = average_mw(&m->window);
    switch (m->phase) {
    case MPPT_PROBE:
        return probe(m, in);
    case MPPT_AFTER:
        m->after_mw = mw;
        open_window(m, m->command_mv, MPPT_HOLD);
        break;
    case MPPT_HOLD:
        decide(m, in, mw);
        next_decision(m, in, mw);
        break;
    default:
        next_decision(m, in, mw);
        break;
    }
    return MPPT_NOTHING;
}

/* ---- light, dark, limited */

static void go_dark(struct mppt *m) {
    m->phase = MPPT_DARK;
    m->point = MPPT_SWEEP_POINTS;
}

static void rise(struct mppt *m, const struct mppt_inputs *in) {
    m->track_mv = expected_mv(in);
    m->cdeg = in->array_cdeg;
    m->step_mv = greatest_step(in);
    m->direction = 1;
    m->climbs = 0;
    m->settling = 1;
    m->sweep_due = 0;
    m->since_sweep_us = 0;
    m->trend_us = 0;
    m->trend_mw = 0;
    m->point = MPPT_SWEEP_POINTS;
    open_window(m, m->track_mv, MPPT_BEFORE);
}

static void stay_limited(struct mppt *m, const struct mppt_inputs *in) {
    if (m->phase != MPPT_LIMITED) {
        m->point = MPPT_SWEEP_POINTS;
        open_window(m, m->track_mv, MPPT_LIMITED);
    }
    follow_temperature(m, in);
    m->command_mv = m->track_mv;
}

static void count_time(struct mppt *m, uint32_t dt_us) {
    m->since_sweep_us = clamp_add_u32(m->since_sweep_us, dt_us);
    m->pause_us = clamp_add_u32(m->pause_us, dt_us);
    m->trend_us = clamp_add_u32(m->trend_us, dt_us);
}

enum mppt_news mppt_step(struct mppt *m, const struct mppt_inputs *in) {
    count_time(m, in->dt_us);
    if (!in->present || in->vmp_mv == 0) {
        go_dark(m);
    } else if (m->phase == MPPT_DARK) {
        rise(m, in);
    } else if (in->limiting) {
        stay_limited(m, in);
    } else if (m->phase == MPPT_LIMITED) {
        m->step_mv = greatest_step(in) / 4;
        m->climbs = 0;
        m->trend_us = 0;
        m->trend_mw = 0;
        open_window(m, m->track_mv, MPPT_BEFORE);
    } else {
        return track(m, in);
    }
    return MPPT_NOTHING;
}
