/* The boards of the lease test: nodes are the code that flies (csrc/boards) on accelerators that do as they like; the
 * power board is written from the ICD, and tells what a random supply does. */
#ifndef LEASES_BOARDS_H
#define LEASES_BOARDS_H

#include "boards/board_state.h"
#include "bus/receiver.h"
#include "control/control.h"
#include "leases/air.h"

#define BUS_MV 90000u
#define LAST_TICKS 80 /* at most, of the four seconds in which power that was measured counts */

struct fly;

struct node {
    struct fly *fly;
    struct board *board;
    uint16_t index;
    uint8_t nvm[BOARD_NVM_BYTES];
    struct air down, up;
    struct bus_done_node done; /* what its controller last told its accelerator */
    uint8_t accel;             /* BUS_NODE_STATE_* */
    uint8_t channel;           /* its power */
    uint8_t ordered;           /* its last boot was from off, not a restart by itself */
    uint8_t dead, hangs, stopped; /* the board is off; its controller hangs; its accelerator hangs */
    uint64_t until;            /* tick: end of dead or hangs */
    uint64_t hot_until, over_until;
    uint64_t trouble;          /* tick: last one in which the board did not work */
    uint64_t boot_left_us;
    uint32_t appetite_mw, idle_mw, drawn_mw, work_mu;
    uint16_t beat;
};

struct supply {
    int64_t array_mw, aim_mw; /* at the terminals: what the array can give, and what it is going to */
    int64_t step_mw;          /* by so much in a tick */
    int64_t told_mw;          /* as last measured */
    int64_t last_mw[LAST_TICKS];
    int64_t charge_mw, hotel_mw;
    uint16_t soc_cpct;
    uint8_t strings, told_strings, mode, at_peak; /* at_peak: all that the array can give was asked for and measured */
    uint64_t charged_until, strings_at, sweep_until, stuck_until;
};

struct power {
    struct air down, up;
    struct bus_receiver receiver;
    uint32_t boot_count, session, command_seq;
    uint16_t seq;
    uint64_t silent_until; /* tick: it neither hears nor speaks before */
};

struct fly {
    const struct scenario *scenario;
    struct tally *tally;
    uint64_t random, tick, t_us;
    struct ctl_config config;
    struct node nodes[NODES_MAX];
    struct power power;
    struct supply supply;
};

void nodes_init(struct fly *f);
/* Faults of boards begin and end; frames arrive; boards step, and send. */
void nodes_tick(struct fly *f);
/* The cap that counts of a node: its own, at least its boot power while it boots because it was told to; 0 while it is
 * off. A controller that hangs cannot let its lease expire: that its watchdog does so late, nobody can foresee. */
uint32_t node_cap_mw(const struct node *n, uint32_t boot_mw);

void power_init(struct fly *f);
void power_tick(struct fly *f);

void supply_init(struct fly *f);
void supply_tick(struct fly *f);
/* What leases may count on (design.md, section 7): array power less a string, and the battery's, less the hotel. While
 * the tracker sweeps, or less is asked of the array than it has, nobody can see the array fall: then what it gave in
 * the last four seconds counts too. Strings are those that the power board has told, and a charge counts for three seconds
 * after it went below the floor (it moves slowly). */
int64_t supply_guaranteed_mw(const struct fly *f);

#endif
