/* Two slots for images that are executed in place, and the bookkeeping of what is in them.
 *
 * Bookkeeping: a record holds the whole of it. Records of 32 bytes are appended to one of two logs; the valid one with
 * the highest sequence counts. When a log is full the other one is erased and goes on. So a cut at any byte leaves what
 * was, or what was to become. Written by the board (csrc/boards/update.h) and the boot loader (csrc/firmware/boot.h).
 *
 * Record: sequence u32, state u8 of each slot, 0xFFFF u16, and of the last transfer size, image_crc, version u32;
 * 0xFFFFFFFF u32 twice, CRC-32C u32 over the 28 bytes before it. */
#ifndef DAWNLINE_BOARDS_SLOTS_H
#define DAWNLINE_BOARDS_SLOTS_H

#include "boards/flash.h"
#include "bus/bus_icd.h"

#define SLOTS_RECORD_BYTES 32u

/* Areas of the flash. */
enum { SLOT_A = 0, SLOT_B = 1, SLOT_LOG = 2, SLOT_OTHER_LOG = 3, SLOT_AREAS = 4 };

/* The memory of one board. running: the slot that this code is executed from (BUS_IMAGE_SLOT_NONE: the boot loader). */
struct slots {
    struct flash flash;
    uint32_t base[2]; /* address that an image in this slot is linked for */
    uint32_t slot_bytes;
    uint32_t log_bytes; /* a multiple of SLOTS_RECORD_BYTES, at least four of them */
    uint8_t running;
};

/* What is in the slots: state: BUS_SLOT_STATE_*; the rest is of the last transfer, into the slot not running. */
struct slots_record {
    uint8_t state[2];
    uint32_t size, image_crc, version;
};

/* The newest record, and where the next one goes. */
struct slots_log {
    struct slots_record now;
    uint32_t sequence; /* 0: there is no record yet */
    uint32_t next;     /* offset in `area` */
    uint8_t area;
};

/* Finds the newest record; without one, both slots are empty. */
void slots_load(struct slots_log *log, const struct slots *slots);

/* Appends a record. 0, or -1 when the memory does not take it: then the one before is in force still. */
int slots_store(struct slots_log *log, const struct slots *slots, const struct slots_record *record);

/* The header of an image, behind its vector table (csrc/firmware/image.h is its layout). */
#define SLOT_HEADER_OFFSET 0x200u
#define SLOT_HEADER_BYTES 28u
#define SLOT_MAGIC 0x4C4E5744u /* "DWNL" */

struct slot_image {
    uint32_t length, crc, version;
    uint8_t kind;
};

/* Reads the header of the image in a slot. 0, or -1: there is none. */
int slot_header(const struct slots *slots, unsigned slot, struct slot_image *out);

/* Proves that a slot holds a whole image of this kind (BUS_BOARD_KIND_*) that runs where it is: BUS_UPDATE_REASON_NONE,
 * or BAD_HEADER, OTHER_KIND, OTHER_SLOT, BAD_CRC, STORAGE (cannot be read). `out` holds its header when there is one.
 */
uint8_t slot_check(const struct slots *slots, unsigned slot, uint8_t kind, struct slot_image *out);

#endif
