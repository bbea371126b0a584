/* The judge: counts violations and samples the truth, which nobody on board has. */
#ifndef WORLD_JUDGE_H
#define WORLD_JUDGE_H

#include <stdint.h>

#include "world/world.h"

struct plant;

struct judge {
    struct world_config limits;
    struct world_score score;
    uint8_t under, hot, low, lease; /* in an episode */
    double lease_over_s;            /* time above the guarantee, without a break */
    double last_guarantee_w;
    struct world_sample *samples;
    size_t sample_count, sample_capacity;
    uint64_t next_sample_us;
};

void judge_init(struct judge *j, const struct world_config *limits);

/* After the barrier of a tick: the plant's truth of the period that ended, and the caps now in force (mW per node). */
void judge_tick(struct judge *j, const struct plant *p, const uint32_t *cap_mw, uint64_t t_us);

#endif
