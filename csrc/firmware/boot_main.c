/* The boot loader of the STM32F4, in sector 0: it decides which image to start (boot.h) and starts it. It waits for
 * nothing, talks to nobody, and leaves every peripheral but the watchdog as it is after a reset.
 *
 * An image in its trial is watched from here on: unless somebody confirms it in time, the watchdog ends it. */
#include "firmware/boot.h"
#include "firmware/cortexm.h"
#include "firmware/flash_f4.h"

#define IWDG_KR 0x40003000u
#define IWDG_PR 0x40003004u
#define IWDG_RLR 0x40003008u

/* What comes before a decision: nothing. Boards whose slots are in RAM have their own (ram_slots/cold_start.c). */
void boot_prepare(void);
__attribute__((weak)) void boot_prepare(void) {
}

static void boot_fault(void) {
    *reg(SCB_AIRCR) = AIRCR_RESET;
    for (;;) {
    }
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15];
} vectors = {
    .stack = __stack_top,
    .handlers =
        {
            [0] = reset_handler,
            [1] = boot_fault,
            [2] = boot_fault,
            [3] = boot_fault,
            [4] = boot_fault,
            [5] = boot_fault,
        },
};

/* About 8 s; it cannot be stopped again. */
static void start_watchdog(void) {
    *reg(IWDG_KR) = 0xCCCCu;
    *reg(IWDG_KR) = 0x5555u;
    *reg(IWDG_PR) = 4; /* divide by 64 */
    *reg(IWDG_RLR) = 0xFFFu;
    *reg(IWDG_KR) = 0xAAAAu;
}

static _Noreturn void start_image(uint32_t base) {
    const uint32_t *image = (const uint32_t *)(uintptr_t)base;
    uint32_t stack = image[0], entry = image[1];
    *reg(SCB_VTOR) = base;
    __asm volatile("dsb\n\tisb\n\tmsr msp, %0\n\tbx %1" ::"r"(stack), "r"(entry) : "memory");
    __builtin_unreachable();
}

/* No slot holds an image: only a debugger can bring one. Named as in images, so that emulators know it. */
void port_idle(void);
__attribute__((noinline)) void port_idle(void) {
    wait_for_interrupt();
}

_Noreturn void reset_handler(void) {
    for (uint32_t *to = __data_start, *from = __data_load; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *p = __bss_start; p < __bss_end;) {
        *p++ = 0;
    }
    boot_prepare();
    struct slots slots;
    flash_f4_slots(&slots, NULL);
    struct boot_choice choice = boot_choose(&slots, BOARD_KIND);
    if (choice.slot > SLOT_B) {
        for (;;) {
            port_idle();
        }
    }
    if (choice.on_trial) {
        start_watchdog();
    }
    start_image(slots.base[choice.slot]);
}
