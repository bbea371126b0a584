/* Who is at the end of a line. A board that cannot prove it is not flown. */
#include "control/internal.h"

#include <string.h>

#define CONFIG_STEPS_NODE 1

void ctl_link_refuse(struct ctl *c, uint16_t board, uint8_t refusal, int32_t got) {
    struct ctl_link *l = &c->links[board];
    int told = l->refusal == refusal;
    l->status = SPACE_BOARD_STATUS_REFUSED;
    l->refusal = refusal;
    l->command.type = 0;
    l->identified = 0;
    l->hello_us = c->t_us + 10 * CTL_SECOND_US;
    if (told)
        return; /* once is enough for a board that is asked again every ten seconds */
    c->attention |= CTL_ATTENTION_BOARD;
    ctl_event(c, SPACE_EVENT_BOARD_REFUSED, bus_address_of(board), refusal, got);
}

/* The board that already flies with this hardware id, or -1. */
static int twin(const struct ctl *c, uint16_t board, const uint8_t id[static 12]) {
    for (uint16_t b = 0; b <= c->config.nodes; b++)
        if (b != board && c->links[b].identified && memcmp(c->links[b].hardware_id, id, 12) == 0)
            return b;
    return -1;
}

/* 0, or SPACE_REFUSAL_*; *got is what the event tells. */
static uint8_t check(const struct ctl *c, uint16_t board, const struct bus_header *h, const struct bus_hello *hello,
                     int32_t *got) {
    uint8_t kind = board == 0 ? BUS_BOARD_KIND_POWER_BOARD : BUS_BOARD_KIND_COMPUTE_NODE;
    *got = hello->kind;
    if (hello->kind != kind)
        return SPACE_REFUSAL_WRONG_KIND;
    *got = hello->role;
    if (hello->role != bus_address_of(board) || h->src != hello->role)
        return SPACE_REFUSAL_WRONG_ROLE;
    *got = (int32_t)(hello->icd_hash >> 33); /* its first 31 bits: positive */
    if (hello->icd_hash != BUS_ICD_HASH)
        return SPACE_REFUSAL_ICD_HASH;
    const uint8_t *hash = hello->firmware_hash;
    *got = hash[0] << 23 | hash[1] << 15 | hash[2] << 7 | hash[3] >> 1;
    if (memcmp(hash, c->config.firmware_hash, sizeof c->config.firmware_hash) != 0)
        return SPACE_REFUSAL_FIRMWARE_HASH;
    *got = twin(c, board, hello->hardware_id);
    return *got >= 0 ? SPACE_REFUSAL_DUPLICATE : 0;
}

static void accept(struct ctl *c, uint16_t board, const struct bus_hello *hello) {
    struct ctl_link *l = &c->links[board];
    int other = !l->known || memcmp(l->hardware_id, hello->hardware_id, 12) != 0;
    int booted = other || hello->boot_count != l->boot_count;
    l->known = 1;
    memcpy(l->hardware_id, hello->hardware_id, 12);
    l->identified = 1;
    l->boot_count = hello->boot_count;
    l->status = SPACE_BOARD_STATUS_CONFIGURING;
    l->config_step = 0;
    l->command.type = 0;
    l->reset_wanted = 0;
    l->tlm_us = c->t_us;
    l->retry_us = c->t_us;
    l->rx_seq_known = 0;
    if (board == 0 && booted)
        memset(&c->power, 0, sizeof c->power);
    if (board > 0)
        c->nodes[board - 1].tlm_us = 0;
    if (booted)
        ctl_event(c, SPACE_EVENT_BOARD_IDENTIFIED, bus_address_of(board), (int32_t)(hello->boot_count & INT32_MAX),
                  hello->reset_cause);
}

void ctl_hello(struct ctl *c, uint16_t board, const struct bus_header *h, const uint8_t *payload) {
    struct ctl_link *l = &c->links[board];
    struct bus_hello hello;
    if (bus_hello_decode(&hello, payload, h->length) != 0) {
        c->bad_payloads++;
        ctl_link_refuse(c, board, SPACE_REFUSAL_BAD_HELLO, h->length);
        return;
    }
    int flown = l->status == SPACE_BOARD_STATUS_CONFIGURING || l->status == SPACE_BOARD_STATUS_READY;
    int same = l->identified && memcmp(l->hardware_id, hello.hardware_id, 12) == 0;
    if (flown && same && (int32_t)(hello.boot_count - l->boot_count) <= 0)
        return; /* an answer that was asked for twice, or came late */
    int32_t got;
    uint8_t refusal = check(c, board, h, &hello, &got);
    if (refusal)
        ctl_link_refuse(c, board, refusal, got);
    else
        accept(c, board, &hello);
}

/* Power board: power_config, battery_curve, shed_tiers, then the pages of shed_channels. */
static uint8_t steps(const struct ctl *c, uint16_t board) {
    return board ? CONFIG_STEPS_NODE : (uint8_t)(3 + (c->config.nodes + CTL_MASK_PAGE - 1) / CTL_MASK_PAGE);
}

void ctl_configured(struct ctl *c, uint16_t board) {
    struct ctl_link *l = &c->links[board];
    if (l->status != SPACE_BOARD_STATUS_CONFIGURING || ++l->config_step < steps(c, board))
        return;
    l->status = SPACE_BOARD_STATUS_READY;
    l->refusal = 0;
    c->attention |= CTL_ATTENTION_BOARD;
    ctl_event(c, SPACE_EVENT_BOARD_READY, bus_address_of(board), (int32_t)(l->boot_count & INT32_MAX), l->config_step);
}

void ctl_unconfigured(struct ctl *c, uint16_t board) {
    struct ctl_link *l = &c->links[board];
    if (l->status != SPACE_BOARD_STATUS_READY)
        return;
    l->status = SPACE_BOARD_STATUS_CONFIGURING;
    l->config_step = 0;
    l->command.type = 0;
    l->retry_us = c->t_us;
}

/* Asks boards that are not flown for a HELLO, and configures those that have said it. */
void ctl_identify_tick(struct ctl *c, uint16_t board) {
    struct ctl_link *l = &c->links[board];
    if (l->status == SPACE_BOARD_STATUS_READY)
        return;
    if (l->status != SPACE_BOARD_STATUS_CONFIGURING) {
        if (c->t_us >= l->hello_us) {
            ctl_link_send(c, board, BUS_MSG_HELLO_REQ, NULL, 0);
            l->hello_us = c->t_us + CTL_SECOND_US;
        }
        return;
    }
    if (l->command.type != 0 || c->t_us < l->retry_us)
        return;
    if (board == 0)
        ctl_power_configure(c);
    else
        ctl_node_configure(c, (uint16_t)(board - 1));
}
