/* The power board's persistent memory. */
#include "boards/power_nvm.h"

#include <string.h>

#include "boards/board_state.h"
#include "boards/bytes.h"

#define SAVE_CPCT 100  /* change of the state of charge that is worth a write */
#define COMMAND_HEAD 8 /* bytes of session and command_seq */
#define TIERS_HEAD 9   /* bytes of shed_tiers before its tail: session, command_seq, count */
#define TIER_BYTES 8

static size_t encode_config(const struct bus_power_config *config, uint8_t out[static BUS_MAX_PAYLOAD]) {
    struct bus_power_config m = *config;
    m.session = 0;
    m.command_seq = 0;
    return bus_power_config_encode(&m, out);
}

static void restore_config(struct board *b) {
    struct bus_power_config m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    if (board_load(b, BOARD_BLOCK_CONFIG, payload) == 0 &&
        bus_power_config_decode(&m, payload, BUS_POWER_CONFIG_BYTES) == 0) {
        (void)power_board_configure(&b->as.power.power, &m);
    }
}

static void restore_curve(struct board *b) {
    struct bus_battery_curve m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    if (board_load(b, BOARD_BLOCK_CURVE, payload) == 0 &&
        bus_battery_curve_decode(&m, payload, BUS_BATTERY_CURVE_BYTES) == 0) {
        (void)power_board_curve(&b->as.power.power, &m);
    }
}

static void restore_tiers(struct board *b) {
    struct bus_shed_tiers m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    if (board_load(b, BOARD_BLOCK_TIERS, payload) != 0 || payload[TIERS_HEAD - 1] > SHED_TIERS) {
        return;
    }
    size_t n = TIERS_HEAD + (size_t)payload[TIERS_HEAD - 1] * TIER_BYTES;
    if (bus_shed_tiers_decode(&m, payload, n) == 0) {
        (void)power_board_shed_tiers(&b->as.power.power, &m);
    }
}

static void restore_shed_channels(struct board *b) {
    struct channels *c = &b->as.power.power.channels;
    uint8_t tiers[POWER_BOARD_MAX_CHANNELS];
    if (board_load(b, BOARD_BLOCK_SHED_CHANNELS, tiers) != 0) {
        return;
    }
    for (unsigned i = 0; i < c->count; ++i) {
        c->list[i].tier = tiers[i];
    }
}

static void restore_charge(struct board *b) {
    struct power_side *side = &b->as.power;
    uint8_t payload[2];
    side->saved_cpct = UINT16_MAX;
    if (board_load(b, BOARD_BLOCK_SOC, payload) == 0 && side->power.configured) {
        side->saved_cpct = (uint16_t)(payload[0] | payload[1] << 8);
        soc_restore(&side->power.soc, side->saved_cpct);
    }
}

void power_side_boot(struct board *b) {
    restore_config(b);
    restore_curve(b);
    restore_tiers(b);
    restore_shed_channels(b);
    restore_charge(b);
}

int power_side_is_kept(struct board *b) {
    const struct power_board *power = &b->as.power.power;
    uint8_t now[BUS_MAX_PAYLOAD], kept[BUS_MAX_PAYLOAD];
    size_t n = encode_config(&power->config, now);
    return !power->configured || (board_load(b, BOARD_BLOCK_CONFIG, kept) == 0 && memcmp(now, kept, n) == 0);
}

void power_nvm_save_charge(struct board *b) {
    struct power_side *side = &b->as.power;
    uint16_t now_cpct = soc_stored(&side->power.soc);
    int change = now_cpct > side->saved_cpct ? now_cpct - side->saved_cpct : side->saved_cpct - now_cpct;
    uint8_t payload[2];
    if (side->power.soc.trust == SOC_UNKNOWN || change < SAVE_CPCT) {
        return;
    }
    bytes_u16(payload, now_cpct);
    (void)board_store(b, BOARD_BLOCK_SOC, payload);
    side->saved_cpct = now_cpct;
}

/* A command as it came, but for its session and sequence. */
void power_nvm_save_command(struct board *b, enum board_block block, const struct bus_frame *f) {
    uint8_t payload[BUS_MAX_PAYLOAD] = {0};
    memcpy(payload + COMMAND_HEAD, f->payload + COMMAND_HEAD, f->header.length - COMMAND_HEAD);
    (void)board_store(b, block, payload);
}

void power_nvm_save_shed_channels(struct board *b) {
    const struct channels *c = &b->as.power.power.channels;
    uint8_t tiers[POWER_BOARD_MAX_CHANNELS];
    for (unsigned i = 0; i < POWER_BOARD_MAX_CHANNELS; ++i) {
        tiers[i] = i < c->count ? c->list[i].tier : 1;
    }
    (void)board_store(b, BOARD_BLOCK_SHED_CHANNELS, tiers);
}

void power_nvm_keep_config(struct board *b, const struct bus_power_config *before) {
    uint8_t now[BUS_MAX_PAYLOAD], was[BUS_MAX_PAYLOAD];
    size_t n = encode_config(&b->as.power.power.config, now);
    if (before != NULL) {
        (void)encode_config(before, was);
    }
    if (before == NULL || memcmp(now, was, n) != 0) {
        (void)board_store(b, BOARD_BLOCK_CONFIG, now);
    }
}
