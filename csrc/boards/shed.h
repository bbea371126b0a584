/* Load shedding by a preloaded table of tiers: state of charge or bus voltage below a tier's thresholds for a dwell
 * enters it; both above, by a hysteresis and for a longer dwell, leave it, one tier at a time. */
#ifndef DAWNLINE_BOARDS_SHED_H
#define DAWNLINE_BOARDS_SHED_H

#include <stdint.h>

#include "bus/bus_icd.h"

#define SHED_TIERS 4
#define SHED_ENTER_US 300000u   /* dwell */
#define SHED_LEAVE_US 30000000u /* dwell of each tier */
#define SHED_MARGIN 50          /* the bus must be above enter_mv by 1/50 to leave */
#define SHED_NEVER 255          /* tier of a channel that is never shed */

struct shed {
    struct bus_shed_tier tiers[SHED_TIERS];
    uint32_t low_us[SHED_TIERS], high_us;
    uint8_t count;
    uint8_t tier; /* in force; 0: none */
};

/* 0, or -1 when a tier does not leave above where it enters, or is not at or below the tier before it; then nothing
 * changed. */
int shed_load(struct shed *s, const struct bus_shed_tier *tiers, uint8_t count);

/* One step; returns the tier in force. soc_known 0: only the voltage counts. */
uint8_t shed_step(struct shed *s, uint32_t dt_us, int soc_known, uint16_t soc_cpct, uint32_t bus_mv);

/* Whether a channel of this tier is shed. The last tier of the table sheds all but SHED_NEVER. */
int shed_hits(const struct shed *s, uint8_t channel_tier);

#endif
