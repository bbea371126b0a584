#include "firmware/image.h"

#include <string.h>

#include "bus/crc32c.h"

static struct image_header header_of(const uint8_t *image) {
    struct image_header h;
    memcpy(&h, image + IMAGE_HEADER_OFFSET, sizeof h);
    return h;
}

uint32_t image_length(const uint8_t *image) {
    return header_of(image).length;
}

uint32_t image_crc(const uint8_t *image, uint32_t length) {
    uint32_t behind = IMAGE_CRC_OFFSET + 4u;
    return bus_crc32c(bus_crc32c(0, image, IMAGE_CRC_OFFSET), image + behind, length - behind);
}
