/* What the satellite can give: the guarantee that leases count on, the energy budget that nodes shall draw, the mode.
 */
#include "control/internal.h"

#define FRESH_US 300000u
#define SWEEP_HOLD_US CTL_SECOND_US           /* the tracker's sweep lets the array power dip for less than that */
#define RAMP_US (10 * CTL_SECOND_US)          /* before a forecast eclipse entry */
#define ENTRY_LATE_US (60 * CTL_SECOND_US)    /* a forecast entry that has not come by then is taken as wrong */
#define ECLIPSE_MAX_US (2160 * CTL_SECOND_US) /* longest of any low orbit */
#define RESERVE_SLACK_CPCT 100
#define PLAN_US (10 * CTL_SECOND_US)
#define LOST_SHARE 32     /* of the outlook: so much is no drift */
#define STEADY_SHARE 1024 /* of it, in a tick: so little is no sunset */
#define STEADY_TICKS 2
#define OUTLOOK_US (200 * CTL_SECOND_US)
#define SURGE_US (300 * CTL_SECOND_US) /* a cold array gives more */
#define DAWN_US (20 * CTL_SECOND_US)   /* until the array is at its maximum, when the Sun is back */
#define FELL_US 500000u                /* after a fall no cap is raised for so long: what is measured is old */
/* A string was lost: the power board takes so long to tell which are left. */
#define FELL_HARD_US (3 * CTL_SECOND_US)
#define FALL_TICKS 3 /* from a fall of the supply to a lower cap in force: measured, sent, taken */
#define PROVEN_US (4 * CTL_SECOND_US)
#define SUN_STEADY_US 400000u /* a tracker that starts anew gives nothing for a tick */
#define APPETITE_S 100 /* from nothing to the whole charge current, while the battery is not at its voltage limit */
#define RISE_S 4       /* from nothing to every node at its maximum */

static int power_fresh(const struct ctl *c) {
    uint64_t limit_us = 3 * (uint64_t)c->config.tick_us;
    limit_us = limit_us < FRESH_US ? FRESH_US : limit_us;
    return ctl_ready(c, 0) && c->power.tlm_us != 0 && ctl_age(c->t_us, c->power.tlm_us) <= limit_us;
}

static int64_t at_bus(const struct ctl *c, int64_t array_mw) {
    return array_mw * c->config.converter_permille / 1000;
}

/* The mode says what comes next: the first values behind a sweep are of its last point. */
static int probes(const struct ctl *c) {
    return c->power.tlm.mode == BUS_CHARGE_MODE_SWEEP || c->power.probed;
}

/* The tracker sweeps, and has not done so for long. */
static int sweeping(const struct ctl *c) {
    return probes(c) && ctl_age(c->t_us, c->supply.steady_us) < SWEEP_HOLD_US;
}

/* Array power and its largest string; nothing when telemetry is missing: then only the battery is counted on. */
static void measure_array(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    const struct bus_power_tlm *t = &c->power.tlm;
    if (!probes(c))
        s->steady_us = c->t_us;
    if (!power_fresh(c)) {
        s->array = s->string = 0;
        return;
    }
    if (sweeping(c)) { /* it goes on falling as it fell */
        s->array = ctl_max(0, s->array - s->decline);
        return;
    }
    int64_t array = at_bus(c, t->array_mw);
    s->decline += (ctl_max(0, s->array - array) - s->decline) / 2;
    s->array = array;
    s->string = at_bus(c, t->largest_string_mw);
}

static int curtailed(const struct bus_power_tlm *t) {
    return t->mode == BUS_CHARGE_MODE_CONSTANT_CURRENT || t->mode == BUS_CHARGE_MODE_CONSTANT_VOLTAGE ||
           t->mode == BUS_CHARGE_MODE_HELD || t->mode == BUS_CHARGE_MODE_TOO_COLD || t->mode == BUS_CHARGE_MODE_TOO_HOT;
}

/* A forecast entry is near, or just over. */
static int dusk(const struct ctl_supply *s, uint64_t t_us) {
    return s->entry_us != 0 && t_us + ENTRY_LATE_US > s->entry_us && t_us < s->entry_us + ENTRY_LATE_US;
}

/* Measured array power less its largest string. When it falls because less is asked for (a node died, a job ended),
 * what the array gave a moment ago still counts for as long as a lease of a board that is silent may: else caps would
 * chase their own draw down. Not when a string is lost, not at dusk, not when the tracker is at the maximum: then it is
 * the Sun. */
static int64_t proven_array(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    const struct bus_power_tlm *t = &c->power.tlm;
    int less_asked = s->sunlit && curtailed(t) && t->strings_live >= s->proven_strings && !dusk(s, c->t_us);
    int held = less_asked && ctl_age(c->t_us, s->proven_us) < PROVEN_US;
    if (held && s->array < s->proven - s->proven / 32) {
        int64_t string = s->array > 0 ? s->string * s->proven / s->array : 0; /* its share may have been told late */
        return s->proven - ctl_max(s->proven_string, string);
    }
    s->proven = s->array;
    s->proven_string = s->string;
    s->proven_us = c->t_us;
    s->proven_strings = t->strings_live;
    return s->array - s->string;
}

static void guarantee(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    int battery = c->power.tlm_us != 0 && c->power.tlm.soc_cpct > c->config.soc_floor_cpct;
    int64_t before = s->guaranteed;
    int64_t array = proven_array(c), hotel = c->power.tlm.hotel_mw, kept = 1000 - c->set.margin_permille;
    s->guaranteed = array + (battery ? c->config.discharge_mw : 0) - hotel - c->balance.uncertain_mw;
    int64_t promised = s->guaranteed - (array + hotel) * kept / 1000; /* only what is measured may be wrong */
    s->falling = ctl_max(0, before - s->guaranteed);
    if (s->falling > before / 256) {
        uint64_t until_us = c->t_us + (s->falling > before / 16 ? FELL_HARD_US : FELL_US);
        s->falls_until_us = until_us > s->falls_until_us ? until_us : s->falls_until_us;
    }
    int64_t rise = (int64_t)c->config.nodes * c->config.node.max_mw / RISE_S * c->config.tick_us / 1000000;
    s->grantable = ctl_min(promised, s->grantable + rise);
}

int64_t ctl_lease_limit(const struct ctl *c) {
    return c->supply.grantable - FALL_TICKS * c->supply.falling;
}

static void watch_sun(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    int64_t hotel = c->power.tlm.hotel_mw;
    int sunlit = s->sunlit ? s->array >= hotel / 4 : s->array > hotel / 2;
    if (!power_fresh(c) || sunlit == s->sunlit)
        s->sun_us = c->t_us;
    if (ctl_age(c->t_us, s->sun_us) < SUN_STEADY_US)
        return;
    s->turned_us = c->t_us;
    s->sunlit = (uint8_t)sunlit;
    ctl_event(c, sunlit ? SPACE_EVENT_ECLIPSE_EXIT : SPACE_EVENT_ECLIPSE_ENTRY, BUS_ADDRESS_FLIGHT,
              c->power.tlm.soc_cpct, (int32_t)(c->power.tlm.array_mw / 1000));
}

/* While the tracker holds the array at its maximum, that is measured, and remembered. While it is curtailed, more is
 * there than is measured: as long as nodes want it, ask for more, fast up to where the maximum was last seen and slowly
 * beyond. An estimate that is too high shows as a battery that gives, or as a tracker back at the maximum. */
static void estimate_available(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    const struct bus_power_tlm *t = &c->power.tlm;
    if (sweeping(c))
        return;
    int64_t nameplate = at_bus(c, c->config.array_mw);
    int64_t battery = (int64_t)t->bus_mv * t->batt_ma / 1000;
    if (!s->sunlit || !curtailed(t) || battery < -nameplate / 50) {
        s->available += (s->array - s->available) / (s->array < s->available ? 2 : 8);
        if (s->sunlit)
            s->maximum = s->available;
        return;
    }
    s->available = ctl_max(s->available, s->array);
    int64_t per_s = s->available < s->maximum || s->maximum == 0 ? nameplate / 6 : nameplate / 2000;
    if (s->hungry && s->available < s->array + nameplate / 8)
        s->available += per_s * c->config.tick_us / 1000000;
}

/* What the array gives in the sun, as planning ahead counts on it. Slowly; but what is lost at a stroke, and stays away
 * (a string; not the Sun, which goes on going), is missed at once, and planned for. */
static void look_at_sun(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    if (s->outlook == 0)
        s->outlook = at_bus(c, c->config.array_mw);
    int64_t moved = s->array - s->array_before;
    s->array_before = s->array;
    if (!s->sunlit || sweeping(c) || dusk(s, c->t_us) || ctl_age(c->t_us, s->turned_us) <= SURGE_US) {
        s->steady_ticks = 0;
        return;
    }
    int steady = moved * STEADY_SHARE < s->outlook && -moved * STEADY_SHARE < s->outlook;
    int lost = !curtailed(&c->power.tlm) && s->array < s->outlook - s->outlook / LOST_SHARE;
    s->steady_ticks = (uint8_t)(steady && lost ? s->steady_ticks + 1 : 0);
    if (s->steady_ticks < STEADY_TICKS) {
        s->outlook += (s->available - s->outlook) * c->config.tick_us / OUTLOOK_US;
        return;
    }
    s->outlook = s->array;
    s->steady_ticks = 0;
    s->planned_us = 0;
}

/* What the battery would take, if it were offered: all of the charge current, or what it last took while its voltage
 * was at the limit. */
static void estimate_appetite(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    const struct bus_power_tlm *t = &c->power.tlm;
    int64_t most = (int64_t)t->bus_mv * c->config.power.charge_ma / 1000;
    int64_t battery = ctl_max(0, (int64_t)t->bus_mv * t->batt_ma / 1000);
    if (t->mode == BUS_CHARGE_MODE_HELD || t->mode == BUS_CHARGE_MODE_TOO_COLD || t->mode == BUS_CHARGE_MODE_TOO_HOT)
        s->appetite = 0;
    else if (t->mode == BUS_CHARGE_MODE_CONSTANT_VOLTAGE)
        s->appetite += (battery - s->appetite) / 8;
    else if (t->mode == BUS_CHARGE_MODE_MPPT || t->mode == BUS_CHARGE_MODE_CONSTANT_CURRENT)
        s->appetite += most * c->config.tick_us / (APPETITE_S * INT64_C(1000000));
    s->appetite = ctl_clamp(s->appetite, 0, most);
}

/* Whether there is a plan for an eclipse ahead. */
static int planned(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    return s->period_us > 0 && s->exit_us > s->entry_us && s->exit_us > c->t_us;
}

/* What nodes shall draw in the sun. With an eclipse ahead: what the plan says, and what the battery does not take
 * besides. Without: all but the battery's share of the array, which fades out around the target. */
static int64_t sun_budget(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    int64_t most = ctl_max(0, s->available) - c->power.tlm.hotel_mw;
    if (planned(c))
        return s->scarce ? ctl_max(s->sun_mw, most - s->appetite) : most;
    int64_t fade = ctl_clamp((c->set.soc_target_cpct + 100 - c->power.tlm.soc_cpct) * INT64_C(5), 0, 1000);
    int64_t share = ctl_max(0, s->available) * c->set.charge_permille / 1000;
    return most - ctl_min(share, s->appetite) * fade / 1000;
}

/* What the battery may give so that it comes out of the eclipse above the reserve. */
static int64_t discharge_wanted(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    int64_t left_us = ECLIPSE_MAX_US;
    if (s->exit_us > c->t_us && s->exit_us - c->t_us < ECLIPSE_MAX_US)
        left_us = (int64_t)(s->exit_us - c->t_us) + RAMP_US;
    int64_t reserve = c->set.soc_reserve_cpct + RESERVE_SLACK_CPCT, soc = ctl_max(reserve, c->power.tlm.soc_cpct);
    int64_t power = ctl_stored_mws(c, reserve, soc, c->config.discharge_mw) / (left_us / 1000000);
    int64_t most = c->config.discharge_mw;
    if (planned(c))
        most = ctl_min(most, s->dark_mw + c->power.tlm.hotel_mw);
    return ctl_min(power, most);
}

static int64_t energy_budget(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    int64_t hotel = c->power.tlm.hotel_mw;
    int64_t sun = sun_budget(c);
    int64_t eclipse = s->array + discharge_wanted(c) - hotel;
    if (!s->sunlit)
        return eclipse;
    if (ctl_age(c->t_us, s->turned_us) < DAWN_US) /* the array is not at its maximum yet */
        sun = ctl_max(sun, ctl_min(eclipse, s->array + c->config.discharge_mw - hotel));
    if (s->entry_us == 0 || c->t_us + RAMP_US < s->entry_us || c->t_us >= s->entry_us + ENTRY_LATE_US)
        return sun;
    if (c->t_us >= s->entry_us) /* penumbra: the array is about to end */
        return ctl_min(eclipse, s->available + discharge_wanted(c) - hotel);
    int64_t left = (int64_t)(s->entry_us - c->t_us), dark = discharge_wanted(c) - hotel;
    return dark + (sun - dark) * left / RAMP_US;
}

/* Below the reserve compute goes to the floors, until there is a little more than the reserve. */
static void watch_reserve(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    if (!power_fresh(c))
        return;
    int32_t limit = c->set.soc_reserve_cpct + (s->low ? RESERVE_SLACK_CPCT : 0);
    int low = c->power.tlm.soc_cpct < limit;
    if (low && !s->low)
        ctl_event(c, SPACE_EVENT_LOW_BATTERY, BUS_ADDRESS_FLIGHT, c->power.tlm.soc_cpct, (int32_t)c->power.tlm.bus_mv);
    s->low = (uint8_t)low;
}

void ctl_supply_tick(struct ctl *c) {
    measure_array(c);
    watch_sun(c);
    guarantee(c);
    watch_reserve(c);
    estimate_available(c);
    estimate_appetite(c);
    look_at_sun(c);
    if (c->t_us >= c->supply.planned_us + PLAN_US || c->supply.planned_us == 0) {
        c->supply.planned_us = c->t_us;
        ctl_horizon(c);
    }
    int floors_only = c->supply.low || c->mode == SPACE_MODE_SAFE || !power_fresh(c);
    c->supply.budget = floors_only ? 0 : ctl_max(0, energy_budget(c));
}

/* ------------------------------------------------------------------ modes */
static void change_mode(struct ctl *c, uint8_t mode, uint8_t reason) {
    if (mode == c->mode && reason == c->mode_reason)
        return;
    c->mode = mode;
    c->mode_reason = reason;
    c->steady_us = c->t_us;
    c->attention |= CTL_ATTENTION_MODE;
    ctl_event(c, SPACE_EVENT_MODE_CHANGED, BUS_ADDRESS_FLIGHT, mode, reason);
}

/* 0, or why NOMINAL is not possible. slack_cpct: how far above the limit the state of charge must be. */
static uint8_t reason_for_safe(const struct ctl *c, int32_t slack_cpct) {
    const struct bus_power_tlm *t = &c->power.tlm;
    if (!ctl_ready(c, 0) || c->power.tlm_us == 0)
        return SPACE_MODE_REASON_POWER_BOARD_LOST;
    if (t->soc_cpct < c->set.soc_safe_cpct + slack_cpct)
        return SPACE_MODE_REASON_LOW_BATTERY;
    if (t->flags & BUS_POWER_FLAG_UVLO_LATCHED || t->tier >= c->config.tiers.count)
        return SPACE_MODE_REASON_SHEDDING;
    return 0;
}

void ctl_mode_tick(struct ctl *c) {
    uint8_t reason = reason_for_safe(c, c->mode == SPACE_MODE_SAFE ? RESERVE_SLACK_CPCT : 0);
    if (c->mode == SPACE_MODE_NOMINAL) {
        if (reason)
            change_mode(c, SPACE_MODE_SAFE, reason);
        return;
    }
    if (reason || c->commanded_safe)
        c->steady_us = c->t_us;
    else if (ctl_age(c->t_us, c->steady_us) >= c->set.hold_us)
        change_mode(c, SPACE_MODE_NOMINAL, SPACE_MODE_REASON_STEADY);
}

int ctl_set_mode(struct ctl *c, uint8_t mode) {
    if (mode == SPACE_MODE_NOMINAL && reason_for_safe(c, RESERVE_SLACK_CPCT))
        return CTL_ERR_MODE;
    c->commanded_safe = mode == SPACE_MODE_SAFE;
    change_mode(c, mode, SPACE_MODE_REASON_COMMAND);
    return 0;
}
