/* The board's program. */
#ifndef DAWNLINE_FIRMWARE_MAIN_H
#define DAWNLINE_FIRMWARE_MAIN_H

#include "bus/frame.h"

_Noreturn void firmware_main(void);

/* Header of a CRASH frame, made from nothing but what main keeps for it. */
struct bus_header firmware_crash_header(uint8_t length);

#endif
