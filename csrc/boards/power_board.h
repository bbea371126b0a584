/* The power board, as a pure step: sensors and time in, settings of its electronics out. The electronics regulate and
 * protect in milliseconds (array voltage, charge limits, LCLs, under-voltage latch); this decides what they are told.
 */
#ifndef DAWNLINE_BOARDS_POWER_BOARD_H
#define DAWNLINE_BOARDS_POWER_BOARD_H

#include <stddef.h>
#include <stdint.h>

#include "boards/channels.h"
#include "boards/charger.h"
#include "boards/events.h"
#include "boards/mppt.h"
#include "boards/shed.h"
#include "boards/soc.h"
#include "boards/strings.h"
#include "bus/bus_icd.h"

#define POWER_BOARD_STATE_BYTES 320

#define POWER_BOARD_CLEAR_US 10000000u /* bus above the under-voltage threshold for so long: clear the latch */
#define POWER_BOARD_CLEAR_SHARE 20     /* above it by 1/20 */
#define POWER_BOARD_HOLD_STEPS 10      /* impossible temperatures bridged by the last good one */

struct power_board {
    struct bus_power_config config;
    struct mppt mppt;
    struct charger charger;
    struct soc soc;
    struct shed shed;
    struct strings strings;
    struct events events;
    uint8_t configured, started, autonomous, uvlo, heater, clear_latches;
    uint8_t mode;                         /* BUS_CHARGE_MODE_* */
    uint8_t bad_steps;                    /* impossible battery temperatures in a row */
    int16_t batt_cdeg;                    /* last possible one */
    uint16_t flags;                       /* BUS_POWER_FLAG_* */
    uint32_t now_ms;                      /* low bits of the time of the last step */
    uint32_t rom_charge_mv, rom_array_mv; /* used before a configuration: from the bus voltage at the first step */
    uint32_t uvlo_good_us;
    uint64_t heard_us;             /* when flight was last heard */
    struct bus_tick_power sensors; /* of the last step */
    struct channels channels;      /* last: its list is the large part */
};

/* A power board that knows nothing yet: unconfigured, no channel on. */
void power_board_init(struct power_board *p);

/* Commands: each returns the BUS_ACK_CODE_* that answers it. */
uint8_t power_board_configure(struct power_board *p, const struct bus_power_config *m);
uint8_t power_board_curve(struct power_board *p, const struct bus_battery_curve *m);
uint8_t power_board_channels_set(struct power_board *p, const struct bus_channels_set *m);
uint8_t power_board_channel_clear(struct power_board *p, const struct bus_channel_clear *m);
uint8_t power_board_shed_tiers(struct power_board *p, const struct bus_shed_tiers *m);
uint8_t power_board_shed_channels(struct power_board *p, const struct bus_shed_channels *m);

/* Pages of sensors that come before a step. */
void power_board_channels_page(struct power_board *p, uint64_t t_us, const struct bus_tick_channels *m);
void power_board_strings_page(struct power_board *p, const struct bus_tick_strings *m);

/* Flight was heard, at board time t_us. */
void power_board_heard(struct power_board *p, uint64_t t_us);

/* One step of s->dt_us that ends at t_us. */
void power_board_step(struct power_board *p, uint64_t t_us, const struct bus_tick_power *s);

/* The settings after a step: everything of DONE but pages, state_hash and counters. */
void power_board_settings(const struct power_board *p, struct bus_done_power *out);

/* What telemetry says after a step. */
void power_board_report(const struct power_board *p, struct bus_power_tlm *out);

/* The state that decides what the board does next (channels apart), as fixed-width integers. Returns the bytes. */
size_t power_board_serialise(const struct power_board *p, uint8_t out[static POWER_BOARD_STATE_BYTES]);

#endif
