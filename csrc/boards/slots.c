#include "boards/slots.h"

#include <string.h>

#include "boards/bytes.h"
#include "bus/crc32c.h"

#define CRC_AT (SLOTS_RECORD_BYTES - 4u)
#define CHUNK 64u
#define HEADER_CRC_AT (SLOT_HEADER_OFFSET + 8u)

/* ---- records */

static void encode(const struct slots_record *r, uint32_t sequence, uint8_t out[static SLOTS_RECORD_BYTES]) {
    memset(out, 0xFF, SLOTS_RECORD_BYTES);
    uint8_t *p = bytes_u8(bytes_u8(bytes_u32(out, sequence), r->state[0]), r->state[1]);
    bytes_u32(bytes_u32(bytes_u32(p + 2, r->size), r->image_crc), r->version);
    bytes_u32(out + CRC_AT, bus_crc32c(0, out, CRC_AT));
}

/* The sequence of a valid record, 0 for anything else. */
static uint32_t decode(const uint8_t in[static SLOTS_RECORD_BYTES], struct slots_record *r) {
    uint8_t greatest = BUS_SLOT_STATE_REJECTED;
    if (bus_crc32c(0, in, CRC_AT) != bytes_get_u32(in + CRC_AT) || in[4] > greatest || in[5] > greatest) {
        return 0;
    }
    *r = (struct slots_record){{in[4], in[5]}, bytes_get_u32(in + 8), bytes_get_u32(in + 12), bytes_get_u32(in + 16)};
    return bytes_get_u32(in);
}

static int is_blank(const uint8_t record[static SLOTS_RECORD_BYTES]) {
    for (unsigned i = 0; i < SLOTS_RECORD_BYTES; ++i) {
        if (record[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

/* Takes the newest record of an area into log; returns where its unused rest begins. */
static uint32_t scan(struct slots_log *log, const struct slots *slots, uint8_t area) {
    uint8_t bytes[SLOTS_RECORD_BYTES];
    struct slots_record record;
    uint32_t next = 0;
    for (uint32_t at = 0; at + sizeof bytes <= slots->log_bytes; at += sizeof bytes) {
        if (slots->flash.read(slots->flash.ctx, area, at, bytes, sizeof bytes) != 0) {
            next = at + SLOTS_RECORD_BYTES;
            continue;
        }
        uint32_t sequence = decode(bytes, &record);
        if (sequence > log->sequence) {
            log->sequence = sequence;
            log->now = record;
            log->area = area;
        }
        next = is_blank(bytes) ? next : at + SLOTS_RECORD_BYTES;
    }
    return next;
}

void slots_load(struct slots_log *log, const struct slots *slots) {
    memset(log, 0, sizeof *log);
    log->area = SLOT_LOG;
    uint32_t next[2] = {scan(log, slots, SLOT_LOG), scan(log, slots, SLOT_OTHER_LOG)};
    log->next = next[log->area - SLOT_LOG];
}

/* The other log, empty. */
static int change_area(struct slots_log *log, const struct slots *slots) {
    uint8_t other = log->area == SLOT_LOG ? SLOT_OTHER_LOG : SLOT_LOG;
    if (slots->flash.erase(slots->flash.ctx, other, NULL, 0) != 0) {
        return -1;
    }
    log->area = other;
    log->next = 0;
    return 0;
}

int slots_store(struct slots_log *log, const struct slots *slots, const struct slots_record *record) {
    uint8_t bytes[SLOTS_RECORD_BYTES];
    struct slots_log before = *log;
    encode(record, log->sequence + 1, bytes);
    for (unsigned changes = 0; changes < 2;) {
        if (log->next + sizeof bytes > slots->log_bytes) {
            /* Never the log that holds the record in force: at most one change. */
            if (++changes == 2 || change_area(log, slots) != 0) {
                break;
            }
        }
        uint32_t at = log->next;
        log->next += SLOTS_RECORD_BYTES;
        if (flash_put(&slots->flash, log->area, at, bytes, sizeof bytes) == 0) {
            ++log->sequence;
            log->now = *record;
            return 0;
        }
    }
    log->area = before.area;
    log->next = slots->log_bytes;
    return -1;
}

/* ---- images */

int slot_header(const struct slots *slots, unsigned slot, struct slot_image *out) {
    uint8_t h[SLOT_HEADER_BYTES];
    if (slots->flash.read(slots->flash.ctx, slot, SLOT_HEADER_OFFSET, h, sizeof h) != 0 ||
        bytes_get_u32(h) != SLOT_MAGIC) {
        return -1;
    }
    *out = (struct slot_image){bytes_get_u32(h + 4), bytes_get_u32(h + 8), bytes_get_u32(h + 12), h[24]};
    return 0;
}

/* CRC of the bytes of a slot from `at` to `end`. 0, or -1. */
static int crc_of(const struct slots *slots, unsigned slot, uint32_t at, uint32_t end, uint32_t *crc) {
    uint8_t bytes[CHUNK];
    while (at < end) {
        uint32_t n = end - at < CHUNK ? end - at : CHUNK;
        if (slots->flash.read(slots->flash.ctx, slot, at, bytes, n) != 0) {
            return -1;
        }
        *crc = bus_crc32c(*crc, bytes, n);
        at += n;
    }
    return 0;
}

/* Its reset handler lies in the slot: an image for the other one would jump there. */
static int starts_here(const struct slots *slots, unsigned slot, uint32_t length) {
    uint8_t word[4];
    if (slots->flash.read(slots->flash.ctx, slot, 4, word, sizeof word) != 0) {
        return 0;
    }
    uint32_t reset = bytes_get_u32(word), behind = (reset & ~1u) - slots->base[slot];
    return (reset & 1) && behind >= SLOT_HEADER_OFFSET && behind < length;
}

uint8_t slot_check(const struct slots *slots, unsigned slot, uint8_t kind, struct slot_image *out) {
    uint32_t crc = 0;
    memset(out, 0, sizeof *out);
    if (slot_header(slots, slot, out) != 0 || out->length < SLOT_HEADER_OFFSET + SLOT_HEADER_BYTES ||
        out->length > slots->slot_bytes) {
        return BUS_UPDATE_REASON_BAD_HEADER;
    }
    if (out->kind != kind) {
        return BUS_UPDATE_REASON_OTHER_KIND;
    }
    if (!starts_here(slots, slot, out->length)) {
        return BUS_UPDATE_REASON_OTHER_SLOT;
    }
    if (crc_of(slots, slot, 0, HEADER_CRC_AT, &crc) != 0 ||
        crc_of(slots, slot, HEADER_CRC_AT + 4, out->length, &crc) != 0) {
        return BUS_UPDATE_REASON_STORAGE;
    }
    return crc == out->crc ? BUS_UPDATE_REASON_NONE : BUS_UPDATE_REASON_BAD_CRC;
}
