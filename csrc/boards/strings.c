#include "boards/strings.h"

#include "bus/bus_icd.h"

#define LEAST_MA 100 /* of the largest string: below it the light is too dim to judge */

static uint64_t bit(unsigned i) {
    return UINT64_C(1) << i;
}

static uint32_t largest_of(const uint16_t *string_ma, unsigned count) {
    uint32_t largest = 0;
    for (unsigned i = 0; i < count; ++i) {
        largest = string_ma[i] > largest ? string_ma[i] : largest;
    }
    return largest;
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
    uint32_t largest_ma = largest_of(string_ma, count);
    s->largest_ma = base == 0 || largest_ma > s->largest_ma ? largest_ma : s->largest_ma;
    if (!at_peak || largest_ma < LEAST_MA) {
        s->suspects = 0;
        return;
    }
    for (unsigned i = 0; i < count && base + i < s->count && base + i < STRINGS_MAX; ++i) {
        judge(s, base + i, string_ma[i], largest_ma, events);
    }
}

uint8_t strings_live(const struct strings *s) {
    unsigned live = 0;
    for (unsigned i = 0; i < s->count && i < STRINGS_MAX; ++i) {
        live += (s->lost & bit(i)) == 0;
    }
    return (uint8_t)live;
}
