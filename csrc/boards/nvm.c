#include "boards/nvm.h"

#include <string.h>

#include "boards/bytes.h"
#include "bus/crc32c.h"

#define CHUNK 64

struct copy_facts {
    uint8_t whole, blank;
    uint32_t sequence;
};

static uint32_t copy_offset(const struct nvm_place *place, unsigned copy) {
    return place->offset + copy * (place->size + (uint32_t)NVM_COPY_OVERHEAD);
}

static uint32_t crc_begin(const struct nvm_place *place) {
    uint8_t head[3];
    bytes_u16(bytes_u8(head, place->id), place->size);
    return bus_crc32c(0, head, sizeof head);
}

static int is_uniform(const uint8_t *p, size_t n, uint8_t value) {
    for (size_t i = 0; i < n; ++i) {
        if (p[i] != value) {
            return 0;
        }
    }
    return 1;
}

static int read_bytes(const struct board_port *port, uint32_t offset, uint8_t *out, size_t n) {
    return port->nvm_read == NULL || port->nvm_read(port->ctx, offset, out, n) != 0;
}

static int write_bytes(const struct board_port *port, uint32_t offset, const uint8_t *in, size_t n) {
    return port->nvm_write == NULL || port->nvm_write(port->ctx, offset, in, n) != 0;
}

/* Whole: the CRC holds. Blank: every byte 0x00, or every byte 0xFF. */
static struct copy_facts examine(const struct nvm_place *place, const struct board_port *port, unsigned copy) {
    struct copy_facts facts = {0, 1, 0};
    uint32_t at = copy_offset(place, copy), crc = crc_begin(place);
    uint8_t chunk[CHUNK], first = 0;
    for (size_t done = 0; done < place->size; done += CHUNK) {
        size_t n = place->size - done < CHUNK ? place->size - done : CHUNK;
        if (read_bytes(port, at + (uint32_t)done, chunk, n)) {
            return (struct copy_facts){0, 0, 0};
        }
        first = done == 0 ? chunk[0] : first;
        facts.blank = facts.blank && is_uniform(chunk, n, first);
        crc = bus_crc32c(crc, chunk, n);
    }
    uint8_t tail[NVM_COPY_OVERHEAD];
    if (read_bytes(port, at + place->size, tail, sizeof tail)) {
        return (struct copy_facts){0, 0, 0};
    }
    facts.blank = facts.blank && is_uniform(tail, sizeof tail, first) && (first == 0x00 || first == 0xFF);
    facts.sequence = bytes_get_u32(tail);
    facts.whole = bus_crc32c(crc, tail, 4) == bytes_get_u32(tail + 4);
    return facts;
}

static int write_copy(const struct nvm_place *place, const struct board_port *port, unsigned copy,
                      const uint8_t *payload, uint32_t sequence) {
    uint32_t at = copy_offset(place, copy);
    uint8_t tail[NVM_COPY_OVERHEAD];
    uint32_t crc = bus_crc32c(crc_begin(place), payload, place->size);
    bytes_u32(tail, sequence);
    bytes_u32(tail + 4, bus_crc32c(crc, tail, 4));
    return write_bytes(port, at, payload, place->size) || write_bytes(port, at + place->size, tail, sizeof tail);
}

enum nvm_result nvm_load(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port,
                         uint8_t *payload) {
    struct copy_facts facts[2] = {examine(place, port, 0), examine(place, port, 1)};
    memset(b, 0, sizeof *b);
    if (!facts[0].whole && !facts[1].whole) {
        b->copy = 255;
        return facts[0].blank && facts[1].blank ? NVM_BLANK : NVM_LOST;
    }
    if (facts[0].whole && facts[1].whole) {
        b->newest = (int32_t)(facts[1].sequence - facts[0].sequence) > 0;
    } else {
        b->newest = facts[1].whole;
    }
    b->sequence = facts[b->newest].sequence;
    if (read_bytes(port, copy_offset(place, b->newest), payload, place->size)) {
        return NVM_LOST;
    }
    if (facts[0].whole && facts[1].whole) {
        return NVM_OK;
    }
    b->copy = !b->newest;
    (void)write_copy(place, port, b->copy, payload, b->sequence);
    return NVM_REPAIRED;
}

int nvm_store(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port,
              const uint8_t *payload) {
    unsigned target = !b->newest;
    if (b->sequence == 0) {
        if (write_copy(place, port, 0, payload, 1) != 0) {
            return -1;
        }
        b->sequence = 1;
        b->newest = 0;
        return write_copy(place, port, 1, payload, 1) != 0 ? -1 : 0;
    }
    uint32_t next = b->sequence + 1 == 0 ? 1 : b->sequence + 1;
    if (write_copy(place, port, target, payload, next) != 0) {
        return -1;
    }
    b->sequence = next;
    b->newest = (uint8_t)target;
    return 0;
}
