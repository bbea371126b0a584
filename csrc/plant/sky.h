/* Where the satellite is and what shines on it: orbit table, Sun, Earth's shadow, albedo and Earth infrared. */
#ifndef PLANT_SKY_H
#define PLANT_SKY_H

#include "plant/interface.h"

struct plant_sky {
    double r_km[3], sun_unit[3]; /* position; direction to the Sun */
    double sun_fraction;         /* visible part of the disc */
    double flux_w_m2;            /* at this distance from the Sun, unshadowed */
    double ir_w_m2;              /* Earth infrared on one face of a plate seen edge-on by the Earth */
    double albedo_w_m2;          /* sunlight reflected by the Earth on the same face */
    int in_saa;
};

/* State at flight time t_s. Returns PLANT_OK or PLANT_ERR_ORBIT (s unchanged). */
int plant_sky_at(const struct plant_orbit *o, double t_s, struct plant_sky *s);

#endif
