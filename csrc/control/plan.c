/* Which nodes rest through an eclipse: what a node draws only to be on may do more work elsewhere.
 *
 * Of the watts that there are in the dark, nodes get theirs in the order of what they do for a watt at their best
 * point, what they draw idle included; those for which nothing is left rest. Most wake for the Sun; as booting takes
 * from those that work, only some do before it is back. */
#include "control/internal.h"

#define WORTH_BOOTS 4                     /* a rest is worth its boot when it lasts so many times as long */
#define WAKE_SPARE_US (5 * CTL_SECOND_US) /* a boot ends that long before the Sun is back */
#define WAKE_PERMILLE 600                 /* of the watts in the dark, that nodes which wake may take */
#define PART_PERMILLE 500                 /* of its watts, with which the last node is left on */

static uint64_t boot_us(const struct ctl *c) {
    return c->config.node.boot_ms * UINT64_C(1000);
}

/* How long the present eclipse still lasts; 0: there is none, or nobody knows. */
static uint64_t dark_us(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    int dark = !s->sunlit && s->entry_us != 0 && c->t_us >= s->entry_us && c->t_us < s->exit_us;
    return dark ? s->exit_us - c->t_us : 0;
}

/* Draw of a node of a workload at its best point, where its speed for a mW is greatest; *best: that. */
static float best_point(const struct ctl *c, const struct ctl_curve *curve, float *best) {
    float dynamic = 0.5f * (float)(curve->least_mw + curve->most_mw), idle = (float)c->config.idle_mw;
    float drawn = idle, speed = 0, at = idle;
    *best = 0;
    for (uint8_t k = 0; k < curve->count; k++) {
        drawn += curve->pieces[k].width * dynamic;
        speed += curve->pieces[k].width * curve->pieces[k].slope;
        if (speed > *best * drawn) {
            *best = speed / drawn;
            at = drawn;
        }
    }
    return at;
}

static int works(const struct ctl_node *n) {
    return n->phase == CTL_PHASE_UP && n->tlm.state == BUS_NODE_STATE_ACTIVE;
}

/* Lays to rest what there are no watts for: workloads in the order of what they are worth. */
static void lay_to_rest(struct ctl *c) {
    float left = (float)ctl_min(ctl_lease_limit(c), c->supply.budget), at[CTL_WORKLOADS], best[CTL_WORKLOADS];
    uint8_t done = 0;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++)
        at[w] = best_point(c, &c->config.curves[w], &best[w]);
    for (uint8_t round = 0; round < CTL_WORKLOADS; round++) {
        uint8_t w = 0;
        for (uint8_t k = 0; k < CTL_WORKLOADS; k++)
            w = (done >> k & 1) == 0 && ((done >> w & 1) || best[k] > best[w]) ? k : w;
        done |= (uint8_t)(1u << w);
        for (uint16_t i = 0; i < c->config.nodes; i++) {
            struct ctl_node *n = &c->nodes[i];
            if (!works(n) || n->tlm.workload != w)
                continue;
            n->rest = left < at[w] * PART_PERMILLE / 1000;
            left -= n->rest ? 0 : at[w];
        }
    }
}

static void wake(struct ctl *c, int64_t watts_mw) {
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        if (!c->nodes[i].rest || watts_mw < c->config.boot_mw)
            continue;
        c->nodes[i].rest = 0;
        watts_mw -= c->config.boot_mw;
    }
}

static uint16_t resting(const struct ctl *c) {
    uint16_t count = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++)
        count = (uint16_t)(count + c->nodes[i].rest);
    return count;
}

void ctl_plan_tick(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    uint64_t left_us = dark_us(c);
    if (left_us == 0 || c->mode != SPACE_MODE_NOMINAL) {
        if (s->resting > 0)
            wake(c, INT64_MAX);
        s->planned = CTL_PLAN_NONE;
    } else if (s->planned == CTL_PLAN_NONE && left_us > WORTH_BOOTS * boot_us(c)) {
        lay_to_rest(c);
        s->planned = CTL_PLAN_RESTS;
    } else if (s->planned == CTL_PLAN_RESTS && left_us < boot_us(c) + WAKE_SPARE_US) {
        wake(c, ctl_lease_limit(c) * WAKE_PERMILLE / 1000);
        s->planned = CTL_PLAN_WOKEN;
    }
    s->resting = resting(c);
}
