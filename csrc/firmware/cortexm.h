/* The parts of a Cortex-M core that every port shares (ARMv6-M and ARMv7-M). */
#ifndef DAWNLINE_FIRMWARE_CORTEXM_H
#define DAWNLINE_FIRMWARE_CORTEXM_H

#include <stddef.h>
#include <stdint.h>

/* A register, by its address. Always inlined: code in RAM uses it while flash cannot be read. */
static inline __attribute__((always_inline)) volatile uint32_t *reg(uint32_t address) {
    return (volatile uint32_t *)(uintptr_t)address;
}

#define SYST_CSR 0xE000E010u
#define SYST_RVR 0xE000E014u
#define SYST_CVR 0xE000E018u
#define NVIC_ISER 0xE000E100u
#define SCB_VTOR 0xE000ED08u
#define SCB_AIRCR 0xE000ED0Cu
#define SCB_CFSR 0xE000ED28u
#define SCB_MMFAR 0xE000ED34u
#define SCB_BFAR 0xE000ED38u

#define AIRCR_RESET 0x05FA0004u /* VECTKEY, SYSRESETREQ */
#define CFSR_MMARVALID (1u << 7)
#define CFSR_BFARVALID (1u << 15)

/* Code that runs while flash cannot be read: it calls nothing that is not RAM_CODE, or inlined, as well. */
#define RAM_CODE __attribute__((section(".ramfunc"), noinline))

/* Puts it right where bits of it have flipped: called between two pieces of work. */
void ram_code_refresh(void);

static inline void irq_off(void) {
    __asm volatile("cpsid i" ::: "memory");
}

static inline void irq_on(void) {
    __asm volatile("cpsie i\n\tisb" ::: "memory");
}

/* Always within its caller: an emulator finds a board's only place of rest in port_idle. */
static inline __attribute__((always_inline)) void wait_for_interrupt(void) {
    __asm volatile("dsb\n\twfi" ::: "memory");
}

/* Symbols of the linker script. */
extern uint32_t __data_load[], __data_start[], __ramfunc_start[], __data_end[], __bss_start[], __bss_end[],
    __stack_limit[], __stack_top[];
extern const uint8_t __image_start[], __image_end[];

#define STACK_PAINT 0xC5C5C5C5u

/* Bytes of the stack that were never used. */
uint16_t stack_free(void);

/* What survives a reset that this firmware asked for: the cause that the next boot reports. */
void reset_cause_keep(uint8_t cause);

/* The kept cause, or 0; it is forgotten. */
uint8_t reset_cause_take(void);

/* Asks the core for a reset. */
_Noreturn void core_reset(void);

/* What a port's vector table points to beside its own interrupts. */
_Noreturn void reset_handler(void);
void fault_handler(void);

#endif
