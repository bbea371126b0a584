/* The price of a watt over the next two eclipses.
 *
 * With concave curves, storage is used best when a watt is worth the same at all times between two moments at which the
 * battery is full or at its reserve: the shortest path through the tunnel between what has been harvested and what the
 * battery can hold. Its first leg is what is needed now: the price at which the battery, from here on, gets neither
 * full nor empty first. Looked for by bisection; each trial lets the battery run through the forecast. What goes
 * through the battery is worth less by its losses. */
#include "control/internal.h"

#define STEP_US (30 * CTL_SECOND_US)
#define ECLIPSES 2
#define ROUNDS 20
#define LOSS 0.06f         /* of what goes into the battery and comes out again */
#define SLACK_CPCT 100     /* above the reserve */
#define FULL_SLACK_CPCT 50 /* below the target: full */
#define FULL_PERMILLE 200  /* of the charge current: a pack that takes no more is full as well */

struct run {
    float array_mw, hotel_mw, lease_mw; /* in the sun; always; in the dark */
    float capacity_mas;                 /* charge, in mA s */
    float ohm;
    struct ctl_fleet fleet;
};

static float capacity_mas(const struct ctl *c) {
    return (float)ctl_full_ma_us(c) * 1e-6f;
}

int64_t ctl_stored_mws(const struct ctl *c, int64_t from_cpct, int64_t to_cpct, int64_t draw_mw) {
    float middle_mv = ctl_ocv_mv(c, 0.5f * (float)(from_cpct + to_cpct));
    float drop_mv = (float)draw_mw / middle_mv * 1000 * ctl_resistance_ohm(c);
    return (int64_t)(capacity_mas(c) / 10000 * (float)(to_cpct - from_cpct) * ((middle_mv - drop_mv) / 1000));
}

/* The current that the pack takes: the charger's, or less at its voltage. */
static float accepted_ma(const struct ctl *c, const struct run *r, float open_mv) {
    float most_ma = (float)c->config.power.charge_ma, ma = ((float)c->config.power.charge_mv - open_mv) / r->ohm;
    return ma < 0 ? 0 : ma > most_ma ? most_ma : ma;
}

static int full(const struct ctl *c, const struct run *r, float cpct) {
    float least_ma = (float)c->config.power.charge_ma * FULL_PERMILLE / 1000;
    return cpct >= (float)(c->set.soc_target_cpct - FULL_SLACK_CPCT) ||
           accepted_ma(c, r, ctl_ocv_mv(c, cpct)) < least_ma;
}

/* How a step changes the state of charge, at a price. */
static float flow_cpct(const struct ctl *c, const struct run *r, float cpct, int dark, float price, float dt_s) {
    float open_mv = ctl_ocv_mv(c, cpct), accept_ma = accepted_ma(c, r, open_mv);
    float given_mw = dark ? -r->hotel_mw : r->array_mw - r->hotel_mw;
    float draw_mw = ctl_fleet_draw(&r->fleet, dark ? price * (1 + LOSS) : price, dark);
    draw_mw = dark && draw_mw > r->lease_mw ? r->lease_mw : draw_mw;
    float ma = (given_mw - draw_mw) * 1000 / open_mv;
    ma = ma * (open_mv / (open_mv + ma * r->ohm)); /* at the terminals */
    return (ma < accept_ma ? ma : accept_ma) * dt_s / r->capacity_mas * 10000;
}

/* 1: at that price the battery comes to its reserve before it is full, or else to the end; -1: it gets full first, or
 * there is more than the reserve left at the end. */
static int emptied(const struct ctl *c, const struct run *r, float price) {
    const struct ctl_supply *s = &c->supply;
    float cpct = (float)c->power.tlm.soc_cpct, reserve = (float)(c->set.soc_reserve_cpct + SLACK_CPCT);
    uint64_t entry_us = s->entry_us, exit_us = s->exit_us, t_us = c->t_us;
    for (int eclipse = 0; eclipse < ECLIPSES; t_us += STEP_US) {
        int dark = t_us >= entry_us;
        cpct += flow_cpct(c, r, cpct, dark, price, (float)STEP_US / 1e6f);
        if (dark && cpct < reserve)
            return 1;
        if (!dark && full(c, r, cpct))
            return -1;
        if (t_us >= exit_us) {
            entry_us += s->period_us;
            exit_us += s->period_us;
            eclipse++;
        }
    }
    return -1;
}

void ctl_horizon(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    struct run r = {.array_mw = (float)s->outlook,
                    .hotel_mw = (float)c->power.tlm.hotel_mw,
                    .lease_mw = (float)(c->config.discharge_mw - c->power.tlm.hotel_mw),
                    .capacity_mas = capacity_mas(c),
                    .ohm = ctl_resistance_ohm(c)};
    ctl_fleet_of(c, &r.fleet);
    float low = 0, high = 0;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++) {
        float at, slope = 2 * ctl_fleet_best(&r.fleet, w, &at);
        high = r.fleet.count[w] > 0 && slope > high ? slope : high;
    }
    high = high > 0 && emptied(c, &r, 0) > 0 ? 8 * high : 0;
    for (int k = 0; k < ROUNDS && high > 0; k++) {
        float middle = 0.5f * (low + high);
        if (emptied(c, &r, middle) > 0)
            low = middle;
        else
            high = middle;
    }
    s->sun_mw = (int64_t)ctl_fleet_draw(&r.fleet, high, 0);
    s->dark_mw = (int64_t)ctl_fleet_draw(&r.fleet, high * (1 + LOSS), 1);
    s->scarce = high > 0;
}
