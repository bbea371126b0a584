/* Registers: RM0090, sections 13 (ADC) and 27 (I2C). Every wait ends after WAIT turns: a broken device costs time,
 * never the board. */
#include "firmware/bus_stm32f4.h"

#include "firmware/cortexm.h"

#define RCC_AHB1ENR 0x40023830u
#define RCC_APB1ENR 0x40023840u
#define RCC_APB2ENR 0x40023844u
#define GPIOA_MODER 0x40020000u
#define GPIOB_MODER 0x40020400u
#define GPIOB_OTYPER 0x40020404u
#define GPIOB_AFRL 0x40020420u
#define ADC_SR 0x40012000u
#define ADC_CR2 0x40012008u
#define ADC_SMPR2 0x40012010u
#define ADC_SQR1 0x4001202Cu
#define ADC_SQR3 0x40012034u
#define ADC_DR 0x4001204Cu
#define I2C_CR1 0x40005400u
#define I2C_CR2 0x40005404u
#define I2C_DR 0x40005410u
#define I2C_SR1 0x40005414u
#define I2C_SR2 0x40005418u
#define I2C_CCR 0x4000541Cu
#define I2C_TRISE 0x40005420u

#define ADC_EOC (1u << 1)
#define ADC_ON 1u
#define ADC_SWSTART (1u << 30)
#define I2C_PE 1u
#define I2C_START (1u << 8)
#define I2C_STOP (1u << 9)
#define I2C_ACK (1u << 10)
#define I2C_SB 1u
#define I2C_ADDR (1u << 1)
#define I2C_RXNE (1u << 6)
#define I2C_TXE (1u << 7)
#define I2C_AF (1u << 10)

#define REFERENCE_MV 3300u
#define FULL_SCALE 4095u
#define WAIT 2000u

void bus_start(void) {
    *reg(RCC_AHB1ENR) |= 3u;       /* GPIOA, GPIOB */
    *reg(RCC_APB1ENR) |= 1u << 21; /* I2C1 */
    *reg(RCC_APB2ENR) |= 1u << 8;  /* ADC1 */
    (void)*reg(RCC_APB2ENR);       /* the clock needs two cycles to arrive */
    *reg(GPIOA_MODER) |= 0xFF0Fu;  /* PA0, PA1, PA4 to PA7: analogue */
    *reg(GPIOB_MODER) |= 0xA000u;  /* PB6, PB7: alternate function 4, open drain */
    *reg(GPIOB_OTYPER) |= 0xC0u;
    *reg(GPIOB_AFRL) |= 0x44000000u;
    *reg(ADC_SMPR2) = 0x00FFFFFFu; /* the longest sampling: sources of some kOhm */
    *reg(ADC_SQR1) = 0;            /* one conversion */
    *reg(ADC_CR2) = ADC_ON;
    *reg(I2C_CR2) = 16; /* APB1 at 16 MHz */
    *reg(I2C_CCR) = 80; /* 100 kHz */
    *reg(I2C_TRISE) = 17;
    *reg(I2C_CR1) = I2C_PE;
}

static int wait_for(uint32_t address, uint32_t bits) {
    for (uint32_t i = 0; i < WAIT; ++i) {
        if (*reg(address) & bits) {
            return 0;
        }
    }
    return -1;
}

uint32_t bus_adc_mv(uint8_t channel) {
    *reg(ADC_SQR3) = channel;
    *reg(ADC_CR2) = ADC_ON | ADC_SWSTART;
    if (wait_for(ADC_SR, ADC_EOC) != 0) {
        return 0;
    }
    return (*reg(ADC_DR) & FULL_SCALE) * REFERENCE_MV / FULL_SCALE;
}

/* Start condition and address; direction 1: the device sends. */
static int address(uint8_t device, uint8_t direction) {
    *reg(I2C_CR1) = I2C_PE | I2C_START | I2C_ACK;
    if (wait_for(I2C_SR1, I2C_SB) != 0) {
        return -1;
    }
    *reg(I2C_DR) = (uint32_t)(device << 1 | direction);
    if (wait_for(I2C_SR1, I2C_ADDR) != 0) {
        *reg(I2C_SR1) = 0; /* no acknowledge */
        return -1;
    }
    (void)*reg(I2C_SR2); /* reading both clears ADDR */
    return 0;
}

static int put(uint8_t byte) {
    if (wait_for(I2C_SR1, I2C_TXE) != 0) {
        return -1;
    }
    *reg(I2C_DR) = byte;
    return *reg(I2C_SR1) & I2C_AF ? -1 : 0;
}

static int stop(int result) {
    *reg(I2C_CR1) = I2C_PE | I2C_STOP;
    return result;
}

int bus_i2c_write(uint8_t device, uint8_t first, const uint8_t *in, size_t n) {
    int bad = address(device, 0) != 0 || put(first) != 0;
    for (size_t i = 0; i < n && !bad; ++i) {
        bad = put(in[i]) != 0;
    }
    bad = bad || wait_for(I2C_SR1, I2C_TXE) != 0;
    return stop(bad ? -1 : 0);
}

int bus_i2c_read(uint8_t device, uint8_t first, uint8_t *out, size_t n) {
    int bad = address(device, 0) != 0 || put(first) != 0 || address(device, 1) != 0;
    for (size_t i = 0; i < n && !bad; ++i) {
        if (i + 1 == n) {
            *reg(I2C_CR1) = I2C_PE | I2C_STOP; /* no acknowledge behind the last byte */
        }
        bad = wait_for(I2C_SR1, I2C_RXNE) != 0;
        out[i] = bad ? 0 : (uint8_t)*reg(I2C_DR);
    }
    return bad ? stop(-1) : 0;
}
