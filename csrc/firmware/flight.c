#include "firmware/flight.h"

#include "boards/board_state.h"
#include "boards/clock.h"
#include "firmware/drivers.h"

static struct {
    struct clock clock;
    uint32_t stepped_us; /* of the time base, when the last step was due */
    uint64_t t_us;       /* of the last step */
    uint64_t heard_us;   /* time of flight that was followed last */
} self;

void flight_start(uint32_t now_us) {
    self.stepped_us = now_us;
    self.clock.last_us = now_us;
    drivers_start();
}

static void step_node(struct board *b, uint64_t t_us, uint32_t dt_us) {
    struct bus_tick_node sensors;
    struct bus_done_node settings;
    drivers_read_node(&sensors);
    sensors.dt_us = dt_us;
    if (board_step_node(b, t_us, &sensors, &settings) == 0) {
        drivers_set_node(&settings);
    }
}

static void sense_pages(struct board *b, uint64_t t_us) {
    const struct bus_power_config *config = &b->as.power.power.config;
    struct bus_tick_channels page;
    struct bus_tick_strings strings;
    for (uint16_t base = 0; base < config->channels; base = (uint16_t)(base + CHANNELS_PER_PAGE)) {
        uint16_t left = (uint16_t)(config->channels - base);
        drivers_read_channels(base, (uint8_t)(left < CHANNELS_PER_PAGE ? left : CHANNELS_PER_PAGE), &page);
        board_sense_channels(b, t_us, &page);
    }
    drivers_read_strings(config->strings, &strings);
    board_sense_strings(b, &strings);
}

static void step_power(struct board *b, uint64_t t_us, uint32_t dt_us) {
    struct bus_tick_power sensors;
    struct bus_done_power settings;
    struct bus_channel_setting channel;
    sense_pages(b, t_us);
    drivers_read_power(&sensors);
    sensors.dt_us = dt_us;
    if (board_step_power(b, t_us, &sensors, &settings) != 0) {
        return;
    }
    drivers_set_power(&settings);
    for (uint16_t i = 0; board_channel_setting(b, i, &channel) == 0; ++i) {
        drivers_set_channel(i, &channel);
    }
}

void flight_poll(struct board *b, uint32_t now_us) {
    uint64_t heard_us = board_heard_us(b);
    if (heard_us != self.heard_us) {
        self.heard_us = heard_us;
        clock_follow(&self.clock, heard_us, now_us);
    }
    if ((uint32_t)(now_us - self.stepped_us) < FLIGHT_STEP_US) {
        return;
    }
    self.stepped_us += FLIGHT_STEP_US;
    uint64_t t_us = clock_now(&self.clock, now_us);
    uint64_t since_us = t_us - self.t_us;
    /* After a jump of the clock the step is an ordinary one: what a board integrates is its own time. */
    uint32_t dt_us =
        since_us < FLIGHT_STEP_US / 2 || since_us > 2 * FLIGHT_STEP_US ? FLIGHT_STEP_US : (uint32_t)since_us;
    if (since_us == 0) {
        return; /* its clock stands still: it was ahead */
    }
    self.t_us = t_us;
    if (board_is_node(b)) {
        step_node(b, t_us, dt_us);
    } else {
        step_power(b, t_us, dt_us);
    }
}
