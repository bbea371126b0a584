/* A board's persistent memory (BOARD_NVM_BYTES at any offset, csrc/boards/board.h) over two areas of flash.
 *
 * An area begins with a snapshot of the whole memory; behind it every write is appended as records of up to
 * FLASH_NVM_DATA bytes. A full area is compacted: the other one is erased, takes a new snapshot, and its header last.
 * So a cut at any moment leaves a memory in which each record is written or not, in their order; what a write of more
 * than one record means is the business of the blocks above (csrc/boards/nvm.h keeps each in two copies).
 *
 * Area: snapshot | header 16 bytes: "DNVM", sequence u32, 0xFFFFFFFF, CRC-32C of these 12 | records of 32 bytes:
 * offset u16, count u8, 0xFF, data, CRC-32C of the 28 bytes before it. Memory that was never written reads 0xFF. */
#ifndef DAWNLINE_FIRMWARE_FLASH_NVM_H
#define DAWNLINE_FIRMWARE_FLASH_NVM_H

#include "boards/board.h"
#include "boards/flash.h"

#define FLASH_NVM_DATA 24u
#define FLASH_NVM_RECORD 32u
#define FLASH_NVM_HEADER 16u
#define FLASH_NVM_RECORDS_AT (BOARD_NVM_BYTES + FLASH_NVM_HEADER)

/* areas, sizes: the two areas of `flash`, each of at least FLASH_NVM_RECORDS_AT + FLASH_NVM_RECORD bytes. They are the
 * caller's to fill in; the rest is flash_nvm_mount's. */
struct flash_nvm {
    struct flash flash;
    unsigned areas[2];
    uint32_t sizes[2];
    uint32_t sequence; /* 0: neither area is in use yet */
    uint32_t next;     /* where the next record goes */
    uint8_t active;    /* 0 or 1 */
};

/* Finds the area in use. */
void flash_nvm_mount(struct flash_nvm *n);

/* 0, or -1: outside the memory, or the flash failed. A write may take as long as an erasure. */
int flash_nvm_read(const struct flash_nvm *n, uint32_t offset, uint8_t *out, size_t count);
int flash_nvm_write(struct flash_nvm *n, uint32_t offset, const uint8_t *in, size_t count);

#endif
