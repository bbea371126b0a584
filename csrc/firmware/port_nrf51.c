/* The nRF51822 (Cortex-M0, 16 KiB of RAM: BBC micro:bit), as the example of a port to another part: UART0 at 1 Mbaud,
 * one interrupt per byte. Runs on QEMU's microbit and in Unicorn; on silicon it keeps nothing over a power cycle (its
 * flash controller is not driven). Registers: nRF51 Series Reference Manual 3.0. */
#include <string.h>

#include "firmware/cortexm.h"
#include "firmware/port.h"
#include "firmware/ring.h"
#include "firmware/semihost.h"

#define FICR_DEVICEID 0x10000060u
#define POWER_RESETREAS 0x40000400u
#define UART_STARTRX 0x40002000u
#define UART_STARTTX 0x40002008u
#define UART_RXDRDY 0x40002108u
#define UART_TXDRDY 0x4000211Cu
#define UART_ERROR 0x40002124u
#define UART_INTENSET 0x40002304u
#define UART_ERRORSRC 0x40002480u
#define UART_ENABLE 0x40002500u
#define UART_PSELTXD 0x4000250Cu
#define UART_PSELRXD 0x40002514u
#define UART_RXD 0x40002518u
#define UART_TXD 0x4000251Cu
#define UART_BAUDRATE 0x40002524u
#define TIMER_START 0x40008000u
#define TIMER_CAPTURE0 0x40008040u
#define TIMER_BITMODE 0x40008508u
#define TIMER_PRESCALER 0x40008510u
#define TIMER_CC0 0x40008540u
#define WDT_START 0x40010000u
#define WDT_CRV 0x40010504u
#define WDT_RREN 0x40010508u
#define WDT_CONFIG 0x4001050Cu
#define WDT_RR0 0x40010600u

#define UART_IRQ 2u
#define UART_ON 4u
#define BAUD_1M 0x10000000u
#define PIN_TX 24u /* of a micro:bit: to its USB interface */
#define PIN_RX 25u
#define ERROR_OVERRUN 1u
#define ERROR_FRAMING 4u
#define RESETREAS_DOG 2u
#define RESETREAS_PIN 1u
#define WDT_SECONDS 8u
#define WDT_RELOAD 0x6E524635u
#define QEMU_DEVICE_ID 0x12345678u /* the second word of every nRF51 in QEMU */

static int emulated;
static uint32_t warm __attribute__((section(".noinit")));
#define WARM_MAGIC 0x5741524Du /* "WARM" */

static void uart_handler(void) {
    while (*reg(UART_RXDRDY)) {
        *reg(UART_RXDRDY) = 0;
        ring_push((uint8_t)*reg(UART_RXD));
    }
    if (*reg(UART_ERROR)) {
        uint32_t source = *reg(UART_ERRORSRC);
        *reg(UART_ERROR) = 0;
        *reg(UART_ERRORSRC) = source;
        ring_count_errors(source & ERROR_OVERRUN, source & ERROR_FRAMING, 0);
    }
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15 + 26];
} vectors = {
    .stack = __stack_top,
    .handlers = {[0] = reset_handler,
                 [1] = fault_handler,
                 [2] = fault_handler,
                 [10] = fault_handler,
                 [13] = fault_handler,
                 [15 + UART_IRQ] = uart_handler},
};

static void start_uart(void) {
    *reg(UART_PSELTXD) = PIN_TX;
    *reg(UART_PSELRXD) = PIN_RX;
    *reg(UART_BAUDRATE) = BAUD_1M;
    *reg(UART_ENABLE) = UART_ON;
    *reg(UART_RXDRDY) = 0;
    *reg(UART_INTENSET) = 1u << 2 | 1u << 9; /* RXDRDY, ERROR */
    *reg(UART_STARTTX) = 1;
    *reg(UART_STARTRX) = 1;
    *reg(NVIC_ISER) = 1u << UART_IRQ;
}

/* It pauses while the core sleeps, so that nothing has to wake it. */
static void start_watchdog(void) {
    *reg(WDT_CRV) = WDT_SECONDS * 32768u - 1u;
    *reg(WDT_RREN) = 1;
    *reg(WDT_CONFIG) = 0;
    *reg(WDT_START) = 1;
}

static void start_timer(void) {
    *reg(TIMER_BITMODE) = 3;   /* 32 bit */
    *reg(TIMER_PRESCALER) = 4; /* 1 MHz */
    *reg(TIMER_START) = 1;
}

static uint8_t hardware_cause(void) {
    uint32_t reasons = *reg(POWER_RESETREAS);
    *reg(POWER_RESETREAS) = reasons;
    if (reasons & RESETREAS_DOG) {
        return BUS_RESET_CAUSE_WATCHDOG;
    }
    return reasons & RESETREAS_PIN ? BUS_RESET_CAUSE_BENCH : BUS_RESET_CAUSE_POWER_ON;
}

void port_start(struct port_facts *out) {
    emulated = *reg(FICR_DEVICEID + 4) == QEMU_DEVICE_ID;
    uint8_t kept = reset_cause_take();
    memset(out, 0, sizeof *out);
    if (!emulated) {
        memcpy(out->hardware_id, (const void *)FICR_DEVICEID, 8);
        out->reset_cause = hardware_cause();
    } else {
        (void)semihost_start(out);
    }
    if (emulated && warm == WARM_MAGIC) {
        out->reset_cause = BUS_RESET_CAUSE_BENCH;
    }
    out->reset_cause = kept != 0 ? kept : out->reset_cause;
    out->emulated = (uint8_t)emulated;
    warm = WARM_MAGIC;
    start_watchdog();
    start_timer();
    start_uart();
}

void port_identify(struct port_facts *out) {
    if (emulated) {
        semihost_identify(out);
    } else {
        memset(out, 0, sizeof *out);
        memcpy(out->hardware_id, (const void *)FICR_DEVICEID, 8);
    }
}

void port_tx(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        *reg(UART_TXDRDY) = 0;
        *reg(UART_TXD) = bytes[i];
        while (!*reg(UART_TXDRDY)) {
        }
    }
}

void port_crash_tx(const uint8_t *bytes, size_t n) {
    *reg(UART_ENABLE) = UART_ON;
    *reg(UART_STARTTX) = 1;
    port_tx(bytes, n);
}

void port_keep_alive(void) {
    *reg(WDT_RR0) = WDT_RELOAD;
}

void port_idle(void) {
    irq_off();
    if (ring_is_empty()) {
        wait_for_interrupt(); /* wakes on a pending interrupt, which is taken below */
    }
    irq_on();
}

uint32_t port_time_us(void) {
    *reg(TIMER_CAPTURE0) = 1;
    return *reg(TIMER_CC0);
}

_Noreturn void port_reset(uint8_t cause) {
    reset_cause_keep(cause);
    core_reset();
}

int port_nvm_read(uint32_t offset, uint8_t *out, size_t n) {
    return emulated ? semihost_read(offset, out, n) : -1;
}

int port_nvm_write(uint32_t offset, const uint8_t *in, size_t n) {
    return emulated ? semihost_write(offset, in, n) : -1;
}

const struct slots *port_slots(void) {
    return NULL;
}
