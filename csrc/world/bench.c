#include "world/bench.h"

#include "bus/batch.h"
#include "plant/plant.h"
#include "world/sensor_fault.h"

enum { CHANNELS_PER_PAGE = 24, STRINGS_PER_PAGE = 64, TICKS_PER_STRING_PAGE = 10 };

void bench_init(struct bench *b, struct plant *plant, uint32_t nodes, uint32_t strings, uint32_t dt_us) {
    b->plant = plant;
    b->nodes = nodes;
    b->strings = strings;
    b->dt_us = dt_us;
    b->channel_page = b->string_page = 0;
}

/* Nearest integer within [low, high]; not a number: low. */
static int64_t quantise(double value, int64_t low, int64_t high) {
    if (!(value > (double)low))
        return low;
    if (value >= (double)high)
        return high;
    return (int64_t)(value < 0 ? value - 0.5 : value + 0.5);
}

static uint32_t q_u32(double value) {
    return (uint32_t)quantise(value, 0, UINT32_MAX);
}

static uint16_t q_u16(double value) {
    return (uint16_t)quantise(value, 0, UINT16_MAX);
}

static int16_t q_cdeg(double celsius) {
    return (int16_t)quantise(celsius * 100, INT16_MIN, INT16_MAX);
}

/* A bench frame of sensors, through the faults that they have. */
static void send(struct line *l, uint8_t type, uint8_t *payload, size_t n, struct sink *log) {
    if (l->sensor_faults != NULL)
        sensor_fault_pass(l->sensor_faults, type, l->t_us, payload, n);
    line_bench_frame(l, type, payload, n, log);
}

static void tick_node(struct bench *b, struct line *l, struct sink *log) {
    const struct plant_sensors_node *s = &plant_node_out(b->plant)[l->board - 1];
    struct bus_tick_node m = {.dt_us = b->dt_us,
                              .bus_mv = q_u32(s->bus_mv),
                              .mean_ma = q_u16(s->mean_ma),
                              .min_ma = q_u16(s->min_ma),
                              .max_ma = q_u16(s->max_ma),
                              .die_cdeg = q_cdeg(s->die_c),
                              .hbm_cdeg = q_cdeg(s->hbm_c),
                              .coolant_cdeg = q_cdeg(s->coolant_c),
                              .heartbeat = s->heartbeat,
                              .ecc_corrected = s->ecc_corrected,
                              .ecc_uncorrected = s->ecc_uncorrected,
                              .accel_state = s->accel_state,
                              .work_mu = s->work_mu};
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(l, BUS_MSG_TICK_NODE, payload, bus_tick_node_encode(&m, payload), log);
}

static void channel_page(struct bench *b, struct line *l, struct sink *log, uint32_t page) {
    const struct plant_sensors_channel *s = plant_power_out(b->plant)->channel;
    uint32_t base = page * CHANNELS_PER_PAGE, left = b->nodes - base;
    struct bus_tick_channels m = {.base = (uint16_t)base};
    m.count = (uint8_t)(left < CHANNELS_PER_PAGE ? left : CHANNELS_PER_PAGE);
    for (uint32_t i = 0; i < m.count; i++) {
        m.channels[i].mean_ma = q_u16(s[base + i].mean_ma);
        m.channels[i].max_ma = q_u16(s[base + i].max_ma);
        m.channels[i].status = b->channel_status[base + i] = (uint8_t)s[base + i].status;
    }
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(l, BUS_MSG_TICK_CHANNELS, payload, bus_tick_channels_encode(&m, payload), log);
}

static void string_page(struct bench *b, struct line *l, struct sink *log, uint32_t page) {
    const double *ma = plant_power_out(b->plant)->string_ma;
    uint32_t base = page * STRINGS_PER_PAGE, left = b->strings - base;
    struct bus_tick_strings m = {.base = (uint16_t)base};
    m.count = (uint8_t)(left < STRINGS_PER_PAGE ? left : STRINGS_PER_PAGE);
    for (uint32_t i = 0; i < m.count; i++)
        m.string_ma[i] = q_u16(ma[base + i]);
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(l, BUS_MSG_TICK_STRINGS, payload, bus_tick_strings_encode(&m, payload), log);
}

static int status_changed(const struct bench *b) {
    const struct plant_sensors_channel *s = plant_power_out(b->plant)->channel;
    for (uint32_t i = 0; i < b->nodes; i++)
        if (b->channel_status[i] != (uint8_t)s[i].status)
            return 1;
    return 0;
}

/* The pages of this tick. Returns how many. */
static uint32_t power_pages(struct bench *b, struct line *l, struct sink *log, int all_pages) {
    uint32_t pages = (b->nodes + CHANNELS_PER_PAGE - 1) / CHANNELS_PER_PAGE, sent = 0;
    uint32_t string_pages = (b->strings + STRINGS_PER_PAGE - 1) / STRINGS_PER_PAGE;
    if (all_pages || status_changed(b)) {
        for (; sent < pages; sent++)
            channel_page(b, l, log, sent);
    } else {
        channel_page(b, l, log, b->channel_page);
        b->channel_page = (uint16_t)((b->channel_page + 1u) % pages);
        sent = 1;
    }
    if (all_pages) {
        for (uint32_t i = 0; i < string_pages; i++, sent++)
            string_page(b, l, log, i);
    } else if (l->tick % TICKS_PER_STRING_PAGE == 0) {
        string_page(b, l, log, b->string_page);
        b->string_page = (uint16_t)((b->string_page + 1u) % string_pages);
        sent++;
    }
    return sent;
}

static void tick_power(struct bench *b, struct line *l, struct sink *log, int all_pages) {
    const struct plant_sensors_power *s = plant_power_out(b->plant);
    struct bus_tick_power m = {.dt_us = b->dt_us,
                               .pages = (uint8_t)power_pages(b, l, log, all_pages),
                               .bus_mv = q_u32(s->bus_mv),
                               .bus_min_mv = q_u32(s->bus_min_mv),
                               .bus_max_mv = q_u32(s->bus_max_mv),
                               .batt_ma = (int32_t)quantise(s->batt_ma, INT32_MIN, INT32_MAX),
                               .batt_cdeg = q_cdeg(s->batt_c),
                               .array_mv = q_u32(s->array_mv),
                               .array_ma = q_u32(s->array_ma),
                               .array_cdeg = q_cdeg(s->array_c),
                               .hotel_ma = q_u32(s->hotel_ma),
                               .flags = (uint8_t)s->flags};
    uint8_t payload[BUS_MAX_PAYLOAD];
    send(l, BUS_MSG_TICK_POWER, payload, bus_tick_power_encode(&m, payload), log);
}

void bench_tick(struct bench *b, struct line *l, struct sink *log, int all_pages) {
    line_open(l);
    if (l->board == 0)
        tick_power(b, l, log, all_pages);
    else
        tick_node(b, l, log);
}

/* ---------------------------------------------------------------- DONE */

static int done_node(struct bench *b, struct line *l, const struct bus_frame *f) {
    struct bus_done_node m;
    uint16_t board = l->board;
    if (board == 0 || bus_done_node_decode(&m, f->payload, f->header.length))
        return LINE_DONE_BAD;
    struct plant_actuators_node *a = &plant_node_in(b->plant)[board - 1];
    a->cap_w = m.cap_mw * 1e-3;
    a->clock_mhz = m.clock_mhz;
    a->command = m.command;
    a->workload = m.workload;
    b->cap_mw[board - 1] = m.cap_mw;
    l->stats.state_hash = m.state_hash;
    return m.flags;
}

static unsigned count_bits(uint64_t v) {
    unsigned n = 0;
    for (; v != 0; v &= v - 1)
        n++;
    return n;
}

static int done_power(struct bench *b, struct line *l, const struct bus_frame *f) {
    struct bus_done_power m;
    if (l->board != 0 || bus_done_power_decode(&m, f->payload, f->header.length))
        return LINE_DONE_BAD;
    if (count_bits(l->done_pages) < m.pages)
        return LINE_DONE_INCOMPLETE;
    struct plant_actuators_power *a = plant_power_in(b->plant);
    a->array_v = m.array_mv * 1e-3;
    a->charge_a = m.charge_ma * 1e-3;
    a->charge_v = m.charge_mv * 1e-3;
    a->uvlo_v = m.uvlo_mv * 1e-3;
    a->heater = m.heater;
    a->clear_latches = m.clear_latches;
    l->stats.state_hash = m.state_hash;
    return m.flags;
}

static int done_channels(struct bench *b, struct line *l, const struct bus_frame *f) {
    struct bus_done_channels m;
    if (l->board != 0 || bus_done_channels_decode(&m, f->payload, f->header.length) || m.base + m.count > b->nodes)
        return LINE_DONE_BAD;
    l->done_pages |= UINT64_C(1) << m.base / CHANNELS_PER_PAGE;
    struct plant_actuators_channel *a = plant_power_in(b->plant)->channel + m.base;
    for (uint32_t i = 0; i < m.count; i++)
        a[i] = (struct plant_actuators_channel){
            .limit_a = m.channels[i].limit_ma * 1e-3, .trip_s = m.channels[i].trip_ms * 1e-3, .on = m.channels[i].on};
    return 0;
}

int bench_done(struct bench *b, struct line *l, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_DONE_NODE:
        return done_node(b, l, f);
    case BUS_MSG_DONE_POWER:
        return done_power(b, l, f);
    case BUS_MSG_DONE_CHANNELS:
        return done_channels(b, l, f);
    default:
        return LINE_DONE_BAD;
    }
}

void bench_release(struct bench *b, uint16_t board) {
    if (board == 0)
        return;
    struct plant_actuators_node *a = &plant_node_in(b->plant)[board - 1];
    *a = (struct plant_actuators_node){.command = BUS_ACCEL_COMMAND_OFF};
    b->cap_mw[board - 1] = 0;
}
