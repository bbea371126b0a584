#include "boards/strings.h"

#include "bus/bus_icd.h"

#define LEAST_MA 100 /* of the largest string: below it the light is too dim to judge */

static uint64_t bit(unsigned i) {
    return UINT64_C(1) << i;
}

/* The page at base 0 begins a new round. */
static void measure(struct strings *s, unsigned base, const uint16_t *string_ma, unsigned count) {
    if (base == 0) {
        s->largest_ma = 0;
        s->sum_ma = 0;
    }
    for (unsigned i = 0; i < count; ++i) {
        s->largest_ma = string_ma[i] > s->largest_ma ? string_ma[i] : s->largest_ma;
        s->sum_ma += string_ma[i];
    }
}

static void judge(struct strings *s, unsigned string, uint32_t ma, uint32_t largest_ma, struct events *events) {
    uint64_t mask = bit(string);
    int low = ma * 10 < largest_ma;
    if (s->lost & mask) {
        s->lost &= ma * 10 > largest_ma * 3 ? ~mask : ~UINT64_C(0);
    } else if (low && (s->suspects & mask) && events_room(events) > 0) {
        s->lost |= mask;
        events_add(events, BUS_EVENT_POWER_STRING_LOST, (int32_t)string, strings_live(s));
    }
    s->suspects = low ? s->suspects | mask : s->suspects & ~mask;
}

void strings_page(struct strings *s, unsigned base, unsigned count, const uint16_t *string_ma, int at_peak,
                  struct events *events) {
    measure(s, base, string_ma, count);
    if (!at_peak || s->largest_ma < LEAST_MA) {
        s->suspects = 0;
        return;
    }
    for (unsigned i = 0; i < count && base + i < s->count && base + i < STRINGS_MAX; ++i) {
        judge(s, base + i, string_ma[i], s->largest_ma, events);
    }
}

uint32_t strings_largest_mw(const struct strings *s, uint32_t array_mw) {
    if (s->sum_ma == 0) {
        return array_mw / (strings_live(s) > 0 ? strings_live(s) : 1u);
    }
    return (uint32_t)((uint64_t)array_mw * s->largest_ma / s->sum_ma);
}

uint8_t strings_live(const struct strings *s) {
    unsigned live = 0;
    for (unsigned i = 0; i < s->count && i < STRINGS_MAX; ++i) {
        live += (s->lost & bit(i)) == 0;
    }
    return (uint8_t)live;
}
