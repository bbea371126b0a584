/*
 * Consistent overhead byte stuffing (Cheshire and Baker, 1999) of one block: up to 253 bytes become one more, none
 * zero.
 *
 * A code byte says how far the next code byte is; where a code byte stands, the data has a zero. Blocks this short
 * never use the code 255, so every block has exactly one encoding.
 */
#ifndef DAWNLINE_BUS_COBS_H
#define DAWNLINE_BUS_COBS_H

#include <stddef.h>
#include <stdint.h>

#define BUS_COBS_MAX_DATA 253

/* Encodes in place: the data stand in block[1..n], n at most BUS_COBS_MAX_DATA; afterwards block[0..n] is encoded. */
void bus_cobs_encode(uint8_t *block, size_t n);

/*
 * Decodes n encoded bytes into out[0..n-2] (which may not overlap them). Returns 0, or -1 when the codes do not end
 * exactly at n, when one is zero, or when n is 0 or above BUS_COBS_MAX_DATA + 1; `out` may then hold anything.
 */
int bus_cobs_decode(uint8_t *out, const uint8_t *in, size_t n);

#endif
