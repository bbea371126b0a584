/* What the power board keeps over a boot: configuration, curve, tiers, charge. */
#ifndef DAWNLINE_BOARDS_POWER_NVM_H
#define DAWNLINE_BOARDS_POWER_NVM_H

#include "boards/board_state.h"

/* Stores the configuration, unless it is the one before; NULL: there was none. */
void power_nvm_keep_config(struct board *b, const struct bus_power_config *before);

/* Stores a command as it came, but for its session and sequence. */
void power_nvm_save_command(struct board *b, enum board_block block, const struct bus_frame *f);

void power_nvm_save_shed_channels(struct board *b);

/* Stores the state of charge when it has moved far enough. */
void power_nvm_save_charge(struct board *b);

#endif
