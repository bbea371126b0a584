#define SPACE_PRIMARY_BYTES ...
#define SPACE_TM_SECONDARY_BYTES ...
#define SPACE_TC_SECONDARY_BYTES ...
#define SPACE_CRC_BYTES ...
#define SPACE_DATA_MAX ...
#define SPACE_PACKET_MAX ...
#define SPACE_CUC_BYTES ...

enum space_packet_type { SPACE_TM, SPACE_TC, ... };
enum space_ack { SPACE_ACK_ACCEPT, SPACE_ACK_START, SPACE_ACK_PROGRESS, SPACE_ACK_COMPLETE, ... };
enum space_packet_error {
    SPACE_PACKET_OK,
    SPACE_PACKET_ERR_LENGTH,
    SPACE_PACKET_ERR_VERSION,
    SPACE_PACKET_ERR_FLAGS,
    SPACE_PACKET_ERR_CRC,
    ...
};
enum space_splitter_result { SPACE_SPLITTER_MORE, SPACE_SPLITTER_PACKET, ... };

struct space_header {
    uint8_t type, service, subtype, status;
    uint16_t apid, sequence, address, message_count;
    uint64_t t_us;
    ...;
};
struct space_packet {
    struct space_header header;
    const uint8_t *data;
    size_t data_length;
    const uint8_t *wire;
    size_t wire_length;
    ...;
};
struct space_splitter {
    uint32_t packets, skipped_bytes, crc_errors;
    uint16_t used;
    ...;
};

uint16_t space_crc16(uint16_t crc, const uint8_t *bytes, size_t n);
void space_cuc_from_us(uint64_t t_us, uint8_t *out);
uint64_t space_cuc_to_us(const uint8_t *in);
uint32_t space_request_id(const struct space_header *tc);
size_t space_packet_pack(const struct space_header *h, const uint8_t *data, size_t n, uint8_t *out);
int space_packet_parse(struct space_packet *packet, const uint8_t *bytes, size_t n);
void space_splitter_init(struct space_splitter *s, enum space_packet_type type, const uint16_t *apids,
                         size_t apid_count);
int space_splitter_next(struct space_splitter *s, const uint8_t **p, const uint8_t *end, struct space_packet *packet);
