/* Shares watts among working nodes by what they are worth: at one price of a watt each node gets the pieces of its
 * workload's curve that are worth it (water-filling), on measured power, with reclaim of what is not drawn. Two bounds
 * hold at once: caps against the guarantee, measured draw against the energy budget. */
#include "control/internal.h"

#define ROUNDS 24  /* of the search for the price */
#define KEEP 0.93f /* a node that has a piece keeps it against others that are worth a little more */
#define HEADROOM_PERMILLE 30
#define HEADROOM_MW 1000
#define LOCKED_PERMILLE 125 /* of a node that its clock holds, as the data may make more of it at any time */
#define LOCKED_MW 10000
#define NEARLY_MW 1.0f
#define DYNAMIC_LEAST_MW 20000u

struct share {
    int64_t caps, draw; /* of the others */
    int64_t floors;     /* of the working nodes */
};

/* A working node while its share is looked for. */
struct bid {
    float span;  /* mW above idle at full speed; less while it holds its share, more where its speed is worth less */
    float scale; /* mW of a piece's width */
    float held;  /* mW of its share that the floor gives it anyway */
    float room;  /* mW above its base that it may have at most */
    float given, headroom;
    uint16_t node;
    uint8_t workload, parked; /* parked: gets no piece that must be had whole */
};

static int flexible(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    return ctl_ready(c, (uint16_t)(1 + node)) && n->tlm_us != 0 && n->phase == CTL_PHASE_UP &&
           n->tlm.state == BUS_NODE_STATE_ACTIVE;
}

static uint32_t upper(const struct ctl *c, const struct ctl_node *n) {
    int64_t bound = ctl_min(ctl_min(n->thermal_mw, n->near_mw), ctl_min(n->demand_mw, c->config.node.max_mw));
    return (uint32_t)ctl_max(bound - n->penalty_mw, c->config.node.floor_mw);
}

/* Measured draw; that of a board that is silent, by its channel. */
static int64_t draw(const struct ctl *c, uint16_t node) {
    const struct ctl_node *n = &c->nodes[node];
    if (ctl_ready(c, (uint16_t)(1 + node)))
        return n->tlm.power_mw;
    if (ctl_ready(c, 0) && n->channel_known)
        return (int64_t)n->channel_ma * c->power.tlm.bus_mv / 1000;
    return n->in_force_mw;
}

static uint32_t base_of(const struct ctl *c, const struct ctl_node *n) {
    return n->idle_mw > c->config.node.floor_mw ? n->idle_mw : c->config.node.floor_mw;
}

/* Sets aside what the others hold, and leaves each working node's upper bound in target_mw. */
static struct share survey(struct ctl *c) {
    struct share s = {0};
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        struct ctl_node *n = &c->nodes[i];
        int64_t boot = n->phase == CTL_PHASE_START ? c->config.boot_mw : 0;
        n->lock = (struct ctl_lock){.share = 1};
        if (!flexible(c, i)) {
            n->target_mw = c->config.node.floor_mw;
            int held = n->phase == CTL_PHASE_UP && n->lease_count > 0 && ctl_ready(c, (uint16_t)(1 + i));
            s.caps += held ? ctl_max(n->target_mw, n->tlm.power_mw) : n->in_force_mw;
            s.draw += ctl_max(draw(c, i), boot);
            continue;
        }
        n->target_mw = upper(c, n);
        s.floors += base_of(c, n);
    }
    return s;
}

/* Rounded, so that equal nodes are equal, and shares do not move with every watt. */
static uint32_t coarse(uint32_t mw) {
    uint32_t step = 1;
    while (step * 32 <= mw)
        step *= 2;
    return mw - mw % step;
}

/* Of the working nodes. Worths count in parts of it, so that prices have the same range whatever the weights are. */
static float most_worth(const struct ctl *c) {
    float most = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        float worth = flexible(c, i) ? ctl_worth(&c->nodes[i]) : 0;
        most = worth > most ? worth : most;
    }
    return most;
}

static uint16_t collect(struct ctl *c, struct bid *bids) {
    float most = most_worth(c);
    uint16_t count = 0;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        if (!flexible(c, i))
            continue;
        uint32_t dynamic = n->dynamic_mw > DYNAMIC_LEAST_MW ? n->dynamic_mw : DYNAMIC_LEAST_MW;
        int held = !n->starved && n->tlm.workload < CTL_WORKLOADS;
        uint32_t base = base_of(c, n);
        bids[count++] = (struct bid){
            .span = (float)coarse(dynamic) * (held ? KEEP : 1) * (most / ctl_worth(n)),
            .scale = (float)dynamic,
            .held = base > n->idle_mw ? (float)(base - n->idle_mw) : 0,
            .room = n->target_mw > base ? (float)(n->target_mw - base) : 0,
            .node = i,
            .workload = n->tlm.workload < CTL_WORKLOADS ? n->tlm.workload : 0,
        };
    }
    return count;
}

/* What a node takes above its base at a price (speed for a mW); of pieces that must be had whole, only what fits. */
static float taken(const struct ctl *c, const struct bid *b, float price) {
    const struct ctl_curve *curve = &c->config.curves[b->workload];
    float sum = 0, least = price * b->span;
    for (uint8_t k = 0; k < curve->count && curve->pieces[k].slope >= least; k++) {
        if (curve->pieces[k].whole && b->parked)
            return 0;
        sum += curve->pieces[k].width * b->scale;
    }
    sum = sum > b->held ? sum - b->held : 0;
    return sum < b->room ? sum : b->room;
}

static float total(const struct ctl *c, const struct bid *bids, uint16_t count, float price) {
    float sum = 0;
    for (uint16_t i = 0; i < count; i++)
        sum += taken(c, &bids[i], price);
    return sum;
}

/* The lowest price at which nodes take no more than there is; *below: one at which they take more, or 0. */
static float price_of(const struct ctl *c, const struct bid *bids, uint16_t count, float budget, float *below) {
    float low = 0, high = 1.0f / 1024;
    *below = 0;
    if (total(c, bids, count, 0) <= budget)
        return 0;
    for (int k = 0; k < ROUNDS; k++) {
        float middle = 0.5f * (low + high);
        if (total(c, bids, count, middle) <= budget)
            high = middle;
        else
            low = middle;
    }
    *below = low;
    return high;
}

/* Parks those nodes of the marginal piece for which it is not there whole. Returns whether there were any. */
static int park(const struct ctl *c, struct bid *bids, uint16_t count, float price, float below, float left) {
    int any = 0;
    for (uint16_t i = 0; i < count; i++) {
        struct bid *b = &bids[i];
        const struct ctl_curve *curve = &c->config.curves[b->workload];
        if (b->parked || curve->count == 0 || !curve->pieces[0].whole)
            continue;
        float more = taken(c, b, below) - taken(c, b, price);
        float whole = curve->pieces[0].width * b->scale - b->held;
        if (taken(c, b, price) > 0 || more <= 0)
            continue;
        if (left >= whole) {
            left -= whole;
            continue;
        }
        b->parked = 1;
        any = 1;
    }
    return any;
}

/* The lock that holds a node at x mW above its base, where that is the end of a piece and not of the last one. */
static struct ctl_lock lock_of(const struct ctl_curve *curve, const struct bid *b, float x) {
    float width = 0;
    for (uint8_t k = 0; k + 1 < curve->count && width * b->scale < b->held + x + NEARLY_MW; k++) {
        width += curve->pieces[k].width;
        float away = width * b->scale - b->held - x;
        if (curve->pieces[k].clock_mhz != 0 && away < NEARLY_MW && away > -NEARLY_MW)
            return (struct ctl_lock){.share = width, .mhz = curve->pieces[k].clock_mhz, .workload = b->workload};
    }
    return (struct ctl_lock){.share = 1};
}

/* What each node gets above its base; what is left at the price goes to those that would take more just below it. */
static void assign(const struct ctl *c, struct bid *bids, uint16_t count, float price, float below, float left) {
    for (uint16_t i = 0; i < count; i++) {
        struct bid *b = &bids[i];
        b->given = taken(c, b, price);
        if (below > 0 && left > 0) {
            float more = taken(c, b, below) - b->given;
            more = more < left ? more : left;
            left -= more > 0 ? more : 0;
            b->given += more > 0 ? more : 0;
        }
    }
}

static float little(const struct bid *b) {
    return b->given > 0 ? b->given * HEADROOM_PERMILLE / 1000 + HEADROOM_MW : 0;
}

/* Headroom over the shares, where caps may add up to so much more. A lock takes the place of a node's cap only where
 * there is enough for the cap not to bind: what a cap reserves and the node does not draw is nobody's. It gets that
 * when its telemetry shows the lock. */
static void give_headroom(struct ctl *c, struct bid *bids, uint16_t count, float spare) {
    float locked = 0, capped = 0;
    for (uint16_t i = 0; i < count; i++) {
        struct bid *b = &bids[i];
        struct ctl_node *n = &c->nodes[b->node];
        n->lock = b->given > 0 ? lock_of(&c->config.curves[b->workload], b, b->given) : n->lock;
        float much = n->lock.mhz != 0 ? b->given * LOCKED_PERMILLE / 1000 + LOCKED_MW : little(b);
        b->headroom = n->share == n->lock.share ? much : little(b);
        locked += much;
        capped += little(b);
    }
    if (spare >= locked)
        return;
    for (uint16_t i = 0; i < count; i++) {
        struct bid *b = &bids[i];
        c->nodes[b->node].lock = (struct ctl_lock){.share = 1};
        b->headroom = spare >= capped ? little(b) : little(b) * spare / capped;
    }
}

/* Watts above the bases, shared. spare: what caps may add up to beyond that; a share of it is a node's headroom. */
static void share_out(struct ctl *c, struct bid *bids, uint16_t count, float budget, float spare) {
    float below, price = price_of(c, bids, count, budget, &below);
    float left = budget - total(c, bids, count, price);
    if (below > 0 && park(c, bids, count, price, below, left)) {
        price = price_of(c, bids, count, budget, &below);
        left = budget - total(c, bids, count, price);
    }
    assign(c, bids, count, price, below, left);
    give_headroom(c, bids, count, spare);
    for (uint16_t i = 0; i < count; i++) {
        const struct bid *b = &bids[i];
        struct ctl_node *n = &c->nodes[b->node];
        uint32_t wanted = base_of(c, n) + (uint32_t)b->given;
        n->starved = wanted <= c->config.node.floor_mw + c->config.node.floor_mw / 32;
        if (price <= 0 && !b->parked && !c->supply.resting) /* nobody else wants it: let it vary */
            continue;
        wanted += (uint32_t)b->headroom;
        n->target_mw = (uint32_t)ctl_clamp(wanted, c->config.node.floor_mw, n->target_mw);
    }
}

void ctl_allocate(struct ctl *c) {
    struct share s = survey(c);
    int64_t boots = ctl_max(0, ctl_min(c->waiting, c->set.boot_parallel - c->booting)) * c->config.boot_mw;
    int64_t caps = ctl_lease_limit(c) - s.caps - boots;
    int64_t energy = c->supply.budget - s.draw - boots;
    struct bid bids[CTL_NODES_MAX];
    uint16_t count = collect(c, bids);
    float budget = (float)ctl_max(0, ctl_min(caps, energy) - s.floors);
    float spare = (float)ctl_max(0, caps - ctl_min(caps, energy));
    c->supply.hungry = total(c, bids, count, 0) > budget || c->waiting > 0;
    share_out(c, bids, count, budget, spare);
}
