#include "world/account.h"

#include <string.h>

static struct tally since(const struct tally *now, const struct tally *then) {
    return (struct tally){now->bytes - then->bytes, now->frames - then->frames};
}

static uint32_t beyond(uint32_t a, uint32_t b) {
    return a > b ? a - b : 0;
}

/* ---------------------------------------------------------------- epochs */

int account_is_same(const struct account *a, const struct bus_hello *hello) {
    const struct epoch *e = &a->epoch;
    return e->begun && hello->boot_count == e->boot_count &&
           memcmp(hello->hardware_id, e->hardware_id, sizeof e->hardware_id) == 0;
}

static uint32_t unexplained_bytes(const struct epoch *e) {
    return beyond(e->missing_bytes, e->hw_lost);
}

/* A frame that was lost whole took at least BUS_WIRE_OVERHEAD of the lost bytes with it. */
static uint32_t unexplained_frames(const struct epoch *e) {
    return beyond(e->missing_frames, e->hw_lost / BUS_WIRE_OVERHEAD);
}

void account_answered(struct account *a, const struct tally *asked) {
    a->proven = *asked;
    a->epoch.answered = 1;
}

static struct tally sum(const struct tally *a, const struct tally *b) {
    return (struct tally){a->bytes + b->bytes, a->frames + b->frames};
}

void account_boot(struct account *a, const struct bus_hello *hello, const struct tally *at, int heard) {
    struct epoch *e = &a->epoch;
    const struct tally none = {0, 0};
    struct tally doubt = since(at, &a->proven), reset = sum(&doubt, e->answered ? &none : &e->lost_at_reset);
    struct tally to_board = e->answered ? none : e->lost_to_board;
    a->stats->unexplained_bytes += unexplained_bytes(e);
    a->stats->unexplained_frames += unexplained_frames(e);
    a->stats->lost_at_reset_bytes += (uint32_t)doubt.bytes;
    a->stats->lost_at_reset_frames += (uint32_t)doubt.frames;
    a->stats->epochs++;
    a->proven = *at;
    *e = (struct epoch){.tx_base = *at,
                        .rx_base = a->rx,
                        .lost_at_reset = reset,
                        .lost_to_board = to_board,
                        .boot_count = hello->boot_count,
                        .damage_here = a->stats->damaged_received,
                        .begun = 1,
                        .known = (uint8_t)heard};
    memcpy(e->hardware_id, hello->hardware_id, sizeof e->hardware_id);
}

void account_outage(struct account *a) {
    a->epoch.outage = 1;
}

void account_resume(struct account *a) {
    struct epoch *e = &a->epoch;
    struct tally doubt = since(&a->tx, &a->proven);
    a->proven = a->tx;
    a->stats->lost_to_board_bytes += (uint32_t)doubt.bytes;
    a->stats->lost_to_board_frames += (uint32_t)doubt.frames;
    e->lost_to_board = sum(&e->lost_to_board, &doubt);
    e->answered = 0;
    e->tx_bytes += (int32_t)doubt.bytes;
    e->tx_frames += (int32_t)doubt.frames;
}

/* ---------------------------------------------------------------- comparing */

/* What arrived after all is taken off what was named as lost: returns what remains of a (then negative) change. */
static int32_t give_back(int32_t change, uint64_t *named, uint32_t *lost) {
    if (change >= 0 || *named == 0)
        return change;
    uint64_t excess = (uint64_t)(-(int64_t)change), back = excess < *named ? excess : *named;
    *lost -= (uint32_t)back;
    *named -= back;
    return change + (int32_t)back;
}

/* The change of a difference between the two ends, modulo 2^32; from now on it is named. */
static int32_t change_of(int32_t difference, int32_t *named) {
    int32_t change = (int32_t)((uint32_t)difference - (uint32_t)*named);
    *named = difference;
    return change;
}

static int32_t difference_of(uint64_t sent, uint64_t base, uint32_t received) {
    return (int32_t)((uint32_t)(sent - base) - received);
}

static uint32_t size_of(int32_t change) {
    return change < 0 ? 0u - (uint32_t)change : (uint32_t)change;
}

static void compare_to_board(struct account *a, const struct bus_link_report *r, int damage) {
    struct epoch *e = &a->epoch;
    struct world_link *s = a->stats;
    int32_t bytes = change_of(difference_of(a->tx.bytes, e->tx_base.bytes, r->rx_bytes), &e->tx_bytes);
    int32_t frames = change_of(difference_of(a->tx.frames, e->tx_base.frames, r->rx_frames), &e->tx_frames);
    if (!e->known)
        return;
    bytes = give_back(bytes, &e->lost_to_board.bytes, &s->lost_to_board_bytes);
    bytes = give_back(bytes, &e->lost_at_reset.bytes, &s->lost_at_reset_bytes);
    frames = give_back(frames, &e->lost_to_board.frames, &s->lost_to_board_frames);
    frames = give_back(frames, &e->lost_at_reset.frames, &s->lost_at_reset_frames);
    /* A boot may have cut a HELLO_REQ, which no end counts, behind its first delimiter or before its last one. */
    uint32_t cut = bytes > 0 && !e->compared;
    s->lost_at_reset_bytes += cut;
    if (bytes > 0)
        e->missing_bytes += size_of(bytes) - cut;
    else if (damage || e->outage || !e->compared)
        s->noise_to_board_bytes += size_of(bytes);
    else
        s->unexplained_bytes += size_of(bytes);
    if (frames > 0 && damage)
        s->lost_to_board_frames += size_of(frames);
    else if (frames > 0)
        e->missing_frames += size_of(frames);
    else
        s->unexplained_frames += size_of(frames);
}

static void compare_from_board(struct account *a, const struct bus_link_report *r, size_t wire_length, int damage) {
    struct epoch *e = &a->epoch;
    struct world_link *s = a->stats;
    uint64_t heard = a->rx.bytes - wire_length, frames_heard = a->rx.frames - 1;
    int32_t bytes = change_of(-difference_of(heard, e->rx_base.bytes, r->tx_bytes), &e->rx_bytes);
    int32_t frames = change_of(-difference_of(frames_heard, e->rx_base.frames, r->tx_frames), &e->rx_frames);
    if (!e->known)
        return;
    if (bytes > 0 && e->outage)
        s->lost_from_board_bytes += size_of(bytes);
    else if (bytes < 0 && (damage || e->outage))
        s->noise_from_board_bytes += size_of(bytes);
    else
        s->unexplained_bytes += size_of(bytes);
    if (frames > 0 && (damage || e->outage))
        s->lost_from_board_frames += size_of(frames);
    else
        s->unexplained_frames += size_of(frames);
}

static uint16_t errors_of(const struct bus_link_report *r) {
    return (uint16_t)(r->crc_errors + r->cobs_errors + r->length_errors);
}

/* What the board counts and nobody compares. */
static void take_over(struct account *a, const struct bus_link_report *r) {
    const struct bus_link_report *last = &a->epoch.report;
    a->stats->damaged_at_board += (uint16_t)(errors_of(r) - errors_of(last));
    a->stats->gaps_at_board += (uint16_t)(r->sequence_gaps - last->sequence_gaps);
    a->stats->unknown_at_board += (uint16_t)(r->unknown_frames - last->unknown_frames);
    a->epoch.report = *r;
}

void account_report(struct account *a, const struct bus_link_report *r, size_t wire_length, int settled) {
    struct epoch *e = &a->epoch;
    take_over(a, r);
    if (!settled)
        return; /* the next one tells of the same */
    compare_to_board(a, r, errors_of(r) != e->damage_there);
    compare_from_board(a, r, wire_length, a->stats->damaged_received != e->damage_here);
    e->damage_there = errors_of(r);
    e->damage_here = a->stats->damaged_received;
    e->outage = 0;
    e->known = e->compared = 1;
    e->lost_to_board = e->lost_at_reset = (struct tally){0, 0}; /* what is lost now is lost for good */
    a->stats->comparisons++;
}

void account_hardware(struct account *a, const struct bus_hardware_report *r) {
    const struct bus_hardware_report *last = &a->epoch.hardware;
    uint32_t lost = r->rx_lost - last->rx_lost + (uint16_t)(r->overruns - last->overruns);
    a->epoch.hw_lost += lost;
    a->stats->hw_lost_bytes += lost;
    a->stats->hw_line_errors += (uint16_t)(r->framing_errors - last->framing_errors);
    a->stats->hw_line_errors += (uint16_t)(r->noise_errors - last->noise_errors);
    a->epoch.hardware = *r;
}

void account_fill(const struct account *a, struct world_link *out) {
    struct tally doubt = since(&a->tx, &a->proven);
    out->in_doubt_bytes = (uint32_t)doubt.bytes;
    out->in_doubt_frames = (uint32_t)doubt.frames;
    out->unexplained_bytes += unexplained_bytes(&a->epoch);
    out->unexplained_frames += unexplained_frames(&a->epoch);
}
