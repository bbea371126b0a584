/* A mock: csrc/boards in this process, with its persistent memory and what it has sent. Functions: world.cdef.h.
 * A mock whose write to persistent memory was cut is dead: nothing that it does has an effect until it boots. */
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
    uint64_t dropped;  /* bytes that did not fit */
    uint32_t cut_left; /* bytes of persistent memory that can still be written, when cut_armed */
    uint32_t cuts;
    uint8_t cut_armed, dead;
    uint8_t died;      /* in the last mock_receive, */
    size_t last_words; /* after so many bytes of what it has sent */
};

#endif
