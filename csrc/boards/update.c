#include "boards/update.h"

#include <string.h>

#include "boards/bytes.h"
#include "boards/clamp.h"

#define WORD 4u
#define CHUNK 64u

static unsigned target_of(const struct update *u) {
    return u->slots->running == SLOT_A ? SLOT_B : SLOT_A;
}

static uint8_t state_of(const struct update *u, unsigned slot) {
    return u->log.now.state[slot];
}

static int is_supported(const struct update *u) {
    return u->slots != NULL && u->slots->running <= SLOT_B;
}

static uint8_t refuse(struct update *u, uint8_t reason) {
    u->reason = reason;
    return BUS_ACK_CODE_REFUSED;
}

static uint8_t accept(struct update *u) {
    u->reason = BUS_UPDATE_REASON_NONE;
    return BUS_ACK_CODE_OK;
}

/* Keeps the next state of a slot; the transfer stays as it is. 0, or -1 when the memory did not take it. */
static int keep_state(struct update *u, unsigned slot, uint8_t state) {
    struct slots_record next = u->log.now;
    next.state[slot] = state;
    return slots_store(&u->log, u->slots, &next);
}

/* ---- how far a transfer is */

/* Where the last word begins that is not erased: the power may have failed in it. */
static uint32_t find_offset(const struct slots *slots, unsigned slot, uint32_t size) {
    uint8_t bytes[CHUNK];
    uint32_t offset = 0;
    for (uint32_t at = 0; at < size; at += CHUNK) {
        uint32_t n = clamp_min_u32(CHUNK, size - at);
        if (slots->flash.read(slots->flash.ctx, slot, at, bytes, n) != 0) {
            return offset;
        }
        for (uint32_t i = 0; i < n; ++i) {
            offset = bytes[i] != 0xFF ? (at + i) / WORD * WORD : offset;
        }
    }
    return offset;
}

void update_init(struct update *u, const struct slots *slots, uint8_t kind) {
    memset(u, 0, sizeof *u);
    u->slots = slots;
    u->kind = kind;
    if (!is_supported(u)) {
        return;
    }
    slots_load(&u->log, slots);
    unsigned target = target_of(u);
    switch (state_of(u, target)) {
    case BUS_SLOT_STATE_RECEIVING:
        u->offset = find_offset(slots, target, clamp_min_u32(u->log.now.size, slots->slot_bytes));
        break;
    case BUS_SLOT_STATE_NEW:
        u->offset = u->log.now.size;
        break;
    default:
        break;
    }
}

/* ---- begin */

static int is_same(const struct slots_record *now, const struct bus_update_begin *m) {
    return now->size == m->size && now->image_crc == m->image_crc && now->version == m->version;
}

/* The image that is announced is there already, whole: from an earlier try. */
static int is_there(const struct update *u, const struct bus_update_begin *m) {
    struct slot_image image;
    return slot_check(u->slots, target_of(u), u->kind, &image) == BUS_UPDATE_REASON_NONE && image.length == m->size &&
           image.crc == m->image_crc && image.version == m->version;
}

static uint8_t begin_anew(struct update *u, const struct bus_update_begin *m) {
    unsigned target = target_of(u);
    int there = is_there(u, m);
    struct slots_record next = u->log.now;
    next.state[target] = there ? BUS_SLOT_STATE_RECEIVING : BUS_SLOT_STATE_ERASING;
    next.size = m->size;
    next.image_crc = m->image_crc;
    next.version = m->version;
    if (slots_store(&u->log, u->slots, &next) != 0) {
        return refuse(u, BUS_UPDATE_REASON_STORAGE);
    }
    u->offset = there ? m->size : 0;
    u->erase_due = (uint8_t)!there;
    return accept(u);
}

uint8_t update_begin(struct update *u, const struct bus_update_begin *m) {
    if (!is_supported(u)) {
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
    if (m->kind != u->kind) {
        return refuse(u, BUS_UPDATE_REASON_OTHER_KIND);
    }
    if (m->size < SLOT_HEADER_OFFSET + SLOT_HEADER_BYTES || m->size > u->slots->slot_bytes) {
        return refuse(u, BUS_UPDATE_REASON_BAD_SIZE);
    }
    if (state_of(u, u->slots->running) != BUS_SLOT_STATE_CONFIRMED) {
        return refuse(u, BUS_UPDATE_REASON_NOT_CONFIRMED);
    }
    uint8_t state = state_of(u, target_of(u));
    int goes_on = state == BUS_SLOT_STATE_ERASING || state == BUS_SLOT_STATE_RECEIVING || state == BUS_SLOT_STATE_NEW;
    if (!goes_on || !is_same(&u->log.now, m)) {
        return begin_anew(u, m);
    }
    u->erase_due = state == BUS_SLOT_STATE_ERASING;
    return accept(u);
}

void update_erase(struct update *u, const uint8_t *busy, size_t n) {
    const struct flash *flash = &u->slots->flash;
    u->erase_due = 0;
    if (flash->erase(flash->ctx, target_of(u), busy, n) != 0 ||
        keep_state(u, target_of(u), BUS_SLOT_STATE_RECEIVING) != 0) {
        u->reason = BUS_UPDATE_REASON_STORAGE;
    }
}

/* ---- data, end */

/* Programs what is not there yet. What does not stick spoils the slot: the transfer has to begin anew. */
static uint8_t take_bytes(struct update *u, const struct bus_update_data *m) {
    uint32_t known = clamp_min_u32(m->count, u->offset - m->offset), fresh = m->count - known;
    const struct flash *flash = &u->slots->flash;
    if (!flash_is_equal(flash, target_of(u), m->offset, m->bytes, known)) {
        return refuse(u, BUS_UPDATE_REASON_DIFFERS);
    }
    if (flash_put(flash, target_of(u), u->offset, m->bytes + known, fresh) != 0) {
        (void)keep_state(u, target_of(u), BUS_SLOT_STATE_EMPTY);
        return refuse(u, BUS_UPDATE_REASON_STORAGE);
    }
    u->offset += fresh;
    return accept(u);
}

uint8_t update_data(struct update *u, const struct bus_update_data *m) {
    if (!is_supported(u)) {
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
    const struct slots_record *now = &u->log.now;
    if (state_of(u, target_of(u)) != BUS_SLOT_STATE_RECEIVING) {
        return refuse(u, BUS_UPDATE_REASON_NO_TRANSFER);
    }
    if (m->image_crc != now->image_crc) {
        return refuse(u, BUS_UPDATE_REASON_OTHER_IMAGE);
    }
    if (m->offset > now->size || m->count > now->size - m->offset) {
        return refuse(u, BUS_UPDATE_REASON_BEYOND_SIZE);
    }
    return m->offset > u->offset ? refuse(u, BUS_UPDATE_REASON_GAP) : take_bytes(u, m);
}

static uint8_t check_whole(const struct update *u) {
    const struct slots_record *now = &u->log.now;
    struct slot_image image;
    uint8_t reason = slot_check(u->slots, target_of(u), u->kind, &image);
    int announced = image.length == now->size && image.crc == now->image_crc && image.version == now->version;
    return reason == BUS_UPDATE_REASON_NONE && !announced ? BUS_UPDATE_REASON_BAD_HEADER : reason;
}

uint8_t update_end(struct update *u, const struct bus_update_end *m) {
    if (!is_supported(u)) {
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
    unsigned target = target_of(u);
    uint8_t state = state_of(u, target);
    if (state != BUS_SLOT_STATE_RECEIVING && state != BUS_SLOT_STATE_NEW) {
        return refuse(u, BUS_UPDATE_REASON_NO_TRANSFER);
    }
    if (m->image_crc != u->log.now.image_crc) {
        return refuse(u, BUS_UPDATE_REASON_OTHER_IMAGE);
    }
    if (u->offset < u->log.now.size) {
        return refuse(u, BUS_UPDATE_REASON_INCOMPLETE);
    }
    uint8_t reason = check_whole(u);
    if (reason != BUS_UPDATE_REASON_NONE) {
        (void)keep_state(u, target, BUS_SLOT_STATE_EMPTY);
        return refuse(u, reason);
    }
    int kept = state == BUS_SLOT_STATE_NEW || keep_state(u, target, BUS_SLOT_STATE_NEW) == 0;
    return kept ? accept(u) : refuse(u, BUS_UPDATE_REASON_STORAGE);
}

/* ---- confirm, abort */

uint8_t update_confirm(struct update *u, const struct bus_update_confirm *m) {
    struct slot_image image;
    if (!is_supported(u)) {
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
    unsigned running = u->slots->running, other = target_of(u);
    if (slot_header(u->slots, running, &image) != 0 || image.crc != m->image_crc) {
        return refuse(u, BUS_UPDATE_REASON_NOT_RUNNING);
    }
    if (state_of(u, running) == BUS_SLOT_STATE_CONFIRMED) {
        return accept(u);
    }
    struct slots_record next = u->log.now;
    next.state[running] = BUS_SLOT_STATE_CONFIRMED;
    if (next.state[other] == BUS_SLOT_STATE_CONFIRMED) {
        next.state[other] = BUS_SLOT_STATE_PREVIOUS;
    }
    return slots_store(&u->log, u->slots, &next) == 0 ? accept(u) : refuse(u, BUS_UPDATE_REASON_STORAGE);
}

uint8_t update_abort(struct update *u) {
    if (!is_supported(u)) {
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
    uint8_t state = state_of(u, target_of(u));
    int goes_on = state == BUS_SLOT_STATE_ERASING || state == BUS_SLOT_STATE_RECEIVING || state == BUS_SLOT_STATE_NEW;
    u->erase_due = 0;
    return !goes_on || keep_state(u, target_of(u), BUS_SLOT_STATE_EMPTY) == 0 ? accept(u)
                                                                              : refuse(u, BUS_UPDATE_REASON_STORAGE);
}

/* ---- report */

static void report_slot(const struct update *u, unsigned slot, uint32_t *crc, uint32_t *version) {
    struct slot_image image;
    if (slot_header(u->slots, slot, &image) == 0) {
        *crc = image.crc;
        *version = image.version;
    }
}

void update_report(const struct update *u, struct bus_update_status *out) {
    *out = (struct bus_update_status){.running = BUS_IMAGE_SLOT_NONE};
    if (!is_supported(u)) {
        return;
    }
    unsigned target = target_of(u);
    out->running = u->slots->running;
    out->state_a = state_of(u, SLOT_A);
    out->state_b = state_of(u, SLOT_B);
    out->reason = u->reason;
    out->base = u->slots->base[target];
    out->slot_bytes = u->slots->slot_bytes;
    report_slot(u, SLOT_A, &out->crc_a, &out->version_a);
    report_slot(u, SLOT_B, &out->crc_b, &out->version_b);
    switch (state_of(u, target)) {
    case BUS_SLOT_STATE_ERASING:
    case BUS_SLOT_STATE_RECEIVING:
    case BUS_SLOT_STATE_NEW:
        out->offset = u->offset;
        out->size = u->log.now.size;
        out->image_crc = u->log.now.image_crc;
        break;
    default:
        break;
    }
}

int update_on_trial(const struct update *u) {
    return is_supported(u) && state_of(u, u->slots->running) == BUS_SLOT_STATE_TRIAL;
}
