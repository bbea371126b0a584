#include "firmware/flash_f4.h"

#include <string.h>

#include "firmware/cortexm.h"

#define FLASH_KEYR 0x40023C04u
#define FLASH_SR 0x40023C0Cu
#define FLASH_CR 0x40023C10u
#define KEY1 0x45670123u
#define KEY2 0xCDEF89ABu
#define SR_BSY (1u << 16)
#define SR_ERRORS (1u << 7 | 1u << 6 | 1u << 5 | 1u << 4 | 1u << 1) /* PGSERR, PGPERR, PGAERR, WRPERR, OPERR */
#define CR_PG (1u << 0)
#define CR_SER (1u << 1)
#define CR_SNB(sector) ((uint32_t)(sector) << 3)
#define CR_X8 (0u << 8)
#define CR_X32 (2u << 8)
#define CR_STRT (1u << 16)
#define CR_LOCK (1u << 31)
#define USART2_SR 0x40004400u
#define USART2_DR 0x40004404u
#define USART_TXE (1u << 7)

#define RAM_ORIGIN 0x20000000u
#define BUSY_PERIOD (16000000u / 5) /* core clocks between two busy frames */

/* Addresses and sizes of the areas; the sizes are the symbols' values. */
extern uint8_t __slot_a[], __slot_b[], __slot_bytes[], __slot_log[], __slot_other_log[], __slot_log_bytes[];
extern uint8_t __nvm_area[], __nvm_area_bytes[], __nvm_other_area[], __nvm_other_area_bytes[];

enum { NVM_AREA = SLOT_AREAS, NVM_OTHER_AREA, AREAS };

static uint32_t number(const uint8_t *symbol) {
    return (uint32_t)(uintptr_t)symbol;
}

static uint8_t *area_at(unsigned area) {
    switch (area) {
    case SLOT_A:
        return __slot_a;
    case SLOT_B:
        return __slot_b;
    case SLOT_LOG:
        return __slot_log;
    case SLOT_OTHER_LOG:
        return __slot_other_log;
    case NVM_AREA:
        return __nvm_area;
    default:
        return __nvm_other_area;
    }
}

static uint32_t area_bytes(unsigned area) {
    return number(area <= SLOT_B           ? __slot_bytes
                  : area <= SLOT_OTHER_LOG ? __slot_log_bytes
                  : area == NVM_AREA       ? __nvm_area_bytes
                                           : __nvm_other_area_bytes);
}

static int is_outside(unsigned area, uint32_t offset, size_t n) {
    return area >= AREAS || offset > area_bytes(area) || n > area_bytes(area) - offset;
}

/* The code that runs reaches into the area, as an image that is too large for where it was put does. */
static int is_own(unsigned area) {
    uint32_t begin = number(area_at(area)), end = begin + area_bytes(area);
    return number(__image_start) < end && number(__image_end) > begin;
}

static int is_memory(const uint8_t *address) {
    return number(address) >= RAM_ORIGIN;
}

/* Sectors 0 to 3 have 16 KB, 4 has 64 KB, all others 128 KB. */
static unsigned sector_of(const uint8_t *address) {
    uint32_t offset = number(address) & 0x00FFFFFFu;
    return offset < 0x10000u ? offset / 0x4000u : offset < 0x20000u ? 4u : 4u + offset / 0x20000u;
}

/* ---- what runs while flash is busy */

struct operation {
    uint32_t control; /* FLASH_CR; with CR_STRT it starts the operation, else the store to `at` does */
    volatile uint8_t *at;
    uint32_t value;
    flash_f4_drain drain;
    const uint8_t *busy;
    size_t busy_bytes;
};

/* Returns FLASH_SR as it is at the end. */
RAM_CODE static uint32_t perform(const struct operation *o) {
    uint32_t last = *reg(SYST_CVR), elapsed = 0;
    size_t sent = o->busy_bytes; /* of the frame that is on its way */
    *reg(FLASH_CR) = o->control & ~CR_STRT;
    if (o->control & CR_STRT) {
        *reg(FLASH_CR) = o->control;
    } else if (o->control & CR_X32) {
        *(volatile uint32_t *)(volatile void *)o->at = o->value;
    } else {
        *o->at = (uint8_t)o->value;
    }
    __asm volatile("dsb" ::: "memory");
    while (*reg(FLASH_SR) & SR_BSY || sent < o->busy_bytes) {
        uint32_t now = *reg(SYST_CVR); /* counts down, and begins anew with SYST_RVR */
        elapsed += last >= now ? last - now : last + *reg(SYST_RVR) + 1 - now;
        last = now;
        if (o->drain != NULL) {
            o->drain();
        }
        if (sent < o->busy_bytes && *reg(USART2_SR) & USART_TXE) {
            *reg(USART2_DR) = o->busy[sent++];
        } else if (sent == o->busy_bytes && elapsed >= BUSY_PERIOD) {
            sent = elapsed = 0;
        }
    }
    return *reg(FLASH_SR);
}

/* Unlocks, performs, locks. 0, or -1 when the controller names an error. */
static int run(const struct operation *o) {
    if (*reg(FLASH_CR) & CR_LOCK) {
        *reg(FLASH_KEYR) = KEY1;
        *reg(FLASH_KEYR) = KEY2;
    }
    *reg(FLASH_SR) = SR_ERRORS; /* of an earlier operation: cleared by writing ones */
    irq_off();
    uint32_t status = perform(o);
    irq_on();
    *reg(FLASH_CR) = CR_LOCK;
    return status & SR_ERRORS ? -1 : 0;
}

/* ---- struct flash: ctx is a pointer to the drain function */

static int erase(void *ctx, unsigned area, const uint8_t *busy, size_t n) {
    if (is_outside(area, 0, 0) || is_own(area)) {
        return -1;
    }
    if (is_memory(area_at(area))) {
        memset(area_at(area), 0xFF, area_bytes(area));
        return 0;
    }
    struct operation o = {.control = CR_SER | CR_SNB(sector_of(area_at(area))) | CR_X32 | CR_STRT,
                          .drain = *(const flash_f4_drain *)ctx,
                          .busy = busy,
                          .busy_bytes = n};
    return run(&o);
}

static uint32_t word_at(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Programs the word or the byte that begins at `to`; returns its size, or 0 when it failed. */
static size_t program_one(flash_f4_drain drain, uint8_t *to, const uint8_t *bytes, size_t left) {
    int is_word = left >= 4 && number(to) % 4 == 0;
    struct operation o = {.control = CR_PG | (is_word ? CR_X32 : CR_X8),
                          .at = to,
                          .value = is_word ? word_at(bytes) : bytes[0],
                          .drain = drain};
    size_t size = is_word ? 4 : 1;
    int is_there = memcmp(to, bytes, size) == 0;
    return is_there || run(&o) == 0 ? size : 0;
}

static int program(void *ctx, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n) {
    if (is_outside(area, offset, n) || is_own(area)) {
        return -1;
    }
    uint8_t *to = area_at(area) + offset;
    for (size_t i = 0; i < n;) {
        if (is_memory(to)) {
            to[i] &= bytes[i];
            ++i;
            continue;
        }
        size_t done = program_one(*(const flash_f4_drain *)ctx, to + i, bytes + i, n - i);
        if (done == 0) {
            return -1;
        }
        i += done;
    }
    return 0;
}

static int read(void *ctx, unsigned area, uint32_t offset, uint8_t *out, size_t n) {
    (void)ctx;
    if (is_outside(area, offset, n)) {
        return -1;
    }
    memcpy(out, area_at(area) + offset, n);
    return 0;
}

static struct flash flash_with(flash_f4_drain drain) {
    static flash_f4_drain kept;
    kept = drain;
    return (struct flash){&kept, erase, program, read};
}

void flash_f4_slots(struct slots *out, flash_f4_drain drain) {
    uint32_t here = number(__image_start);
    *out = (struct slots){.flash = flash_with(drain),
                          .base = {number(__slot_a), number(__slot_b)},
                          .slot_bytes = number(__slot_bytes),
                          .log_bytes = number(__slot_log_bytes)};
    out->running = here == out->base[SLOT_A] ? SLOT_A : here == out->base[SLOT_B] ? SLOT_B : BUS_IMAGE_SLOT_NONE;
}

void flash_f4_nvm(struct flash_nvm *out, flash_f4_drain drain) {
    *out = (struct flash_nvm){.flash = flash_with(drain),
                              .areas = {NVM_AREA, NVM_OTHER_AREA},
                              .sizes = {area_bytes(NVM_AREA), area_bytes(NVM_OTHER_AREA)}};
    flash_nvm_mount(out);
}
