/* A new image over the bus: into the slot that is not running, chunk by chunk, checked whole, then tried once.
 *
 *     empty --begin--> erasing --> receiving --end--> new --boot--> trial --confirm--> confirmed --> previous
 *       ^                 |            |               |              |                 (when the other one is
 * confirmed)
 *       +-----------------+---abort----+---------------+              +--boot--> rejected
 *
 * States are kept in records (csrc/boards/slots.h), and how far a transfer is shows in the slot itself, so that a
 * transfer goes on after any interruption. Boot decisions are the boot loader's (csrc/firmware/boot.h).
 *
 * Trusted: the functions of `struct flash`, and that `running` is the slot that runs. Not trusted: what arrives. Then:
 *  1. the slot that runs is never erased or programmed;
 *  2. while the running image is not confirmed, the other slot is left alone too: it may be needed to go back to;
 *  3. an image becomes `new` only when all of it is there, with the CRC, size, version, kind and address announced;
 *  4. a byte that is there already is never changed by a later chunk. */
#ifndef DAWNLINE_BOARDS_UPDATE_H
#define DAWNLINE_BOARDS_UPDATE_H

#include "boards/slots.h"
#include "bus/bus_icd.h"

struct update {
    const struct slots *slots; /* NULL: this board takes no images */
    struct slots_log log;
    uint32_t offset; /* all bytes of the transfer before it are there */
    uint8_t kind;
    uint8_t reason; /* BUS_UPDATE_REASON_* of the last command */
    uint8_t erase_due;
};

/* slots: NULL, or what lives as long as u. kind: BUS_BOARD_KIND_* of this board. */
void update_init(struct update *u, const struct slots *slots, uint8_t kind);

/* The commands. Each returns the BUS_ACK_CODE_* of its answer: OK, REFUSED (`reason` says why) or NOT_SUPPORTED. */
uint8_t update_begin(struct update *u, const struct bus_update_begin *m);
uint8_t update_data(struct update *u, const struct bus_update_data *m);
uint8_t update_end(struct update *u, const struct bus_update_end *m);
uint8_t update_confirm(struct update *u, const struct bus_update_confirm *m);
uint8_t update_abort(struct update *u);

/* When update_begin has set erase_due: erases the slot, which may take seconds; busy, n: as `struct flash` says. */
void update_erase(struct update *u, const uint8_t *busy, size_t n);

void update_report(const struct update *u, struct bus_update_status *out);

/* 1 while the running image waits to be confirmed. */
int update_on_trial(const struct update *u);

#endif
