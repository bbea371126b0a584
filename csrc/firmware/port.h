/* What a microcontroller must provide for a board to run on it. A port to another part is one file that defines these
 * functions (and a linker script): port_stm32f4.c, port_bare.c. docs/porting.md walks through it.
 *
 * Everything is called from main, except that port_crash_tx may be called at any moment, with interrupts off. */
#ifndef DAWNLINE_FIRMWARE_PORT_H
#define DAWNLINE_FIRMWARE_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "bus/bus_icd.h"

struct slots;

/* Who this board is, as far as its hardware (or the emulator that runs it) knows. */
struct port_facts {
    uint8_t hardware_id[12];
    uint16_t role;       /* address on the bus; 0: the hardware does not know */
    uint8_t reset_cause; /* BUS_RESET_CAUSE_* */
    uint8_t emulated;
};

/* Starts the UART, whose interrupt puts every byte into the ring (ring.h) from here on, watchdog and time base, and
 * finds out who this is. */
void port_start(struct port_facts *out);

/* Finds out once more who this is: hardware id and role. */
void port_identify(struct port_facts *out);

/* Sends n bytes; returns when the UART has taken the last one. */
void port_tx(const uint8_t *bytes, size_t n);

/* Sleeps while the ring is empty: until a byte has arrived, or the time base ticks. */
void port_idle(void);

/* Keeps the watchdog content for some more seconds; main does not call it while a new image is on its trial. */
void port_keep_alive(void);

/* us since start, wraps. */
uint32_t port_time_us(void);

/* Never returns; the next boot reports this cause. */
_Noreturn void port_reset(uint8_t cause);

/* Persistent memory of BOARD_NVM_BYTES: 0, or non-zero when it failed. */
int port_nvm_read(uint32_t offset, uint8_t *out, size_t n);
int port_nvm_write(uint32_t offset, const uint8_t *in, size_t n);

/* The slots for images when this one runs from a slot; NULL: it takes no updates. */
const struct slots *port_slots(void);

/* As port_tx, from a fault handler: needs no interrupt and nothing that may be damaged. */
void port_crash_tx(const uint8_t *bytes, size_t n);

#endif
