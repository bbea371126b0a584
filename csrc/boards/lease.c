#include "boards/lease.h"

enum lease_result lease_take(struct lease *l, uint64_t t_us, uint32_t oldest_session, const struct bus_lease *m) {
    if (m->session == 0 || m->session < l->session || m->session < oldest_session) {
        return LEASE_REJECTED;
    }
    if (m->session == l->session && m->lease_seq == l->sequence) {
        return LEASE_REPEATED;
    }
    if (m->session == l->session && m->lease_seq < l->sequence) {
        return LEASE_REJECTED;
    }
    if (m->expiry_us <= t_us) {
        return LEASE_REJECTED;
    }
    l->session = m->session;
    l->sequence = m->lease_seq;
    l->cap_mw = m->cap_mw;
    l->clock_mhz = m->clock_mhz;
    l->expiry_us = m->expiry_us;
    l->in_force = 1;
    return LEASE_TAKEN;
}

int lease_expire(struct lease *l, uint64_t t_us) {
    if (!l->in_force || t_us < l->expiry_us) {
        return 0;
    }
    l->in_force = 0;
    return 1;
}
