/* A board that flies: its own sensors, its own clock, a step every 100 ms. */
#ifndef DAWNLINE_FIRMWARE_FLIGHT_H
#define DAWNLINE_FIRMWARE_FLIGHT_H

#include <stdint.h>

#include "boards/board.h"

#define FLIGHT_STEP_US 100000u

void flight_start(uint32_t now_us);

/* Follows the time in flight's frames; steps when the period is over. now_us: of the port's time base. */
void flight_poll(struct board *b, uint32_t now_us);

#endif
