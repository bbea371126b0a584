/* What is learned of battery and array, from the power board's telemetry (docs/estimation.md).
 *
 * Battery: V = OCV(charge) + offset + R u, where u is the current behind the lags of the cell's two polarisation pairs,
 * so that R holds for all three resistances. R by regression of what varies faster than OCV does; capacity by the
 * charge moved between two states of charge that the voltage tells. */
#include "control/internal.h"

#define RC_FIRST (0.48f / 1.64f) /* of R0 + R1 + R2 = 25 + 12 + 4 mOhm (3 Ah 18650 cell) */
#define RC_SECOND (0.16f / 1.64f)
#define RC_FIRST_S 3.36f
#define RC_SECOND_S 7.6f
#define OFFSET_TAU_S 60.0f
#define CHARGE_TAU_S 600.0f /* own state of charge towards the voltage's */
#define ERROR_TAU_S 1.0f
#define FAST_TAU_S 30.0f     /* slower changes of the voltage are those of the charge */
#define FORGET_TAU_S 7200.0f /* of the resistance */
#define PRIOR_C 0.15f        /* a current of that, for a minute, counts as much as what the file says */
#define PRIOR_S 60.0f
#define LEAST_SHARE 0.5f /* of that, that a current must change by to tell a resistance */
#define POINT_US (10 * CTL_SECOND_US)
#define POINT_C 0.6f    /* no state of charge is read from the voltage at greater currents */
#define SWING_CPCT 2000 /* between two states of charge that tell a capacity */
#define SWING_US (7200 * (uint64_t)CTL_SECOND_US)
#define KNOWN 100
#define DISAGREE_CPCT 300
#define JUMP_CPCT 20 /* in a tick: the board has estimated anew */
#define PEAK_S 60    /* held by the tracker for longer, it is the maximum */
#define AGREE_US (60 * CTL_SECOND_US)
#define DERATE_CPCT 100 /* off a state of charge that is not counted by a sensor */
#define ARRAY_TAU_S 60.0f
#define MA_US_OF_MAH INT64_C(3600000000)

/* Resistance over that at 25 degC, in 1/1000, from -20 degC in steps of 10 K: exp(Ea/R (1/T - 1/298 K)), 19 kJ/mol. */
static const uint16_t warmth[] = {3891, 2761, 2009, 1495, 1135, 878, 690, 551, 445};

static float by_temperature(int32_t cdeg) {
    int64_t at = ctl_clamp(cdeg + 2000, 0, 7999);
    int64_t below = warmth[at / 1000], above = warmth[at / 1000 + 1];
    return (float)(below + (above - below) * (at % 1000) / 1000) * 1e-3f;
}

/* Usable share of the capacity, in 1/1000: .68 at -20, 1 at 25, .97 at 45 degC; as the power board has it. */
static int64_t usable_permille(int32_t cdeg) {
    return cdeg < 2500 ? 1000 - ctl_clamp(2500 - cdeg, 0, 6500) * 64 / 900
                       : 1000 - ctl_clamp(cdeg - 2500, 0, 3500) * 3 / 200;
}

uint32_t ctl_capacity_mah(const struct ctl *c) {
    int64_t file = c->config.power.capacity_mah;
    if (c->battery.capacity_known == 0)
        return (uint32_t)file;
    return (uint32_t)ctl_clamp(c->battery.capacity_mah, file / 2, file * 105 / 100);
}

int64_t ctl_full_ma_us(const struct ctl *c) {
    int64_t full = ctl_capacity_mah(c) * (MA_US_OF_MAH / 1000) * usable_permille(c->power.tlm.batt_cdeg);
    return ctl_max(1, full);
}

/* ------------------------------------------------------------------ the model of the pack */

float ctl_resistance_ohm(const struct ctl *c) {
    return c->battery.ohm * by_temperature(c->power.tlm.batt_cdeg);
}

float ctl_ocv_mv(const struct ctl *c, float cpct) {
    const struct bus_battery_curve *curve = &c->config.curve;
    float last = (float)(curve->count - 1), x = cpct * last * 1e-4f;
    x = x < 0 ? 0 : x > last ? last : x;
    uint8_t k = (uint8_t)(x < last ? x : last - 1);
    float low = (float)curve->ocv_mv[k], high = (float)curve->ocv_mv[k + 1];
    return low + (high - low) * (x - (float)k);
}

/* State of charge at an open-circuit voltage. */
static int32_t cpct_at(const struct ctl *c, float mv) {
    const struct bus_battery_curve *curve = &c->config.curve;
    if (mv <= (float)curve->ocv_mv[0])
        return 0;
    for (unsigned k = 1; k < curve->count; k++) {
        float low = (float)curve->ocv_mv[k - 1], high = (float)curve->ocv_mv[k];
        if (mv < high)
            return (int32_t)(10000.0f * ((float)(k - 1) + (mv - low) / (high - low)) / (float)(curve->count - 1));
    }
    return 10000;
}

static float lagged(struct ctl_lag *l, float ma, float dt_s) {
    l->first += (ma - l->first) * dt_s / (RC_FIRST_S + dt_s);
    l->second += (ma - l->second) * dt_s / (RC_SECOND_S + dt_s);
    return l->ma = ma * (1 - RC_FIRST - RC_SECOND) + RC_FIRST * l->first + RC_SECOND * l->second;
}

/* By how many mA a current is off from what the voltage says. */
static void compare(struct ctl *c, unsigned which, float ma, float dt_s) {
    struct ctl_battery *b = &c->battery;
    float rest = ctl_ocv_mv(c, (float)ctl_own_cpct(c)) + b->offset_mv;
    float mv = (float)c->power.tlm.bus_mv - rest - ctl_resistance_ohm(c) * lagged(&b->lag[which], ma, dt_s);
    float off = mv / ctl_resistance_ohm(c);
    b->error_ma[which] += ((off < 0 ? -off : off) - b->error_ma[which]) * dt_s / (ERROR_TAU_S + dt_s);
}

void ctl_battery_compare(struct ctl *c, float measured_ma, float balanced_ma, float dt_s) {
    if (!c->battery.begun) {
        for (unsigned k = 0; k < 2; k++)
            c->battery.lag[k].first = c->battery.lag[k].second = measured_ma;
        c->battery.charge_ma_us = ctl_full_ma_us(c) / 10000 * c->power.heard.soc_cpct;
        c->battery.begun = 1;
    }
    compare(c, CTL_MEASURED, measured_ma, dt_s);
    compare(c, CTL_BALANCED, balanced_ma, dt_s);
}

/* ------------------------------------------------------------------ learning */

static void learn_resistance(struct ctl *c, float u_ma, float volts_mv, float dt_s) {
    struct ctl_battery *b = &c->battery;
    float prior = PRIOR_C * (float)c->config.power.capacity_mah;
    float x = u_ma * by_temperature(c->power.tlm.batt_cdeg), y = volts_mv;
    if (!b->fast) { /* what came before is of another state of charge */
        b->slow_ma = x;
        b->slow_mv = y;
        b->fast = 1;
    }
    b->slow_ma += (x - b->slow_ma) * dt_s / (FAST_TAU_S + dt_s);
    b->slow_mv += (y - b->slow_mv) * dt_s / (FAST_TAU_S + dt_s);
    x = (x - b->slow_ma) / prior; /* in units of the prior, so that sums stay near 1 */
    y = (y - b->slow_mv) / prior;
    int regulated = c->power.tlm.mode == BUS_CHARGE_MODE_CONSTANT_VOLTAGE; /* there the current follows the charge */
    if (regulated || (x < LEAST_SHARE && x > -LEAST_SHARE))
        return;
    float keep = 1 - dt_s / FORGET_TAU_S;
    b->sum_xx = b->sum_xx * keep + x * x * dt_s / PRIOR_S;
    b->sum_xy = b->sum_xy * keep + x * y * dt_s / PRIOR_S;
    float file = (float)c->config.resistance_uohm * 1e-6f, ohm = (b->sum_xy + file) / (b->sum_xx + 1);
    b->ohm = ohm < 0.3f * file ? 0.3f * file : ohm > 5 * file ? 5 * file : ohm;
}

/* At a moderate current the voltage tells the state of charge; the charge between two such points, the capacity. */
static void learn_capacity(struct ctl *c, uint32_t dt_us) {
    struct ctl_battery *b = &c->battery;
    float u_ma = b->lag[CTL_MEASURED].ma, most_ma = POINT_C * (float)c->config.power.capacity_mah;
    b->point_us += dt_us;
    if (b->point_us < POINT_US || u_ma > most_ma || u_ma < -most_ma || b->sum_xx < 1)
        return;
    b->point_us = 0;
    int32_t cpct = cpct_at(c, (float)c->power.tlm.bus_mv - ctl_resistance_ohm(c) * u_ma);
    if (cpct <= 0 || cpct >= 10000)
        return;
    cpct = (int32_t)(cpct * usable_permille(c->power.tlm.batt_cdeg) / 1000); /* of what it holds at 25 degC */
    int32_t swing = cpct - b->point_cpct;
    int64_t moved = b->moved_ma_us - b->point_ma_us;
    int far = swing > SWING_CPCT || swing < -SWING_CPCT;
    if (b->pointed && !far && ctl_age(c->t_us, b->pointed_us) < SWING_US)
        return;
    if (b->pointed && far && (moved > 0) == (swing > 0)) {
        int64_t found = moved / swing * 10000 / MA_US_OF_MAH;
        int64_t file = c->config.power.capacity_mah, known = b->capacity_known > 2 ? 3 : b->capacity_known + 1;
        found = ctl_clamp(found, file * 3 / 10, file * 12 / 10);
        b->capacity_mah += (found - b->capacity_mah) / known;
        b->capacity_known = (uint8_t)(b->capacity_known + (b->capacity_known < UINT8_MAX));
    }
    b->pointed = 1;
    b->point_cpct = cpct;
    b->point_ma_us = b->moved_ma_us;
    b->pointed_us = c->t_us;
}

/* ------------------------------------------------------------------ state of charge */

int32_t ctl_own_cpct(const struct ctl *c) {
    return (int32_t)ctl_clamp(c->battery.charge_ma_us / (ctl_full_ma_us(c) / 10000), 0, 10000);
}

/* The pack holds less than the board counts with: it says too much while it discharges. */
static int aged(const struct ctl *c) {
    return c->battery.capacity_known >= 2 && c->battery.capacity_mah < (int64_t)c->config.power.capacity_mah * 95 / 100;
}

/* Counts, and leans towards what the voltage says. While the board's count can be trusted, that is taken. */
static void count_charge(struct ctl *c, unsigned out, uint32_t dt_us, float dt_s) {
    struct ctl_battery *b = &c->battery;
    struct ctl_sensor *s = &c->balance.sensors[SPACE_SENSOR_SOC_CPCT - SPACE_SENSOR_BUS_MV];
    int64_t full = ctl_full_ma_us(c), one = full / 10000, added = (int64_t)c->power.tlm.batt_ma * dt_us;
    b->moved_ma_us += added;
    int32_t jump = (int32_t)c->power.heard.soc_cpct - c->battery.board_cpct;
    c->battery.board_cpct = c->power.heard.soc_cpct;
    if (jump > JUMP_CPCT || jump < -JUMP_CPCT)
        b->fast = 0;
    int suspect = c->balance.open_us > 0 || c->balance.sensors[SPACE_SENSOR_BATT_MA - SPACE_SENSOR_BUS_MV].bad_us > 0;
    if (s->state == SPACE_SENSOR_STATE_TRUSTED && !aged(c) && !suspect) {
        b->charge_ma_us = one * c->power.heard.soc_cpct;
    } else {
        int32_t own = ctl_own_cpct(c), seen = cpct_at(c, ctl_ocv_mv(c, (float)own) + b->offset_mv);
        b->charge_ma_us += added + (int64_t)((float)(seen - own) * dt_s / CHARGE_TAU_S * (float)one);
        b->charge_ma_us = ctl_clamp(b->charge_ma_us, 0, full);
    }
    int32_t off = (int32_t)c->power.heard.soc_cpct - ctl_own_cpct(c);
    if (s->state == SPACE_SENSOR_STATE_TRUSTED) {
        if (out == SPACE_SENSOR_BATT_MA)
            ctl_sensor_exclude(c, s, bus_address_of(0), SPACE_SENSOR_SOC_CPCT, off);
    } else {
        s->still_us = s->bad_us = 0;
        ctl_sensor_readmit(c, s, bus_address_of(0), SPACE_SENSOR_SOC_CPCT,
                           out != SPACE_SENSOR_BATT_MA && off < DISAGREE_CPCT && off > -DISAGREE_CPCT, dt_us, off);
    }
    if (s->state != SPACE_SENSOR_STATE_TRUSTED)
        c->power.tlm.soc_cpct = (uint16_t)ctl_max(0, ctl_own_cpct(c) - DERATE_CPCT);
    else if (suspect)
        c->power.tlm.soc_cpct = (uint16_t)ctl_own_cpct(c);
    else if (aged(c) && off > DISAGREE_CPCT)
        c->power.tlm.soc_cpct = (uint16_t)ctl_own_cpct(c);
}

void ctl_battery_learn(struct ctl *c, unsigned out, uint32_t dt_us) {
    struct ctl_battery *b = &c->battery;
    float dt_s = (float)dt_us * 1e-6f;
    const struct ctl_lag *lag = &b->lag[out == SPACE_SENSOR_BATT_MA ? CTL_BALANCED : CTL_MEASURED];
    float over_mv = (float)c->power.tlm.bus_mv - ctl_ocv_mv(c, (float)ctl_own_cpct(c));
    int closed = out != 0 || c->balance.open_us == 0;
    if (closed && c->balance.sensors[0].state == SPACE_SENSOR_STATE_TRUSTED) {
        b->offset_mv += (over_mv - ctl_resistance_ohm(c) * lag->ma - b->offset_mv) * dt_s / (OFFSET_TAU_S + dt_s);
        if (out == 0) {
            learn_resistance(c, lag->ma, over_mv, dt_s);
            learn_capacity(c, dt_us);
        }
    }
    count_charge(c, out, dt_us, dt_s);
}

/* Of the nameplate, at the array's temperature, while the tracker holds it at its maximum in full light. */
void ctl_array_learn(struct ctl *c, float dt_s) {
    const struct bus_power_tlm *t = &c->power.tlm;
    struct ctl_array *a = &c->array;
    int at_peak = t->mode == BUS_CHARGE_MODE_MPPT && c->supply.sunlit && !c->power.probed && c->balance.open_us == 0;
    float heat = 1 + (float)c->config.array_ppm_per_k * 1e-6f * (float)(t->array_cdeg - 2800) * 0.01f;
    a->peak_s = at_peak ? a->peak_s + dt_s : 0;
    float share = (float)t->array_mw / (float)ctl_max(1, c->config.array_mw) / (heat < 0.2f ? 0.2f : heat);
    if (a->peak_s < PEAK_S && (share < a->share || a->seen_s < 1))
        return;
    float tau_s = a->seen_s < ARRAY_TAU_S ? a->seen_s : ARRAY_TAU_S;
    a->share += (share - a->share) * dt_s / (tau_s + dt_s);
    a->seen_s += a->seen_s < 255 ? dt_s : 0;
}

void ctl_estimate_init(struct ctl *c) {
    c->battery.ohm = (float)c->config.resistance_uohm * 1e-6f;
    c->battery.capacity_mah = c->config.power.capacity_mah;
    c->array.share = 1;
}

static uint16_t speed_permille(const struct ctl *c, uint8_t workload) {
    float expected = c->heat.expected_mu[workload];
    float share = expected > 0 ? c->heat.worked_mu[workload] / expected : 1;
    return (uint16_t)ctl_clamp((int64_t)(share * 1000 + 0.5f), 0, UINT16_MAX);
}

size_t ctl_hk_estimate(const struct ctl *c, uint8_t out[static SPACE_MAX_PAYLOAD]) {
    const struct ctl_sensor *s = c->balance.sensors;
    float known = c->battery.sum_xx * KNOWN;
    struct space_hk_estimate hk = {
        .capacity_mah = (uint32_t)c->battery.capacity_mah,
        .capacity_known = c->battery.capacity_known,
        .resistance_uohm = (uint32_t)(c->battery.ohm * 1e6f + 0.5f),
        .resistance_known = known > 255 ? 255 : (uint8_t)known,
        .soc_cpct = (uint16_t)ctl_own_cpct(c),
        .array_permille = (uint16_t)ctl_clamp((int64_t)(c->array.share * 1000 + 0.5f), 0, UINT16_MAX),
        .array_known = (uint8_t)c->array.seen_s,
        .balance_mw = (int32_t)c->balance.residual_mw,
        .uncertain_mw = (uint32_t)ctl_clamp(c->balance.uncertain_mw, 0, UINT32_MAX),
        .bus_mv = s[0].state,
        .batt_ma = s[1].state,
        .array_mw = s[2].state,
        .hotel_mw = s[3].state,
        .load_mw = s[4].state,
        .soc = s[5].state,
        .nodes_out = ctl_nodes_out(c),
        .die_uk_per_w = (uint32_t)(c->heat.die_k_per_w * 1e6f + 0.5f),
        .training_permille = speed_permille(c, BUS_WORKLOAD_TRAINING),
        .prefill_permille = speed_permille(c, BUS_WORKLOAD_PREFILL),
        .decode_permille = speed_permille(c, BUS_WORKLOAD_DECODE),
        .count = c->config.cooling.loops,
    };
    for (uint8_t l = 0; l < hk.count; l++) {
        const struct ctl_loop *loop = &c->heat.loops[l];
        hk.loops[l] = (struct space_loop_row){
            .radiator_permille = (uint16_t)ctl_clamp((int64_t)(loop->share * 1000 + 0.5f), 0, UINT16_MAX),
            .known = (uint8_t)(loop->known_s / 10),
            .heat_mw = loop->heat_w > 0 ? (uint32_t)(loop->heat_w * 1000) : 0,
            .coolant_cdeg = (int16_t)ctl_clamp((int64_t)(loop->coolant_c * 100), INT16_MIN, INT16_MAX),
        };
    }
    return space_hk_estimate_encode(&hk, out);
}
