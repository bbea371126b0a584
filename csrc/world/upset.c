/* Bit flips in the live state of a mock: what an ionising particle does to a controller's memory. */
#include <string.h>

#include "boards/board_state.h"
#include "world/mock.h"
#include "world/random.h"

struct span {
    size_t offset, size;
};

#define TO_END(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))
#define SPAN(part, type, first, last)                                                                                  \
    {offsetof(struct board, part) + offsetof(type, first), TO_END(type, last) - offsetof(type, first)}

#define NODE as.node.node
#define POWER as.power.power

/* Numbers and flags that the step reads again. Left out: pointers, counts, indices, states that index a table, and what
 * is divided by; in this process they would end the world and not the board. */
static const struct span NODE_SPANS[] = {
    SPAN(NODE.config, struct bus_node_config, floor_mw, hang_ms),
    SPAN(NODE.lease, struct lease, session, expiry_us),
    SPAN(NODE.die, struct throttle, cdeg, halted),
    SPAN(NODE.hbm, struct throttle, cdeg, halted),
    SPAN(NODE.over_cap, struct over_cap, over_us, clamp_mhz),
    SPAN(NODE.heartbeat, struct heartbeat, last, healthy_us),
    SPAN(NODE.job, struct job, id, checkpoint_ms),
    SPAN(NODE.job, struct job, base_mu, since_save_us),
    SPAN(NODE.ecc, struct ecc, last_corrected, uncorrected),
    SPAN(NODE, struct compute_node, latch_up_steps, lease_expiries),
};
static const struct span POWER_SPANS[] = {
    SPAN(POWER.config, struct bus_power_config, capacity_mah, array_vmp_mv),
    SPAN(POWER.charger, struct charger, charge_ma, mode),
    SPAN(POWER.soc, struct soc, charge_ma_us, charge_ma_us),
    SPAN(POWER.soc, struct soc, rest_us, wait_us),
    SPAN(POWER.shed, struct shed, low_us, high_us),
    SPAN(POWER.strings, struct strings, lost, sum_ma),
    SPAN(POWER, struct power_board, batt_cdeg, heard_us),
    SPAN(POWER.channels, struct channels, sum_ma, last_start_ms),
};

static void flip_one(struct mock *m, const struct span *spans, size_t count, uint64_t *random) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += spans[i].size;
    size_t bit = random_below(random, 8 * total);
    for (; bit >= 8 * spans->size; spans++)
        bit -= 8 * spans->size;
    ((uint8_t *)m->board)[spans->offset + bit / 8] ^= (uint8_t)(1u << bit % 8);
}

void mock_flip(struct mock *m, uint32_t bits, uint64_t seed) {
    int node = m->identity.kind == BUS_BOARD_KIND_COMPUTE_NODE;
    while (bits-- > 0)
        flip_one(m, node ? NODE_SPANS : POWER_SPANS,
                 node ? sizeof NODE_SPANS / sizeof *NODE_SPANS : sizeof POWER_SPANS / sizeof *POWER_SPANS, &seed);
}
