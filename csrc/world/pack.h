/* Packing: a tape's records in fewer and more alike bytes, for a compressor behind it. Nothing is lost.
 *
 * A frame is told by what differs from the last frame of its type on its board: COBS and CRC fall away because they
 * follow from the rest, sequence and time because they go on as before. Bytes that are no frame stay as they are.
 * docs/replay.md gives the format. The memory is the caller's: pack_bytes() bytes, aligned as for uint64_t. */
#ifndef WORLD_PACK_H
#define WORLD_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "world/world.h"

enum pack_kind { PACK_END = 0, PACK_RAW = 1, PACK_NEXT = 2, PACK_OTHER = 3, PACK_AGAIN = 4 };
enum pack_time { PACK_TIME_SAME = 0, PACK_TIME_NEXT = 1, PACK_TIME_OTHER = 2 };

void pack_put_le(uint8_t *out, uint64_t value, int n);
uint64_t pack_get_le(const uint8_t *in, int n);

#endif
