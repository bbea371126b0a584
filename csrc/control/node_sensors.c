/* Sensors of a node against the rest: its draw against its channel's current, its temperatures against its draw, its
 * coolant and its neighbours (docs/estimation.md). n->heard is what the node said; n->tlm, which everything else goes
 * by, is that with the replacements. A temperature is never replaced by a lower one than it reads, when it reads any.
 */
#include "control/internal.h"

#define DT_MAX_US CTL_SECOND_US
#define DRAW_SHARE 20 /* of the greatest draw: node and channel differ */
#define DRAW_US (5 * CTL_SECOND_US)
#define LATE_SHARE 0.25f /* of what a draw moved by within PLATE_TAU_S, that its channel may be told late by */
#define PLATE_TAU_S 6.0f /* of die and cold plate together */
#define HEAT_TAU_S 2.0f
#define HEAT_OFF_K 6.0f
#define HEAT_OFF_SHARE 0.15f /* of the rise over the coolant */
#define HEAT_US (5 * CTL_SECOND_US)
#define CHANGED_US (20 * CTL_SECOND_US) /* after another workload began */
#define WARM_SHARE 0.15f                /* of the greatest draw: below, temperatures tell nothing of it */
#define STEADY_SHARE 0.05f              /* of it, within which the draw is steady */
#define DERATE_CDEG 200                 /* on top of a temperature that is only reckoned */
#define SEEN_S 60.0f                    /* of nodes at work, until what HBM takes in a workload is known */
#define LEARN_PER_S 2e-4f               /* share by which all nodes together may move what is known, in a second */
#define COLDEST_CDEG (-10000)
#define HOTTEST_CDEG 15000
#define WINDOW_MU 60000.0f /* of work by a node, that its speed is averaged over */
#define WORK_MU 3e6f       /* and by all of a workload */
#define FIRST_SHARE 0.5f   /* of the first piece, from which on a curve tells a speed */
#define SPEED_LEAST 0.5f   /* of a node against its curve, as far as it is believed */
#define SPEED_MOST 1.0f    /* above, it is the curve that has another shape, and says nothing of more watts */
#define SPEED_NEW 0.2f     /* weight of the newest window */
#define SPEED_STEP 0.125f  /* bids do not move by less: so much do data make of a healthy node */

static const uint8_t names[CTL_NODE_SENSORS] = {SPACE_SENSOR_POWER_MW, SPACE_SENSOR_DIE_CDEG, SPACE_SENSOR_HBM_CDEG,
                                                SPACE_SENSOR_COOLANT_CDEG, SPACE_SENSOR_CHANNEL_MA};

static float magnitude(float x) {
    return x < 0 ? -x : x;
}

static void follow(float *x, float to, float dt_s, float tau_s) {
    *x += (to - *x) * dt_s / (tau_s + dt_s);
}

static int trusted(const struct ctl_node *n, unsigned k) {
    return n->sensors[k].state == SPACE_SENSOR_STATE_TRUSTED;
}

/* Excludes what was wrong for `limit_us`, readmits what was right. */
static void judge(struct ctl *c, uint16_t node, unsigned k, int wrong, int right, uint32_t limit_us, uint32_t dt_us,
                  int64_t residual) {
    struct ctl_sensor *s = &c->nodes[node].sensors[k];
    uint16_t source = bus_address_of((uint16_t)(1 + node));
    int absent = s->bad_us > CTL_ABSENT_US;
    s->wrong_us = wrong ? s->wrong_us + dt_us : 0;
    if (s->state != SPACE_SENSOR_STATE_TRUSTED)
        ctl_sensor_readmit(c, s, source, names[k], right && !wrong && !absent, dt_us, residual);
    else if (s->wrong_us >= limit_us || absent)
        ctl_sensor_exclude(c, s, source, names[k], residual);
}

/* ------------------------------------------------------------------ draw */

/* The node's own sensor or its channel's: the one without which the balance of the bus closes better. */
static int channel_is_wrong(const struct ctl *c, float off_mw) {
    float by_channels = c->balance.load_left_mw, by_nodes = c->balance.nodes_left_mw;
    float node = magnitude(by_nodes + off_mw) + magnitude(by_channels);
    float channel = magnitude(by_nodes) + magnitude(by_channels - off_mw);
    return channel < node;
}

/* Once for each time that the channel is told, by the node's next word: a draw that moves is past in the one after. */
static void compare_draw(struct ctl *c, uint16_t node, int64_t channel_mw) {
    struct ctl_node *n = &c->nodes[node];
    int64_t limit = c->config.node.max_mw / DRAW_SHARE, off = (int64_t)n->tlm.power_mw - channel_mw;
    uint32_t dt_us = (uint32_t)ctl_min((int64_t)ctl_age(c->t_us, n->compared_us), 2 * CTL_SECOND_US);
    n->compared_us = c->t_us;
    int64_t late = (int64_t)(LATE_SHARE * magnitude((float)n->tlm.power_mw - n->settled_mw));
    int apart = off > limit + late || off < -limit - late, close = off < limit / 2 && off > -limit / 2;
    int channel = apart && channel_is_wrong(c, (float)off);
    n->sensors[CTL_CHANNEL].still_us = 0;
    judge(c, node, CTL_POWER, apart && !channel && trusted(n, CTL_CHANNEL), close, DRAW_US, dt_us, off);
    judge(c, node, CTL_CHANNEL, channel && trusted(n, CTL_POWER), close, DRAW_US, dt_us,
          -off * 1000 / ctl_max(1, c->power.tlm.bus_mv));
}

static void check_draw(struct ctl *c, uint16_t node, uint32_t dt_us) {
    struct ctl_node *n = &c->nodes[node];
    struct bus_node_tlm *t = &n->tlm;
    t->power_mw = (uint32_t)ctl_sensor_read(&n->sensors[CTL_POWER], n->heard.power_mw, 0,
                                            8 * (int64_t)c->config.node.max_mw, n->before_mw, dt_us);
    int known = n->channel_known && ctl_ready(c, 0) && c->power.tlm_us != 0;
    int64_t channel_mw = (int64_t)n->channel_ma * c->power.tlm.bus_mv / 1000;
    if (known && n->channel_us > n->compared_us)
        compare_draw(c, node, channel_mw);
    if (known && !trusted(n, CTL_POWER))
        t->power_mw = (uint32_t)channel_mw;
    n->before_mw = t->power_mw;
}

/* ------------------------------------------------------------------ temperatures */

static int16_t read_cdeg(struct ctl_sensor *s, int16_t heard, int16_t before, uint32_t dt_us) {
    return (int16_t)ctl_sensor_read(s, heard, COLDEST_CDEG, HOTTEST_CDEG, before, dt_us);
}

/* The neighbour that shares this node's stream of coolant and tells more than that: NULL when there is none. */
static const struct ctl_node *neighbour(const struct ctl *c, uint16_t node) {
    uint16_t groups = c->config.cooling.groups, other = (uint16_t)(node >= groups ? node - groups : node + groups);
    if (groups == 0 || other >= c->config.nodes)
        return NULL;
    const struct ctl_node *n = &c->nodes[other];
    return n->tlm_us != 0 && ctl_ready(c, (uint16_t)(1 + other)) && trusted(n, CTL_COOLANT) ? n : NULL;
}

/* What is known of all nodes, towards what one of them shows: by so little at a time that a few broken sensors do not
 * count, and always by the same, so that it ends at the middle one of them. */
static void lean(const struct ctl *c, float *known, float shown, float dt_s) {
    float step = *known * LEARN_PER_S * dt_s / (float)c->config.nodes;
    *known += shown > *known ? step : -step;
}

static void learn_rises(struct ctl *c, const struct ctl_node *n, float die_k, float hbm_k, float dt_s) {
    struct ctl_heat *h = &c->heat;
    uint8_t w = n->tlm.workload < CTL_WORKLOADS ? n->tlm.workload : 0;
    float watts = n->settled_mw * 1e-3f;
    if (trusted(n, CTL_DIE))
        lean(c, &h->die_k_per_w, die_k / watts, dt_s);
    if (!trusted(n, CTL_HBM))
        return;
    if (h->seen_s[w] < SEEN_S) {
        h->seen_s[w] += dt_s;
        follow(&h->hbm_k_per_w[w], hbm_k / watts, dt_s, h->seen_s[w]);
    } else {
        lean(c, &h->hbm_k_per_w[w], hbm_k / watts, dt_s);
    }
}

/* What is wrong with a node's temperatures. The coolant shifts die and HBM alike. */
struct off {
    int die, hbm, low, high; /* one alone; both below, or above what they should be */
    int die_near, hbm_near;
};

static struct off compare(struct ctl *c, struct ctl_node *n, float die_k, float hbm_k, float dt_s) {
    uint8_t w = n->tlm.workload < CTL_WORKLOADS ? n->tlm.workload : 0;
    int hbm_known = c->heat.seen_s[w] >= SEEN_S;
    float watts = n->settled_mw * 1e-3f, die = c->heat.die_k_per_w * watts, hbm = c->heat.hbm_k_per_w[w] * watts;
    float die_limit = HEAT_OFF_K + HEAT_OFF_SHARE * die, hbm_limit = HEAT_OFF_K + HEAT_OFF_SHARE * hbm;
    follow(&n->die_off_k, die_k - die, dt_s, HEAT_TAU_S);
    follow(&n->hbm_off_k, hbm_known ? hbm_k - hbm : 0, dt_s, HEAT_TAU_S);
    float a = n->die_off_k, b = n->hbm_off_k;
    int same = a * b > 0 && 2 * magnitude(a) > magnitude(b) && 2 * magnitude(b) > magnitude(a);
    int die_off = magnitude(a) > die_limit, hbm_off = magnitude(b) > hbm_limit;
    int both = same && hbm_known && trusted(n, CTL_DIE) && trusted(n, CTL_HBM) && (die_off || hbm_off);
    return (struct off){
        .die = die_off && !both && (magnitude(a) > magnitude(b) || !trusted(n, CTL_HBM)),
        .hbm = hbm_off && !both && (magnitude(b) > magnitude(a) || !trusted(n, CTL_DIE)),
        .low = both && a < 0,
        .high = both && a > 0,
        .die_near = magnitude(a) < 0.5f * die_limit,
        .hbm_near = magnitude(b) < 0.5f * hbm_limit,
    };
}

/* Both off: the coolant; unless its flow was lost, which its neighbour shows as well. */
static void judge_temperatures(struct ctl *c, uint16_t node, const struct off *o, uint32_t dt_us) {
    struct ctl_node *n = &c->nodes[node];
    const struct ctl_node *other = neighbour(c, node);
    int alone = other != NULL && magnitude(other->die_off_k) < HEAT_OFF_K / 2 &&
                other->tlm.coolant_cdeg - n->tlm.coolant_cdeg > (int32_t)(100 * HEAT_OFF_K);
    judge(c, node, CTL_COOLANT, o->low || (o->high && alone), o->die_near || o->hbm_near, HEAT_US, dt_us,
          (int64_t)(-100 * n->die_off_k));
    int clear = n->sensors[CTL_COOLANT].wrong_us == 0 && trusted(n, CTL_COOLANT);
    judge(c, node, CTL_DIE, clear && o->die, o->die_near, HEAT_US, dt_us, (int64_t)(100 * n->die_off_k));
    judge(c, node, CTL_HBM, clear && o->hbm, o->hbm_near, HEAT_US, dt_us, (int64_t)(100 * n->hbm_off_k));
}

static int16_t hotter(const struct ctl_node *n, unsigned k, int16_t read_c, float reckoned_cdeg) {
    int64_t reckoned = ctl_clamp((int64_t)reckoned_cdeg + DERATE_CDEG, COLDEST_CDEG, HOTTEST_CDEG);
    int reads = n->sensors[k].bad_us == 0 && n->sensors[k].state != SPACE_SENSOR_STATE_ABSENT;
    return (int16_t)(reads ? ctl_max(read_c, reckoned) : reckoned);
}

static void replace(const struct ctl *c, uint16_t node, struct ctl_node *n) {
    struct bus_node_tlm *t = &n->tlm;
    uint8_t w = t->workload < CTL_WORKLOADS ? t->workload : 0;
    float die = c->heat.die_k_per_w * n->settled_mw * 0.1f, hbm = c->heat.hbm_k_per_w[w] * n->settled_mw * 0.1f;
    const struct ctl_node *other = neighbour(c, node);
    if (!trusted(n, CTL_COOLANT))
        t->coolant_cdeg = other != NULL ? other->tlm.coolant_cdeg
                                        : (int16_t)ctl_clamp((int64_t)((float)t->die_cdeg - die), INT16_MIN, INT16_MAX);
    if (!trusted(n, CTL_DIE))
        t->die_cdeg = hotter(n, CTL_DIE, t->die_cdeg, (float)t->coolant_cdeg + die);
    if (!trusted(n, CTL_HBM))
        t->hbm_cdeg = hotter(n, CTL_HBM, t->hbm_cdeg, (float)t->coolant_cdeg + hbm);
}

static void check_heat(struct ctl *c, uint16_t node, uint32_t dt_us) {
    struct ctl_node *n = &c->nodes[node];
    struct bus_node_tlm *t = &n->tlm;
    float dt_s = (float)dt_us * 1e-6f, most = (float)c->config.node.max_mw;
    t->die_cdeg = read_cdeg(&n->sensors[CTL_DIE], n->heard.die_cdeg, n->before_die_cdeg, dt_us);
    t->hbm_cdeg = read_cdeg(&n->sensors[CTL_HBM], n->heard.hbm_cdeg, n->before_hbm_cdeg, dt_us);
    t->coolant_cdeg = read_cdeg(&n->sensors[CTL_COOLANT], n->heard.coolant_cdeg, n->before_coolant_cdeg, dt_us);
    follow(&n->settled_mw, (float)t->power_mw, dt_s, PLATE_TAU_S);
    float die_k = (float)(t->die_cdeg - t->coolant_cdeg) * 0.01f,
          hbm_k = (float)(t->hbm_cdeg - t->coolant_cdeg) * 0.01f;
    int up = t->state == BUS_NODE_STATE_ACTIVE || t->state == BUS_NODE_STATE_IDLE;
    if (!up || t->workload != n->heated) /* HBM takes another share */
        n->heated_us = n->tlm_us;
    n->heated = t->workload;
    if (ctl_age(n->tlm_us, n->heated_us) >= CHANGED_US && n->settled_mw > WARM_SHARE * most) {
        struct off off = compare(c, n, die_k, hbm_k, dt_s);
        judge_temperatures(c, node, &off, dt_us);
        int steady =
            magnitude((float)t->power_mw - n->settled_mw) < STEADY_SHARE * most && trusted(n, CTL_COOLANT) && !off.high;
        if (steady)
            learn_rises(c, n, die_k, hbm_k, dt_s);
    } else {
        struct off unknown = {0};
        judge_temperatures(c, node, &unknown, dt_us);
    }
    replace(c, node, n);
    n->before_die_cdeg = t->die_cdeg;
    n->before_hbm_cdeg = t->hbm_cdeg;
    n->before_coolant_cdeg = t->coolant_cdeg;
}

/* ------------------------------------------------------------------ speed */

/* What the file's curve says of so much draw above idle; 0: nothing, as it lies well below its hull there. */
static float speed_of(const struct ctl *c, const struct ctl_node *n) {
    const struct ctl_curve *curve = &c->config.curves[n->tlm.workload];
    float left = (float)n->tlm.power_mw - (float)n->idle_mw, speed = 0;
    if (left < (curve->pieces[0].whole ? 1 : FIRST_SHARE) * curve->pieces[0].width * (float)n->dynamic_mw)
        return 0;
    for (uint8_t k = 0; k < curve->count && left > 0; k++) {
        float width = curve->pieces[k].width * (float)n->dynamic_mw,
              part = width > 0 && left < width ? left / width : 1;
        speed += part * curve->pieces[k].width * curve->pieces[k].slope;
        left -= width;
    }
    return speed;
}

/* From a window of its work: what it bids by. Coarse, so that its share of the watts does not follow each window. */
static void learn_bid(struct ctl_node *n) {
    float seen = n->worked_mu / n->expected_mu;
    seen = seen < SPEED_LEAST ? SPEED_LEAST : seen > SPEED_MOST ? SPEED_MOST : seen;
    n->speed_seen += (seen - n->speed_seen) * SPEED_NEW;
    if (magnitude(n->speed_seen - n->speed) > SPEED_STEP)
        n->speed = n->speed_seen;
}

/* Work that was done against what the curve says of its draw. */
static void learn_speed(struct ctl *c, struct ctl_node *n, float dt_s) {
    const struct bus_node_tlm *t = &n->tlm;
    if (t->job_id != n->progress_job || t->workload != n->workload)
        n->speed_seen = n->speed = 1;
    int goes_on = t->state == BUS_NODE_STATE_ACTIVE && t->job_id == n->progress_job && t->workload == n->workload &&
                  t->workload < CTL_WORKLOADS && t->progress_mu >= n->progress_mu;
    float expected = goes_on && n->dynamic_mw > 0 ? speed_of(c, n) : 0;
    if (expected > 0) {
        n->worked_mu += (float)(t->progress_mu - n->progress_mu);
        n->expected_mu += 1000 * expected * dt_s;
    } else if (!goes_on) {
        n->worked_mu = n->expected_mu = 0;
    }
    n->progress_mu = t->progress_mu;
    n->progress_job = t->job_id;
    if (n->expected_mu < WINDOW_MU)
        return;
    learn_bid(n);
    struct ctl_heat *h = &c->heat;
    uint8_t w = t->workload;
    float keep = h->expected_mu[w] > WORK_MU ? 1 - WINDOW_MU / WORK_MU : 1;
    h->worked_mu[w] = h->worked_mu[w] * keep + n->worked_mu;
    h->expected_mu[w] = h->expected_mu[w] * keep + n->expected_mu;
    n->worked_mu = n->expected_mu = 0;
}

void ctl_node_check(struct ctl *c, uint16_t node, uint64_t since_us) {
    struct ctl_node *n = &c->nodes[node];
    uint32_t dt_us = (uint32_t)ctl_min((int64_t)since_us, DT_MAX_US);
    n->tlm = n->heard;
    check_draw(c, node, dt_us);
    check_heat(c, node, dt_us);
    learn_speed(c, n, (float)dt_us * 1e-6f);
}

uint16_t ctl_nodes_out(const struct ctl *c) {
    uint16_t count = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        int out = 0;
        for (unsigned k = 0; k < CTL_NODE_SENSORS; k++)
            out |= !trusted(&c->nodes[i], k);
        count = (uint16_t)(count + out);
    }
    return count;
}

void ctl_heat_init(struct ctl *c) {
    c->heat.die_k_per_w = c->config.cooling.die_k_per_w;
    for (unsigned w = 0; w < CTL_WORKLOADS; w++)
        c->heat.hbm_k_per_w[w] = c->config.cooling.hbm_k_per_w;
    for (unsigned l = 0; l < CTL_LOOPS; l++)
        c->heat.loops[l].share = 1;
}
