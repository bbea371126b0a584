#include "boards/heartbeat.h"

#include "boards/clamp.h"

static void beating(struct heartbeat *h, uint32_t dt_us) {
    h->silent_us = 0;
    h->healthy_us = clamp_add_u32(h->healthy_us, dt_us);
    if (h->healthy_us >= HEARTBEAT_HEALTHY_US) {
        h->streak = 0;
    }
}

int heartbeat_step(struct heartbeat *h, uint32_t dt_us, uint16_t beat, int up, uint32_t hang_ms) {
    int same = h->watching && beat == h->last;
    h->last = beat;
    if (!up || !h->watching) {
        h->watching = (uint8_t)(up != 0);
        h->silent_us = 0;
        h->healthy_us = up ? h->healthy_us : 0;
        return 0;
    }
    if (!same) {
        beating(h, dt_us);
        return 0;
    }
    h->silent_us = clamp_add_u32(h->silent_us, dt_us);
    if (h->silent_us / 1000 < hang_ms) {
        return 0;
    }
    h->watching = 0;
    h->healthy_us = 0;
    ++h->streak;
    return 1;
}
