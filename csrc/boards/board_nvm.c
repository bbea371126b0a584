#include "boards/board_state.h"

/* id, offset, size of each block of either kind; two copies of size + NVM_COPY_OVERHEAD each. */
static const struct nvm_place PLACES[] = {
    {BOARD_BLOCK_BOOT, 0, 12},
    {BOARD_BLOCK_CONFIG, 64, BUS_POWER_CONFIG_BYTES},
    {BOARD_BLOCK_CURVE, 256, BUS_BATTERY_CURVE_BYTES},
    {BOARD_BLOCK_TIERS, 384, BUS_SHED_TIERS_BYTES},
    {BOARD_BLOCK_SOC, 512, 2},
    {BOARD_BLOCK_JOB, 576, JOB_RECORD_BYTES},
    {BOARD_BLOCK_SHED_CHANNELS, 1024, POWER_BOARD_MAX_CHANNELS},
    {BOARD_BLOCK_ROLE, 4032, 2},
};
static const struct nvm_place NODE_CONFIG = {BOARD_BLOCK_CONFIG, 64, BUS_NODE_CONFIG_BYTES};

#define END_OF(offset, size) ((offset) + 2 * ((size) + NVM_COPY_OVERHEAD))
_Static_assert(END_OF(0, 12) <= 64, "boot block");
_Static_assert(END_OF(64, BUS_POWER_CONFIG_BYTES) <= 256 && END_OF(64, BUS_NODE_CONFIG_BYTES) <= 256, "configuration");
_Static_assert(END_OF(256, BUS_BATTERY_CURVE_BYTES) <= 384, "curve");
_Static_assert(END_OF(384, BUS_SHED_TIERS_BYTES) <= 512, "tiers");
_Static_assert(END_OF(512, 2) <= 576, "state of charge");
_Static_assert(END_OF(576, JOB_RECORD_BYTES) <= 1024, "job");
_Static_assert(END_OF(1024, POWER_BOARD_MAX_CHANNELS) <= 4032, "tiers of channels");
_Static_assert(END_OF(4032, 2) <= BOARD_NVM_BYTES, "address");

static const struct nvm_place *place_of(const struct board *b, enum board_block block) {
    if (block == BOARD_BLOCK_CONFIG && board_is_node(b)) {
        return &NODE_CONFIG;
    }
    const struct nvm_place *place = PLACES;
    while (place->id != block) {
        ++place;
    }
    return place;
}

int board_load(struct board *b, enum board_block block, uint8_t *payload) {
    struct nvm_block *known = &b->blocks[block];
    enum nvm_result result = nvm_load(known, place_of(b, block), &b->link.port, payload);
    if (result == NVM_REPAIRED || result == NVM_LOST) {
        events_add(board_events(b), BUS_EVENT_BOARD_NVM_REPAIRED, (int32_t)block, known->copy);
    }
    return result == NVM_OK || result == NVM_REPAIRED ? 0 : -1;
}

int board_store(struct board *b, enum board_block block, const uint8_t *payload) {
    return nvm_store(&b->blocks[block], place_of(b, block), &b->link.port, payload);
}
