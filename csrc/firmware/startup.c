/* From reset to main, and from a fault to the next reset. The same for every Cortex-M. */
#include <string.h>

#include "bus/frame.h"
#include "firmware/cortexm.h"
#include "firmware/main.h"
#include "firmware/port.h"

#define KEPT_MAGIC 0x4B455054u /* "KEPT" */

/* Not cleared at start: a reset leaves it as it was, power that comes on leaves anything. */
static struct {
    uint32_t magic, cause, check;
} kept __attribute__((section(".noinit")));

void reset_cause_keep(uint8_t cause) {
    kept.magic = KEPT_MAGIC;
    kept.cause = cause;
    kept.check = ~(uint32_t)cause;
}

uint8_t reset_cause_take(void) {
    int whole = kept.magic == KEPT_MAGIC && kept.check == ~kept.cause;
    uint8_t cause = whole ? (uint8_t)kept.cause : 0;
    kept.magic = 0;
    return cause;
}

_Noreturn void core_reset(void) {
    __asm volatile("dsb" ::: "memory");
    *reg(SCB_AIRCR) = AIRCR_RESET;
    for (;;) {
        __asm volatile("dsb" ::: "memory");
    }
}

uint16_t stack_free(void) {
    const uint32_t *p = __stack_limit;
    while (p < __stack_top && *p == STACK_PAINT) {
        ++p;
    }
    return (uint16_t)((size_t)(p - __stack_limit) * sizeof *p);
}

static void paint_stack(void) {
    uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    for (uint32_t *p = __stack_limit; p < here - 16; ++p) {
        *p = STACK_PAINT;
    }
}

void ram_code_refresh(void) {
    const uint32_t *from = __data_load + (__ramfunc_start - __data_start);
    for (uint32_t *to = __ramfunc_start; to < __data_end; ++to, ++from) {
        if (*to != *from) {
            *to = *from;
        }
    }
}

_Noreturn void reset_handler(void) {
    for (uint32_t *to = __data_start, *from = __data_load; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *p = __bss_start; p < __bss_end;) {
        *p++ = 0;
    }
    paint_stack();
    firmware_main();
}

/* ---- faults */

/* frame: what the core pushed (r0-r3, r12, lr, pc, psr); NULL when the stack cannot be trusted. */
static _Noreturn __attribute__((used)) void crash(const uint32_t *frame, uint32_t exception) {
    struct bus_crash m = {.exception = (uint8_t)exception};
#if defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_7M__)
    m.cfsr = *reg(SCB_CFSR);
    m.fault_address = m.cfsr & CFSR_MMARVALID ? *reg(SCB_MMFAR) : m.cfsr & CFSR_BFARVALID ? *reg(SCB_BFAR) : 0;
#endif
    uintptr_t at = (uintptr_t)frame, top = (uintptr_t)__stack_top;
    int on_stack = at >= (uintptr_t)__stack_limit && at <= top - 8 * sizeof *frame; /* at + 32 could wrap */
    if (on_stack) {
        m.lr = frame[5];
        m.pc = frame[6];
    }
    uint8_t payload[BUS_MAX_PAYLOAD], wire[BUS_MAX_WIRE];
    size_t n = bus_crash_encode(&m, payload);
    struct bus_header h = firmware_crash_header((uint8_t)n);
    port_crash_tx(wire, bus_frame_encode(&h, payload, wire));
    reset_cause_keep(BUS_RESET_CAUSE_CRASH);
    core_reset();
}

/* The stack may be what broke: the report is made on a fresh one, from its top. */
__attribute__((naked)) void fault_handler(void) {
    __asm volatile("cpsid i\n\t"
                   "mrs r0, msp\n\t"
                   "mrs r1, ipsr\n\t"
                   "ldr r2, =__stack_top\n\t"
                   "mov sp, r2\n\t"
                   "ldr r2, =%c0\n\t"
                   "bx r2\n\t" ::"i"(crash));
}
