/* Which nodes rest through an eclipse: what a node draws only to be on may do more work elsewhere.
 *
 * Of the watts that there are in the dark, nodes get theirs in the order of what they do for a watt at their best
 * point, what they draw idle included; of all beginnings of that row, the one that does the most work stays on. As
 * dies cool they draw less, and as the battery empties there is less: now and then another one is worth its boot, or
 * one that has nothing but its floor is worth more at rest. Most wake for the Sun; as booting takes from those that
 * work, only some do before it is back. Within a workload those of least worth rest first and wake last. */
#include "control/internal.h"

#define WORTH_BOOTS 4                     /* a rest is worth its boot when it lasts so many times as long */
#define WAKE_SPARE_US (5 * CTL_SECOND_US) /* a boot ends that long before the Sun is back */
#define WAKE_PERMILLE 600                 /* of the watts in the dark, that nodes which wake may take */
#define ANY CTL_WORKLOADS                 /* of the workloads */
#define AGAIN_US (60 * CTL_SECOND_US)     /* looked again whether another one is worth its boot, or its floor */

static uint64_t boot_us(const struct ctl *c) {
    return c->config.node.boot_ms * UINT64_C(1000);
}

/* How long the present eclipse still lasts; 0: there is none, or nobody knows. */
static uint64_t dark_us(const struct ctl *c) {
    const struct ctl_supply *s = &c->supply;
    int dark = !s->sunlit && s->entry_us != 0 && c->t_us >= s->entry_us && c->t_us < s->exit_us;
    return dark ? s->exit_us - c->t_us : 0;
}

static int works(const struct ctl_node *n) {
    return n->phase == CTL_PHASE_UP && n->tlm.state == BUS_NODE_STATE_ACTIVE;
}

static float watts_mw(const struct ctl *c) {
    return (float)ctl_max(0, ctl_min(ctl_lease_limit(c), c->supply.budget));
}

/* How many of each workload shall be on with so many watts; returns their speed. */
static float choose(const struct ctl_fleet *f, float watts, uint16_t on[CTL_WORKLOADS]) {
    float at, worth[CTL_WORKLOADS], most = -1;
    uint16_t row[CTL_WORKLOADS] = {0};
    uint8_t done = 0;
    for (uint8_t w = 0; w < CTL_WORKLOADS; w++) {
        worth[w] = ctl_fleet_best(f, w, &at);
        on[w] = 0;
    }
    for (uint8_t round = 0; round < CTL_WORKLOADS; round++) {
        uint8_t w = 0;
        for (uint8_t k = 0; k < CTL_WORKLOADS; k++)
            w = (done >> k & 1) == 0 && ((done >> w & 1) || worth[k] > worth[w]) ? k : w;
        done |= (uint8_t)(1u << w);
        while (row[w] < f->count[w]) {
            row[w]++;
            float speed = ctl_fleet_speed(f, row, watts);
            if (speed < 0)
                return most;
            if (speed <= most)
                continue;
            most = speed;
            for (uint8_t k = 0; k < CTL_WORKLOADS; k++)
                on[k] = row[k];
        }
    }
    return most;
}

/* Whether a node is among the `most` of its workload whose speed is worth most; of equals, among the first. */
static int is_among(const struct ctl *c, uint16_t node, uint16_t most) {
    const struct ctl_node *n = &c->nodes[node];
    uint16_t before = 0;
    for (uint16_t i = 0; i < c->config.nodes && before < most; i++) {
        const struct ctl_node *other = &c->nodes[i];
        if (i == node || !works(other) || other->workload != n->workload)
            continue;
        float more = ctl_worth(other) - ctl_worth(n);
        before = (uint16_t)(before + (more > 0 || (more == 0 && i < node)));
    }
    return before < most;
}

static void lay_to_rest(struct ctl *c) {
    struct ctl_fleet f;
    uint16_t on[CTL_WORKLOADS];
    ctl_fleet_of(c, &f);
    choose(&f, watts_mw(c), on);
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        if (works(n) && n->workload < CTL_WORKLOADS)
            n->rest = !is_among(c, i, on[n->workload]);
    }
}

/* What one more node of a workload on, or one less, does until the Sun is back, in work beyond the speed now, less what
 * its boot takes. */
static float gain(const struct ctl_fleet *f, const uint16_t on[CTL_WORKLOADS], float now, uint8_t w, int more,
                  float watts, float lasts_s, float cost) {
    uint16_t then[CTL_WORKLOADS];
    for (uint8_t k = 0; k < CTL_WORKLOADS; k++)
        then[k] = on[k];
    then[w] = (uint16_t)(then[w] + (more ? 1 : -1));
    return (ctl_fleet_speed(f, then, watts) - now) * lasts_s - cost;
}

/* The node of a workload, or of ANY, to wake, or else to rest: of equals at work, the one that draws least. */
static struct ctl_node *pick(struct ctl *c, uint8_t w, int more) {
    struct ctl_node *found = NULL;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        int fits = (w == ANY || n->workload == w) && (more ? n->rest : works(n));
        float above = fits && found != NULL ? ctl_worth(n) - ctl_worth(found) : 0;
        int better = more ? above > 0 : above < 0 || (above == 0 && found != NULL && n->target_mw < found->target_mw);
        if (fits && (found == NULL || better))
            found = n;
    }
    return found;
}

/* Wakes one node, or lays one to rest, when that does more work until the Sun is back than its boot takes. */
static void look_again(struct ctl *c, uint64_t left_us) {
    struct ctl_fleet f;
    uint16_t on[CTL_WORKLOADS] = {0};
    float watts = watts_mw(c), left_s = (float)(left_us / 1000) / 1000, boot_s = (float)c->config.node.boot_ms / 1000;
    struct ctl_node *best = NULL;
    float most = 0;
    ctl_fleet_of(c, &f);
    for (uint16_t i = 0; i < c->config.nodes; i++)
        if (works(&c->nodes[i]) && c->nodes[i].workload < CTL_WORKLOADS)
            on[c->nodes[i].workload]++;
    if (c->booting > 0 || watts <= 0)
        return;
    float now = ctl_fleet_speed(&f, on, watts);
    now = now > 0 ? now : 0; /* negative: their floors alone are more than there is */
    float cost = now / watts * (float)c->config.boot_mw * boot_s;
    for (uint8_t k = 0; k < 2 * CTL_WORKLOADS; k++) {
        uint8_t w = k / 2, more = k % 2;
        struct ctl_node *n = pick(c, w, more);
        float g = n == NULL ? 0 : gain(&f, on, now, w, more, watts, more ? left_s - boot_s : left_s, cost);
        best = g > most ? n : best;
        most = g > most ? g : most;
    }
    if (best != NULL)
        best->rest = !best->rest;
}

static void wake(struct ctl *c, int64_t most_mw) {
    for (struct ctl_node *n; most_mw >= c->config.boot_mw && (n = pick(c, ANY, 1)) != NULL;) {
        n->rest = 0;
        most_mw -= c->config.boot_mw;
    }
}

static uint16_t resting(const struct ctl *c) {
    uint16_t count = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++)
        count = (uint16_t)(count + c->nodes[i].rest);
    return count;
}

/* In an eclipse that lasts long enough. */
static void plan(struct ctl *c, uint64_t left_us) {
    struct ctl_supply *s = &c->supply;
    if (s->planned == CTL_PLAN_NONE && left_us > WORTH_BOOTS * boot_us(c)) {
        lay_to_rest(c);
        s->planned = CTL_PLAN_RESTS;
        s->looked_us = c->t_us;
    } else if (s->planned == CTL_PLAN_RESTS && left_us < boot_us(c) + WAKE_SPARE_US) {
        wake(c, ctl_lease_limit(c) * WAKE_PERMILLE / 1000);
        s->planned = CTL_PLAN_WOKEN;
    } else if (s->planned == CTL_PLAN_RESTS && c->t_us >= s->looked_us + AGAIN_US && left_us > 2 * boot_us(c)) {
        look_again(c, left_us);
        s->looked_us = c->t_us;
    }
}

void ctl_plan_tick(struct ctl *c) {
    struct ctl_supply *s = &c->supply;
    uint64_t left_us = dark_us(c);
    if (left_us > 0 && c->mode == SPACE_MODE_NOMINAL) {
        plan(c, left_us);
    } else {
        if (s->resting > 0)
            wake(c, INT64_MAX);
        s->planned = CTL_PLAN_NONE;
    }
    s->resting = resting(c);
}
