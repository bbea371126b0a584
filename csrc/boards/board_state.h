/* The state of a board, and what its parts share. For whoever owns the memory statically (firmware) and for the
 * board's own files; everyone else takes board.h. */
#ifndef DAWNLINE_BOARDS_BOARD_STATE_H
#define DAWNLINE_BOARDS_BOARD_STATE_H

#include "boards/board.h"
#include "boards/command_log.h"
#include "boards/compute_node.h"
#include "boards/link.h"
#include "boards/nvm.h"
#include "boards/orders.h"
#include "boards/power_board.h"
#include "boards/update.h"

#define BOARD_REPORT_US 10000000u /* between two link reports, and two node_health */
#define BOARD_NODE_TLM_US 200000u
#define BOARD_PAGES_US 1000000u /* in which every page of channels is reported once */
#define BOARD_MAX_DT_US 10000000u

/* Blocks of persistent memory (ids are also the argument of board_nvm_repaired). */
enum board_block {
    BOARD_BLOCK_BOOT = 1, /* boot count u32, session u32 and sequence u32 of the last commanded reset */
    BOARD_BLOCK_CONFIG = 2,
    BOARD_BLOCK_CURVE = 3,
    BOARD_BLOCK_TIERS = 4,
    BOARD_BLOCK_SHED_CHANNELS = 5,
    BOARD_BLOCK_SOC = 6, /* charge u16 in 0.01 % of the capacity at 25 degC */
    BOARD_BLOCK_JOB = 7,
    BOARD_BLOCK_ROLE = 8, /* address u16 that was assigned */
    BOARD_BLOCKS = 9,
};

/* What a repeated TICK is answered with. */
struct done_cache {
    uint8_t type, length;
    uint16_t seq;   /* of the first frame of the answer */
    uint64_t pages; /* pages of settings that stand before DONE */
    uint8_t payload[BUS_DONE_POWER_BYTES];
};

/* Pages of sensors that arrived for the tick at t_us. */
struct page_set {
    uint64_t t_us;
    uint64_t channels;
    uint8_t strings; /* 1: a page of strings as well */
};

/* What a node's controller is beside its step. */
struct node_side {
    struct compute_node node;
    struct bus_node_tlm last; /* sent */
    uint64_t next_tlm_us, next_health_us;
};

/* What the power board is beside its step. */
struct power_side {
    struct page_set pages;
    uint64_t next_page_us;
    uint16_t next_page;
    uint16_t saved_cpct;      /* state of charge in persistent memory */
    uint32_t channels_crc;    /* of the serialised channels; recomputed when one of them changed */
    struct power_board power; /* last: its list of channels is the large part */
};

struct board {
    struct bus_receiver receiver; /* first: the guard leaves it to the CRC of the frames */
    struct board_identity id;
    struct link link;
    struct command_log commands;
    struct nvm_block blocks[BOARD_BLOCKS];
    struct done_cache done;
    struct update update;
    uint32_t orders[BOARD_ORDERS]; /* sums of what each sets */
    uint32_t boot_count;
    uint16_t commands_rejected;
    uint8_t reset_cause, reset_due, reset_pending;
    uint8_t has_ticked, rearmed; /* rearmed: the next TICK may come at any time */
    uint8_t assignable;          /* its address is that of persistent memory */
    uint8_t clock_is_new;        /* the last TICK did not follow the one before it: schedules start anew */
    uint64_t t_us;               /* of the last TICK taken */
    uint64_t heard_us;           /* time in the last frame of flight */
    uint64_t next_report_us;
    union {
        struct node_side node;
        struct power_side power;
    } as; /* last: a node is allocated without the rest of the union */
};

/* Which of the two kinds a board is. Firmware is of one kind and defines BOARD_KIND: the other kind's code falls away.
 */
static inline int board_is_node(const struct board *b) {
#ifdef BOARD_KIND
    (void)b;
    return BOARD_KIND == BUS_BOARD_KIND_COMPUTE_NODE;
#else
    return b->id.kind == BUS_BOARD_KIND_COMPUTE_NODE;
#endif
}

/* ---- board_nvm.c */

/* Loads a block of board_place's size into payload; a repaired or lost one becomes an event. 0, or -1 without one. */
int board_load(struct board *b, enum board_block block, uint8_t *payload);

/* Stores a block. 0, or -1 when the memory refused. */
int board_store(struct board *b, enum board_block block, const uint8_t *payload);

/* ---- board.c */

/* Sends a message to flight, at the board's time. */
void board_tell(struct board *b, uint8_t type, const uint8_t *payload, size_t n);

/* Where events are raised. */
struct events *board_events(struct board *b);

/* Sends the events that were raised, and forgets them. */
void board_tell_events(struct board *b, struct events *events);

/* 1 when a TICK of dt_us at f's time is to be stepped: the board's time is then that of the TICK. 0 when it was
 * answered from the cache, or refused. */
int board_accepts_tick(struct board *b, const struct bus_frame *f, uint32_t dt_us);

/* Begins a step of a board that flies, which ends at t_us. 0, or -1 when it does not follow. */
int board_begin_step(struct board *b, uint64_t t_us, uint32_t dt_us);

/* Sends a link report when one is due. */
void board_tell_link(struct board *b);

/* ---- node_side.c, power_side.c, power_nvm.c: boot from persistent memory; a command (an ACK code); any other frame (0
 * when it is not one for this kind); settings before a DONE that is sent again (returns how many frames). */
void node_side_boot(struct board *b);
int node_side_is_kept(struct board *b); /* 0: the configuration is not that of persistent memory */
uint8_t node_side_command(struct board *b, const struct bus_frame *f);
int node_side_frame(struct board *b, const struct bus_frame *f);
void power_side_boot(struct board *b);
int power_side_is_kept(struct board *b);
uint8_t power_side_command(struct board *b, const struct bus_frame *f);
int power_side_frame(struct board *b, const struct bus_frame *f);
unsigned power_side_pages_again(struct board *b);

/* ---- update_side.c: 1 for commands of the update; such a command (an ACK code); what follows its ACK. */
int update_side_takes(uint8_t type);
uint8_t update_side_command(struct board *b, const struct bus_frame *f);
void update_side_answer(struct board *b, uint16_t dst);

#endif
