/* The STM32F405, F407 and F446 from their internal 16 MHz oscillator: USART2 (PA2, PA3), one interrupt per byte into a
 * ring, no DMA. The same image runs on QEMU's netduinoplus2 and in hal's Unicorn back end, where there is no RCC: that
 * is how it knows. Register addresses and bits: RM0090 (F405/F407), RM0390 (F446). */
#include <string.h>

#include "firmware/cortexm.h"
#include "firmware/flash_f4.h"
#include "firmware/port.h"
#include "firmware/ring.h"
#include "firmware/semihost.h"

#define RCC_CR 0x40023800u
#define RCC_AHB1ENR 0x40023830u
#define RCC_APB1ENR 0x40023840u
#define RCC_CSR 0x40023874u
#define GPIOA_MODER 0x40020000u
#define GPIOA_PUPDR 0x4002000Cu
#define GPIOA_AFRL 0x40020020u
#define USART2_SR 0x40004400u
#define USART2_DR 0x40004404u
#define USART2_BRR 0x40004408u
#define USART2_CR1 0x4000440Cu
#define IWDG_KR 0x40003000u
#define IWDG_PR 0x40003004u
#define IWDG_RLR 0x40003008u
#define UNIQUE_ID 0x1FFF7A10u

#define RCC_CR_HSIRDY (1u << 1)
#define RCC_CSR_RMVF (1u << 24)
#define RCC_CSR_BORRSTF (1u << 25)
#define RCC_CSR_PORRSTF (1u << 27)
#define RCC_CSR_IWDGRSTF (1u << 29)
#define USART_NE (1u << 2)
#define USART_FE (1u << 1)
#define USART_ORE (1u << 3)
#define USART_RXNE (1u << 5)
#define USART_TC (1u << 6)
#define USART_TXE (1u << 7)
#define USART_CR1_ON (1u << 13 | 1u << 5 | 1u << 3 | 1u << 2) /* UE, RXNEIE, TE, RE */
#define USART2_IRQ 38u

#define HSI_HZ 16000000u
#ifndef BAUD
#define BAUD 1000000u
#endif
#if IMAGE_FLAVOUR == 1
#define SYSTICK_RELOAD (HSI_HZ / 1000 - 1) /* a board that flies steps by it */
#else
#define SYSTICK_RELOAD 0xFFFFFFu /* the longest, about 1 s: it only keeps the watchdog content */
#endif
#define WARM_MAGIC 0x5741524Du /* "WARM" */

static struct flash_nvm nvm;
static volatile uint32_t systicks;

/* Not cleared at start: a board that was on before it was reset. */
static uint32_t warm __attribute__((section(".noinit")));

/* ---- interrupts */

/* Reading SR, then DR clears every flag, the overrun alone as well: without it the interrupt would never end.
 * In RAM, because it also drains while flash is being erased. */
RAM_CODE static void usart_handler(void) {
    uint32_t sr;
    while ((sr = *reg(USART2_SR)) & (USART_RXNE | USART_ORE)) {
        uint8_t byte = (uint8_t)*reg(USART2_DR);
        ring_count_errors(sr & USART_ORE, sr & USART_FE, sr & USART_NE);
        if (sr & USART_RXNE) {
            ring_push(byte);
        }
    }
}

static void systick_handler(void) {
    ++systicks;
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15 + 98];
} vectors = {
    .stack = __stack_top,
    .handlers =
        {
            [0] = reset_handler,
            [1] = fault_handler,  /* NMI */
            [2] = fault_handler,  /* hard fault */
            [3] = fault_handler,  /* memory */
            [4] = fault_handler,  /* bus */
            [5] = fault_handler,  /* usage */
            [10] = fault_handler, /* SVC, debug, PendSV: nobody calls them */
            [11] = fault_handler,
            [13] = fault_handler,
            [14] = systick_handler,
            [15 + USART2_IRQ] = usart_handler,
        },
};

/* ---- start */

static void start_uart(void) {
    *reg(RCC_AHB1ENR) |= 1u;                                  /* GPIOA */
    *reg(RCC_APB1ENR) |= 1u << 17;                            /* USART2 */
    (void)*reg(RCC_APB1ENR);                                  /* the clock needs two cycles to arrive */
    *reg(GPIOA_MODER) = (*reg(GPIOA_MODER) & ~0xF0u) | 0xA0u; /* PA2, PA3: alternate function */
    *reg(GPIOA_AFRL) = (*reg(GPIOA_AFRL) & ~0xFF00u) | 0x7700u;
    *reg(GPIOA_PUPDR) = (*reg(GPIOA_PUPDR) & ~0xC0u) | 0x40u; /* an open line reads as idle */
    *reg(USART2_BRR) = (HSI_HZ + BAUD / 2) / BAUD;
    *reg(USART2_CR1) = USART_CR1_ON;
    *reg(NVIC_ISER + 4 * (USART2_IRQ / 32)) = 1u << USART2_IRQ % 32;
}

/* About 8 s of its own 32 kHz oscillator; it cannot be stopped again. */
static void start_watchdog(void) {
    *reg(IWDG_KR) = 0xCCCCu;
    *reg(IWDG_KR) = 0x5555u;
    *reg(IWDG_PR) = 4; /* divide by 64 */
    *reg(IWDG_RLR) = 0xFFFu;
    *reg(IWDG_KR) = 0xAAAAu;
}

static void start_systick(void) {
    *reg(SYST_RVR) = SYSTICK_RELOAD;
    *reg(SYST_CVR) = 0;
    *reg(SYST_CSR) = 7; /* core clock, interrupt, on */
}

/* Asked each time: a variable could flip. */
static int is_emulated(void) {
    return !(*reg(RCC_CR) & RCC_CR_HSIRDY);
}

/* What RCC says of the last reset; it is forgotten. */
static uint32_t reset_flags(void) {
    uint32_t csr = *reg(RCC_CSR);
    *reg(RCC_CSR) |= RCC_CSR_RMVF;
    return csr;
}

static uint8_t hardware_cause(uint32_t csr) {
    if (csr & RCC_CSR_IWDGRSTF) {
        return BUS_RESET_CAUSE_WATCHDOG;
    }
    if (csr & RCC_CSR_PORRSTF) {
        return BUS_RESET_CAUSE_POWER_ON;
    }
    return csr & RCC_CSR_BORRSTF ? BUS_RESET_CAUSE_BROWN_OUT : BUS_RESET_CAUSE_BENCH;
}

/* An emulator gives the cause of the first start; a reset from outside tells itself by the memory that survived. Of RCC
 * it has at most the flag of the watchdog. */
static uint8_t emulated_cause(uint32_t csr, uint8_t first) {
    if (csr & RCC_CSR_IWDGRSTF) {
        return BUS_RESET_CAUSE_WATCHDOG;
    }
    return warm == WARM_MAGIC ? BUS_RESET_CAUSE_BENCH : first;
}

void port_start(struct port_facts *out) {
    int emulated = is_emulated();
    uint8_t kept = reset_cause_take();
    uint32_t csr = reset_flags();
    memset(out, 0, sizeof *out);
    if (emulated) {
        (void)semihost_start(out);
        out->reset_cause = emulated_cause(csr, out->reset_cause);
    } else {
        memcpy(out->hardware_id, (const void *)UNIQUE_ID, sizeof out->hardware_id);
        out->reset_cause = hardware_cause(csr);
        flash_f4_nvm(&nvm, usart_handler);
    }
    out->reset_cause = kept != 0 ? kept : out->reset_cause;
    out->emulated = (uint8_t)emulated;
    warm = WARM_MAGIC;
    start_watchdog();
    start_systick();
    start_uart();
}

void port_identify(struct port_facts *out) {
    if (is_emulated()) {
        semihost_identify(out);
    } else {
        memcpy(out->hardware_id, (const void *)UNIQUE_ID, sizeof out->hardware_id);
        out->role = BUS_ADDRESS_NONE;
    }
}

/* ---- the line */

void port_tx(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        while (!(*reg(USART2_SR) & USART_TXE)) {
        }
        *reg(USART2_DR) = bytes[i];
    }
}

void port_crash_tx(const uint8_t *bytes, size_t n) {
    *reg(USART2_CR1) = USART_CR1_ON;
    port_tx(bytes, n);
    while (!(*reg(USART2_SR) & USART_TC)) {
    }
}

void port_keep_alive(void) {
    *reg(IWDG_KR) = 0xAAAAu;
}

void port_idle(void) {
    irq_off();
    if (ring_is_empty()) {
        wait_for_interrupt(); /* wakes on a pending interrupt, which is taken below */
    }
    irq_on();
}

uint32_t port_time_us(void) {
    return systicks * ((SYSTICK_RELOAD + 1) / (HSI_HZ / 1000000));
}

_Noreturn void port_reset(uint8_t cause) {
    while (!(*reg(USART2_SR) & USART_TC)) {
    }
    reset_cause_keep(cause);
    core_reset();
}

/* ---- persistent memory */

int port_nvm_read(uint32_t offset, uint8_t *out, size_t n) {
    return is_emulated() ? semihost_read(offset, out, n) : flash_nvm_read(&nvm, offset, out, n);
}

int port_nvm_write(uint32_t offset, const uint8_t *in, size_t n) {
    return is_emulated() ? semihost_write(offset, in, n) : flash_nvm_write(&nvm, offset, in, n);
}

const struct slots *port_slots(void) {
    static struct slots slots;
    flash_f4_slots(&slots, usart_handler);
    return slots.running == BUS_IMAGE_SLOT_NONE ? NULL : &slots;
}
