/* A board of the satellite: the power board, or the controller of one compute node. Bytes in, bytes out.
 *
 * The caller owns the memory: board_bytes(kind) bytes, aligned as for uint64_t (an array of boards may be strided by
 * board_stride(kind)). The board keeps no clock: its time is the t_us of the last TICK it took. It allocates nothing
 * and calls nothing but the port's functions, and those only from inside board_boot and board_receive.
 *
 * What arrives may be anything; then this always holds:
 *  1. no byte string, however damaged or chunked, steps the board twice for one t_us, or steps it out of order; after a
 *     boot it takes no repeated TICK, which it may have stepped before, until the bench has asked for its HELLO;
 *  2. a frame that is not taken changes nothing but counters (and, refused TICKs, an event);
 *  3. a command is executed at most once for its (session, sequence), also across a commanded reset;
 *  4. a write to persistent memory that is cut at any byte leaves the block as it was, or as it was to become. */
#ifndef DAWNLINE_BOARDS_BOARD_H
#define DAWNLINE_BOARDS_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Persistent memory of one board, behind nvm_read / nvm_write. Fresh memory reads all 0x00 or all 0xFF. */
#define BOARD_NVM_BYTES 4096

struct board;
struct bus_channel_setting;
struct bus_done_node;
struct bus_done_power;
struct bus_hardware_report;
struct bus_tick_channels;
struct bus_tick_node;
struct bus_tick_power;
struct bus_tick_strings;
struct slots;

/* How a board reaches its line and its persistent memory. nvm_read and nvm_write return 0, or non-zero on failure
 * (the board then goes on without; a failed checkpoint is not reported as one). nvm_* may be NULL: no memory.
 * hardware fills in what a microcontroller's UART and stack have counted; NULL where there is none: then no
 * hardware_report is sent.
 * slots: memory for images (csrc/boards/slots.h) that lives as long as the board; NULL: it takes no updates. */
struct board_port {
    void *ctx;
    void (*tx)(void *ctx, const uint8_t *bytes, size_t n);
    int (*nvm_read)(void *ctx, uint32_t offset, uint8_t *out, size_t n);
    int (*nvm_write)(void *ctx, uint32_t offset, const uint8_t *in, size_t n);
    void (*hardware)(void *ctx, struct bus_hardware_report *out);
    const struct slots *slots;
};

/* Who a board is. kind: BUS_BOARD_KIND_*; role: its address on the bus, or BUS_ADDRESS_NONE: as persistent memory says
 * (see the message `assign`); capabilities: BUS_CAPABILITY_* bits. Without BUS_CAPABILITY_BENCH the board takes no
 * bench message. */
struct board_identity {
    uint8_t kind;
    uint16_t role;
    uint8_t hardware_id[12];
    uint8_t firmware_hash[8];
    uint32_t image_crc;
    uint8_t capabilities;
};

/* Bytes of memory that a board of this kind needs (less for a node than for a power board); 0: no such kind. */
size_t board_bytes(uint8_t kind);

/* board_bytes rounded up to 64, so that boards in one array share no cache line. */
size_t board_stride(uint8_t kind);

/* Starts a board, or starts it again: clears its memory, reads NVM, counts the boot there, sends HELLO to flight.
 * reset_cause: BUS_RESET_CAUSE_*. The port is copied. */
void board_boot(struct board *b, const struct board_identity *id, const struct board_port *port, uint8_t reset_cause);

/* Takes n bytes in any chunking and acts on every complete frame. HELLO_REQ and commands are answered at once, a
 * TICK runs one step: telemetry, then DONE. After a step that ends in a reset the rest of the bytes is ignored. */
void board_receive(struct board *b, const uint8_t *bytes, size_t n);

/* 0, or the BUS_RESET_CAUSE_* of the reset that a command asked for: the step is over, DONE is sent, and the host now
 * calls board_boot again with that cause. */
int board_reset_pending(const struct board *b);

/* A board that flies has no bench: it reads its own sensors and steps by its own clock (boards/clock.h). One step that
 * ends at t_us, after the time of the last one (by more than dt_us: its clock was set); telemetry goes to flight as
 * after a TICK; *out: what its actuators shall do. Returns 0, or -1 when dt_us or t_us do not follow, and then nothing
 * has happened. */
int board_step_node(struct board *b, uint64_t t_us, const struct bus_tick_node *sensors, struct bus_done_node *out);

/* The same for a power board, whose pages of channels and strings come first, with the same t_us. */
void board_sense_channels(struct board *b, uint64_t t_us, const struct bus_tick_channels *page);
void board_sense_strings(struct board *b, const struct bus_tick_strings *page);
int board_step_power(struct board *b, uint64_t t_us, const struct bus_tick_power *sensors, struct bus_done_power *out);

/* What one channel of a power board shall do, from its last step on. Returns 0, or -1 when there is no such channel. */
int board_channel_setting(const struct board *b, uint16_t channel, struct bus_channel_setting *out);

/* The time in the last frame of flight, 0: none since the boot. */
uint64_t board_heard_us(const struct board *b);

/* 1 while the running image is on its trial: nobody has confirmed it yet. */
int board_on_trial(const struct board *b);

#endif
