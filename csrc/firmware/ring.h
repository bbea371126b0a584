/* The bytes that a UART's interrupt has received and main has not taken yet, and what was lost on the way. */
#ifndef DAWNLINE_FIRMWARE_RING_H
#define DAWNLINE_FIRMWARE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "bus/bus_icd.h"

#define RING_BYTES 2048u /* a power of two */

/* From the interrupt, in RAM: a byte (counted as lost when there is no room), and the UART's error flags with it. */
void ring_push(uint8_t byte);
void ring_count_errors(uint32_t overrun, uint32_t framing, uint32_t noise);

/* From main: bytes that lie in one piece, and giving n of them back. */
size_t ring_peek(const uint8_t **bytes);
void ring_drop(size_t n);
int ring_is_empty(void);

/* Everything but stack_free. */
void ring_report(struct bus_hardware_report *out);

#endif
