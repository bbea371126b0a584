/* Many nodes as one curve: what the working nodes of each workload do for so many watts, and what they draw at a price
 * of a watt. The planner's view of what the allocator does node by node. */
#include "control/internal.h"

#define RAMP 0.02f /* a piece is taken over so much of its price on either side: draws are continuous in the price */

static float base_of(const struct ctl_fleet *f) {
    return f->idle_mw > f->floor_mw ? f->idle_mw : f->floor_mw;
}

/* Watts of one node for a piece beyond what its base gives it anyway. */
static float width_of(const struct ctl_fleet *f, uint8_t w, uint8_t k) {
    float width = f->curves[w].pieces[k].width * f->dynamic_mw[w], held = base_of(f) - f->idle_mw;
    return k > 0 || width <= held ? width : width - held;
}

static float slope_of(const struct ctl_fleet *f, uint8_t w, uint8_t k) {
    return f->curves[w].pieces[k].slope / f->dynamic_mw[w] * f->worth[w];
}

static int has_job(const struct ctl_node *n) {
    return n->workload < CTL_WORKLOADS &&
           (n->tlm.state == BUS_NODE_STATE_ACTIVE || n->rest || n->phase == CTL_PHASE_START);
}

void ctl_fleet_of(const struct ctl *c, struct ctl_fleet *f) {
    float sums[CTL_WORKLOADS] = {0}, worths[CTL_WORKLOADS] = {0}, idle = 0, all = 0;
    *f = (struct ctl_fleet){.curves = c->config.curves, .floor_mw = (float)c->config.node.floor_mw};
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (!has_job(n))
            continue;
        f->count[n->workload]++;
        sums[n->workload] += (float)n->dynamic_mw;
        worths[n->workload] += ctl_worth(n);
        f->most_mw += (float)ctl_max(n->thermal_mw, c->config.node.floor_mw);
        idle += (float)n->idle_mw;
        all += 1;
    }
    f->idle_mw = all > 0 ? idle / all : (float)c->config.idle_mw;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++) {
        float typical = 0.5f * ((float)f->curves[w].least_mw + (float)f->curves[w].most_mw);
        f->dynamic_mw[w] = f->count[w] > 0 && sums[w] > 0 ? sums[w] / f->count[w] : typical;
        f->dynamic_mw[w] = f->dynamic_mw[w] > 1 ? f->dynamic_mw[w] : 1;
        f->worth[w] = f->count[w] > 0 ? worths[w] / f->count[w] : 1;
    }
}

float ctl_fleet_best(const struct ctl_fleet *f, uint8_t w, float *at_mw) {
    float drawn = f->idle_mw, speed = 0, best = 0;
    *at_mw = base_of(f);
    for (uint8_t k = 0; k < f->curves[w].count; k++) {
        const struct ctl_piece *piece = &f->curves[w].pieces[k];
        drawn += piece->width * f->dynamic_mw[w];
        speed += piece->width * piece->slope;
        if (speed > best * drawn) {
            best = speed / drawn;
            *at_mw = drawn > base_of(f) ? drawn : base_of(f);
        }
    }
    return best * f->worth[w];
}

/* The next piece in the order of what a watt does in it; *at: where each workload stands. 0: there is none. */
static int next_piece(const struct ctl_fleet *f, uint8_t at[CTL_WORKLOADS], uint8_t *w, uint8_t *k) {
    int found = 0;
    for (uint8_t v = 0; v < CTL_WORKLOADS; v++)
        if (at[v] < f->curves[v].count && (!found || slope_of(f, v, at[v]) > slope_of(f, *w, at[*w]))) {
            *w = v;
            found = 1;
        }
    if (found)
        *k = at[*w]++;
    return found;
}

float ctl_fleet_speed(const struct ctl_fleet *f, const uint16_t on[CTL_WORKLOADS], float watts_mw) {
    uint8_t at[CTL_WORKLOADS] = {0}, w = 0, k = 0;
    float takers[CTL_WORKLOADS], held = base_of(f) - f->idle_mw, speed = 0;
    for (uint8_t v = 0; v < CTL_WORKLOADS; v++) {
        takers[v] = on[v];
        watts_mw -= on[v] * base_of(f);
        if (on[v] > 0 && f->curves[v].count > 0 && !f->curves[v].pieces[0].whole)
            speed += on[v] * held * slope_of(f, v, 0);
    }
    if (watts_mw < 0)
        return -1;
    while (next_piece(f, at, &w, &k)) {
        float width = width_of(f, w, k), slope = slope_of(f, w, k), n = takers[w];
        int whole = f->curves[w].pieces[k].whole;
        if (n * width > watts_mw)
            n = whole ? (float)(uint32_t)(watts_mw / width) : watts_mw / width;
        watts_mw -= n * width;
        speed += n * (width + (whole && k == 0 ? held : 0)) * slope;
        takers[w] = whole ? n : takers[w]; /* the others wait for it */
    }
    return speed;
}

/* Share of what has that slope that is taken at a price. */
static float taken(float slope, float price) {
    float low = slope * (1 - RAMP), high = slope * (1 + RAMP);
    return price <= low ? 1 : price >= high ? 0 : (high - price) / (high - low);
}

float ctl_fleet_draw(const struct ctl_fleet *f, float price, int may_rest) {
    float sum = 0;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++) {
        float at, best = ctl_fleet_best(f, w, &at), one = may_rest ? at * taken(best, price) : base_of(f),
                  drawn = base_of(f);
        for (uint8_t k = 0; k < f->curves[w].count; k++) {
            float width = width_of(f, w, k), beyond = drawn + width - at;
            drawn += width;
            float counted = !may_rest ? width : beyond < 0 ? 0 : beyond < width ? beyond : width;
            one += counted * taken(slope_of(f, w, k), price);
        }
        sum += f->count[w] * one;
    }
    return sum < f->most_mw ? sum : f->most_mw;
}
