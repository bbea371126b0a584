/* Slots in RAM, for boards in emulators, whose flash cannot be written: what a factory does to flash, done at power on.
 * RAM survives a reset, and QEMU writes the contents of files anew at each: so the image of the factory lies in flash,
 * and is copied into slot A when the RAM holds nothing yet. Used by tests alone. */
#include <string.h>

#include "boards/slots.h"
#include "firmware/image.h"

#define COLD_START_DONE 0x534C4F54u /* "SLOT" */

extern uint8_t __slot_a[], __slot_b[], __slot_bytes[], __slot_log[], __slot_other_log[], __slot_log_bytes[];
extern const uint8_t __factory[];
extern uint32_t __cold_start[];

void boot_prepare(void);

void boot_prepare(void) {
    uint32_t slot_bytes = (uint32_t)(uintptr_t)__slot_bytes, log_bytes = (uint32_t)(uintptr_t)__slot_log_bytes;
    if (*__cold_start == COLD_START_DONE) {
        return;
    }
    memset(__slot_log, 0xFF, log_bytes);
    memset(__slot_other_log, 0xFF, log_bytes);
    memset(__slot_b, 0xFF, slot_bytes);
    memset(__slot_a, 0xFF, slot_bytes);
    memcpy(__slot_a, __factory, image_length(__factory));
    *__cold_start = COLD_START_DONE;
}
