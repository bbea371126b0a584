#include "world/mock.h"

#include <stdlib.h>
#include <string.h>

#include "bus/bus_icd.h"

enum { MOCK_SENT_BYTES = 16384 };
_Static_assert((int)WORLD_NVM_BYTES == BOARD_NVM_BYTES, "one size of persistent memory");

static void on_tx(void *ctx, const uint8_t *bytes, size_t n) {
    struct mock *m = ctx;
    if (m->dead)
        return;
    if (n > m->capacity - m->used) {
        m->dropped += n;
        return;
    }
    memcpy(m->sent + m->used, bytes, n);
    m->used += n;
}

static int nvm_read(void *ctx, uint32_t offset, uint8_t *out, size_t n) {
    const struct mock *m = ctx;
    if (offset > BOARD_NVM_BYTES || n > BOARD_NVM_BYTES - offset)
        return -1;
    memcpy(out, m->nvm + offset, n);
    return 0;
}

static int nvm_write(void *ctx, uint32_t offset, const uint8_t *in, size_t n) {
    struct mock *m = ctx;
    if (m->dead || offset > BOARD_NVM_BYTES || n > BOARD_NVM_BYTES - offset)
        return -1;
    if (m->cut_armed && n > m->cut_left) {
        memcpy(m->nvm + offset, in, m->cut_left);
        m->cut_armed = 0;
        m->cuts++;
        m->dead = 1;
        return -1;
    }
    m->cut_left -= m->cut_armed ? (uint32_t)n : 0;
    memcpy(m->nvm + offset, in, n);
    return 0;
}

struct mock *mock_create(uint8_t kind, uint16_t address, const uint8_t *hardware_id) {
    size_t size = board_stride(kind);
    if (size == 0)
        return NULL;
    struct mock *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->board = aligned_alloc(64, size);
    m->sent = malloc(MOCK_SENT_BYTES);
    if (m->board == NULL || m->sent == NULL) {
        mock_destroy(m);
        return NULL;
    }
    m->capacity = MOCK_SENT_BYTES;
    memset(m->board, 0, size);
    memset(m->nvm, 0xFF, sizeof m->nvm); /* as erased flash */
    m->identity = (struct board_identity){.kind = kind, .role = address, .capabilities = BUS_CAPABILITY_BENCH};
    memcpy(m->identity.hardware_id, hardware_id, sizeof m->identity.hardware_id);
    world_firmware_hash(m->identity.firmware_hash);
    return m;
}

void mock_destroy(struct mock *m) {
    if (m == NULL)
        return;
    free(m->board);
    free(m->sent);
    free(m);
}

void mock_boot(struct mock *m, uint8_t reset_cause) {
    struct board_port port = {.ctx = m, .tx = on_tx, .nvm_read = nvm_read, .nvm_write = nvm_write};
    m->dead = 0;
    board_boot(m->board, &m->identity, &port, reset_cause);
    if (m->dead) { /* the cut was in what the boot itself writes; there is one cut */
        m->dead = 0;
        board_boot(m->board, &m->identity, &port, BUS_RESET_CAUSE_BROWN_OUT);
    }
}

void mock_receive(struct mock *m, const uint8_t *bytes, size_t n) {
    board_receive(m->board, bytes, n);
    m->died = m->dead;
    m->last_words = m->used;
    int cause = m->dead ? BUS_RESET_CAUSE_BROWN_OUT : board_reset_pending(m->board);
    if (cause)
        mock_boot(m, (uint8_t)cause);
}

size_t mock_take(struct mock *m, const uint8_t **bytes) {
    size_t n = m->used;
    *bytes = m->sent;
    m->used = 0;
    return n;
}

uint8_t *mock_nvm(struct mock *m) {
    return m->nvm;
}

void mock_cut_nvm(struct mock *m, uint32_t bytes) {
    m->cut_left = bytes;
    m->cut_armed = 1;
}

void mock_lift_cut(struct mock *m) {
    m->cut_armed = 0;
}

uint32_t mock_cuts(const struct mock *m) {
    return m->cuts;
}

size_t mock_state_bytes(const struct mock *m) {
    return board_bytes(m->identity.kind) + sizeof m->nvm;
}

void mock_save(const struct mock *m, uint8_t *out) {
    memcpy(out, m->nvm, sizeof m->nvm);
    memcpy(out + sizeof m->nvm, m->board, board_bytes(m->identity.kind));
}

void mock_load(struct mock *m, const uint8_t *saved) {
    memcpy(m->nvm, saved, sizeof m->nvm);
    memcpy(m->board, saved + sizeof m->nvm, board_bytes(m->identity.kind));
}
