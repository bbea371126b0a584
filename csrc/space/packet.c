#include "packet.h"

#include <string.h>

#define PUS_VERSION 2
#define SEQUENCE_UNSEGMENTED 3
#define APID_MAX 0x7FF
#define SEQUENCE_MAX 0x3FFF

static const uint16_t crc_table[256] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7, 0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD,
    0xE1CE, 0xF1EF, 0x1231, 0x0210, 0x3273, 0x2252, 0x52B5, 0x4294, 0x72F7, 0x62D6, 0x9339, 0x8318, 0xB37B, 0xA35A,
    0xD3BD, 0xC39C, 0xF3FF, 0xE3DE, 0x2462, 0x3443, 0x0420, 0x1401, 0x64E6, 0x74C7, 0x44A4, 0x5485, 0xA56A, 0xB54B,
    0x8528, 0x9509, 0xE5EE, 0xF5CF, 0xC5AC, 0xD58D, 0x3653, 0x2672, 0x1611, 0x0630, 0x76D7, 0x66F6, 0x5695, 0x46B4,
    0xB75B, 0xA77A, 0x9719, 0x8738, 0xF7DF, 0xE7FE, 0xD79D, 0xC7BC, 0x48C4, 0x58E5, 0x6886, 0x78A7, 0x0840, 0x1861,
    0x2802, 0x3823, 0xC9CC, 0xD9ED, 0xE98E, 0xF9AF, 0x8948, 0x9969, 0xA90A, 0xB92B, 0x5AF5, 0x4AD4, 0x7AB7, 0x6A96,
    0x1A71, 0x0A50, 0x3A33, 0x2A12, 0xDBFD, 0xCBDC, 0xFBBF, 0xEB9E, 0x9B79, 0x8B58, 0xBB3B, 0xAB1A, 0x6CA6, 0x7C87,
    0x4CE4, 0x5CC5, 0x2C22, 0x3C03, 0x0C60, 0x1C41, 0xEDAE, 0xFD8F, 0xCDEC, 0xDDCD, 0xAD2A, 0xBD0B, 0x8D68, 0x9D49,
    0x7E97, 0x6EB6, 0x5ED5, 0x4EF4, 0x3E13, 0x2E32, 0x1E51, 0x0E70, 0xFF9F, 0xEFBE, 0xDFDD, 0xCFFC, 0xBF1B, 0xAF3A,
    0x9F59, 0x8F78, 0x9188, 0x81A9, 0xB1CA, 0xA1EB, 0xD10C, 0xC12D, 0xF14E, 0xE16F, 0x1080, 0x00A1, 0x30C2, 0x20E3,
    0x5004, 0x4025, 0x7046, 0x6067, 0x83B9, 0x9398, 0xA3FB, 0xB3DA, 0xC33D, 0xD31C, 0xE37F, 0xF35E, 0x02B1, 0x1290,
    0x22F3, 0x32D2, 0x4235, 0x5214, 0x6277, 0x7256, 0xB5EA, 0xA5CB, 0x95A8, 0x8589, 0xF56E, 0xE54F, 0xD52C, 0xC50D,
    0x34E2, 0x24C3, 0x14A0, 0x0481, 0x7466, 0x6447, 0x5424, 0x4405, 0xA7DB, 0xB7FA, 0x8799, 0x97B8, 0xE75F, 0xF77E,
    0xC71D, 0xD73C, 0x26D3, 0x36F2, 0x0691, 0x16B0, 0x6657, 0x7676, 0x4615, 0x5634, 0xD94C, 0xC96D, 0xF90E, 0xE92F,
    0x99C8, 0x89E9, 0xB98A, 0xA9AB, 0x5844, 0x4865, 0x7806, 0x6827, 0x18C0, 0x08E1, 0x3882, 0x28A3, 0xCB7D, 0xDB5C,
    0xEB3F, 0xFB1E, 0x8BF9, 0x9BD8, 0xABBB, 0xBB9A, 0x4A75, 0x5A54, 0x6A37, 0x7A16, 0x0AF1, 0x1AD0, 0x2AB3, 0x3A92,
    0xFD2E, 0xED0F, 0xDD6C, 0xCD4D, 0xBDAA, 0xAD8B, 0x9DE8, 0x8DC9, 0x7C26, 0x6C07, 0x5C64, 0x4C45, 0x3CA2, 0x2C83,
    0x1CE0, 0x0CC1, 0xEF1F, 0xFF3E, 0xCF5D, 0xDF7C, 0xAF9B, 0xBFBA, 0x8FD9, 0x9FF8, 0x6E17, 0x7E36, 0x4E55, 0x5E74,
    0x2E93, 0x3EB2, 0x0ED1, 0x1EF0,
};

uint16_t space_crc16(uint16_t crc, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        crc = (uint16_t)((uint16_t)(crc << 8) ^ crc_table[(crc >> 8) ^ bytes[i]]);
    }
    return crc;
}

static void store16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static uint16_t load16(const uint8_t *in) {
    return (uint16_t)(in[0] << 8 | in[1]);
}

void space_cuc_from_us(uint64_t t_us, uint8_t out[static SPACE_CUC_BYTES]) {
    uint32_t seconds = (uint32_t)(t_us / 1000000u);
    /* nearest: a step is 0.06 us, so the way back finds the same microsecond; 999,999 us stays below 2^24 */
    uint32_t fraction = (uint32_t)((((t_us % 1000000u) << 24) + 500000u) / 1000000u);
    store16(out, (uint16_t)(seconds >> 16));
    store16(out + 2, (uint16_t)seconds);
    out[4] = (uint8_t)(fraction >> 16);
    store16(out + 5, (uint16_t)fraction);
}

uint64_t space_cuc_to_us(const uint8_t in[static SPACE_CUC_BYTES]) {
    uint64_t seconds = (uint64_t)load16(in) << 16 | load16(in + 2);
    uint64_t fraction = (uint64_t)in[4] << 16 | load16(in + 5);
    return seconds * 1000000u + ((fraction * 1000000u + (1u << 23)) >> 24);
}

static uint16_t packet_id(uint8_t type, uint16_t apid) {
    return (uint16_t)(type << 12 | 1 << 11 | apid);
}

uint32_t space_request_id(const struct space_header *tc) {
    return (uint32_t)packet_id(SPACE_TC, tc->apid) << 16 | (uint32_t)SEQUENCE_UNSEGMENTED << 14 | tc->sequence;
}

static size_t secondary_bytes(uint8_t type) {
    return type == SPACE_TM ? SPACE_TM_SECONDARY_BYTES : SPACE_TC_SECONDARY_BYTES;
}

size_t space_packet_pack(const struct space_header *h, const uint8_t *data, size_t n,
                         uint8_t out[static SPACE_PACKET_MAX]) {
    if (h->type > SPACE_TC || h->status > 15 || h->apid > APID_MAX || h->sequence > SEQUENCE_MAX ||
        h->t_us >= SPACE_CUC_END_US || n > SPACE_DATA_MAX) {
        return 0;
    }
    size_t secondary = secondary_bytes(h->type);
    size_t total = SPACE_PRIMARY_BYTES + secondary + n + SPACE_CRC_BYTES;
    uint8_t *s = out + SPACE_PRIMARY_BYTES;
    store16(out, packet_id(h->type, h->apid));
    store16(out + 2, (uint16_t)(SEQUENCE_UNSEGMENTED << 14 | h->sequence));
    store16(out + 4, (uint16_t)(total - SPACE_PRIMARY_BYTES - 1));
    s[0] = (uint8_t)(PUS_VERSION << 4 | h->status);
    s[1] = h->service;
    s[2] = h->subtype;
    if (h->type == SPACE_TM) {
        store16(s + 3, h->message_count);
        store16(s + 5, h->address);
        space_cuc_from_us(h->t_us, s + 7);
    } else {
        store16(s + 3, h->address);
    }
    if (n > 0) {
        memcpy(s + secondary, data, n);
    }
    store16(out + total - SPACE_CRC_BYTES, space_crc16(0xFFFF, out, total - SPACE_CRC_BYTES));
    return total;
}

/* Length of the packet that a primary header announces. */
static size_t announced_bytes(const uint8_t *primary) {
    return (size_t)load16(primary + 4) + 1 + SPACE_PRIMARY_BYTES;
}

static int possible_length(uint8_t type, size_t n) {
    size_t least = SPACE_PRIMARY_BYTES + secondary_bytes(type) + SPACE_CRC_BYTES;
    return n >= least && n <= least + SPACE_DATA_MAX;
}

static void parse_secondary(struct space_header *h, const uint8_t *s) {
    h->status = s[0] & 15;
    h->service = s[1];
    h->subtype = s[2];
    h->message_count = 0;
    h->t_us = 0;
    if (h->type == SPACE_TM) {
        h->message_count = load16(s + 3);
        h->address = load16(s + 5);
        h->t_us = space_cuc_to_us(s + 7);
    } else {
        h->address = load16(s + 3);
    }
}

int space_packet_parse(struct space_packet *packet, const uint8_t *bytes, size_t n) {
    if (n < SPACE_PRIMARY_BYTES || announced_bytes(bytes) != n) {
        return SPACE_PACKET_ERR_LENGTH;
    }
    uint8_t type = (bytes[0] >> 4) & 1;
    if (!possible_length(type, n)) {
        return SPACE_PACKET_ERR_LENGTH;
    }
    if (bytes[0] >> 5 != 0 || bytes[SPACE_PRIMARY_BYTES] >> 4 != PUS_VERSION) {
        return SPACE_PACKET_ERR_VERSION;
    }
    if ((bytes[0] & 8) == 0 || bytes[2] >> 6 != SEQUENCE_UNSEGMENTED) {
        return SPACE_PACKET_ERR_FLAGS;
    }
    if (space_crc16(0xFFFF, bytes, n) != 0) { /* the CRC over bytes and their CRC is 0 */
        return SPACE_PACKET_ERR_CRC;
    }
    size_t secondary = secondary_bytes(type);
    packet->header.type = type;
    packet->header.apid = load16(bytes) & APID_MAX;
    packet->header.sequence = load16(bytes + 2) & SEQUENCE_MAX;
    parse_secondary(&packet->header, bytes + SPACE_PRIMARY_BYTES);
    packet->data = bytes + SPACE_PRIMARY_BYTES + secondary;
    packet->data_length = n - SPACE_PRIMARY_BYTES - secondary - SPACE_CRC_BYTES;
    packet->wire = bytes;
    packet->wire_length = n;
    return SPACE_PACKET_OK;
}

void space_splitter_init(struct space_splitter *s, enum space_packet_type type, const uint16_t *apids,
                         size_t apid_count) {
    memset(s, 0, sizeof *s);
    s->type = (uint8_t)type;
    s->apids = apids;
    s->apid_count = apid_count;
}

static int known_apid(const struct space_splitter *s, uint16_t apid) {
    for (size_t i = 0; s->apids != NULL && i < s->apid_count; i++) {
        if (s->apids[i] == apid) {
            return 1;
        }
    }
    return s->apids == NULL;
}

/* Whether a packet of the wanted type can start with this byte: version 0, the type, a secondary header. */
static int possible_start(const struct space_splitter *s, uint8_t first) {
    return (first & 0xF8) == packet_id(s->type, 0) >> 8;
}

/* Bytes that the candidate at the buffer's start needs; 0 if there is none. With fewer bytes than a primary header: 6.
 */
static size_t candidate_bytes(const struct space_splitter *s) {
    if (s->used > 0 && !possible_start(s, s->buffer[0])) {
        return 0;
    }
    if (s->used < SPACE_PRIMARY_BYTES) {
        return SPACE_PRIMARY_BYTES;
    }
    size_t n = announced_bytes(s->buffer);
    int good = known_apid(s, load16(s->buffer) & APID_MAX) && s->buffer[2] >> 6 == SEQUENCE_UNSEGMENTED &&
               possible_length(s->type, n);
    return good ? n : 0;
}

static void drop(struct space_splitter *s, size_t n) {
    memmove(s->buffer, s->buffer + n, s->used - n);
    s->used = (uint16_t)(s->used - n);
}

/* Skips the first byte and everything up to the next byte that could start a packet. */
static void skip(struct space_splitter *s) {
    size_t n = 1;
    while (n < s->used && !possible_start(s, s->buffer[n])) {
        n++;
    }
    s->skipped_bytes += (uint32_t)n;
    drop(s, n);
}

int space_splitter_next(struct space_splitter *s, const uint8_t **p, const uint8_t *end, struct space_packet *packet) {
    drop(s, s->given);
    s->given = 0;
    for (;;) {
        size_t need = candidate_bytes(s);
        if (need == 0) {
            skip(s);
            continue;
        }
        if (s->used < need) {
            size_t have = (size_t)(end - *p);
            size_t take = need - s->used < have ? need - s->used : have;
            if (take == 0) {
                return SPACE_SPLITTER_MORE;
            }
            memcpy(s->buffer + s->used, *p, take);
            s->used = (uint16_t)(s->used + take);
            *p += take;
            continue;
        }
        int result = space_packet_parse(packet, s->buffer, need);
        if (result == SPACE_PACKET_OK) {
            s->given = (uint16_t)need;
            s->packets++;
            return SPACE_SPLITTER_PACKET;
        }
        s->crc_errors += result == SPACE_PACKET_ERR_CRC;
        skip(s);
    }
}
