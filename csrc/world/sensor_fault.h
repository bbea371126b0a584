/* Faults of sensors, between the plant and the TICK frames. Pure: the caller owns every byte; chance and time are state
 * and input. They work on the encoded payload, so that any integer of the ICD can be addressed. Functions and structs:
 * world.cdef.h. */
#ifndef WORLD_SENSOR_FAULT_H
#define WORLD_SENSOR_FAULT_H

#include "world/world.h"

#endif
