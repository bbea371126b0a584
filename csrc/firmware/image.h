/* The header of an image, at a fixed place behind its vector table: what it is, and how to prove that it is whole.
 *
 * build.py fills in length and crc32c after linking. The CRC is over the image without its own four bytes. */
#ifndef DAWNLINE_FIRMWARE_IMAGE_H
#define DAWNLINE_FIRMWARE_IMAGE_H

#include <stdint.h>

#define IMAGE_HEADER_OFFSET 0x200u
#define IMAGE_CRC_OFFSET (IMAGE_HEADER_OFFSET + 8u)
#define IMAGE_MAGIC 0x4C4E5744u /* "DWNL" */

enum image_flavour { IMAGE_BENCH = 0, IMAGE_FLIGHT = 1 };

struct image_header {
    uint32_t magic;
    uint32_t length; /* of the image, in bytes from its vector table on */
    uint32_t crc32c;
    uint32_t version;
    uint8_t firmware_hash[8];
    uint8_t kind;    /* BUS_BOARD_KIND_* */
    uint8_t flavour; /* enum image_flavour */
    uint16_t reserved;
};

_Static_assert(sizeof(struct image_header) == 28, "written by build.py");

/* What the image's header says of its length. */
uint32_t image_length(const uint8_t *image);

/* CRC-32C over an image whose header says `length`, without the four bytes that hold it. */
uint32_t image_crc(const uint8_t *image, uint32_t length);

#endif
