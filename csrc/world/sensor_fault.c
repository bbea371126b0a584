#include "world/sensor_fault.h"

#include "world/random.h"

enum { PAGE_HEAD = 3 };

/* ---------------------------------------------------------------- where the integer stands */

static uint8_t *place(const struct sensor_fault *f, uint8_t *payload, size_t n) {
    size_t at = f->offset;
    if (f->stride != 0) {
        if (n < PAGE_HEAD)
            return NULL;
        uint32_t base = payload[0] | (uint32_t)payload[1] << 8;
        if (f->index < base || f->index - base >= payload[2])
            return NULL;
        at += PAGE_HEAD + (size_t)(f->index - base) * f->stride;
    }
    return at + f->width <= n ? payload + at : NULL;
}

static int64_t load(const struct sensor_fault *f, const uint8_t *at) {
    uint64_t value = 0;
    for (unsigned i = 0; i < f->width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    int64_t top = INT64_C(1) << (8 * f->width - 1);
    return f->is_signed && (int64_t)value >= top ? (int64_t)value - 2 * top : (int64_t)value;
}

static void store(const struct sensor_fault *f, uint8_t *at, int64_t value) {
    for (unsigned i = 0; i < f->width; i++)
        at[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

/* ---------------------------------------------------------------- what it reads */

/* Nearest integer within the field's range, halves away from 0; not a number: low. */
static int64_t nearest(const struct sensor_fault *f, double value) {
    if (!(value > (double)f->low))
        return f->low;
    if (value >= (double)f->high)
        return f->high;
    return (int64_t)(value < 0 ? value - 0.5 : value + 0.5);
}

static int64_t garbage(struct sensor_fault *f) {
    return f->low + (int64_t)random_below(&f->random, (uint64_t)(f->high - f->low + 1));
}

static int64_t keep(struct sensor_fault *f, uint64_t t_us, int64_t reading, uint64_t period_us) {
    if (!f->started || t_us - f->kept_us >= period_us) {
        f->started = 1;
        f->kept = reading;
        f->kept_us = t_us;
    }
    return f->kept;
}

/* The newest reading that is period_us old; the oldest there is before. */
static int64_t delayed(struct sensor_fault *f, uint64_t t_us, int64_t reading) {
    if (f->count == f->capacity) {
        f->oldest = (f->oldest + 1) % f->capacity;
        f->count--;
    }
    f->history[(f->oldest + f->count++) % f->capacity] = (struct sensor_sample){t_us, reading};
    while (f->count > 1 && f->history[(f->oldest + 1) % f->capacity].t_us + f->period_us <= t_us) {
        f->oldest = (f->oldest + 1) % f->capacity;
        f->count--;
    }
    return f->history[f->oldest].reading;
}

/* Standard deviation 1: the sum of twelve uniform numbers less its mean. */
static double noise(struct sensor_fault *f) {
    int64_t sum = 0;
    for (int i = 0; i < 12; i++)
        sum += random_u32(&f->random);
    return (double)(sum - (INT64_C(6) << 32)) * 0x1p-32;
}

static int64_t read_through(struct sensor_fault *f, uint64_t t_us, int64_t reading) {
    switch (f->kind) {
    case SENSOR_FAULT_OFF:
        return 0;
    case SENSOR_FAULT_STUCK:
        return keep(f, t_us, reading, UINT64_MAX);
    case SENSOR_FAULT_GARBAGE:
        return garbage(f);
    case SENSOR_FAULT_FIXED:
        return nearest(f, f->value);
    case SENSOR_FAULT_NEGATED:
        return nearest(f, -(double)reading);
    case SENSOR_FAULT_SLOW:
        return keep(f, t_us, reading, f->period_us);
    case SENSOR_FAULT_DELAYED:
        return delayed(f, t_us, reading);
    case SENSOR_FAULT_INTERMITTENT:
        return random_strikes(&f->random, f->rate) ? 0 : reading;
    case SENSOR_FAULT_BIAS:
        return nearest(f, (double)reading + f->value);
    case SENSOR_FAULT_SCALE:
        return nearest(f, (double)reading * f->value);
    default:
        return nearest(f, (double)reading + noise(f) * f->value);
    }
}

void sensor_fault_pass(struct sensor_fault *list, uint8_t message, uint64_t t_us, uint8_t *payload, size_t n) {
    for (struct sensor_fault *f = list; f != NULL; f = f->next) {
        uint8_t *at = f->message == message ? place(f, payload, n) : NULL;
        if (at == NULL)
            continue;
        int64_t reading = load(f, at), shown = read_through(f, t_us, reading);
        store(f, at, shown);
        f->readings++;
        f->hits += shown != reading;
    }
}
