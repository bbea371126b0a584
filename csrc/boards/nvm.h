/* Blocks of persistent memory, each in two copies, so that a write that is cut at any byte leaves one that is whole.
 *
 * Copy: payload | sequence u32 | CRC-32C u32 over block id, payload size, payload and sequence. A store writes the copy
 * that is not the newest, with the next sequence; a load takes the newest whole copy and repairs the other from it. */
#ifndef DAWNLINE_BOARDS_NVM_H
#define DAWNLINE_BOARDS_NVM_H

#include <stddef.h>
#include <stdint.h>

#include "boards/board.h"

#define NVM_COPY_OVERHEAD 8

enum nvm_result {
    NVM_OK = 0,       /* the newest copy was read */
    NVM_REPAIRED = 1, /* and the other copy was damaged (or never written) and is now equal */
    NVM_BLANK = 2,    /* never written */
    NVM_LOST = 3,     /* both copies are damaged, or the memory cannot be read */
};

/* Where a block lies. The two copies stand one after the other from `offset` on. */
struct nvm_place {
    uint8_t id;
    uint16_t offset, size;
};

/* What is known of a block since it was loaded. `newest`: copy 0 or 1. */
struct nvm_block {
    uint32_t sequence;
    uint8_t newest;
    uint8_t copy; /* that the last load repaired or found damaged; 255: both */
};

/* Reads a block into payload (place->size bytes); payload is untouched unless the result is NVM_OK or NVM_REPAIRED. */
enum nvm_result nvm_load(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port,
                         uint8_t *payload);

/* Writes a block; both copies when it was never written. Returns 0, or -1 when the memory refused. */
int nvm_store(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port,
              const uint8_t *payload);

#endif
