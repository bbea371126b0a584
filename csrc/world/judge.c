#include "world/judge.h"

#include "plant/plant.h"

/* How long the lease sum may stand above a guarantee that dropped (docs/design.md, the lease). */
static const double LEASE_GRACE_S = 1.0;

void judge_init(struct judge *j, const struct world_config *limits) {
    j->limits = *limits;
    j->next_sample_us = limits->sample_period_us;
    j->score.soc_min = 1;
}

/* Counts the beginning of an episode. */
static void episode(uint8_t *inside, int bad, uint32_t *count) {
    if (bad && !*inside)
        ++*count;
    *inside = (uint8_t)bad;
}

/* Watts that leases may count on: what the array can give at the bus now, without its strongest string, and what the
 * battery may give, less the hotel load. */
static double guarantee(const struct world_config *c, const struct plant_truth *t) {
    double array_w = (t->array_available_w - t->largest_string_w) * c->converter_efficiency;
    double battery_w = t->soc > c->soc_floor ? c->discharge_w_allowed : 0;
    return array_w + battery_w - t->hotel_w;
}

/* Caps in force of every node whose accelerator is on. */
static double lease_sum(const struct plant *p, const uint32_t *cap_mw, uint32_t nodes) {
    const struct plant_sensors_node *s = plant_node_out(p);
    uint64_t sum_mw = 0;
    for (uint32_t i = 0; i < nodes; i++)
        if (s[i].accel_state >= BUS_NODE_STATE_BOOT && s[i].accel_state <= BUS_NODE_STATE_HALTED)
            sum_mw += cap_mw[i];
    return (double)sum_mw * 1e-3;
}

/* A violation is a sum that a grant lifted above the guarantee (of now, and of a tick ago: what flight could know), or
 * one that stands above it for more than a second after the supply dropped. */
static void judge_leases(struct judge *j, double sum_w, double guarantee_w, double dt_s) {
    int over = sum_w > guarantee_w;
    int lifted = over && j->lease_over_s == 0 && sum_w > j->last_guarantee_w && sum_w > j->score.lease_sum_w;
    j->lease_over_s = over ? j->lease_over_s + dt_s : 0;
    episode(&j->lease, over && (j->lease || lifted || j->lease_over_s > LEASE_GRACE_S), &j->score.lease_sum);
    if (over)
        j->score.lease_over_ws += (sum_w - guarantee_w) * dt_s;
    j->last_guarantee_w = guarantee_w;
    j->score.lease_sum_w = sum_w;
    j->score.guarantee_w = guarantee_w;
}

/* How many accelerators are between two states. */
static double count(const struct plant *p, uint32_t nodes, uint8_t from, uint8_t to) {
    const struct plant_sensors_node *s = plant_node_out(p);
    uint32_t n = 0;
    for (uint32_t i = 0; i < nodes; i++)
        n += s[i].accel_state >= from && s[i].accel_state <= to;
    return n;
}

static void sample(struct judge *j, const struct plant *p, uint64_t t_us) {
    const struct plant_truth *t = plant_truth_of(p);
    const uint32_t nodes = j->limits.nodes;
    if (j->limits.sample_period_us == 0 || t_us < j->next_sample_us || j->sample_count == j->sample_capacity)
        return;
    j->next_sample_us += j->limits.sample_period_us;
    double c = j->limits.converter_efficiency;
    j->samples[j->sample_count++] = (struct world_sample){
        .t_s = (double)t_us * 1e-6,
        .available_w = t->array_available_w * c,
        .used_w = t->array_used_w * c,
        .nodes_w = t->nodes_w,
        .hotel_w = t->hotel_w,
        .soc = t->soc,
        .bus_v = t->bus_v,
        .batt_w = t->batt_v * t->batt_a,
        .batt_c = t->batt_c,
        .array_c = t->array_c,
        .die_max_c = t->die_max_c,
        .hbm_max_c = t->hbm_max_c,
        .coolant_max_c = t->coolant_max_c,
        .radiator_c = t->radiator_c[0],
        .sunlight = t->sun_fraction,
        .work = t->work_total,
        .lease_sum_w = j->score.lease_sum_w,
        .guaranteed_w = j->score.guarantee_w,
        .nodes_up = count(p, nodes, BUS_NODE_STATE_IDLE, BUS_NODE_STATE_HALTED),
        .nodes_booting = count(p, nodes, BUS_NODE_STATE_BOOT, BUS_NODE_STATE_BOOT),
    };
}

void judge_tick(struct judge *j, const struct plant *p, const uint32_t *cap_mw, uint64_t t_us) {
    const struct world_config *c = &j->limits;
    const struct plant_truth *t = plant_truth_of(p);
    struct world_score *s = &j->score;
    s->ticks++;
    episode(&j->under, t->bus_tick_min_v < c->undervoltage_v, &s->undervoltage);
    episode(&j->hot, t->die_max_c > c->over_temperature_c || t->hbm_max_c > c->hbm_over_temperature_c,
            &s->overtemperature);
    episode(&j->low, t->soc < c->soc_floor, &s->soc_floor);
    if (t->soc < s->soc_min)
        s->soc_min = t->soc;
    judge_leases(j, lease_sum(p, cap_mw, c->nodes), guarantee(c, t), c->dt_us * 1e-6);
    sample(j, p, t_us);
}
