/* Services of the emulator that runs this image: who the board is, and its persistent memory as a file of the host.
 *
 * ARM semihosting (BKPT 0xAB): QEMU and hal's Unicorn back end answer it. Never called on silicon, where the
 * instruction without a debugger is a fault. */
#ifndef DAWNLINE_FIRMWARE_SEMIHOST_H
#define DAWNLINE_FIRMWARE_SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

#include "firmware/port.h"

/* Reads the command line "ADDRESS HARDWARE_ID CAUSE NVM_FILE" (as dawnline-board takes it) and opens the file.
 * 0, or -1: there is none, or it is malformed. */
int semihost_start(struct port_facts *out);

/* Asks the host again who this is: hardware id, and role (BUS_ADDRESS_NONE: it does not say). */
void semihost_identify(struct port_facts *out);

int semihost_read(uint32_t offset, uint8_t *out, size_t n);
int semihost_write(uint32_t offset, const uint8_t *in, size_t n);

#endif
