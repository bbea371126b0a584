/* Which image to start: decided anew at every reset, from the records and the images themselves (csrc/boards/slots.h).
 *
 * In this order, and only an image that is whole, of this kind, and linked for its slot:
 *  1. a new one, once: its trial is recorded before it starts, and ends with the next reset unless it was confirmed;
 *  2. the confirmed one; 3. the previous one;
 *  4. any other, the higher version first; one that was rejected last.
 * So an image starts whenever a slot holds one, whatever the records say or whatever is left of them. */
#ifndef DAWNLINE_FIRMWARE_BOOT_H
#define DAWNLINE_FIRMWARE_BOOT_H

#include "boards/slots.h"

/* slot: BUS_IMAGE_SLOT_*, none when no slot holds an image that can start. */
struct boot_choice {
    uint8_t slot;
    uint8_t on_trial;
};

/* Decides, and brings the records up to date. kind: BUS_BOARD_KIND_* of this board. */
struct boot_choice boot_choose(const struct slots *slots, uint8_t kind);

#endif
