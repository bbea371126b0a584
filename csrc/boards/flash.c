#include "boards/flash.h"

#include <string.h>

#define CHUNK 32

static size_t piece(size_t done, size_t n) {
    return n - done < CHUNK ? n - done : CHUNK;
}

int flash_is_equal(const struct flash *f, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n) {
    uint8_t there[CHUNK];
    for (size_t done = 0; done < n; done += CHUNK) {
        size_t count = piece(done, n);
        if (f->read(f->ctx, area, offset + (uint32_t)done, there, count) != 0 ||
            memcmp(there, bytes + done, count) != 0) {
            return 0;
        }
    }
    return 1;
}

int flash_is_blank(const struct flash *f, unsigned area, uint32_t offset, size_t n) {
    uint8_t erased[CHUNK];
    memset(erased, 0xFF, sizeof erased);
    for (size_t done = 0; done < n; done += CHUNK) {
        if (!flash_is_equal(f, area, offset + (uint32_t)done, erased, piece(done, n))) {
            return 0;
        }
    }
    return 1;
}

int flash_put(const struct flash *f, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n) {
    int failed = f->program(f->ctx, area, offset, bytes, n) != 0;
    return failed || !flash_is_equal(f, area, offset, bytes, n) ? -1 : 0;
}
