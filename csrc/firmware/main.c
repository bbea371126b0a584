#include "firmware/main.h"

#include <string.h>

#include "boards/board_state.h"
#include "boards/guard.h"
#include "firmware/cortexm.h"
#include "firmware/flight.h"
#include "firmware/image.h"
#include "firmware/port.h"
#include "firmware/ring.h"
#include "firmware_hash.h"

/* length and crc32c are filled in after linking: what the compiler sees of them here is not true. */
__attribute__((section(".image_header"), used)) const struct image_header image_header = {
    .magic = IMAGE_MAGIC,
    .version = IMAGE_VERSION,
    .firmware_hash = FIRMWARE_HASH,
    .kind = BOARD_KIND,
    .flavour = IMAGE_FLAVOUR,
};

#define STATE_BYTES                                                                                                    \
    (BOARD_KIND == BUS_BOARD_KIND_COMPUTE_NODE ? offsetof(struct board, as) + sizeof(struct node_side)                 \
                                               : sizeof(struct board))

static struct board board;
static uint32_t guard[GUARD_HEAD_WORDS + STATE_BYTES / 4]; /* at least board_guard_words(BOARD_KIND) */

struct bus_header firmware_crash_header(uint8_t length) {
    return (struct bus_header){
        .type = BUS_MSG_CRASH, .src = board.id.role, .dst = BUS_ADDRESS_FLIGHT, .t_us = board.t_us, .length = length};
}

/* ---- the board's port */

static void tx(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    port_tx(bytes, n);
}

static int nvm_read(void *ctx, uint32_t offset, uint8_t *out, size_t n) {
    (void)ctx;
    return port_nvm_read(offset, out, n);
}

static int nvm_write(void *ctx, uint32_t offset, const uint8_t *in, size_t n) {
    (void)ctx;
    return port_nvm_write(offset, in, n);
}

static void hardware(void *ctx, struct bus_hardware_report *out) {
    (void)ctx;
    ring_report(out);
    out->stack_free = stack_free();
}

static const struct board_port PORT = {.tx = tx, .nvm_read = nvm_read, .nvm_write = nvm_write, .hardware = hardware};
static const uint8_t CAPABILITIES = IMAGE_FLAVOUR == IMAGE_BENCH ? BUS_CAPABILITY_BENCH : 0;

/* Whether the state is that of this image: what flips while it boots would last. */
static int is_of_this_image(void) {
    const struct board_port *port = &board.link.port;
    return board.id.capabilities == CAPABILITIES && port->tx == PORT.tx && port->nvm_read == PORT.nvm_read &&
           port->nvm_write == PORT.nvm_write && port->hardware == PORT.hardware &&
           memcmp(board.id.firmware_hash, image_header.firmware_hash, sizeof board.id.firmware_hash) == 0;
}

/* Whether the state is that of this hardware, asked once more: a wrong address would last, and nobody reach it. */
static int is_of_this_hardware(void) {
    struct port_facts facts;
    port_identify(&facts);
    int asked = facts.role != BUS_ADDRESS_NONE;
    return board.assignable == !asked && (!asked || board.id.role == facts.role) &&
           memcmp(board.id.hardware_id, facts.hardware_id, sizeof facts.hardware_id) == 0;
}

static __attribute__((noinline)) void boot(void) {
    struct board_port port = PORT;
    struct board_identity id = {.kind = BOARD_KIND, .firmware_hash = FIRMWARE_HASH};
    struct port_facts facts;
    port_start(&facts);
    port.slots = port_slots();
    id.role = facts.role;
    memcpy(id.hardware_id, facts.hardware_id, sizeof id.hardware_id);
    id.image_crc = image_crc(__image_start, image_length(__image_start));
    id.capabilities = CAPABILITIES;
    board_boot(&board, &id, &port, facts.reset_cause);
    if (!is_of_this_image() || !is_of_this_hardware()) {
        port_reset(BUS_RESET_CAUSE_CRASH);
    }
    board_guard_begin(&board, BOARD_KIND, guard);
}

/* Of what has arrived: all but the last frame, which is the TICK; or that one. A step that is a piece of work of its
 * own is never one in which orders change what the guard would put back. */
static size_t next_piece(const uint8_t *bytes, size_t n) {
    size_t end = n > 0 ? n - 1 : 0;
    while (end > 0 && bytes[end - 1] != 0) {
        --end;
    }
    return end > 0 ? end : n;
}

/* Everything that touches the board's state, between two looks at what may have flipped meanwhile. */
static void work(const uint8_t *bytes, size_t n) {
    if (board_guard_open(&board, BOARD_KIND, guard) != 0) {
        port_reset(BUS_RESET_CAUSE_CRASH);
    }
    board_receive(&board, bytes, n);
    if (IMAGE_FLAVOUR == IMAGE_FLIGHT) {
        flight_poll(&board, port_time_us());
    }
    if (board_guard_close(&board, BOARD_KIND, guard) != 0) {
        port_reset(BUS_RESET_CAUSE_CRASH);
    }
}

/* One turn of the loop, and a function of its own: no pointer stays in a register for longer, where it could flip and
 * be wrong for ever. */
static __attribute__((noinline)) void turn(void) {
    if (board_reset_pending(&board)) {
        port_reset((uint8_t)board_reset_pending(&board));
    }
    if (!board_on_trial(&board)) { /* one that nobody confirms ends by the watchdog, however well it works */
        port_keep_alive();
    }
    ram_code_refresh();
    const uint8_t *bytes;
    size_t n = ring_peek(&bytes);
    n = next_piece(bytes, n);
    if (n == 0) {
        port_idle();
    }
    if (n > 0 || IMAGE_FLAVOUR == IMAGE_FLIGHT) {
        work(bytes, n);
        ring_drop(n);
    }
}

_Noreturn void firmware_main(void) {
    boot();
    if (IMAGE_FLAVOUR == IMAGE_FLIGHT) {
        flight_start(port_time_us());
    }
    for (;;) {
        turn();
    }
}
