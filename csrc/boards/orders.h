/* What only orders change: who a board is, how it is configured, its lease. Each has a sum of its own in the state,
 * made anew by whoever executes such an order and by nobody else; what no longer fits its sum was damaged. */
#ifndef DAWNLINE_BOARDS_ORDERS_H
#define DAWNLINE_BOARDS_ORDERS_H

#include <stddef.h>
#include <stdint.h>

struct board;

enum board_order {
    ORDER_IDENTITY = 0, /* nothing changes it but a boot */
    ORDER_ROLE = 1,
    ORDER_CONFIG = 2,
    ORDER_LEASE = 3, /* of a node */
    ORDER_CURVE = 3, /* of the power board, as what follows */
    ORDER_TIERS = 4,
    ORDER_CHANNEL_TIERS = 5,
    BOARD_ORDERS = 6,
};

/* An order was executed: sums what it sets. */
void board_ordered(struct board *b, enum board_order order);

/* What stands there, looked at behind its sum, is not what was ordered: from here on it does not fit. */
void board_order_doubted(struct board *b, enum board_order order);

/* Sums everything, at boot. */
void board_orders_begin(struct board *b);

/* 1 when all of an order's state fits its sum. */
int board_order_fits(const struct board *b, unsigned order);

/* A part of the state. */
struct board_range {
    uint16_t at, size;
};

/* The k-th part that an order sets; size 0: there is none. */
struct board_range board_order_part(const struct board *b, unsigned order, unsigned k);

#endif
