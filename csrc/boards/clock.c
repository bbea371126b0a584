#include "boards/clock.h"

static void advance(struct clock *c, uint32_t base_us) {
    c->local_us += (uint32_t)(base_us - c->last_us);
    c->last_us = base_us;
}

void clock_follow(struct clock *c, uint64_t flight_us, uint32_t base_us) {
    advance(c, base_us);
    int64_t error_us = (int64_t)flight_us - ((int64_t)c->local_us + c->offset_us);
    int far = error_us > (int64_t)CLOCK_JUMP_US || error_us < -(int64_t)CLOCK_JUMP_US;
    c->offset_us += !c->led || far ? error_us : error_us / 8;
    c->led = 1;
}

uint64_t clock_now(struct clock *c, uint32_t base_us) {
    advance(c, base_us);
    int64_t now_us = (int64_t)c->local_us + c->offset_us;
    if (now_us > (int64_t)c->t_us) {
        c->t_us = (uint64_t)now_us;
    }
    return c->t_us;
}
