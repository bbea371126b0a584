/* The switched channels of the power board, one per node, each behind a latching current limiter (LCL) in electronics.
 *
 *            wanted              stagger              electronics say on
 *   off ----------------> wait ----------> starting ----------------------> on
 *    ^                     ^                  |  tripped                     |  tripped
 *    | not wanted          |  retry_ms        v                              v
 *   any                    +-------------- tripped --- retries used up ---> quarantined --cleared--> off or wait
 *   any --tier in force--> shed --tier left--> wait
 *
 * Retries are forgotten after a minute without a trip. Switching a channel off and on does not shorten its off time. */
#ifndef DAWNLINE_BOARDS_CHANNELS_H
#define DAWNLINE_BOARDS_CHANNELS_H

#include <stdint.h>

#include "boards/events.h"
#include "boards/shed.h"
#include "bus/bus_icd.h"

#ifndef POWER_BOARD_MAX_CHANNELS
#define POWER_BOARD_MAX_CHANNELS 1024
#endif

#define CHANNELS_PER_PAGE 24
#define CHANNELS_PAGES ((POWER_BOARD_MAX_CHANNELS + CHANNELS_PER_PAGE - 1) / CHANNELS_PER_PAGE)
#define CHANNELS_STABLE_MS 60000u

_Static_assert(CHANNELS_PAGES <= 64, "pages are bits of one word");

struct lcl {
    uint16_t mean_ma;
    uint8_t status; /* BUS_CHANNEL_STATUS_* as last read */
    uint8_t state;  /* BUS_CHANNEL_STATE_* */
    uint8_t trips;  /* since it was last stable */
    uint8_t tier;
    uint8_t flags;     /* CHANNEL_* */
    uint32_t since_ms; /* low bits of the board's time in ms when this state began (tripped: even if not wanted) */
};

enum lcl_flag {
    LCL_WANTED = 1,
    LCL_COOLING = 2,   /* tripped not retry_ms ago */
    LCL_TELL_TRIP = 4, /* event not raised yet, for want of room */
    LCL_TELL_QUARANTINE = 8,
    LCL_ORDERED = 16, /* flight has said what it wants since the boot: not adopted any more */
};

struct channels {
    uint16_t count;
    uint16_t on;            /* in state on */
    uint16_t waiting;       /* in state wait */
    uint8_t busy;           /* something is to be done in the next step */
    uint8_t stepped;        /* something was done in the last step */
    uint32_t sum_ma;        /* of all channels */
    uint32_t last_start_ms; /* valid when started */
    uint8_t started;
    uint64_t seen_pages;                    /* whose sensors came since the boot; the others' settings must wait */
    uint64_t dirty_settings, dirty_reports; /* pages to send; whoever sends clears */
    struct lcl list[POWER_BOARD_MAX_CHANNELS];
};

/* What the configuration says of every channel. */
struct channels_rules {
    uint32_t retry_ms, stagger_ms;
    uint8_t retries;
};

/* Number of channels. New ones are of tier 1, and off unless the electronics have them on already; those beyond are
 * forgotten and must not be driven. */
void channels_configure(struct channels *c, uint16_t count, uint32_t t_ms);

/* A page of sensors. The first one since the boot adopts channels that are on. */
void channels_sense(struct channels *c, const struct bus_tick_channels *page, uint32_t t_ms);

/* Sets which of channels base .. base + count - 1 are wanted. 0, or -1 when they are not all there. */
int channels_want(struct channels *c, const struct bus_channels_set *m);

/* Releases one channel from quarantine. 0, or -1 when it is not there. */
int channels_clear(struct channels *c, uint16_t channel);

/* Sets shed tiers. 0, or -1 when the channels are not all there. */
int channels_set_tiers(struct channels *c, const struct bus_shed_channels *m);

/* Nothing is wanted any more. */
void channels_drop_all(struct channels *c);

/* One step at t_ms. */
void channels_step(struct channels *c, uint32_t t_ms, const struct channels_rules *rules, const struct shed *shed,
                   struct events *events);

/* Whether the electronics are told to switch this channel on. */
static inline int lcl_is_driven(const struct lcl *ch) {
    return ch->state == BUS_CHANNEL_STATE_ON || ch->state == BUS_CHANNEL_STATE_STARTING;
}

/* Pages that the configured channels take. */
static inline unsigned channels_pages(const struct channels *c) {
    return (c->count + CHANNELS_PER_PAGE - 1u) / CHANNELS_PER_PAGE;
}

/* How many of the configured channels stand in a page. */
static inline unsigned channels_page_count(const struct channels *c, unsigned page) {
    unsigned base = page * CHANNELS_PER_PAGE;
    return base >= c->count ? 0 : (c->count - base < CHANNELS_PER_PAGE ? c->count - base : CHANNELS_PER_PAGE);
}

#endif
