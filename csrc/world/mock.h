/* A mock: csrc/boards in this process, with its persistent memory and what it has sent. Functions: world.cdef.h. */
#ifndef WORLD_MOCK_H
#define WORLD_MOCK_H

#include <stddef.h>
#include <stdint.h>

#include "boards/board.h"
#include "world/world.h"

struct mock {
    struct board *board;
    struct board_identity identity;
    uint8_t nvm[BOARD_NVM_BYTES];
    uint8_t *sent; /* since the last mock_take */
    size_t used, capacity;
    uint64_t dropped; /* bytes that did not fit */
};

#endif
