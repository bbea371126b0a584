/* The power board's messages: frames around its pure step. */
#include <string.h>

#include "boards/board_state.h"
#include "boards/power_nvm.h"
#include "boards/bytes.h"
#include "bus/crc32c.h"

#define SAVE_CPCT 100 /* change of the state of charge that is worth a write */

/* ---- commands */

static uint8_t fault_of(int error) {
    return error == BUS_ERR_LENGTH ? BUS_ACK_CODE_BAD_LENGTH : BUS_ACK_CODE_OUT_OF_RANGE;
}

static uint8_t take_config(struct board *b, const struct bus_frame *f) {
    struct power_board *power = &b->as.power.power;
    struct bus_power_config m, before = power->config;
    int was_configured = power->configured;
    int error = bus_power_config_decode(&m, f->payload, f->header.length);
    if (error != 0) {
        return fault_of(error);
    }
    uint8_t code = power_board_configure(power, &m), now[BUS_MAX_PAYLOAD];
    if (code == BUS_ACK_CODE_OK) {
        board_ordered(b, ORDER_CONFIG);
        board_ordered(b, ORDER_CHANNEL_TIERS);
        size_t n = bus_power_config_encode(&power->config, now);
        if (memcmp(now, f->payload, n) != 0) {
            board_order_doubted(b, ORDER_CONFIG);
            return code;
        }
        power_nvm_keep_config(b, was_configured ? &before : NULL);
    }
    return code;
}

static uint8_t take_curve(struct board *b, const struct bus_frame *f) {
    struct bus_battery_curve m;
    int error = bus_battery_curve_decode(&m, f->payload, f->header.length);
    uint8_t code = error != 0 ? fault_of(error) : power_board_curve(&b->as.power.power, &m);
    if (code == BUS_ACK_CODE_OK) {
        board_ordered(b, ORDER_CURVE);
        power_nvm_save_command(b, BOARD_BLOCK_CURVE, f);
    }
    return code;
}

static uint8_t take_channels_set(struct board *b, const struct bus_frame *f) {
    struct bus_channels_set m;
    int error = bus_channels_set_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : power_board_channels_set(&b->as.power.power, &m);
}

static uint8_t take_channel_clear(struct board *b, const struct bus_frame *f) {
    struct bus_channel_clear m;
    int error = bus_channel_clear_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : power_board_channel_clear(&b->as.power.power, &m);
}

static uint8_t take_shed_tiers(struct board *b, const struct bus_frame *f) {
    struct bus_shed_tiers m;
    int error = bus_shed_tiers_decode(&m, f->payload, f->header.length);
    uint8_t code = error != 0 ? fault_of(error) : power_board_shed_tiers(&b->as.power.power, &m);
    if (code == BUS_ACK_CODE_OK) {
        board_ordered(b, ORDER_TIERS);
        power_nvm_save_command(b, BOARD_BLOCK_TIERS, f);
    }
    return code;
}

static uint8_t take_shed_channels(struct board *b, const struct bus_frame *f) {
    struct bus_shed_channels m;
    int error = bus_shed_channels_decode(&m, f->payload, f->header.length);
    uint8_t code = error != 0 ? fault_of(error) : power_board_shed_channels(&b->as.power.power, &m);
    if (code == BUS_ACK_CODE_OK) {
        board_ordered(b, ORDER_CHANNEL_TIERS);
        power_nvm_save_shed_channels(b);
    }
    return code;
}

uint8_t power_side_command(struct board *b, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_POWER_CONFIG:
        return take_config(b, f);
    case BUS_MSG_BATTERY_CURVE:
        return take_curve(b, f);
    case BUS_MSG_CHANNELS_SET:
        return take_channels_set(b, f);
    case BUS_MSG_CHANNEL_CLEAR:
        return take_channel_clear(b, f);
    case BUS_MSG_SHED_TIERS:
        return take_shed_tiers(b, f);
    case BUS_MSG_SHED_CHANNELS:
        return take_shed_channels(b, f);
    default:
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
}

/* ---- telemetry */

static void tell_power(struct board *b) {
    struct bus_power_tlm m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    power_board_report(&b->as.power.power, &m);
    board_tell(b, BUS_MSG_POWER_TLM, payload, bus_power_tlm_encode(&m, payload));
}

static void tell_page(struct board *b, unsigned page) {
    const struct channels *c = &b->as.power.power.channels;
    struct bus_power_channels m = {.base = (uint16_t)(page * CHANNELS_PER_PAGE),
                                   .count = (uint8_t)channels_page_count(c, page)};
    for (unsigned k = 0; k < m.count; ++k) {
        const struct lcl *ch = &c->list[m.base + k];
        m.channels[k] = (struct bus_channel_report){ch->mean_ma, ch->state};
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    board_tell(b, BUS_MSG_POWER_CHANNELS, payload, bus_power_channels_encode(&m, payload));
}

/* Changed pages at once, and every page once a second in turn; then with its settings: what the electronics hold of
 * them may have been damaged. */
static void tell_channels(struct board *b) {
    struct power_side *side = &b->as.power;
    struct channels *c = &side->power.channels;
    unsigned pages = channels_pages(c);
    uint64_t due = c->dirty_reports;
    c->dirty_reports = 0;
    for (unsigned k = 0; k < pages && side->next_page_us <= b->t_us; ++k) {
        side->next_page = (uint16_t)(side->next_page + 1u < pages ? side->next_page + 1 : 0);
        side->next_page_us += BOARD_PAGES_US / pages;
        due |= UINT64_C(1) << side->next_page;
        c->dirty_settings |= UINT64_C(1) << side->next_page;
    }
    for (unsigned page = 0; page < pages && due != 0; ++page) {
        if (due >> page & 1) {
            tell_page(b, page);
        }
    }
}

/* ---- TICK */

static uint32_t hash_channels(const struct channels *c) {
    uint32_t crc = 0;
    for (unsigned i = 0; i < c->count; ++i) {
        const struct lcl *ch = &c->list[i];
        uint8_t record[8];
        uint8_t *p = bytes_u8(bytes_u8(bytes_u8(record, ch->state), ch->trips), ch->tier);
        bytes_u32(bytes_u8(p, ch->flags), ch->since_ms);
        crc = bus_crc32c(crc, record, sizeof record);
    }
    return crc;
}

int board_channel_setting(const struct board *b, uint16_t channel, struct bus_channel_setting *out) {
    const struct power_board *power = &b->as.power.power;
    if (channel >= power->channels.count) {
        return -1;
    }
    uint8_t on = (uint8_t)lcl_is_driven(&power->channels.list[channel]);
    *out = (struct bus_channel_setting){on, power->config.limit_ma, power->config.trip_ms};
    return 0;
}

static unsigned send_settings(struct board *b, uint64_t pages, int again) {
    const struct power_board *power = &b->as.power.power;
    unsigned sent = 0;
    for (unsigned page = 0; page < channels_pages(&power->channels); ++page) {
        if (!(pages >> page & 1)) {
            continue;
        }
        struct bus_done_channels m = {.base = (uint16_t)(page * CHANNELS_PER_PAGE),
                                      .count = (uint8_t)channels_page_count(&power->channels, page)};
        for (unsigned k = 0; k < m.count; ++k) {
            (void)board_channel_setting(b, (uint16_t)(m.base + k), &m.channels[k]);
        }
        uint8_t payload[BUS_MAX_PAYLOAD];
        size_t n = bus_done_channels_encode(&m, payload);
        if (again) {
            uint16_t seq = (uint16_t)(b->done.seq + sent);
            link_send_again(&b->link, BUS_ADDRESS_BENCH, BUS_MSG_DONE_CHANNELS, b->t_us, seq, payload, n);
        } else {
            link_send(&b->link, BUS_ADDRESS_BENCH, BUS_MSG_DONE_CHANNELS, b->t_us, payload, n);
        }
        ++sent;
    }
    return sent;
}

unsigned power_side_pages_again(struct board *b) {
    return send_settings(b, b->done.pages, 1);
}

static uint32_t hash_state(struct power_side *side) {
    uint8_t state[POWER_BOARD_STATE_BYTES + 4];
    size_t n = power_board_serialise(&side->power, state);
    bytes_u32(state + n, side->channels_crc);
    return bus_crc32c(0, state, n + 4);
}

/* Everything but pages. */
static void fill_done(struct board *b, struct bus_done_power *out) {
    power_board_settings(&b->as.power.power, out);
    out->flags = b->reset_due ? BUS_DONE_FLAG_RESET : 0;
    out->state_hash = hash_state(&b->as.power);
    out->rx_frames = link_rx_frames(&b->link, &b->receiver);
    out->rx_errors = link_rx_errors(&b->receiver);
}

static void answer(struct board *b) {
    struct channels *c = &b->as.power.power.channels;
    struct done_cache *d = &b->done;
    struct bus_done_power m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    d->type = BUS_MSG_DONE_POWER;
    d->seq = link_next_seq(&b->link, BUS_ADDRESS_BENCH);
    d->pages = c->dirty_settings & c->seen_pages;
    c->dirty_settings &= ~d->pages;
    fill_done(b, &m);
    m.pages = (uint8_t)send_settings(b, d->pages, 0);
    d->length = (uint8_t)bus_done_power_encode(&m, payload);
    memcpy(d->payload, payload, d->length);
    link_send(&b->link, BUS_ADDRESS_BENCH, d->type, b->t_us, payload, d->length);
}

static unsigned count_bits(uint64_t v) {
    unsigned n = 0;
    for (; v != 0; v &= v - 1) {
        ++n;
    }
    return n;
}

static int pages_are_there(const struct power_side *side, uint64_t t_us, unsigned pages) {
    unsigned have = side->pages.t_us == t_us ? count_bits(side->pages.channels) + side->pages.strings : 0;
    return have >= pages;
}

/* The step that board_accepts_tick or board_begin_step has begun. */
static void step(struct board *b, const struct bus_tick_power *sensors) {
    struct power_side *side = &b->as.power;
    if (b->clock_is_new) {
        side->next_page_us = b->t_us;
    }
    power_board_step(&side->power, b->t_us, sensors);
    if (side->power.channels.stepped) {
        side->channels_crc = hash_channels(&side->power.channels);
    }
    power_nvm_save_charge(b);
    board_tell_events(b, &side->power.events);
    tell_power(b);
    tell_channels(b);
    board_tell_link(b);
}

void board_sense_channels(struct board *b, uint64_t t_us, const struct bus_tick_channels *page) {
    power_board_channels_page(&b->as.power.power, t_us, page);
}

void board_sense_strings(struct board *b, const struct bus_tick_strings *page) {
    power_board_strings_page(&b->as.power.power, page);
}

int board_step_power(struct board *b, uint64_t t_us, const struct bus_tick_power *sensors, struct bus_done_power *out) {
    if (board_begin_step(b, t_us, sensors->dt_us) != 0) {
        return -1;
    }
    step(b, sensors);
    fill_done(b, out);
    b->reset_pending = b->reset_due;
    return 0;
}

static int take_tick(struct board *b, const struct bus_frame *f) {
    struct power_side *side = &b->as.power;
    struct bus_tick_power sensors;
    if (bus_tick_power_decode(&sensors, f->payload, f->header.length) != 0) {
        return 0;
    }
    int is_new = !b->has_ticked || f->header.t_us != b->t_us;
    if (is_new && !pages_are_there(side, f->header.t_us, sensors.pages)) {
        return 1; /* not answered: the bench sends the pages again, and TICK after them */
    }
    if (!board_accepts_tick(b, f, sensors.dt_us)) {
        return 1;
    }
    step(b, &sensors);
    answer(b);
    b->reset_pending = b->reset_due;
    return 1;
}

/* Starts a new set of pages when the page is of another tick. */
static struct page_set *set_of(struct power_side *side, uint64_t t_us) {
    if (side->pages.t_us != t_us) {
        side->pages = (struct page_set){.t_us = t_us};
    }
    return &side->pages;
}

static int take_channels_page(struct board *b, const struct bus_frame *f) {
    struct power_side *side = &b->as.power;
    struct bus_tick_channels m;
    if (bus_tick_channels_decode(&m, f->payload, f->header.length) != 0 ||
        m.base / CHANNELS_PER_PAGE >= CHANNELS_PAGES) {
        return 0;
    }
    if (!b->has_ticked || f->header.t_us != b->t_us) {
        set_of(side, f->header.t_us)->channels |= UINT64_C(1) << (m.base / CHANNELS_PER_PAGE);
        power_board_channels_page(&side->power, f->header.t_us, &m);
    }
    return 1;
}

static int take_strings_page(struct board *b, const struct bus_frame *f) {
    struct power_side *side = &b->as.power;
    struct bus_tick_strings m;
    if (bus_tick_strings_decode(&m, f->payload, f->header.length) != 0) {
        return 0;
    }
    if (!b->has_ticked || f->header.t_us != b->t_us) {
        struct page_set *set = set_of(side, f->header.t_us);
        if (!set->strings) {
            power_board_strings_page(&side->power, &m);
        }
        set->strings = 1;
    }
    return 1;
}

int power_side_frame(struct board *b, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_TICK_POWER:
        return take_tick(b, f);
    case BUS_MSG_TICK_CHANNELS:
        return take_channels_page(b, f);
    case BUS_MSG_TICK_STRINGS:
        return take_strings_page(b, f);
    default:
        return 0;
    }
}
