/* A board's end of its line: sequence numbers, and the counters of everything that was sent and received.
 *
 * Some frames stand outside (`hashed = false` in the ICD: HELLO and its request, CRASH, HARDWARE_REPORT, UPDATE_STATUS
 * and its query): they carry sequence 0, use up no number and are in no counter, so that what is counted depends
 * neither on how often somebody asked nor on the hardware. */
#ifndef DAWNLINE_BOARDS_LINK_H
#define DAWNLINE_BOARDS_LINK_H

#include <stdint.h>

#include "boards/board.h"
#include "bus/bus_icd.h"
#include "bus/frame.h"
#include "bus/receiver.h"

/* One of the two who talk to a board. */
struct link_peer {
    uint16_t tx_seq, rx_seq; /* of the next frame */
    uint8_t heard;           /* rx_seq is valid */
};

struct link {
    struct board_port port;
    uint16_t role;
    struct link_peer flight, bench;
    uint32_t tx_bytes, tx_frames;
    uint32_t outside_bytes, outside_frames; /* received, that stand outside */
    uint16_t sequence_gaps, unknown_frames;
};

void link_init(struct link *l, const struct board_port *port, uint16_t role);

/* Sends a frame with the next sequence number. */
void link_send(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, const uint8_t *payload, size_t n);

/* Sends a frame again: as it was, but for the repeat flag. */
void link_send_again(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, uint16_t seq, const uint8_t *payload,
                     size_t n);

/* Sends a frame that stands outside. */
void link_send_outside(struct link *l, uint16_t dst, uint8_t type, uint64_t t_us, const uint8_t *payload, size_t n);

/* Sequence number of the next frame to dst. */
uint16_t link_next_seq(const struct link *l, uint16_t dst);

/* Counts a good frame that was received: gaps in its sender's numbers. */
void link_note(struct link *l, const struct bus_frame *f);

/* Leaves a received frame that stands outside out of the counters; HELLO_REQ and ASSIGN also begin its sender's numbers
 * anew.
 */
void link_note_outside(struct link *l, const struct bus_frame *f);
void link_note_hello(struct link *l, const struct bus_frame *f);

/* A good frame that this board does not take. */
void link_unknown(struct link *l);

/* Frames received, and damaged ones (CRC, COBS and length errors). */
uint32_t link_rx_frames(const struct link *l, const struct bus_receiver *r);
uint16_t link_rx_errors(const struct bus_receiver *r);

void link_report(const struct link *l, const struct bus_receiver *r, struct bus_link_report *out);

#endif
