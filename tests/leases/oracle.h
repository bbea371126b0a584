/* Judges what flight sends against what is true: it sees every frame that is sent, knows whether and when it arrives,
 * and knows the caps in force on the boards and the supply.
 *
 * Three things are violations:
 *  1. a grant above: a lease, or an order to boot, that lifts what may come to be in force above the guarantee of now
 *     and of as long ago as flight may use telemetry. In force may come: the cap on the board, what is in the air and
 *     will be taken when it arrives, and what this flight sent and was lost, for all that it can know;
 *  2. a node that stays above: the sum is above the guarantee, and a node that hears and is heard is kept above its
 *     floor, for more than a second;
 *  3. a cap that outlives: the sum is above the guarantee, and anything is above its floor, for longer than a lease
 *     lives, whatever the lines and boards do and whether or not flight runs. */
#ifndef LEASES_ORACLE_H
#define LEASES_ORACLE_H

#include "leases/boards.h"

#define ORACLE_LEASES 32
#define ORACLE_RECENT 16

struct sent {
    uint32_t session, seq, cap_mw;
    uint64_t expiry_us, last_due; /* tick of its last copy; 0: lost */
};

struct watched {
    struct sent leases[ORACLE_LEASES]; /* last ones sent, oldest overwritten */
    uint32_t count;
    struct sent newest; /* that the board has taken */
    struct sent boot; /* the last order to boot, expiry 0: taken, or called off */
    uint64_t stayed_us; /* above its floor, while it hears and the sum is above the guarantee */
};

struct oracle {
    struct watched nodes[NODES_MAX];
    int64_t guaranteed_mw[ORACLE_RECENT]; /* by tick */
    uint64_t above_us;                    /* the sum is above the guarantee, and not all are at their floors, since */
};

/* After the boards have stepped and before flight does. */
void oracle_begin(struct oracle *o, const struct fly *f);
/* A frame that flight sends to a node (index), and the tick in which its last copy arrives. */
void oracle_sent(struct oracle *o, struct fly *f, uint16_t index, const struct bus_frame *frame, uint64_t last_due);
/* What may be in force of a node: soon, when everything arrives that is in the air. A late lease that only a reset has
 * let in again, after a newer one, is left out: nobody can foresee it. */
int64_t oracle_stake_mw(const struct oracle *o, const struct fly *f, uint16_t index);
/* After flight's step. before_mw: stakes of the nodes when it began; ttl_us: the longest life of its leases;
 * c: NULL while flight is down. */
void oracle_end(struct oracle *o, struct fly *f, const int64_t before_mw[], uint64_t ttl_us, const struct ctl *c);

#endif
