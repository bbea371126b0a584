/* A value of telemetry that is checked: what it reads, whether that moves, and whether it is trusted. */
#include "control/internal.h"

#define READMIT_US (30 * CTL_SECOND_US)
#define STILL_US (2 * CTL_SECOND_US)  /* unchanged for: stuck */
#define MOVES_US (20 * CTL_SECOND_US) /* one that is right changes within that */

static void tell(struct ctl *c, uint16_t code, uint16_t source, unsigned which, int64_t residual) {
    ctl_event(c, code, source, (int32_t)which, (int32_t)ctl_clamp(residual, INT32_MIN, INT32_MAX));
}

static uint8_t kind(const struct ctl_sensor *s) {
    if (s->bad_us > CTL_ABSENT_US || (s->last == 0 && s->still_us >= CTL_SECOND_US))
        return SPACE_SENSOR_STATE_ABSENT;
    return s->still_us >= STILL_US ? SPACE_SENSOR_STATE_STUCK : SPACE_SENSOR_STATE_BIASED;
}

int64_t ctl_sensor_read(struct ctl_sensor *s, int64_t reading, int64_t low, int64_t high, int64_t used,
                        uint32_t dt_us) {
    int bad = reading < low || reading > high;
    int32_t now = (int32_t)ctl_clamp(reading, INT32_MIN, INT32_MAX);
    s->still_us = now == s->last ? (uint32_t)ctl_min((int64_t)s->still_us + dt_us, READMIT_US) : 0;
    s->last = now;
    s->bad_us = bad ? (uint32_t)ctl_min((int64_t)s->bad_us + 2 * (int64_t)dt_us, 2 * CTL_ABSENT_US)
                    : s->bad_us - (uint32_t)ctl_min(s->bad_us, dt_us);
    return bad ? used : reading;
}

void ctl_sensor_exclude(struct ctl *c, struct ctl_sensor *s, uint16_t source, unsigned which, int64_t residual) {
    s->state = kind(s);
    s->right_us = s->wrong_us = 0;
    tell(c, SPACE_EVENT_SENSOR_EXCLUDED, source, which, residual);
}

int ctl_sensor_readmit(struct ctl *c, struct ctl_sensor *s, uint16_t source, unsigned which, int right, uint32_t dt_us,
                       int64_t residual) {
    int agrees = right && s->bad_us == 0 && s->still_us < MOVES_US;
    s->right_us = agrees ? s->right_us + dt_us : 0;
    if (s->right_us < READMIT_US)
        return 0;
    s->state = SPACE_SENSOR_STATE_TRUSTED;
    s->right_us = 0;
    tell(c, SPACE_EVENT_SENSOR_READMITTED, source, which, residual);
    return 1;
}
