/* csrc/firmware/flash_nvm.c over the flash of device.c, for tests: two areas of any size, one life of the power. */
#include <stdlib.h>

#include "firmware/flash_nvm.h"

struct device;
struct flash device_flash(struct device *d);

struct flash_nvm *nvm_create(struct device *d, uint32_t size0, uint32_t size1) {
    struct flash_nvm *n = calloc(1, sizeof *n);
    n->flash = device_flash(d);
    n->areas[0] = 2;
    n->areas[1] = 3;
    n->sizes[0] = size0;
    n->sizes[1] = size1;
    flash_nvm_mount(n);
    return n;
}

void nvm_destroy(struct flash_nvm *n) {
    free(n);
}
