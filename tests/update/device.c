/* A board with its flash, for tests: csrc/boards behind csrc/firmware/boot.c, over memory that behaves as flash does
 * and loses its power at a given moment.
 *
 * The moment is counted in units: one for each byte that is programmed and ERASE_UNITS for an area that is erased.
 * When it is over, everything that is called does nothing and fails, and nothing more is sent, until the power is back.
 */
#include <stdlib.h>
#include <string.h>

#include "boards/board.h"
#include "boards/bytes.h"
#include "boards/flash.h"
#include "boards/slots.h"
#include "bus/bus_icd.h"
#include "firmware/boot.h"

struct device;
struct flash device_flash(struct device *d); /* for nvm_device.c */

enum { ERASE_UNITS = 16, SENT_BYTES = 1 << 16, WORD = 4 };

/* What is left of what was being written when the power failed. TORN_PREFIX: exactly what was done before. TORN_BITS:
 * also, in the word that was being programmed, some of the bits that were to become 0; of an erasure, some bits that
 * were to become 1. TORN_GARBAGE: in that word some bits that were to stay 1 are 0 too; of an erasure, anything. */
enum { TORN_PREFIX = 0, TORN_BITS = 1, TORN_GARBAGE = 2 };

struct device {
    struct slots slots;
    struct board_identity id;
    struct board *board;
    uint8_t *area[SLOT_AREAS];
    uint8_t nvm[BOARD_NVM_BYTES];
    uint8_t sent[SENT_BYTES];
    size_t used;
    uint8_t running, on_trial, dead, torn;
    long long left; /* units until the power fails; negative: never */
    long long units;
    uint32_t operations, violations, busy_frames;
    uint64_t random;
};

/* ---- power, chance */

static uint32_t chance(struct device *d) {
    d->random = d->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(d->random >> 33);
}

/* Uses up units; 1 when the power fails within them, which are then `*done`. */
static int fails_within(struct device *d, long long units, long long *done) {
    d->units += units;
    if (d->left < 0 || d->left >= units) {
        d->left -= d->left < 0 ? 0 : units;
        return 0;
    }
    *done = d->left;
    d->left = 0;
    d->dead = 1;
    return 1;
}

/* ---- flash */

static uint32_t size_of(const struct device *d, unsigned area) {
    return area <= SLOT_B ? d->slots.slot_bytes : d->slots.log_bytes;
}

static void tear_erasure(struct device *d, uint8_t *bytes, uint32_t size, uint32_t done) {
    memset(bytes, 0xFF, done);
    for (uint32_t i = done; d->torn != TORN_PREFIX && i < size; ++i) {
        uint8_t any = (uint8_t)(chance(d) & chance(d));
        bytes[i] = d->torn == TORN_BITS ? bytes[i] | any : (uint8_t)chance(d);
    }
}

static int erase(void *ctx, unsigned area, const uint8_t *busy, size_t n) {
    struct device *d = ctx;
    long long done;
    if (d->dead) {
        return -1;
    }
    d->violations += area == d->running;
    d->busy_frames += n > 0 && busy != NULL;
    d->operations++;
    if (fails_within(d, ERASE_UNITS, &done)) {
        tear_erasure(d, d->area[area], size_of(d, area), (uint32_t)(size_of(d, area) * done / ERASE_UNITS));
        return -1;
    }
    memset(d->area[area], 0xFF, size_of(d, area));
    return 0;
}

static void tear_word(struct device *d, uint8_t *bytes, const uint8_t *wanted, uint32_t n) {
    for (uint32_t i = 0; d->torn != TORN_PREFIX && i < n; ++i) {
        uint8_t programmed = (uint8_t)(wanted[i] | chance(d));
        bytes[i] &= d->torn == TORN_BITS ? programmed : (uint8_t)(programmed & (chance(d) | chance(d)));
    }
}

static int program(void *ctx, unsigned area, uint32_t offset, const uint8_t *bytes, size_t n) {
    struct device *d = ctx;
    long long done = (long long)n;
    if (d->dead) {
        return -1;
    }
    d->violations += area == d->running || offset > size_of(d, area) || n > size_of(d, area) - offset;
    d->operations++;
    int failed = fails_within(d, (long long)n, &done);
    uint8_t *to = d->area[area] + offset;
    for (long long i = 0; i < done; ++i) {
        to[i] &= bytes[i];
    }
    if (failed) {
        uint32_t left = (uint32_t)((long long)n - done), word = WORD - (uint32_t)(offset + done) % WORD;
        tear_word(d, to + done, bytes + done, left < word ? left : word);
    }
    return failed ? -1 : 0;
}

static int read_flash(void *ctx, unsigned area, uint32_t offset, uint8_t *out, size_t n) {
    struct device *d = ctx;
    if (d->dead || offset > size_of(d, area) || n > size_of(d, area) - offset) {
        return -1;
    }
    memcpy(out, d->area[area] + offset, n);
    return 0;
}

/* ---- the board's port */

static void tx(void *ctx, const uint8_t *bytes, size_t n) {
    struct device *d = ctx;
    if (!d->dead && n <= SENT_BYTES - d->used) {
        memcpy(d->sent + d->used, bytes, n);
        d->used += n;
    }
}

static int nvm_read(void *ctx, uint32_t offset, uint8_t *out, size_t n) {
    const struct device *d = ctx;
    memcpy(out, d->nvm + offset, n);
    return d->dead;
}

static int nvm_write(void *ctx, uint32_t offset, const uint8_t *in, size_t n) {
    struct device *d = ctx;
    if (!d->dead) {
        memcpy(d->nvm + offset, in, n);
    }
    return d->dead;
}

/* ---- for the tests */

struct device *device_create(uint8_t kind, uint16_t address, uint32_t base_a, uint32_t base_b, uint32_t slot_bytes,
                             uint32_t log_bytes) {
    struct device *d = calloc(1, sizeof *d);
    d->slots = (struct slots){.flash = {d, erase, program, read_flash},
                              .base = {base_a, base_b},
                              .slot_bytes = slot_bytes,
                              .log_bytes = log_bytes};
    d->id = (struct board_identity){.kind = kind, .role = address, .capabilities = BUS_CAPABILITY_BENCH};
    d->board = aligned_alloc(64, board_stride(kind));
    for (unsigned i = 0; i < SLOT_AREAS; ++i) {
        d->area[i] = malloc(size_of(d, i));
        memset(d->area[i], 0xFF, size_of(d, i));
    }
    memset(d->nvm, 0xFF, sizeof d->nvm);
    d->running = BUS_IMAGE_SLOT_NONE;
    d->dead = 1;
    d->left = -1;
    return d;
}

void device_destroy(struct device *d) {
    for (unsigned i = 0; i < SLOT_AREAS; ++i) {
        free(d->area[i]);
    }
    free(d->board);
    free(d);
}

uint8_t *device_area(struct device *d, unsigned area) {
    return d->area[area];
}

/* The power fails after so many units (negative: never) from now on. */
void device_cut_after(struct device *d, long long units, uint8_t torn, uint64_t seed) {
    d->left = units;
    d->torn = torn;
    d->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

/* The boot loader decides, and the board of the image that it chose starts: the slot, or BUS_IMAGE_SLOT_NONE when
 * there is nothing to start, or when the power failed. */
static uint8_t start(struct device *d, uint8_t cause) {
    struct slot_image image = {0};
    d->running = d->slots.running = BUS_IMAGE_SLOT_NONE;
    struct boot_choice choice = boot_choose(&d->slots, d->id.kind);
    if (d->dead || choice.slot == BUS_IMAGE_SLOT_NONE) {
        d->dead = 1;
        return BUS_IMAGE_SLOT_NONE;
    }
    d->running = d->slots.running = choice.slot;
    d->on_trial = choice.on_trial;
    (void)slot_header(&d->slots, choice.slot, &image);
    d->id.image_crc = image.crc;
    memcpy(d->id.firmware_hash, d->area[choice.slot] + SLOT_HEADER_OFFSET + 16, sizeof d->id.firmware_hash);
    struct board_port port = {.ctx = d, .tx = tx, .nvm_read = nvm_read, .nvm_write = nvm_write, .slots = &d->slots};
    board_boot(d->board, &d->id, &port, cause);
    return d->dead ? BUS_IMAGE_SLOT_NONE : choice.slot;
}

uint8_t device_power_on(struct device *d) {
    d->dead = 0;
    d->used = 0;
    return start(d, BUS_RESET_CAUSE_POWER_ON);
}

void device_power_off(struct device *d) {
    d->dead = 1;
}

/* Power for the flash alone: nothing starts. */
void device_supply(struct device *d) {
    d->dead = 0;
}

struct flash device_flash(struct device *d) {
    return d->slots.flash;
}

void device_receive(struct device *d, const uint8_t *bytes, size_t n) {
    if (d->dead) {
        return;
    }
    board_receive(d->board, bytes, n);
    if (!d->dead && board_reset_pending(d->board)) {
        (void)start(d, (uint8_t)board_reset_pending(d->board));
    }
}

size_t device_take(struct device *d, const uint8_t **bytes) {
    size_t n = d->used;
    *bytes = d->sent;
    d->used = 0;
    return n;
}

uint8_t device_is_dead(const struct device *d) {
    return d->dead;
}

uint8_t device_on_trial(const struct device *d) {
    return d->on_trial && board_on_trial(d->board);
}

uint8_t device_running(const struct device *d) {
    return d->running;
}

long long device_units(const struct device *d) {
    return d->units;
}

/* Writes to the running slot or outside its memory; erasures that were given a frame to send meanwhile. */
uint32_t device_violations(const struct device *d) {
    return d->violations;
}

uint32_t device_busy_frames(const struct device *d) {
    return d->busy_frames;
}
