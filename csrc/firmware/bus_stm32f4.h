/* Analogue pins and I2C devices of an STM32F4, polled. Unproven on silicon. */
#ifndef DAWNLINE_FIRMWARE_BUS_STM32F4_H
#define DAWNLINE_FIRMWARE_BUS_STM32F4_H

#include <stddef.h>
#include <stdint.h>

void bus_start(void);

/* Millivolts at ADC1 input `channel` (0 to 7: PA0 to PA7; PA2 and PA3 are the UART's). 0 when the ADC does not answer.
 */
uint32_t bus_adc_mv(uint8_t channel);

/* Registers of an I2C1 device (PB6, PB7), little-endian from `first` on. 0, or -1: it does not acknowledge. */
int bus_i2c_read(uint8_t device, uint8_t first, uint8_t *out, size_t n);
int bus_i2c_write(uint8_t device, uint8_t first, const uint8_t *in, size_t n);

#endif
