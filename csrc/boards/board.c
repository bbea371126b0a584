#include "boards/board.h"

#include <string.h>

#include "boards/board_state.h"
#include "boards/bytes.h"
#include "boards/clamp.h"

#define STRIDE 64

size_t board_bytes(uint8_t kind) {
    switch (kind) {
    case BUS_BOARD_KIND_COMPUTE_NODE:
        return offsetof(struct board, as) + sizeof(struct node_side);
    case BUS_BOARD_KIND_POWER_BOARD:
        return sizeof(struct board);
    default:
        return 0;
    }
}

size_t board_stride(uint8_t kind) {
    return (board_bytes(kind) + STRIDE - 1) / STRIDE * STRIDE;
}

/* ---- sending */

void board_tell(struct board *b, uint8_t type, const uint8_t *payload, size_t n) {
    link_send(&b->link, BUS_ADDRESS_FLIGHT, type, b->t_us, payload, n);
}

static void tell_event(struct board *b, uint16_t code, int32_t arg0, int32_t arg1) {
    uint8_t payload[BUS_MAX_PAYLOAD];
    struct bus_event m = {code, (uint8_t)bus_event_severity(code), arg0, arg1};
    board_tell(b, BUS_MSG_EVENT, payload, bus_event_encode(&m, payload));
}

struct events *board_events(struct board *b) {
    return board_is_node(b) ? &b->as.node.node.events : &b->as.power.power.events;
}

void board_tell_events(struct board *b, struct events *events) {
    for (unsigned i = 0; i < events->count; ++i) {
        tell_event(b, events->list[i].code, events->list[i].arg0, events->list[i].arg1);
    }
    events->count = 0;
}

static void tell_hardware(struct board *b) {
    const struct board_port *port = &b->link.port;
    struct bus_hardware_report m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    if (port->hardware != NULL) {
        port->hardware(port->ctx, &m);
        link_send_outside(&b->link, BUS_ADDRESS_FLIGHT, BUS_MSG_HARDWARE_REPORT, b->t_us, payload,
                          bus_hardware_report_encode(&m, payload));
    }
}

void board_tell_link(struct board *b) {
    if (b->t_us < b->next_report_us) {
        return;
    }
    struct bus_link_report m;
    uint8_t payload[BUS_MAX_PAYLOAD];
    link_report(&b->link, &b->receiver, &m);
    board_tell(b, BUS_MSG_LINK_REPORT, payload, bus_link_report_encode(&m, payload));
    tell_hardware(b);
    b->next_report_us += BOARD_REPORT_US;
}

static void tell_hello(struct board *b, uint16_t dst) {
    struct bus_hello m = {
        .kind = b->id.kind,
        .role = b->id.role,
        .image_crc = b->id.image_crc,
        .icd_hash = BUS_ICD_HASH,
        .boot_count = b->boot_count,
        .reset_cause = b->reset_cause,
        .capabilities = b->id.capabilities,
    };
    memcpy(m.hardware_id, b->id.hardware_id, sizeof m.hardware_id);
    memcpy(m.firmware_hash, b->id.firmware_hash, sizeof m.firmware_hash);
    uint8_t payload[BUS_MAX_PAYLOAD];
    link_send_outside(&b->link, dst, BUS_MSG_HELLO, b->t_us, payload, bus_hello_encode(&m, payload));
}

/* ---- address */

static void set_role(struct board *b, uint16_t role) {
    b->id.role = role;
    b->link.role = role;
}

static void recall_role(struct board *b) {
    uint8_t record[2];
    b->assignable = b->id.role == BUS_ADDRESS_NONE;
    if (b->assignable && board_load(b, BOARD_BLOCK_ROLE, record) == 0) {
        set_role(b, (uint16_t)(record[0] | record[1] << 8));
    }
}

static int assign(struct board *b, uint16_t role) {
    uint8_t record[2] = {(uint8_t)role, (uint8_t)(role >> 8)};
    return b->assignable && (b->id.role == role || board_store(b, BOARD_BLOCK_ROLE, record) == 0);
}

/* The HELLO that answers tells whether it was taken. */
static void take_assign(struct board *b, const struct bus_frame *f) {
    struct bus_assign m;
    link_note_hello(&b->link, f);
    if (bus_assign_decode(&m, f->payload, f->header.length) != 0 ||
        memcmp(m.hardware_id, b->id.hardware_id, sizeof m.hardware_id) != 0) {
        return;
    }
    if (assign(b, m.role)) {
        set_role(b, m.role);
        board_ordered(b, ORDER_ROLE);
    }
    tell_hello(b, f->header.src);
}

/* ---- boot */

static int store_boot(struct board *b, uint32_t session, uint32_t sequence) {
    uint8_t record[12];
    bytes_u32(bytes_u32(bytes_u32(record, b->boot_count), session), sequence);
    return board_store(b, BOARD_BLOCK_BOOT, record);
}

/* Counts the boot; a command that asked for the reset counts as executed. */
static void count_boot(struct board *b) {
    uint8_t record[12] = {0};
    (void)board_load(b, BOARD_BLOCK_BOOT, record);
    uint32_t session = bytes_get_u32(record + 4), sequence = bytes_get_u32(record + 8);
    b->boot_count = bytes_get_u32(record) + 1;
    if (session != 0) {
        command_log_add(&b->commands, session, sequence, BUS_ACK_CODE_OK);
    }
    (void)store_boot(b, session, sequence);
}

void board_boot(struct board *b, const struct board_identity *id, const struct board_port *port, uint8_t reset_cause) {
    struct board_identity identity = *id;
    struct board_port line = *port;
    memset(b, 0, board_bytes(identity.kind));
    b->id = identity;
    b->reset_cause = reset_cause;
    link_init(&b->link, &line, identity.role);
    bus_receiver_init(&b->receiver);
    update_init(&b->update, line.slots, identity.kind);
    if (board_is_node(b)) {
        compute_node_init(&b->as.node.node);
        recall_role(b);
        count_boot(b);
        node_side_boot(b);
    } else {
        power_board_init(&b->as.power.power);
        recall_role(b);
        count_boot(b);
        power_side_boot(b);
    }
    board_orders_begin(b);
    if (!(board_is_node(b) ? node_side_is_kept(b) : power_side_is_kept(b))) {
        board_order_doubted(b, ORDER_CONFIG); /* it flipped on its way from persistent memory */
    }
    tell_hello(b, BUS_ADDRESS_ANY);
}

int board_reset_pending(const struct board *b) {
    return b->reset_pending;
}

int board_on_trial(const struct board *b) {
    return update_on_trial(&b->update);
}

/* ---- TICK */

static void answer_again(struct board *b) {
    const struct done_cache *d = &b->done;
    unsigned pages = 0;
    if (!board_is_node(b)) {
        pages = power_side_pages_again(b);
    }
    link_send_again(&b->link, BUS_ADDRESS_BENCH, d->type, b->t_us, (uint16_t)(d->seq + pages), d->payload, d->length);
}

static int is_next(const struct board *b, uint64_t t_us, uint32_t dt_us) {
    return b->has_ticked && t_us == b->t_us + dt_us;
}

/* After a boot, a repeated TICK may be one that this board answered before it: the bench asks for a HELLO first. */
static int follows(const struct board *b, const struct bus_header *h, uint32_t dt_us) {
    int sound = dt_us > 0 && dt_us <= BOARD_MAX_DT_US && h->t_us >= dt_us;
    int may_start = b->rearmed || (!b->has_ticked && !(h->flags & BUS_FRAME_FLAG_REPEAT));
    return sound && (may_start || is_next(b, h->t_us, dt_us));
}

static void begin(struct board *b, uint64_t t_us, int clock_is_new) {
    b->clock_is_new = (uint8_t)clock_is_new;
    if (clock_is_new) {
        b->next_report_us = t_us + BOARD_REPORT_US;
    }
    b->t_us = t_us;
    b->has_ticked = 1;
    b->rearmed = 0;
}

int board_accepts_tick(struct board *b, const struct bus_frame *f, uint32_t dt_us) {
    uint64_t t_us = f->header.t_us;
    if (b->has_ticked && t_us == b->t_us) {
        answer_again(b);
        return 0;
    }
    if (!follows(b, &f->header, dt_us)) {
        uint64_t expected_us = b->t_us + dt_us;
        tell_event(b, BUS_EVENT_BOARD_TICK_REFUSED, clamp_u32_to_i32(clamp_u64_to_u32(expected_us / 1000)),
                   clamp_u32_to_i32(clamp_u64_to_u32(t_us / 1000)));
        return 0;
    }
    begin(b, t_us, !is_next(b, t_us, dt_us));
    return 1;
}

int board_begin_step(struct board *b, uint64_t t_us, uint32_t dt_us) {
    if (dt_us == 0 || dt_us > BOARD_MAX_DT_US || t_us < dt_us || (b->has_ticked && t_us <= b->t_us)) {
        return -1;
    }
    begin(b, t_us, !is_next(b, t_us, dt_us));
    return 0;
}

uint64_t board_heard_us(const struct board *b) {
    return b->heard_us;
}

/* ---- commands */

static void acknowledge(struct board *b, uint32_t session, uint32_t sequence, uint8_t type, uint8_t code) {
    if (code != BUS_ACK_CODE_OK && code != BUS_ACK_CODE_REPEATED) {
        clamp_count_u16(&b->commands_rejected);
    }
    struct bus_ack m = {code == BUS_ACK_CODE_STALE_SESSION ? b->commands.session : session, sequence, type, code};
    uint8_t payload[BUS_MAX_PAYLOAD];
    board_tell(b, BUS_MSG_ACK, payload, bus_ack_encode(&m, payload));
}

/* reset or update_boot: nothing but the head. Kept in persistent memory first, so that the same command sent again
 * does not reset once more. */
static uint8_t take_reset(struct board *b, const struct bus_frame *f) {
    struct bus_reset m;
    if (bus_reset_decode(&m, f->payload, f->header.length) != 0) {
        return BUS_ACK_CODE_BAD_LENGTH;
    }
    (void)store_boot(b, m.session, m.command_seq);
    b->reset_due = BUS_RESET_CAUSE_COMMANDED;
    return BUS_ACK_CODE_OK;
}

static uint8_t execute(struct board *b, const struct bus_frame *f) {
    if (f->header.type == BUS_MSG_RESET || f->header.type == BUS_MSG_UPDATE_BOOT) {
        return take_reset(b, f);
    }
    if (update_side_takes(f->header.type)) {
        return update_side_command(b, f);
    }
    return board_is_node(b) ? node_side_command(b, f) : power_side_command(b, f);
}

static void take_command(struct board *b, const struct bus_frame *f) {
    uint32_t session, sequence;
    uint8_t type = f->header.type;
    if (bus_command_head(f->payload, f->header.length, &session, &sequence) != 0) {
        acknowledge(b, 0, 0, type, BUS_ACK_CODE_BAD_LENGTH);
        return;
    }
    int code = command_log_check(&b->commands, session, sequence);
    if (code == COMMAND_LOG_NEW) {
        code = execute(b, f);
        command_log_add(&b->commands, session, sequence, (uint8_t)code);
    }
    acknowledge(b, session, sequence, type, (uint8_t)code);
    if (update_side_takes(type)) {
        update_side_answer(b, f->header.src);
    }
    if (type == BUS_MSG_UPDATE_BOOT && (!b->has_ticked || b->rearmed)) {
        b->reset_pending = b->reset_due; /* nobody ticks: there is no step whose end to wait for */
    }
}

/* ---- receiving */

static int is_for(const struct board *b, const struct bus_frame *f) {
    unsigned facts = bus_message_facts(f->header.type);
    unsigned from = f->header.src == BUS_ADDRESS_FLIGHT  ? BUS_FROM_FLIGHT
                    : f->header.src == BUS_ADDRESS_BENCH ? BUS_FROM_BENCH
                                                         : 0;
    int mine = f->header.dst == b->id.role || f->header.dst == BUS_ADDRESS_ANY;
    int bench = facts & BUS_FROM_BENCH && !(facts & BUS_FROM_FLIGHT);
    if (b->id.role == BUS_ADDRESS_NONE && facts & BUS_IS_HASHED) {
        return 0;
    }
    return mine && (facts & from) != 0 && (!bench || (b->id.capabilities & BUS_CAPABILITY_BENCH));
}

static void take_hello_request(struct board *b, const struct bus_frame *f) {
    link_note_hello(&b->link, f);
    b->rearmed = (uint8_t)(b->rearmed || f->header.src == BUS_ADDRESS_BENCH);
    tell_hello(b, f->header.src);
}

static void take_frame(struct board *b, const struct bus_frame *f) {
    if (!is_for(b, f)) {
        link_unknown(&b->link);
        return;
    }
    if (f->header.type == BUS_MSG_HELLO_REQ) {
        take_hello_request(b, f);
        return;
    }
    if (f->header.type == BUS_MSG_ASSIGN) {
        take_assign(b, f);
        return;
    }
    if (f->header.type == BUS_MSG_UPDATE_QUERY) {
        link_note_outside(&b->link, f);
        update_side_answer(b, f->header.src);
        return;
    }
    link_note(&b->link, f);
    if (f->header.src == BUS_ADDRESS_FLIGHT) {
        b->heard_us = f->header.t_us;
    }
    if (!board_is_node(b) && f->header.src == BUS_ADDRESS_FLIGHT) {
        power_board_heard(&b->as.power.power, b->t_us);
    }
    if (bus_message_facts(f->header.type) & BUS_IS_COMMAND) {
        take_command(b, f);
    } else if (!(board_is_node(b) ? node_side_frame(b, f) : power_side_frame(b, f))) {
        link_unknown(&b->link);
    }
}

void board_receive(struct board *b, const uint8_t *bytes, size_t n) {
    const uint8_t *at = bytes, *end = bytes + n;
    struct bus_frame frame;
    int got = BUS_RX_FRAME;
    while (got != BUS_RX_MORE && !b->reset_pending) {
        got = bus_receiver_next(&b->receiver, &at, end, &frame);
        if (got == BUS_RX_FRAME) {
            take_frame(b, &frame);
        }
    }
}
