#include "boards/power_board.h"

#include <string.h>

#include "boards/bytes.h"
#include "boards/clamp.h"

#define COLDEST_CDEG (-6000)
#define HOTTEST_CDEG 10000
#define RESTORE_CPCT 2000 /* more than a voltage under load can mislead */

void power_board_init(struct power_board *p) {
    memset(p, 0, sizeof *p);
    p->flags = BUS_POWER_FLAG_UNCONFIGURED;
    p->mppt.point = MPPT_SWEEP_POINTS;
}

/* ---- commands */

static int is_sound(const struct bus_power_config *m) {
    return m->channels <= POWER_BOARD_MAX_CHANNELS && m->strings <= STRINGS_MAX &&
           m->capacity_mah <= SOC_MAX_CAPACITY_MAH && m->heater_on_cdeg < m->heater_off_cdeg &&
           m->charge_mv > m->uvlo_mv && m->array_vmp_mv > 0 && m->array_vmp_mv < m->array_voc_mv;
}

static int any_driven(const struct channels *c) {
    for (unsigned i = 0; i < c->count; ++i) {
        if (lcl_is_driven(&c->list[i])) {
            return 1;
        }
    }
    return 0;
}

uint8_t power_board_configure(struct power_board *p, const struct bus_power_config *m) {
    if (!is_sound(m)) {
        return BUS_ACK_CODE_OUT_OF_RANGE;
    }
    if (m->channels < p->channels.count && any_driven(&p->channels)) {
        return BUS_ACK_CODE_WRONG_STATE;
    }
    if (p->configured && (m->limit_ma != p->config.limit_ma || m->trip_ms != p->config.trip_ms)) {
        p->channels.dirty_settings = ~UINT64_C(0);
    }
    p->config = *m;
    p->configured = 1;
    p->strings.count = m->strings;
    soc_set_capacity(&p->soc, m->capacity_mah);
    channels_configure(&p->channels, m->channels, p->now_ms);
    return BUS_ACK_CODE_OK;
}

uint8_t power_board_curve(struct power_board *p, const struct bus_battery_curve *m) {
    for (unsigned i = 1; i < SOC_CURVE_POINTS; ++i) {
        if (m->ocv_mv[i] <= m->ocv_mv[i - 1]) {
            return BUS_ACK_CODE_OUT_OF_RANGE;
        }
    }
    memcpy(p->soc.ocv_mv, m->ocv_mv, sizeof p->soc.ocv_mv);
    p->soc.has_curve = 1;
    return BUS_ACK_CODE_OK;
}

uint8_t power_board_channels_set(struct power_board *p, const struct bus_channels_set *m) {
    if (p->uvlo) {
        return BUS_ACK_CODE_WRONG_STATE;
    }
    return channels_want(&p->channels, m) == 0 ? BUS_ACK_CODE_OK : BUS_ACK_CODE_OUT_OF_RANGE;
}

uint8_t power_board_channel_clear(struct power_board *p, const struct bus_channel_clear *m) {
    return channels_clear(&p->channels, m->channel) == 0 ? BUS_ACK_CODE_OK : BUS_ACK_CODE_OUT_OF_RANGE;
}

uint8_t power_board_shed_tiers(struct power_board *p, const struct bus_shed_tiers *m) {
    int loaded = shed_load(&p->shed, m->tiers, m->count) == 0;
    p->channels.busy = 1;
    return loaded ? BUS_ACK_CODE_OK : BUS_ACK_CODE_OUT_OF_RANGE;
}

uint8_t power_board_shed_channels(struct power_board *p, const struct bus_shed_channels *m) {
    return channels_set_tiers(&p->channels, m) == 0 ? BUS_ACK_CODE_OK : BUS_ACK_CODE_OUT_OF_RANGE;
}

/* ---- what comes before a step */

static uint32_t ms_of(uint64_t t_us) {
    return (uint32_t)(t_us / 1000);
}

void power_board_channels_page(struct power_board *p, uint64_t t_us, const struct bus_tick_channels *m) {
    channels_sense(&p->channels, m, ms_of(t_us));
}

void power_board_strings_page(struct power_board *p, const struct bus_tick_strings *m) {
    int at_peak = p->mode == BUS_CHARGE_MODE_MPPT && p->mppt.phase != MPPT_PROBE;
    strings_page(&p->strings, m->base, m->count, m->string_ma, at_peak, &p->events);
}

static int32_t silent_ms(const struct power_board *p, uint64_t t_us) {
    return clamp_u32_to_i32(clamp_u64_to_u32((t_us - p->heard_us) / 1000));
}

void power_board_heard(struct power_board *p, uint64_t t_us) {
    if (p->autonomous) {
        p->autonomous = 0;
        events_add(&p->events, BUS_EVENT_POWER_FLIGHT_BACK, silent_ms(p, t_us), soc_cpct(&p->soc));
    }
    p->heard_us = t_us;
}

/* ---- one step */

static void set_flag(struct power_board *p, unsigned flag, int on) {
    p->flags = (uint16_t)(on ? p->flags | flag : p->flags & ~flag);
}

/* A state of charge from before a reset is kept only when the voltage does not speak loudly against it. */
static void check_restored_charge(struct power_board *p, uint32_t bus_mv) {
    if (p->soc.trust != SOC_ESTIMATED || !p->soc.has_curve) {
        return;
    }
    uint16_t seen_cpct = soc_from_voltage(p->soc.ocv_mv, bus_mv), kept_cpct = soc_cpct(&p->soc);
    if (seen_cpct + RESTORE_CPCT < kept_cpct || kept_cpct + RESTORE_CPCT < seen_cpct) {
        soc_set(&p->soc, seen_cpct, SOC_ESTIMATED);
    }
}

static void start(struct power_board *p, uint64_t t_us, const struct bus_tick_power *s) {
    if (!p->started || t_us < p->heard_us) {
        p->heard_us = t_us;
    }
    if (!p->started) {
        p->rom_charge_mv = clamp_add_u32(s->bus_mv, s->bus_mv / 50);
        p->rom_array_mv = clamp_add_u32(s->bus_mv, s->bus_mv / 4);
        check_restored_charge(p, s->bus_mv);
        p->batt_cdeg = s->batt_cdeg;
        p->started = 1;
    }
}

static void watch_temperature(struct power_board *p, int16_t cdeg) {
    if (cdeg >= COLDEST_CDEG && cdeg <= HOTTEST_CDEG) {
        p->batt_cdeg = cdeg;
        p->bad_steps = 0;
    } else if (p->bad_steps < POWER_BOARD_HOLD_STEPS) {
        ++p->bad_steps;
    }
    set_flag(p, BUS_POWER_FLAG_SENSOR_FAULT, p->bad_steps >= POWER_BOARD_HOLD_STEPS);
}

static void count_charge(struct power_board *p, const struct bus_tick_power *s) {
    uint16_t before_cpct = soc_cpct(&p->soc);
    int constant_voltage = p->charger.limiting == BUS_CHARGE_MODE_CONSTANT_VOLTAGE;
    soc_set_temperature(&p->soc, p->batt_cdeg);
    if (soc_step(&p->soc, s->dt_us, s->bus_mv, s->batt_ma, constant_voltage) == SOC_ANCHORED_NOW) {
        events_add(&p->events, BUS_EVENT_POWER_SOC_ANCHORED, before_cpct, soc_cpct(&p->soc));
    }
    set_flag(p, BUS_POWER_FLAG_SOC_ANCHORED, p->soc.trust == SOC_ANCHORED);
}

static void watch_flight(struct power_board *p, uint64_t t_us) {
    if (p->configured && !p->autonomous && t_us - p->heard_us > (uint64_t)p->config.silence_ms * 1000) {
        p->autonomous = 1;
        events_add(&p->events, BUS_EVENT_POWER_AUTONOMOUS, silent_ms(p, t_us), soc_cpct(&p->soc));
    }
    set_flag(p, BUS_POWER_FLAG_AUTONOMOUS, p->autonomous);
}

/* The electronics have cut every channel. Nothing comes back by itself: the latch is cleared once the bus is well, and
 * flight then says again what it wants. */
static void watch_undervoltage(struct power_board *p, const struct bus_tick_power *s) {
    int tripped = (s->flags & BUS_ELECTRONICS_FLAG_UVLO_TRIPPED) != 0;
    if (tripped && !p->uvlo) {
        events_add(&p->events, BUS_EVENT_POWER_UVLO, clamp_u32_to_i32(s->bus_min_mv), soc_cpct(&p->soc));
        channels_drop_all(&p->channels);
        p->uvlo_good_us = 0;
    }
    p->uvlo = (uint8_t)tripped;
    int good = s->bus_min_mv >= p->config.uvlo_mv + p->config.uvlo_mv / POWER_BOARD_CLEAR_SHARE;
    p->uvlo_good_us = tripped && good ? clamp_add_u32(p->uvlo_good_us, s->dt_us) : 0;
    p->clear_latches = p->uvlo_good_us >= POWER_BOARD_CLEAR_US;
    set_flag(p, BUS_POWER_FLAG_UVLO_LATCHED, tripped);
}

static void shed_loads(struct power_board *p, const struct bus_tick_power *s) {
    uint8_t was = p->shed.tier;
    uint8_t now = shed_step(&p->shed, s->dt_us, p->soc.trust != SOC_UNKNOWN, soc_cpct(&p->soc), s->bus_mv);
    if (now != was) {
        events_add(&p->events, now > was ? BUS_EVENT_POWER_SHED : BUS_EVENT_POWER_RECOVERED, now, soc_cpct(&p->soc));
        p->channels.busy = 1;
    }
    set_flag(p, BUS_POWER_FLAG_SHEDDING, now != 0);
}

static void step_channels(struct power_board *p) {
    struct channels_rules rules = {p->config.retry_ms, p->config.stagger_ms, p->config.retries};
    channels_step(&p->channels, p->now_ms, &rules, &p->shed, &p->events);
    set_flag(p, BUS_POWER_FLAG_INRUSH_WAIT, p->channels.waiting != 0);
}

static void charge(struct power_board *p, const struct bus_tick_power *s) {
    struct charger_inputs in = {
        .bus_mv = s->bus_mv,
        .array_mv = s->array_mv,
        .wanted_mv = p->mppt.command_mv,
        .batt_ma = s->batt_ma,
        .batt_cdeg = p->batt_cdeg,
        .array_present = (s->flags & BUS_ELECTRONICS_FLAG_ARRAY_PRESENT) != 0,
        .temperature_bad = p->bad_steps >= POWER_BOARD_HOLD_STEPS,
        .over_voltage = (s->flags & BUS_ELECTRONICS_FLAG_OVER_VOLTAGE) != 0,
        .soc_known = p->soc.trust != SOC_UNKNOWN,
        .full = p->soc.full,
        .rest = (uint8_t)soc_wants_rest(&p->soc),
        .soc_cpct = soc_cpct(&p->soc),
        .max_ma = p->configured ? p->config.charge_ma : CHARGER_ROM_MA,
        .max_mv = p->configured ? p->config.charge_mv : p->rom_charge_mv,
        .soc_limit_cpct = p->configured ? p->config.soc_limit_cpct : SOC_FULL_CPCT,
    };
    int blocked = charger_step(&p->charger, &in);
    if (blocked != 0) {
        events_add(&p->events, BUS_EVENT_POWER_CHARGE_BLOCKED, p->batt_cdeg, blocked);
    }
}

static void track_peak(struct power_board *p, const struct bus_tick_power *s) {
    struct mppt_inputs in = {
        .dt_us = s->dt_us,
        .array_mv = s->array_mv,
        .array_ma = s->array_ma,
        .array_cdeg = s->array_cdeg,
        .present = (s->flags & BUS_ELECTRONICS_FLAG_ARRAY_PRESENT) != 0,
        .limiting = p->charger.limiting != 0,
        .floor_mv = clamp_add_u32(s->bus_mv, s->bus_mv / 20),
        .voc_mv = p->config.array_voc_mv,
        .vmp_mv = p->config.array_vmp_mv,
    };
    if (mppt_step(&p->mppt, &in) == MPPT_SWEPT) {
        events_add(&p->events, BUS_EVENT_POWER_SWEEP, clamp_u32_to_i32(p->mppt.from_mv),
                   clamp_u32_to_i32(p->mppt.track_mv));
    }
    int probes = p->mppt.phase == MPPT_PROBE && p->charger.mode == BUS_CHARGE_MODE_MPPT;
    p->mode = probes ? BUS_CHARGE_MODE_SWEEP : p->charger.mode;
}

static void heat(struct power_board *p) {
    int wanted = p->batt_cdeg <= p->config.heater_on_cdeg || (p->heater && p->batt_cdeg < p->config.heater_off_cdeg);
    p->heater = p->configured && wanted && !p->uvlo && p->bad_steps < POWER_BOARD_HOLD_STEPS;
    set_flag(p, BUS_POWER_FLAG_HEATER_ON, p->heater);
}

void power_board_step(struct power_board *p, uint64_t t_us, const struct bus_tick_power *s) {
    p->now_ms = ms_of(t_us);
    start(p, t_us, s);
    set_flag(p, BUS_POWER_FLAG_UNCONFIGURED, !p->configured);
    watch_temperature(p, s->batt_cdeg);
    count_charge(p, s);
    watch_flight(p, t_us);
    watch_undervoltage(p, s);
    shed_loads(p, s);
    step_channels(p);
    charge(p, s);
    track_peak(p, s);
    heat(p);
    p->sensors = *s;
}

/* ---- what the step led to */

void power_board_settings(const struct power_board *p, struct bus_done_power *out) {
    memset(out, 0, sizeof *out);
    out->array_mv = p->configured ? p->mppt.command_mv : p->rom_array_mv;
    out->charge_ma = p->charger.charge_ma;
    out->charge_mv = p->charger.charge_mv;
    out->uvlo_mv = p->configured ? p->config.uvlo_mv : 0;
    out->heater = p->heater;
    out->clear_latches = p->clear_latches;
}

static uint32_t milliwatts(uint32_t mv, uint32_t ma) {
    return clamp_u64_to_u32((uint64_t)mv * ma / 1000);
}

void power_board_report(const struct power_board *p, struct bus_power_tlm *out) {
    const struct bus_tick_power *s = &p->sensors;
    uint32_t array_mw = milliwatts(s->array_mv, s->array_ma);
    *out = (struct bus_power_tlm){
        .mode = p->mode,
        .flags = p->flags,
        .tier = p->shed.tier,
        .bus_mv = s->bus_mv,
        .batt_ma = s->batt_ma,
        .batt_cdeg = s->batt_cdeg,
        .soc_cpct = soc_cpct(&p->soc),
        .array_mw = array_mw,
        .array_mv = s->array_mv,
        .array_cdeg = s->array_cdeg,
        .largest_string_mw = strings_largest_mw(&p->strings, array_mw),
        .strings_live = strings_live(&p->strings),
        .load_mw = milliwatts(s->bus_mv, p->channels.sum_ma),
        .hotel_mw = milliwatts(s->bus_mv, s->hotel_ma),
        .channels_on = p->channels.on,
    };
}

static uint8_t *serialise_tracker(const struct mppt *m, uint8_t *p) {
    p = bytes_u32(bytes_u32(bytes_u32(p, m->command_mv), m->track_mv), m->step_mv);
    p = bytes_u32(bytes_u32(bytes_u64(p, m->window.sum_mw_us), m->window.sum_us), m->window.elapsed_us);
    p = bytes_u32(bytes_u32(bytes_u32(p, m->before_mw), m->after_mw), m->trend_mw);
    p = bytes_u32(bytes_u32(bytes_u32(p, m->trend_us), m->since_sweep_us), m->pause_us);
    p = bytes_u32(bytes_u32(bytes_u32(p, m->burst_us), m->best_mv), m->best_mw);
    p = bytes_u16(bytes_u32(p, m->peak_ma), (uint16_t)m->cdeg);
    p = bytes_u8(bytes_u8(bytes_u8(p, m->window.fresh), (uint8_t)m->direction), m->phase);
    return bytes_u8(bytes_u8(bytes_u8(bytes_u8(p, m->climbs), m->point), m->sweep_due), m->settling);
}

size_t power_board_serialise(const struct power_board *b, uint8_t out[static POWER_BOARD_STATE_BYTES]) {
    uint8_t *p = serialise_tracker(&b->mppt, out);
    p = bytes_u32(bytes_u32(p, b->charger.charge_ma), b->charger.charge_mv);
    p = bytes_u8(bytes_u8(bytes_u8(p, b->charger.cold), b->charger.hot), b->charger.held);
    p = bytes_u8(bytes_u8(p, b->charger.limiting), b->charger.settle_steps);
    p = bytes_u64(bytes_u64(p, (uint64_t)b->soc.charge_ma_us), (uint64_t)b->soc.capacity_ma_us);
    p = bytes_u32(bytes_u32(p, b->soc.rest_us), b->soc.taper_us);
    p = bytes_u8(bytes_u8(bytes_u8(p, b->soc.trust), b->soc.rested), b->soc.full);
    for (unsigned i = 0; i < SHED_TIERS; ++i) {
        p = bytes_u32(p, b->shed.low_us[i]);
    }
    p = bytes_u8(bytes_u32(p, b->shed.high_us), b->shed.tier);
    p = bytes_u32(bytes_u32(bytes_u64(p, b->strings.lost), b->strings.largest_ma), b->strings.sum_ma);
    p = bytes_u8(bytes_u8(bytes_u8(p, b->configured), b->autonomous), b->uvlo);
    p = bytes_u8(bytes_u8(bytes_u8(p, b->heater), b->clear_latches), b->mode);
    p = bytes_u16(bytes_u16(bytes_u8(p, b->bad_steps), (uint16_t)b->batt_cdeg), b->flags);
    p = bytes_u64(bytes_u32(p, b->uvlo_good_us), b->heard_us);
    p = bytes_u32(bytes_u32(p, b->channels.sum_ma), b->channels.last_start_ms);
    p = bytes_u16(bytes_u16(p, b->channels.on), b->channels.waiting);
    return (size_t)(p - out);
}
