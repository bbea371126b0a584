#include "boards/channels.h"

#include <string.h>

static uint64_t page_bit(unsigned channel) {
    return UINT64_C(1) << (channel / CHANNELS_PER_PAGE);
}

static uint64_t pages_of(unsigned count) {
    unsigned pages = (count + CHANNELS_PER_PAGE - 1) / CHANNELS_PER_PAGE;
    return pages >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << pages) - 1;
}

static void enter(struct channels *c, unsigned i, uint8_t state, uint32_t t_ms) {
    struct lcl *ch = &c->list[i];
    if (ch->state == state) {
        return;
    }
    int was_driven = lcl_is_driven(ch);
    c->on = (uint16_t)(c->on - (ch->state == BUS_CHANNEL_STATE_ON) + (state == BUS_CHANNEL_STATE_ON));
    c->waiting = (uint16_t)(c->waiting - (ch->state == BUS_CHANNEL_STATE_WAIT) + (state == BUS_CHANNEL_STATE_WAIT));
    ch->state = state;
    if (!(ch->flags & LCL_COOLING)) {
        ch->since_ms = t_ms;
    }
    c->dirty_reports |= page_bit(i);
    c->dirty_settings |= was_driven != lcl_is_driven(ch) ? page_bit(i) : 0;
}

static void adopt(struct channels *c, unsigned i, uint32_t t_ms) {
    struct lcl *ch = &c->list[i];
    if ((ch->status & BUS_CHANNEL_STATUS_ON) && ch->state == BUS_CHANNEL_STATE_OFF && !(ch->flags & LCL_ORDERED)) {
        ch->flags |= LCL_WANTED;
        enter(c, i, BUS_CHANNEL_STATE_ON, t_ms);
    }
}

void channels_configure(struct channels *c, uint16_t count, uint32_t t_ms) {
    if (count == c->count) {
        return;
    }
    unsigned was = c->count;
    c->count = count;
    c->sum_ma = 0;
    for (unsigned i = 0; i < count; ++i) {
        struct lcl *ch = &c->list[i];
        c->sum_ma += ch->mean_ma;
        if (i >= was) {
            *ch = (struct lcl){.mean_ma = ch->mean_ma, .status = ch->status, .tier = 1};
            adopt(c, i, t_ms);
        }
    }
    c->dirty_reports = pages_of(count);
    c->dirty_settings = pages_of(count);
    c->busy = 1;
}

static void sense(struct channels *c, unsigned i, const struct bus_channel_sensor *s, int first, uint32_t t_ms) {
    struct lcl *ch = &c->list[i];
    if (i < c->count) {
        c->sum_ma += (uint32_t)s->mean_ma - ch->mean_ma;
        c->busy = (uint8_t)(c->busy || ch->status != s->status);
    }
    ch->mean_ma = s->mean_ma;
    ch->status = s->status;
    if (first && i < c->count) {
        adopt(c, i, t_ms);
    }
}

void channels_sense(struct channels *c, const struct bus_tick_channels *page, uint32_t t_ms) {
    if (page->count == 0 || page->base >= POWER_BOARD_MAX_CHANNELS) {
        return;
    }
    int first = !(c->seen_pages & page_bit(page->base));
    for (unsigned k = 0; k < page->count && page->base + k < POWER_BOARD_MAX_CHANNELS; ++k) {
        sense(c, page->base + k, &page->channels[k], first, t_ms);
    }
    c->seen_pages |= page_bit(page->base);
}

int channels_want(struct channels *c, const struct bus_channels_set *m) {
    if (m->base + m->count > c->count || m->mask_bytes * 8 < m->count) {
        return -1;
    }
    for (unsigned k = 0; k < m->count; ++k) {
        struct lcl *ch = &c->list[m->base + k];
        int on = m->mask[k / 8] >> (k % 8) & 1;
        ch->flags = (uint8_t)((on ? ch->flags | LCL_WANTED : ch->flags & ~LCL_WANTED) | LCL_ORDERED);
    }
    c->busy = 1;
    return 0;
}

int channels_clear(struct channels *c, uint16_t channel) {
    if (channel >= c->count) {
        return -1;
    }
    struct lcl *ch = &c->list[channel];
    ch->trips = 0;
    ch->flags &= (uint8_t)~LCL_COOLING;
    if (ch->state == BUS_CHANNEL_STATE_QUARANTINED || ch->state == BUS_CHANNEL_STATE_TRIPPED) {
        enter(c, channel, BUS_CHANNEL_STATE_OFF, ch->since_ms);
    }
    c->busy = 1;
    return 0;
}

int channels_set_tiers(struct channels *c, const struct bus_shed_channels *m) {
    if (m->base + m->count > c->count) {
        return -1;
    }
    for (unsigned k = 0; k < m->count; ++k) {
        c->list[m->base + k].tier = m->tier[k];
    }
    c->busy = 1;
    return 0;
}

void channels_drop_all(struct channels *c) {
    for (unsigned i = 0; i < c->count; ++i) {
        c->list[i].flags &= (uint8_t)~LCL_WANTED;
    }
    c->busy = 1;
}

/* ---- one step */

static void trip(struct channels *c, unsigned i, uint32_t t_ms, const struct channels_rules *rules) {
    struct lcl *ch = &c->list[i];
    int was_stable = ch->state == BUS_CHANNEL_STATE_ON && t_ms - ch->since_ms >= CHANNELS_STABLE_MS;
    ch->trips = (uint8_t)(was_stable ? 1 : ch->trips + 1);
    if (ch->trips > rules->retries) {
        enter(c, i, BUS_CHANNEL_STATE_QUARANTINED, t_ms);
        ch->flags |= LCL_TELL_QUARANTINE;
    } else {
        enter(c, i, BUS_CHANNEL_STATE_TRIPPED, t_ms);
        ch->flags |= LCL_COOLING | LCL_TELL_TRIP;
    }
}

static void tell(struct channels *c, unsigned i, const struct channels_rules *rules, struct events *events) {
    struct lcl *ch = &c->list[i];
    if ((ch->flags & (LCL_TELL_TRIP | LCL_TELL_QUARANTINE)) == 0 || events_room(events) < 2) {
        return;
    }
    if (ch->flags & LCL_TELL_TRIP) {
        events_add(events, BUS_EVENT_POWER_CHANNEL_TRIPPED, (int32_t)i, rules->retries - ch->trips + 1);
    }
    if (ch->flags & LCL_TELL_QUARANTINE) {
        events_add(events, BUS_EVENT_POWER_CHANNEL_QUARANTINED, (int32_t)i, ch->trips);
    }
    ch->flags &= (uint8_t)~(LCL_TELL_TRIP | LCL_TELL_QUARANTINE);
}

/* Where a channel that is not driven belongs. */
static uint8_t resting_state(const struct lcl *ch, const struct shed *shed) {
    if (!(ch->flags & LCL_WANTED)) {
        return BUS_CHANNEL_STATE_OFF;
    }
    if (ch->flags & LCL_COOLING) {
        return BUS_CHANNEL_STATE_TRIPPED;
    }
    return shed_hits(shed, ch->tier) ? BUS_CHANNEL_STATE_SHED : BUS_CHANNEL_STATE_WAIT;
}

static void step_channel(struct channels *c, unsigned i, uint32_t t_ms, const struct channels_rules *rules,
                         const struct shed *shed) {
    struct lcl *ch = &c->list[i];
    if ((ch->flags & LCL_COOLING) && t_ms - ch->since_ms >= rules->retry_ms) {
        ch->flags &= (uint8_t)~LCL_COOLING;
    }
    if (ch->state == BUS_CHANNEL_STATE_QUARANTINED) {
        return;
    }
    if (lcl_is_driven(ch) && (ch->status & BUS_CHANNEL_STATUS_TRIPPED)) {
        trip(c, i, t_ms, rules);
        return;
    }
    int keeps = lcl_is_driven(ch) && (ch->flags & LCL_WANTED) && !shed_hits(shed, ch->tier);
    if (!keeps) {
        enter(c, i, resting_state(ch, shed), t_ms);
    } else if (ch->state == BUS_CHANNEL_STATE_STARTING && (ch->status & BUS_CHANNEL_STATUS_ON) &&
               !(ch->status & BUS_CHANNEL_STATUS_LIMITING)) {
        enter(c, i, BUS_CHANNEL_STATE_ON, t_ms);
    }
}

static int needs_another_step(const struct lcl *ch) {
    return ch->state == BUS_CHANNEL_STATE_WAIT || ch->state == BUS_CHANNEL_STATE_STARTING ||
           (ch->flags & (LCL_COOLING | LCL_TELL_TRIP | LCL_TELL_QUARANTINE)) != 0;
}

/* Starts the first channel that waits, if the last start is long enough ago. */
static void start_one(struct channels *c, uint32_t t_ms, uint32_t stagger_ms) {
    if (c->waiting == 0 || (c->started && t_ms - c->last_start_ms < stagger_ms)) {
        return;
    }
    unsigned i = 0;
    while (i < c->count && c->list[i].state != BUS_CHANNEL_STATE_WAIT) {
        ++i;
    }
    if (i == c->count) {
        c->waiting = 0; /* a count that memory has damaged */
        return;
    }
    enter(c, i, BUS_CHANNEL_STATE_STARTING, t_ms);
    c->list[i].status = 0; /* what was latched before the start says nothing about it */
    c->last_start_ms = t_ms;
    c->started = 1;
}

void channels_step(struct channels *c, uint32_t t_ms, const struct channels_rules *rules, const struct shed *shed,
                   struct events *events) {
    c->stepped = c->busy;
    if (!c->busy) {
        return;
    }
    uint8_t busy = 0;
    for (unsigned i = 0; i < c->count; ++i) {
        step_channel(c, i, t_ms, rules, shed);
        tell(c, i, rules, events);
        busy = (uint8_t)(busy || needs_another_step(&c->list[i]));
    }
    start_one(c, t_ms, rules->stagger_ms);
    c->busy = busy;
}
