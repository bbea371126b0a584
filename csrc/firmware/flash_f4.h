/* Flash of the STM32F405, F407 and F446 (RM0090 section 3, RM0390 section 3), as `struct flash` sees it.
 *
 * These parts have one bank: while a sector is erased (128 KB: 1 s, at most 2 s) or a word is programmed (16 us, at
 * most 100 us), whoever reads flash stands still. So the code that starts such an operation and waits for its end is in
 * RAM (.ramfunc), with interrupts off, because vectors and handlers are in flash; meanwhile it drains the receiver by
 * `drain`, and sends its `busy` frame five times a second. Supply of 2.7 V or more (words of 32 bits in one go), caches
 * off, as they are after a reset.
 *
 * An area that the running code lies in is neither erased nor programmed, whatever is asked.
 * Areas whose address is in RAM are memory, treated as flash would be: slots of emulated boards.
 *
 * The linker (csrc/firmware/build.py) says where the areas are:
 *
 *     sector   0 (16 KB)     1, 2 (16 KB each)   3 (16 KB), 4 (64 KB)   5 (128 KB)   6 (128 KB)
 *              boot loader   records of slots    persistent memory      slot A       slot B */
#ifndef DAWNLINE_FIRMWARE_FLASH_F4_H
#define DAWNLINE_FIRMWARE_FLASH_F4_H

#include "boards/slots.h"
#include "firmware/flash_nvm.h"

/* Takes what the UART has received; RAM_CODE, called with interrupts off. */
typedef void (*flash_f4_drain)(void);

/* The slots of this part; running: the one that this code is linked for. drain: NULL where nothing is received. */
void flash_f4_slots(struct slots *out, flash_f4_drain drain);

/* The persistent memory of this part; mounts it. */
void flash_f4_nvm(struct flash_nvm *out, flash_f4_drain drain);

#endif
