#include "batch.h"

#include "bus_icd.h"

#include <string.h>

#define RECORD_HEAD 4u

void bus_batch_init(struct bus_batch *b, uint8_t *data, size_t capacity) {
    b->data = data;
    b->used = 0;
    b->capacity = capacity;
    b->dropped = 0;
}

void bus_batch_clear(struct bus_batch *b) {
    b->used = 0;
}

int bus_batch_append(struct bus_batch *b, uint16_t board, const uint8_t *bytes, size_t n) {
    size_t room = b->capacity - b->used;
    if (n > UINT16_MAX || room < RECORD_HEAD || n > room - RECORD_HEAD) {
        b->dropped++;
        return BUS_ERR_LENGTH;
    }
    uint8_t *at = b->data + b->used;
    at[0] = (uint8_t)board;
    at[1] = (uint8_t)(board >> 8);
    at[2] = (uint8_t)n;
    at[3] = (uint8_t)(n >> 8);
    if (n > 0) {
        memcpy(at + RECORD_HEAD, bytes, n);
    }
    b->used += RECORD_HEAD + n;
    return 0;
}

int bus_batch_next(const struct bus_batch *b, size_t *at, uint16_t *board, const uint8_t **bytes, size_t *n) {
    if (*at == b->used) {
        return 0;
    }
    if (*at > b->used || b->used - *at < RECORD_HEAD) {
        return BUS_ERR_LENGTH;
    }
    const uint8_t *record = b->data + *at;
    size_t length = (size_t)record[2] | (size_t)record[3] << 8;
    if (length > b->used - *at - RECORD_HEAD) {
        return BUS_ERR_LENGTH;
    }
    *board = (uint16_t)(record[0] | record[1] << 8);
    *bytes = record + RECORD_HEAD;
    *n = length;
    *at += RECORD_HEAD + length;
    return 1;
}

uint16_t bus_address_of(uint16_t index) {
    return index == 0 ? BUS_ADDRESS_POWER_BOARD : (uint16_t)(BUS_ADDRESS_NODE_BASE + index - 1u);
}

int bus_index_of(uint16_t address) {
    if (address == BUS_ADDRESS_POWER_BOARD) {
        return 0;
    }
    return address >= BUS_ADDRESS_NODE_BASE && address != BUS_ADDRESS_ANY ? address - BUS_ADDRESS_NODE_BASE + 1 : -1;
}
