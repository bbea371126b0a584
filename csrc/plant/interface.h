/* plant.cdef.h as a C header. */
#ifndef PLANT_INTERFACE_H
#define PLANT_INTERFACE_H

#include <stddef.h>
#include <stdint.h>

#include "plant/plant.cdef.h"

#endif
