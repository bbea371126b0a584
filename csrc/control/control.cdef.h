#define CTL_NODES_MAX ...
#define CTL_FAULTS_MAX ...
#define CTL_LEASES ...

#define CTL_PIECES ...

struct ctl;
struct ctl_piece {
    float width, slope;
    uint16_t clock_mhz;
    uint8_t whole;
    ...;
};
struct ctl_curve {
    uint32_t least_mw, most_mw;
    uint8_t count;
    struct ctl_piece pieces[...];
    ...;
};
struct ctl_cooling {
    uint8_t loops, groups;
    float emitted_w_per_k4, absorbed_w, radiator_w_per_k, flow_w_per_k, panel_j_per_k, loop_j_per_k;
    float die_k_per_w, hbm_k_per_w;
    ...;
};
struct ctl_config {
    uint16_t nodes;
    uint32_t session, tick_us;
    uint8_t firmware_hash[8];
    struct bus_node_config node;
    struct bus_power_config power;
    struct bus_battery_curve curve;
    struct bus_shed_tiers tiers;
    uint8_t shed_tier[1024];
    uint32_t boot_mw, discharge_mw, converter_permille, array_mw;
    uint16_t soc_floor_cpct;
    uint32_t hotel_mw, heater_mw, resistance_uohm;
    int32_t array_ppm_per_k;
    uint32_t idle_mw;
    struct ctl_curve curves[...];
    struct ctl_cooling cooling;
    uint8_t adopt;
    ...;
};
struct ctl_job {
    uint32_t job_id, total_mu, start_mu, checkpoint_ms, checkpoint_cost_ms;
    uint8_t workload, stop, phase_count;
    uint16_t weight_permille;
    struct bus_job_phase phases[4];
    ...;
};
enum ctl_phase { CTL_PHASE_OFF, CTL_PHASE_START, CTL_PHASE_UP, CTL_PHASE_STOP, ... };
enum ctl_clear { CTL_CLEAR_NONE, CTL_CLEAR_WANTED, CTL_CLEAR_REFUSED, ... };
struct ctl_lock {
    float share;
    uint16_t mhz;
    uint8_t workload;
    ...;
};
struct ctl_node {
    struct ctl_lock lock, sent;
    struct bus_node_tlm tlm, heard;
    struct bus_node_health health;
    uint64_t tlm_us, lease_us;
    uint32_t lease_seq, lease_mw, target_mw, thermal_mw, demand_mw, penalty_mw, in_force_mw;
    uint32_t idle_mw, dynamic_mw;
    float speed;
    uint16_t weight_permille;
    uint8_t starved, rest;
    uint8_t lease_count, phase, channel, mask, wanted, managed, faults, clear;
    ...;
};
struct ctl_event {
    uint64_t t_us;
    uint16_t code, source;
    int32_t arg0, arg1;
    ...;
};
struct ctl_status {
    uint8_t mode, mode_reason, sunlit, commanded_safe;
    uint16_t boards_ready, boards_lost, boards_refused;
    uint32_t session;
    uint64_t frames_received, frames_sent, bytes_received, bytes_sent;
    uint32_t crc_errors, cobs_errors, length_errors, sequence_gaps, stale_frames, bad_payloads, unknown_frames;
    uint32_t retransmissions, command_timeouts, batch_dropped, events_dropped;
    uint32_t soc_cpct, guaranteed_mw, lease_sum_mw, available_mw, budget_mw;
    ...;
};
enum ctl_attention { CTL_ATTENTION_BOARD, CTL_ATTENTION_JOB, CTL_ATTENTION_MODE, CTL_ATTENTION_SESSION, ... };
enum ctl_error { CTL_ERR_NODES, CTL_ERR_NODE, CTL_ERR_MODE, CTL_ERR_STATUS, ... };

size_t ctl_bytes(uint16_t nodes);
int ctl_init(struct ctl *c, const struct ctl_config *config);
int ctl_step(void *ctl, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx);
int ctl_take_attention(struct ctl *c);
void ctl_set_parameters(struct ctl *c, const struct space_parameters *p);
void ctl_set_forecast(struct ctl *c, uint64_t entry_us, uint64_t exit_us, uint64_t period_us);
int ctl_set_mode(struct ctl *c, uint8_t mode);
int ctl_want_node(struct ctl *c, uint16_t node, int on);
int ctl_set_job(struct ctl *c, uint16_t node, const struct ctl_job *job);
int ctl_reset_board(struct ctl *c, uint16_t board);
int ctl_clear_channel(struct ctl *c, uint16_t node);
size_t ctl_events(struct ctl *c, struct ctl_event *out, size_t max);
void ctl_get_status(const struct ctl *c, struct ctl_status *out);
const struct ctl_node *ctl_nodes(const struct ctl *c);
uint8_t ctl_board(const struct ctl *c, uint16_t board, uint32_t *boot_count, uint8_t *refusal);
size_t ctl_hk_power(const struct ctl *c, uint8_t *out);
size_t ctl_hk_estimate(const struct ctl *c, uint8_t *out);
size_t ctl_hk_nodes(const struct ctl *c, uint16_t base, uint8_t *out);
size_t ctl_hk_health(const struct ctl *c, uint16_t base, uint8_t *out);
