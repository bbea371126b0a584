/* Physics of the satellite: Sun, array, battery, electronics, accelerators, heat. Host only (double, libm).
 *
 * What always holds:
 *  1. plant_step uses no heap, no clock, no libc state and no random source but hashes of (seed, node, time);
 *  2. whatever the actuators, sensors and truth are finite;
 *  3. the bus balances: array used - converter loss = loads + battery terminals, in every sub-step. */
#ifndef PLANT_H
#define PLANT_H

#include <stddef.h>
#include <stdint.h>

#include "plant/plant.cdef.h"

#endif
