#include "firmware/flash_nvm.h"

#include <string.h>

#include "boards/bytes.h"
#include "bus/crc32c.h"

#define HEADER_AT BOARD_NVM_BYTES
#define MAGIC 0x4D564E44u /* "DNVM" */
#define CRC_AT (FLASH_NVM_RECORD - 4u)
#define DATA_AT 4u
#define CHUNK 64u

/* ---- headers */

static int read_area(const struct flash_nvm *n, unsigned which, uint32_t at, uint8_t *out, size_t count) {
    return n->flash.read(n->flash.ctx, n->areas[which], at, out, count);
}

static void encode_header(uint32_t sequence, uint8_t out[static FLASH_NVM_HEADER]) {
    uint8_t *end = bytes_u32(bytes_u32(bytes_u32(out, MAGIC), sequence), UINT32_MAX);
    bytes_u32(end, bus_crc32c(0, out, FLASH_NVM_HEADER - 4));
}

/* The sequence in an area's header; 0 without a whole one. */
static uint32_t sequence_of(const struct flash_nvm *n, unsigned which) {
    uint8_t found[FLASH_NVM_HEADER], expected[FLASH_NVM_HEADER];
    if (read_area(n, which, HEADER_AT, found, sizeof found) != 0) {
        return 0;
    }
    uint32_t sequence = bytes_get_u32(found + 4);
    encode_header(sequence, expected);
    return memcmp(found, expected, sizeof found) == 0 ? sequence : 0;
}

/* ---- records */

static void encode_record(uint32_t offset, const uint8_t *data, size_t count, uint8_t out[static FLASH_NVM_RECORD]) {
    memset(out, 0xFF, FLASH_NVM_RECORD);
    bytes_u8(bytes_u16(out, offset), (uint32_t)count);
    memcpy(out + DATA_AT, data, count);
    bytes_u32(out + CRC_AT, bus_crc32c(0, out, CRC_AT));
}

/* Puts the part of a record that lies in [offset, offset + count) where it belongs. */
static void apply(const uint8_t record[static FLASH_NVM_RECORD], uint32_t offset, uint8_t *out, size_t count) {
    uint32_t at = (uint32_t)record[0] | (uint32_t)record[1] << 8, length = record[2];
    for (uint32_t i = 0; i < length && i < FLASH_NVM_DATA; ++i) {
        if (at + i >= offset && at + i - offset < count) {
            out[at + i - offset] = record[DATA_AT + i];
        }
    }
}

static int overlaps(const uint8_t head[static DATA_AT], uint32_t offset, size_t count) {
    uint32_t at = (uint32_t)head[0] | (uint32_t)head[1] << 8;
    return at < offset + count && at + head[2] > offset;
}

static int is_whole(const uint8_t record[static FLASH_NVM_RECORD]) {
    return bus_crc32c(0, record, CRC_AT) == bytes_get_u32(record + CRC_AT);
}

static int is_blank(const uint8_t record[static FLASH_NVM_RECORD]) {
    for (unsigned i = 0; i < FLASH_NVM_RECORD; ++i) {
        if (record[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

void flash_nvm_mount(struct flash_nvm *n) {
    uint32_t sequence[2] = {sequence_of(n, 0), sequence_of(n, 1)};
    uint8_t record[FLASH_NVM_RECORD];
    n->active = sequence[1] > sequence[0];
    n->sequence = sequence[n->active];
    n->next = FLASH_NVM_RECORDS_AT;
    for (uint32_t at = n->next; n->sequence != 0 && at + sizeof record <= n->sizes[n->active]; at += sizeof record) {
        if (read_area(n, n->active, at, record, sizeof record) != 0 || !is_blank(record)) {
            n->next = at + FLASH_NVM_RECORD;
        }
    }
}

int flash_nvm_read(const struct flash_nvm *n, uint32_t offset, uint8_t *out, size_t count) {
    uint8_t record[FLASH_NVM_RECORD];
    if (offset > BOARD_NVM_BYTES || count > BOARD_NVM_BYTES - offset) {
        return -1;
    }
    if (n->sequence == 0) {
        memset(out, 0xFF, count);
        return 0;
    }
    if (read_area(n, n->active, offset, out, count) != 0) {
        return -1;
    }
    for (uint32_t at = FLASH_NVM_RECORDS_AT; at < n->next; at += sizeof record) {
        /* Most records are of other places: their CRC is not worth the time. */
        if (read_area(n, n->active, at, record, DATA_AT) == 0 && overlaps(record, offset, count) &&
            read_area(n, n->active, at, record, sizeof record) == 0 && is_whole(record)) {
            apply(record, offset, out, count);
        }
    }
    return 0;
}

/* ---- writing */

/* Copies the memory as it is into the other area, whose header comes last. */
static int compact(struct flash_nvm *n) {
    unsigned other = n->sequence == 0 ? 0u : !n->active;
    uint8_t chunk[CHUNK], header[FLASH_NVM_HEADER];
    if (n->flash.erase(n->flash.ctx, n->areas[other], NULL, 0) != 0) {
        return -1;
    }
    for (uint32_t at = 0; at < BOARD_NVM_BYTES; at += CHUNK) {
        if (flash_nvm_read(n, at, chunk, CHUNK) != 0 || flash_put(&n->flash, n->areas[other], at, chunk, CHUNK) != 0) {
            return -1;
        }
    }
    encode_header(n->sequence + 1, header);
    if (flash_put(&n->flash, n->areas[other], HEADER_AT, header, sizeof header) != 0) {
        return -1;
    }
    ++n->sequence;
    n->active = (uint8_t)other;
    n->next = FLASH_NVM_RECORDS_AT;
    return 0;
}

/* A record that does not stick is left behind; the next place is tried. */
static int append(struct flash_nvm *n, const uint8_t record[static FLASH_NVM_RECORD]) {
    int compacted = 0;
    for (;;) {
        if (n->sequence == 0 || n->next + FLASH_NVM_RECORD > n->sizes[n->active]) {
            if (compacted || compact(n) != 0) {
                return -1;
            }
            compacted = 1;
        }
        uint32_t at = n->next;
        n->next += FLASH_NVM_RECORD;
        if (flash_put(&n->flash, n->areas[n->active], at, record, FLASH_NVM_RECORD) == 0) {
            return 0;
        }
    }
}

int flash_nvm_write(struct flash_nvm *n, uint32_t offset, const uint8_t *in, size_t count) {
    uint8_t record[FLASH_NVM_RECORD];
    if (offset > BOARD_NVM_BYTES || count > BOARD_NVM_BYTES - offset) {
        return -1;
    }
    while (count > 0) {
        size_t part = count < FLASH_NVM_DATA ? count : FLASH_NVM_DATA;
        encode_record(offset, in, part, record);
        if (append(n, record) != 0) {
            return -1;
        }
        offset += (uint32_t)part;
        in += part;
        count -= part;
    }
    return 0;
}
