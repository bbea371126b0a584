/* The lease: a power cap that expires by itself (design.md, section 7). */
#ifndef DAWNLINE_BOARDS_LEASE_H
#define DAWNLINE_BOARDS_LEASE_H

#include <stdint.h>

#include "bus/bus_icd.h"

struct lease {
    uint32_t session, sequence; /* of the last lease taken; session 0: none */
    uint32_t cap_mw;
    uint16_t clock_mhz; /* 0: free */
    uint8_t in_force;
    uint64_t expiry_us;
};

enum lease_result {
    LEASE_TAKEN = 0,
    LEASE_REPEATED = 1, /* the last one taken again: changes nothing, is not counted */
    LEASE_REJECTED = 2, /* older session, older sequence, or already expired */
};

/* Takes a lease at board time t_us. oldest_session: sessions below it are old even when no lease of a newer one came.
 */
enum lease_result lease_take(struct lease *l, uint64_t t_us, uint32_t oldest_session, const struct bus_lease *m);

/* 1 when the lease runs out at t_us (once), else 0. */
int lease_expire(struct lease *l, uint64_t t_us);

#endif
