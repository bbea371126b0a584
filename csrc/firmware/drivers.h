/* The sensors and actuators of a board that flies: what the bench is to a bench build.
 *
 * Two files hide behind this: drivers_node.c and drivers_power.c say which sensor is where; bus_stm32f4.c reads a pin
 * or a device. They follow the wiring of docs/porting.md, and have run in emulators only. Readings that fail keep the
 * value of 0, which the board takes as a broken sensor. */
#ifndef DAWNLINE_FIRMWARE_DRIVERS_H
#define DAWNLINE_FIRMWARE_DRIVERS_H

#include <stdint.h>

#include "bus/bus_icd.h"

void drivers_start(void);

/* Of a node: everything but dt_us. */
void drivers_read_node(struct bus_tick_node *out);
void drivers_set_node(const struct bus_done_node *m);

/* Of a power board: everything but dt_us and pages; a page of so many channels from `base` on; all strings. */
void drivers_read_power(struct bus_tick_power *out);
void drivers_read_channels(uint16_t base, uint8_t count, struct bus_tick_channels *out);
void drivers_read_strings(uint8_t count, struct bus_tick_strings *out);
void drivers_set_power(const struct bus_done_power *m);
void drivers_set_channel(uint16_t channel, const struct bus_channel_setting *m);

#endif
