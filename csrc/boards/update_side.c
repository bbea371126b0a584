/* The update's messages: frames around its state machine. */
#include "boards/board_state.h"

int update_side_takes(uint8_t type) {
    return type >= BUS_MSG_UPDATE_BEGIN && type <= BUS_MSG_UPDATE_ABORT;
}

static uint8_t fault_of(int error) {
    return error == BUS_ERR_LENGTH ? BUS_ACK_CODE_BAD_LENGTH : BUS_ACK_CODE_OUT_OF_RANGE;
}

static uint8_t take_begin(struct update *u, const struct bus_frame *f) {
    struct bus_update_begin m;
    int error = bus_update_begin_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : update_begin(u, &m);
}

static uint8_t take_data(struct update *u, const struct bus_frame *f) {
    struct bus_update_data m;
    int error = bus_update_data_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : update_data(u, &m);
}

static uint8_t take_end(struct update *u, const struct bus_frame *f) {
    struct bus_update_end m;
    int error = bus_update_end_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : update_end(u, &m);
}

static uint8_t take_confirm(struct update *u, const struct bus_frame *f) {
    struct bus_update_confirm m;
    int error = bus_update_confirm_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : update_confirm(u, &m);
}

static uint8_t take_abort(struct update *u, const struct bus_frame *f) {
    struct bus_update_abort m;
    int error = bus_update_abort_decode(&m, f->payload, f->header.length);
    return error != 0 ? fault_of(error) : update_abort(u);
}

uint8_t update_side_command(struct board *b, const struct bus_frame *f) {
    switch (f->header.type) {
    case BUS_MSG_UPDATE_BEGIN:
        return take_begin(&b->update, f);
    case BUS_MSG_UPDATE_DATA:
        return take_data(&b->update, f);
    case BUS_MSG_UPDATE_END:
        return take_end(&b->update, f);
    case BUS_MSG_UPDATE_CONFIRM:
        return take_confirm(&b->update, f);
    case BUS_MSG_UPDATE_ABORT:
        return take_abort(&b->update, f);
    default:
        return BUS_ACK_CODE_NOT_SUPPORTED;
    }
}

/* The wire bytes of an update_status. */
static size_t encode_status(const struct board *b, uint16_t dst, uint8_t wire[static BUS_MAX_WIRE]) {
    struct bus_update_status m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    update_report(&b->update, &m);
    struct bus_header h = {.type = BUS_MSG_UPDATE_STATUS, .src = b->id.role, .dst = dst, .t_us = b->t_us};
    h.length = (uint8_t)bus_update_status_encode(&m, payload);
    return bus_frame_encode(&h, payload, wire);
}

/* The first status says that the memory is being erased, and is what the memory sends again meanwhile. */
void update_side_answer(struct board *b, uint16_t dst) {
    const struct board_port *port = &b->link.port;
    uint8_t wire[BUS_MAX_WIRE];
    size_t n = encode_status(b, dst, wire);
    port->tx(port->ctx, wire, n);
    if (b->update.erase_due) {
        update_erase(&b->update, wire, n);
        n = encode_status(b, dst, wire);
        port->tx(port->ctx, wire, n);
    }
}
