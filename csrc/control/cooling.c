/* What the radiator of each loop emits, from the heat that goes into it and the coolant's temperature
 * (docs/estimation.md). */
#include "control/internal.h"

#define LOOK_US (20 * CTL_SECOND_US)
#define ZERO_K 273.15f
#define SHARE_TAU_S 200.0f
#define HEAT_LEAST 0.25f /* of the nodes' greatest draw: with less, errors of what is known count too much */
#define DRIFT_MOST 0.25f /* of the heat, that may go into the loop itself */
#define KNOWN_S 2550.0f

uint8_t ctl_loop_of(const struct ctl *c, uint16_t node) {
    const struct ctl_cooling *k = &c->config.cooling;
    return k->groups == 0 ? 0 : (uint8_t)(node % k->groups * k->loops / k->groups);
}

struct load {
    float nodes_w, coolant_c;
    uint16_t nodes, heard;
};

static struct load load_of(const struct ctl *c, uint8_t loop) {
    struct load l = {0};
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (ctl_loop_of(c, i) != loop)
            continue;
        l.nodes++;
        if (n->tlm_us == 0 || !ctl_ready(c, (uint16_t)(1 + i)))
            continue;
        l.nodes_w += (float)n->tlm.power_mw * 1e-3f;
        l.coolant_c += (float)n->tlm.coolant_cdeg * 0.01f;
        l.heard++;
    }
    l.coolant_c = l.heard > 0 ? l.coolant_c / l.heard : 0;
    return l;
}

/* Emission at what the panels have, over that of the file's radiator; heat that the loop itself takes up comes off. */
static void look(struct ctl *c, uint8_t loop, float dt_s) {
    const struct ctl_cooling *k = &c->config.cooling;
    struct ctl_loop *r = &c->heat.loops[loop];
    struct load l = load_of(c, loop);
    float lost_w = (float)c->power.tlm.array_mw * 1e-3f * (float)(1000 - (int32_t)c->config.converter_permille) * 1e-3f;
    float rest_w = ((float)c->power.tlm.hotel_mw * 1e-3f + lost_w) / (float)k->loops;
    float drift_k_s = (l.coolant_c - r->before_c) / dt_s;
    r->heat_w = l.nodes_w + rest_w;
    r->coolant_c = l.coolant_c;
    r->before_c = l.coolant_c;
    float out_w = r->heat_w - drift_k_s * (k->loop_j_per_k + k->panel_j_per_k * r->share);
    float drift_w = r->heat_w - out_w, most_w = (float)c->config.node.max_mw * 1e-3f * (float)l.nodes;
    int slow = drift_w < DRIFT_MOST * r->heat_w && drift_w > -DRIFT_MOST * r->heat_w;
    if (dt_s > 2 * LOOK_US * 1e-6f || l.heard < l.nodes || r->heat_w < HEAT_LEAST * most_w || !slow)
        return;
    float panel_k = l.coolant_c + ZERO_K - l.nodes_w / k->flow_w_per_k - out_w / k->radiator_w_per_k;
    float square = panel_k * panel_k, full_w = k->emitted_w_per_k4 * square * square - k->absorbed_w;
    if (panel_k < 200 || full_w < 0.1f * out_w)
        return;
    float tau_s = r->known_s < SHARE_TAU_S ? r->known_s : SHARE_TAU_S;
    r->share += (out_w / full_w - r->share) * dt_s / (tau_s + dt_s);
    r->known_s = r->known_s + dt_s > KNOWN_S ? KNOWN_S : r->known_s + dt_s;
}

void ctl_cooling_tick(struct ctl *c) {
    uint64_t since_us = ctl_age(c->t_us, c->heat.looked_us);
    if (since_us < LOOK_US || c->power.tlm_us == 0)
        return;
    for (uint8_t l = 0; l < c->config.cooling.loops && l < CTL_LOOPS; l++)
        look(c, l, (float)since_us * 1e-6f);
    c->heat.looked_us = c->t_us;
}
