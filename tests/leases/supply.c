#include <string.h>

#include "leases/boards.h"

#define STRINGS 6
#define STRING_TOLD_US 2000000u /* at the latest, that a string is lost */
#define SEEN_US 4000000u
#define SOC_SEEN_US 3000000u

static uint32_t ticks_of(const struct fly *f, uint64_t us) {
    return (uint32_t)(us / f->scenario->tick_us);
}

void supply_init(struct fly *f) {
    struct supply *s = &f->supply;
    s->strings = s->told_strings = STRINGS;
    s->array_mw = s->aim_mw = between(&f->random, 0, f->config.array_mw);
    s->hotel_mw = f->config.hotel_mw;
    s->soc_cpct = (uint16_t)between(&f->random, 2000, 9500);
    s->charge_mw = f->config.array_mw;
    s->mode = BUS_CHARGE_MODE_MPPT;
}

static void lose_string(struct fly *f) {
    struct supply *s = &f->supply;
    if (s->strings > 2) {
        s->array_mw -= s->array_mw / s->strings;
        s->aim_mw -= s->aim_mw / s->strings;
        s->strings--;
        s->strings_at = f->tick + between(&f->random, 0, ticks_of(f, STRING_TOLD_US));
    } else {
        s->strings = STRINGS;
    }
}

/* At once, or over up to half a minute. */
static void aim(struct fly *f) {
    struct supply *s = &f->supply;
    s->aim_mw = random_below(&f->random, 3) ? between(&f->random, 0, f->config.array_mw) : 0;
    int64_t way = s->aim_mw > s->array_mw ? s->aim_mw - s->array_mw : s->array_mw - s->aim_mw;
    uint32_t ticks = random_below(&f->random, 2) ? between(&f->random, 1, ticks_of(f, 30000000)) : 1;
    s->step_mw = way / ticks + 1;
    f->tally->supply_falls += s->aim_mw < s->array_mw;
}

static void change(struct fly *f) {
    struct supply *s = &f->supply;
    switch (random_below(&f->random, 8)) {
    case 0:
        lose_string(f);
        break;
    case 1:
        s->hotel_mw = between(&f->random, f->config.hotel_mw * 9 / 10, f->config.hotel_mw * 11 / 10);
        break;
    case 2:
        s->charge_mw = random_below(&f->random, 2) ? f->config.array_mw : random_below(&f->random, f->config.array_mw);
        break;
    case 3:
        s->sweep_until = f->tick + between(&f->random, 1, ticks_of(f, 700000));
        break;
    case 4: /* is seen soon, or the change would be nobody's to see */
        if (f->tick >= f->power.silent_until && f->tick >= f->power.up.out_until)
            s->soc_cpct = (uint16_t)between(&f->random, random_below(&f->random, 8) ? 2000 : 500, 9500);
        break;
    default:
        aim(f);
    }
}

static void move(struct supply *s) {
    int64_t left = s->aim_mw - s->array_mw;
    if (left > 0)
        s->array_mw += left < s->step_mw ? left : s->step_mw;
    else
        s->array_mw -= -left < s->step_mw ? -left : s->step_mw;
}

/* What the tracker makes of it: all, when that much is asked for. Its mode says what it does next. */
static void measure(struct fly *f) {
    struct supply *s = &f->supply;
    int64_t asked_mw = s->hotel_mw + s->charge_mw, used_mw = s->array_mw;
    for (uint16_t i = 0; i < f->scenario->nodes; i++)
        asked_mw += f->nodes[i].drawn_mw;
    asked_mw = asked_mw * 1000 / f->config.converter_permille;
    int sweeps = f->tick < s->sweep_until, swept = s->mode == BUS_CHARGE_MODE_SWEEP;
    s->mode = BUS_CHARGE_MODE_MPPT;
    if (sweeps) {
        s->mode = BUS_CHARGE_MODE_SWEEP;
    } else if (asked_mw < used_mw) {
        s->mode = s->charge_mw ? BUS_CHARGE_MODE_CONSTANT_CURRENT : BUS_CHARGE_MODE_HELD;
        used_mw = asked_mw;
    }
    s->at_peak = s->mode == BUS_CHARGE_MODE_MPPT && !swept;
    if (swept)
        used_mw = used_mw * random_below(&f->random, 1000) / 1000;
    if (f->tick >= s->stuck_until)
        s->told_mw = used_mw;
    s->last_mw[f->tick % LAST_TICKS] = swept ? 0 : s->told_mw;
}

void supply_tick(struct fly *f) {
    struct supply *s = &f->supply;
    if (chance(&f->random, f->scenario->supply))
        change(f);
    if (f->tick >= s->stuck_until && chance(&f->random, f->scenario->power_board))
        s->stuck_until = f->tick + between(&f->random, 1, ticks_of(f, 10000000));
    if (s->soc_cpct > f->config.soc_floor_cpct)
        s->charged_until = f->tick + ticks_of(f, SOC_SEEN_US);
    move(s);
    if (f->tick >= s->strings_at && s->mode != BUS_CHARGE_MODE_SWEEP) /* strings are judged at the peak */
        s->told_strings = s->strings;
    measure(f);
}

int64_t supply_guaranteed_mw(const struct fly *f) {
    const struct supply *s = &f->supply;
    int64_t array_mw = s->array_mw > s->told_mw ? s->array_mw : s->told_mw;
    for (uint32_t k = 0; !s->at_peak && k < ticks_of(f, SEEN_US) && k <= f->tick; k++) {
        int64_t then_mw = s->last_mw[(f->tick - k) % LAST_TICKS];
        array_mw = then_mw > array_mw ? then_mw : array_mw;
    }
    int64_t bus_mw = array_mw * f->config.converter_permille / 1000;
    int64_t battery_mw = f->tick <= s->charged_until ? f->config.discharge_mw : 0;
    return bus_mw - bus_mw / s->told_strings + battery_mw - s->hotel_mw;
}
