/* CCSDS space packets (133.0-B) with PUS-C secondary headers (ECSS-E-ST-70-41C 7.4), and their split from a byte
 * stream.
 *
 * What always holds, whatever the bytes:
 *  1. pack writes at most SPACE_PACKET_MAX bytes, parse and the splitter read only inside the bytes they were given;
 *  2. parse accepts a packet only if its version, flags, length, PUS version and CRC-16 are right;
 *  3. the splitter holds back at most one packet (SPACE_PACKET_MAX bytes), is back in step with the first whole packet
 *     after any garbage, counts every byte that it skipped, and gives the same packets for any chunking of the stream;
 *  4. times that are whole microseconds survive the way through CUC 4+3 exactly.
 */
#ifndef SPACE_PACKET_H
#define SPACE_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define SPACE_PRIMARY_BYTES 6
#define SPACE_TM_SECONDARY_BYTES 14 /* PUS version | time status, service, subtype, count, destination, CUC 4+3 */
#define SPACE_TC_SECONDARY_BYTES 5  /* PUS version | acknowledgement flags, service, subtype, source */
#define SPACE_CRC_BYTES 2
#define SPACE_DATA_MAX 1024 /* source data (TM) or application data (TC) of one packet */
#define SPACE_PACKET_MAX (SPACE_PRIMARY_BYTES + SPACE_TM_SECONDARY_BYTES + SPACE_DATA_MAX + SPACE_CRC_BYTES)
#define SPACE_CUC_BYTES 7
#define SPACE_CUC_END_US 4294967296000000u /* first time that four bytes of seconds do not hold */

enum space_packet_type { SPACE_TM = 0, SPACE_TC = 1 };

/* Acknowledgement flags of a telecommand: the reports that its sender wants. */
enum space_ack { SPACE_ACK_ACCEPT = 1, SPACE_ACK_START = 2, SPACE_ACK_PROGRESS = 4, SPACE_ACK_COMPLETE = 8 };

enum space_packet_error {
    SPACE_PACKET_OK = 0,
    SPACE_PACKET_ERR_LENGTH = -16,  /* too short for its headers and CRC, too long, or not what its length field says */
    SPACE_PACKET_ERR_VERSION = -17, /* CCSDS version is not 0, or the PUS version is not 2 */
    SPACE_PACKET_ERR_FLAGS = -18,   /* no secondary header, or a segmented packet */
    SPACE_PACKET_ERR_CRC = -19
};

struct space_header {
    uint8_t type; /* enum space_packet_type */
    uint8_t service;
    uint8_t subtype;
    uint8_t status;         /* TM: time reference status; TC: acknowledgement flags; 4 bit */
    uint16_t apid;          /* 11 bit */
    uint16_t sequence;      /* 14 bit, counts per APID, wraps */
    uint16_t address;       /* TM: destination; TC: source */
    uint16_t message_count; /* TM only: counts per APID, service and subtype, wraps */
    uint64_t t_us;          /* TM only: mission time, below SPACE_CUC_END_US */
};

/* A parsed packet: pointers into the parsed bytes. */
struct space_packet {
    struct space_header header;
    const uint8_t *data;
    size_t data_length;
    const uint8_t *wire;
    size_t wire_length;
};

/* CRC-16/CCITT-FALSE (poly 0x1021, init 0xFFFF), continued from crc; start with 0xFFFF. */
uint16_t space_crc16(uint16_t crc, const uint8_t *bytes, size_t n);

/* CUC 4+3 without P-field: u32 seconds, u24 fraction of 2^-24 s, big-endian. t_us below SPACE_CUC_END_US. */
void space_cuc_from_us(uint64_t t_us, uint8_t out[static SPACE_CUC_BYTES]);
/* The nearest whole microsecond (rounding up may carry into the next second). */
uint64_t space_cuc_to_us(const uint8_t in[static SPACE_CUC_BYTES]);

/* The number that verification reports name a telecommand by: its packet id << 16 | its sequence control. */
uint32_t space_request_id(const struct space_header *tc);

/* Packs headers, n bytes of data and the CRC; returns the packet's bytes, or 0 if a field or n is out of range. */
size_t space_packet_pack(const struct space_header *h, const uint8_t *data, size_t n,
                         uint8_t out[static SPACE_PACKET_MAX]);

/* Parses exactly n bytes as one packet. Returns SPACE_PACKET_OK, _ERR_LENGTH, _ERR_VERSION, _ERR_FLAGS or _ERR_CRC. */
int space_packet_parse(struct space_packet *packet, const uint8_t *bytes, size_t n);

/* The bounded stream splitter. A candidate is a primary header of the wanted type and of a known APID with a possible
 * length; it is a packet when its CRC is right, and else its first byte is skipped:
 *
 *        +--- byte skipped (counted) <--- no candidate, or bad CRC ---+
 *        v                                                            |
 *   [ search ] --- candidate ---> [ collect length bytes ] --- whole -+--- CRC right ---> packet
 */
struct space_splitter {
    const uint16_t *apids; /* the caller's, kept; NULL: every APID is known */
    size_t apid_count;
    uint32_t packets;
    uint32_t skipped_bytes;
    uint32_t crc_errors; /* candidates that were whole but had a wrong CRC */
    uint16_t used;       /* bytes held in buffer */
    uint16_t given;      /* bytes at the start of buffer that the last call handed out */
    uint8_t type;
    uint8_t buffer[SPACE_PACKET_MAX];
};

enum space_splitter_result { SPACE_SPLITTER_MORE = 0, SPACE_SPLITTER_PACKET = 1 };

void space_splitter_init(struct space_splitter *s, enum space_packet_type type, const uint16_t *apids,
                         size_t apid_count);
/* Consumes from *p up to end. SPACE_SPLITTER_PACKET: packet is filled and valid until the next call, call again;
 * SPACE_SPLITTER_MORE: everything was taken. */
int space_splitter_next(struct space_splitter *s, const uint8_t **p, const uint8_t *end, struct space_packet *packet);

#endif
