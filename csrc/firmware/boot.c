#include "firmware/boot.h"

#include <string.h>

struct candidate {
    uint8_t whole;
    uint32_t version;
};

/* What starting a slot without a trial is worth; 0: it cannot start. */
static unsigned rank(const struct candidate *c, uint8_t state) {
    if (!c->whole) {
        return 0;
    }
    switch (state) {
    case BUS_SLOT_STATE_CONFIRMED:
        return 4;
    case BUS_SLOT_STATE_PREVIOUS:
        return 3;
    case BUS_SLOT_STATE_REJECTED:
        return 1;
    default:
        return 2;
    }
}

static uint8_t best(const struct candidate c[2], const struct slots_record *r) {
    unsigned a = rank(&c[SLOT_A], r->state[SLOT_A]), b = rank(&c[SLOT_B], r->state[SLOT_B]);
    if (a == 0 && b == 0) {
        return BUS_IMAGE_SLOT_NONE;
    }
    return b > a || (b == a && c[SLOT_B].version > c[SLOT_A].version) ? SLOT_B : SLOT_A;
}

/* Without a trial: an image that is the first of this board, or that takes the place of one that is gone, needs no
 * confirmation; one that was never confirmed stays what it is, until the host has heard it and confirms it. */
static void settle(struct slots_record *r, const struct candidate c[2], uint8_t slot, int is_first) {
    for (unsigned s = SLOT_A; s <= SLOT_B; ++s) {
        if (!c[s].whole && r->state[s] >= BUS_SLOT_STATE_CONFIRMED) {
            r->state[s] = BUS_SLOT_STATE_EMPTY;
        }
    }
    if (slot <= SLOT_B && (is_first || r->state[slot] == BUS_SLOT_STATE_PREVIOUS)) {
        r->state[slot] = BUS_SLOT_STATE_CONFIRMED;
    }
}

/* The slot whose image begins its trial now, when the record of that is kept. */
static int try_new(struct slots_log *log, const struct slots *slots, const struct candidate c[2]) {
    for (unsigned s = SLOT_A; s <= SLOT_B; ++s) {
        if (log->now.state[s] == BUS_SLOT_STATE_NEW && c[s].whole) {
            struct slots_record next = log->now;
            next.state[s] = BUS_SLOT_STATE_TRIAL;
            return slots_store(log, slots, &next) == 0 ? (int)s : -1;
        }
    }
    return -1;
}

struct boot_choice boot_choose(const struct slots *slots, uint8_t kind) {
    struct candidate c[2];
    struct slots_log log;
    slots_load(&log, slots);
    for (unsigned s = SLOT_A; s <= SLOT_B; ++s) {
        struct slot_image image;
        c[s].whole = slot_check(slots, s, kind, &image) == BUS_UPDATE_REASON_NONE;
        c[s].version = image.version;
    }
    struct slots_record next = log.now;
    int is_first = log.sequence == 0;
    for (unsigned s = SLOT_A; s <= SLOT_B; ++s) {
        uint8_t *state = &next.state[s];
        if (*state == BUS_SLOT_STATE_TRIAL) {
            *state = BUS_SLOT_STATE_REJECTED; /* it had its one start */
        } else if (*state == BUS_SLOT_STATE_NEW && !c[s].whole) {
            *state = BUS_SLOT_STATE_EMPTY;
        }
    }
    int tried = try_new(&log, slots, c);
    if (tried >= 0) {
        return (struct boot_choice){(uint8_t)tried, 1};
    }
    uint8_t slot = best(c, &next);
    settle(&next, c, slot, is_first);
    if (memcmp(next.state, log.now.state, sizeof next.state) != 0) {
        (void)slots_store(&log, slots, &next);
    }
    return (struct boot_choice){slot, 0};
}
