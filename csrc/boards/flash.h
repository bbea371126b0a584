/* Flash memory, as this project's code reaches it: areas that are erased as a whole (every byte 0xFF) and programmed in
 * pieces, where a bit only ever goes from 1 to 0. Power may fail at any moment: what was being erased is then anything,
 * and of what was being programmed a beginning is there, whose last word is anything. */
#ifndef DAWNLINE_BOARDS_FLASH_H
#define DAWNLINE_BOARDS_FLASH_H

#include <stddef.h>
#include <stdint.h>

/* Every function returns 0, or non-zero when the memory failed. Areas are numbered by whoever uses them.
 *
 * erase may take seconds, in which a part with one bank can run nothing from flash; until it is over it sends the n
 * bytes of `busy` about five times a second, where it can (n 0: nothing to send).
 * program takes any offset and length, and leaves bytes alone that it is given as they are. */
struct flash {
    void *ctx;
    int (*erase)(void *ctx, unsigned area, const uint8_t *busy, size_t n);
    int (*program)(void *ctx, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n);
    int (*read)(void *ctx, unsigned area, uint32_t offset, uint8_t *out, size_t n);
};

/* Programs n bytes and reads them back: 0, or -1 when they are not there. */
int flash_put(const struct flash *f, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n);

/* 1 when every one of n bytes can be read and is 0xFF. */
int flash_is_blank(const struct flash *f, unsigned area, uint32_t offset, size_t n);

/* 1 when the n bytes that are there can be read and are these. */
int flash_is_equal(const struct flash *f, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n);

#endif
