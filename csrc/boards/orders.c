#include "boards/orders.h"

#include "boards/board_state.h"

#define MEMBER(name) {offsetof(struct board, name), sizeof(((struct board *)0)->name)}
#define NODE(name) MEMBER(as.node.node.name)
#define POWER(name) MEMBER(as.power.power.name)
#define PARTS 9

#define OF_BOTH                                                                                                        \
    [ORDER_IDENTITY] = {MEMBER(id.kind),      MEMBER(id.hardware_id),  MEMBER(id.firmware_hash),                       \
                        MEMBER(id.image_crc), MEMBER(id.capabilities), MEMBER(link.port),                              \
                        MEMBER(update.slots), MEMBER(boot_count),      MEMBER(assignable)},                            \
    [ORDER_ROLE] = {MEMBER(id.role), MEMBER(link.role)}

typedef struct board_range parts[PARTS];

static const parts OF_NODE[BOARD_ORDERS] = {
    OF_BOTH,
    [ORDER_CONFIG] = {NODE(config), NODE(configured)},
    [ORDER_LEASE] = {NODE(lease.session), NODE(lease.sequence), NODE(lease.cap_mw), NODE(lease.clock_mhz),
                     NODE(lease.expiry_us)},
};
static const parts OF_POWER[BOARD_ORDERS] = {
    OF_BOTH,
    [ORDER_CONFIG] = {POWER(config), POWER(configured), POWER(channels.count), POWER(strings.count)},
    [ORDER_CURVE] = {POWER(soc.ocv_mv), POWER(soc.has_curve)},
    [ORDER_TIERS] = {POWER(shed.tiers), POWER(shed.count)},
};

struct board_range board_order_part(const struct board *b, unsigned order, unsigned k) {
    const struct board_range none = {0, 0};
    if (board_is_node(b)) {
        return k < PARTS ? OF_NODE[order][k] : none;
    }
    if (order != ORDER_CHANNEL_TIERS) {
        return k < PARTS ? OF_POWER[order][k] : none;
    }
    unsigned channels = b->as.power.power.channels.count;
    const struct board_range tier = {(uint16_t)(offsetof(struct board, as.power.power.channels.list) +
                                                k * sizeof(struct lcl) + offsetof(struct lcl, tier)),
                                     sizeof b->as.power.power.channels.list[0].tier};
    return k < channels && k < POWER_BOARD_MAX_CHANNELS ? tier : none;
}

/* Any one changed byte changes it. */
static uint32_t sum_of(const struct board *b, unsigned order) {
    uint32_t sum = ~order;
    struct board_range part = board_order_part(b, order, 0);
    for (unsigned k = 0; part.size > 0; part = board_order_part(b, order, ++k)) {
        for (size_t at = part.at; at < (size_t)part.at + part.size; ++at) {
            sum = (sum << 1 | sum >> 31) + ((const uint8_t *)b)[at];
        }
    }
    return sum;
}

void board_ordered(struct board *b, enum board_order order) {
    b->orders[order] = sum_of(b, order);
}

void board_order_doubted(struct board *b, enum board_order order) {
    b->orders[order] = ~sum_of(b, order);
}

void board_orders_begin(struct board *b) {
    for (unsigned order = 0; order < BOARD_ORDERS; ++order) {
        b->orders[order] = sum_of(b, order);
    }
}

int board_order_fits(const struct board *b, unsigned order) {
    return sum_of(b, order) == b->orders[order];
}
