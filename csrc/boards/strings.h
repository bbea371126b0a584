/* The strings of the array: the largest one (what may be lost at once), and which of them are lost. */
#ifndef DAWNLINE_BOARDS_STRINGS_H
#define DAWNLINE_BOARDS_STRINGS_H

#include <stdint.h>

#include "boards/events.h"

#define STRINGS_MAX 64

struct strings {
    uint64_t lost;               /* bit per string */
    uint64_t suspects;           /* below the threshold in the last page */
    uint32_t largest_ma, sum_ma; /* of the last pages */
    uint8_t count;               /* configured */
};

/* Takes a page of string currents. at_peak: the array is at its power point, so that currents tell (near open circuit,
 * or in the dark, they do not). A string below 1/10 of the largest in two pages running is lost, above 3/10 it is back.
 */
void strings_page(struct strings *s, unsigned base, unsigned count, const uint16_t *string_ma, int at_peak,
                  struct events *events);

/* Power of the largest string when the whole array gives array_mw: its share as last measured. */
uint32_t strings_largest_mw(const struct strings *s, uint32_t array_mw);

/* Strings that are not lost. */
uint8_t strings_live(const struct strings *s);

#endif
