/* cffi declarations of csrc/boards: the board as the world hosts it, and its pure parts as the tests step them. */

#define BOARD_NVM_BYTES ...

struct board;
struct slots;
struct board_port {
    void *ctx;
    void (*tx)(void *ctx, const uint8_t *bytes, size_t n);
    int (*nvm_read)(void *ctx, uint32_t offset, uint8_t *out, size_t n);
    int (*nvm_write)(void *ctx, uint32_t offset, const uint8_t *in, size_t n);
    void (*hardware)(void *ctx, struct bus_hardware_report *out);
    const struct slots *slots;
};
struct board_identity {
    uint8_t kind;
    uint16_t role;
    uint8_t hardware_id[12];
    uint8_t firmware_hash[8];
    uint32_t image_crc;
    uint8_t capabilities;
};
size_t board_bytes(uint8_t kind);
size_t board_stride(uint8_t kind);
void board_boot(struct board *b, const struct board_identity *id, const struct board_port *port, uint8_t reset_cause);
void board_receive(struct board *b, const uint8_t *bytes, size_t n);
int board_reset_pending(const struct board *b);

size_t board_guard_words(uint8_t kind);
void board_guard_begin(const struct board *b, uint8_t kind, uint32_t *guard);
int board_guard_close(struct board *b, uint8_t kind, uint32_t *guard);
int board_guard_open(struct board *b, uint8_t kind, const uint32_t *guard);
int board_on_trial(const struct board *b);

/* ---- pure parts */

#define EVENTS_MAX ...
struct board_event_entry { uint16_t code; int32_t arg0, arg1; };
struct events { uint8_t count; struct board_event_entry list[...]; };

#define NVM_COPY_OVERHEAD ...
#define NVM_OK ...
#define NVM_REPAIRED ...
#define NVM_BLANK ...
#define NVM_LOST ...
struct nvm_place { uint8_t id; uint16_t offset, size; };
struct nvm_block { uint32_t sequence; uint8_t newest, copy; };
int nvm_load(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port, uint8_t *payload);
int nvm_store(struct nvm_block *b, const struct nvm_place *place, const struct board_port *port,
              const uint8_t *payload);

#define COMMAND_LOG_NEW ...
#define COMMAND_LOG_DEPTH ...
struct command_log { uint32_t session, newest; uint8_t count, next; ...; };
int command_log_check(const struct command_log *log, uint32_t session, uint32_t sequence);
void command_log_add(struct command_log *log, uint32_t session, uint32_t sequence, uint8_t code);
void command_log_raise(struct command_log *log, uint32_t session);

#define LEASE_TAKEN ...
#define LEASE_REPEATED ...
#define LEASE_REJECTED ...
struct lease { uint32_t session, sequence, cap_mw; uint16_t clock_mhz; uint8_t in_force; uint64_t expiry_us; };
int lease_take(struct lease *l, uint64_t t_us, uint32_t oldest_session, const struct bus_lease *m);
int lease_expire(struct lease *l, uint64_t t_us);

#define CLOCK_JUMP_US ...
struct clock { uint64_t local_us, t_us; int64_t offset_us; uint32_t last_us; uint8_t led; };
void clock_follow(struct clock *c, uint64_t flight_us, uint32_t base_us);
uint64_t clock_now(struct clock *c, uint32_t base_us);

#define THROTTLE_BAND_CDEG ...
#define THROTTLE_HYSTERESIS_CDEG ...
struct throttle { int16_t cdeg; uint8_t bad_steps, throttled, latched, halted; };
uint32_t throttle_step(struct throttle *h, int16_t cdeg, int16_t limit_cdeg, uint32_t floor_mw, uint32_t max_mw,
                      uint32_t demand_mw);

struct over_cap { uint32_t over_us, under_us, last_mw; uint16_t clamp_mhz; };
void over_cap_step(struct over_cap *o, uint32_t dt_us, uint32_t power_mw, uint32_t cap_mw, uint16_t clock_mhz,
                   uint16_t clock_max_mhz);

struct heartbeat { uint16_t last; uint8_t watching, streak; uint32_t silent_us, healthy_us; };
int heartbeat_step(struct heartbeat *h, uint32_t dt_us, uint16_t beat, int up, uint32_t hang_ms);

#define JOB_RECORD_BYTES ...
struct job {
    uint32_t id, total_mu, progress_mu, checkpoint_mu, checkpoint_ms;
    uint8_t workload, running, save_due, has_base, restarted;
    uint32_t base_mu, checkpoints, writing_mu, lost_mu;
    uint64_t since_save_us;
    ...;
};
struct ecc { uint16_t last_corrected, last_uncorrected; uint8_t has_base; uint32_t corrected, uncorrected; };
struct compute_node {
    struct bus_node_config config;
    struct lease lease;
    struct throttle die, hbm;
    struct over_cap over_cap;
    struct heartbeat heartbeat;
    struct job job;
    struct ecc ecc;
    struct events events;
    uint8_t configured, state, wanted_on, command, workload;
    uint16_t flags, clock_mhz;
    uint32_t cap_mw, power_mw, bus_mv;
    uint16_t accel_resets, hangs, latch_ups, leases_rejected, lease_expiries;
    ...;
};
void job_saved(struct job *j);
void job_record(const struct job *j, uint8_t *out);
void job_restore(struct job *j, const uint8_t *in);
void compute_node_init(struct compute_node *n);
uint8_t compute_node_configure(struct compute_node *n, const struct bus_node_config *m);
uint8_t compute_node_power(struct compute_node *n, const struct bus_node_power *m);
uint8_t compute_node_job(struct compute_node *n, const struct bus_node_job *m);
uint8_t compute_node_job_stop(struct compute_node *n, const struct bus_node_job_stop *m);
int compute_node_lease(struct compute_node *n, uint64_t t_us, uint32_t oldest_session, const struct bus_lease *m);
void compute_node_step(struct compute_node *n, uint64_t t_us, const struct bus_tick_node *s);

#define SOC_FIRST_WAIT_US ...
#define SOC_UNKNOWN ...
#define SOC_ESTIMATED ...
#define SOC_ANCHORED ...
#define SOC_NOTHING ...
#define SOC_ANCHORED_NOW ...
struct soc {
    int64_t charge_ma_us, capacity_ma_us, usable_ma_us;
    uint32_t ocv_mv[11];
    uint32_t rest_us, taper_us;
    uint8_t has_curve, trust, ready, rested, full;
    uint32_t wait_us;
    ...;
};
void soc_set_temperature(struct soc *s, int16_t cdeg);
void soc_set_capacity(struct soc *s, uint32_t capacity_mah);
void soc_set(struct soc *s, uint32_t cpct, int trust);
uint16_t soc_cpct(const struct soc *s);
uint16_t soc_from_voltage(const uint32_t *ocv_mv, uint32_t mv);
int soc_wants_rest(const struct soc *s);
int soc_step(struct soc *s, uint32_t dt_us, uint32_t bus_mv, int32_t batt_ma, int constant_voltage);

struct charger_inputs {
    uint32_t bus_mv, array_mv, wanted_mv;
    int32_t batt_ma;
    int16_t batt_cdeg;
    uint8_t array_present, temperature_bad, over_voltage, soc_known, full, rest;
    uint16_t soc_cpct;
    uint32_t max_ma, max_mv;
    uint16_t soc_limit_cpct;
};
struct charger { uint32_t charge_ma, charge_mv; uint8_t cold, hot, held, limiting, settle_steps, mode; };
int charger_step(struct charger *c, const struct charger_inputs *in);

#define MPPT_DARK ...
#define MPPT_LIMITED ...
#define MPPT_PROBE ...
#define MPPT_SWEPT ...
#define MPPT_SWEEP_POINTS ...
struct mppt_inputs {
    uint32_t dt_us, array_mv, array_ma;
    int16_t array_cdeg;
    uint8_t present, limiting;
    uint32_t floor_mv, voc_mv, vmp_mv;
};
struct mppt { uint32_t command_mv, track_mv, step_mv; uint32_t from_mv; uint8_t phase, point; ...; };
int mppt_step(struct mppt *m, const struct mppt_inputs *in);

#define SHED_ENTER_US ...
#define SHED_LEAVE_US ...
#define SHED_MARGIN ...
struct shed { uint8_t count, tier; ...; };
int shed_load(struct shed *s, const struct bus_shed_tier *tiers, uint8_t count);
uint8_t shed_step(struct shed *s, uint32_t dt_us, int soc_known, uint16_t soc_cpct, uint32_t bus_mv);
int shed_hits(const struct shed *s, uint8_t channel_tier);

struct strings { uint64_t lost; uint32_t largest_ma, sum_ma; uint8_t count; ...; };
uint32_t strings_largest_mw(const struct strings *s, uint32_t array_mw);
void strings_page(struct strings *s, unsigned base, unsigned count, const uint16_t *string_ma, int at_peak,
                  struct events *events);
uint8_t strings_live(const struct strings *s);

#define POWER_BOARD_MAX_CHANNELS ...
#define CHANNELS_PER_PAGE ...
#define CHANNELS_STABLE_MS ...
struct lcl { uint16_t mean_ma; uint8_t status, state, trips, tier, flags; uint32_t since_ms; };
struct channels {
    uint16_t count, on, waiting;
    uint32_t sum_ma;
    struct lcl list[...];
    ...;
};
struct channels_rules { uint32_t retry_ms, stagger_ms; uint8_t retries; };
void channels_configure(struct channels *c, uint16_t count, uint32_t t_ms);
void channels_sense(struct channels *c, const struct bus_tick_channels *page, uint32_t t_ms);
int channels_want(struct channels *c, const struct bus_channels_set *m);
int channels_clear(struct channels *c, uint16_t channel);
void channels_drop_all(struct channels *c);
void channels_step(struct channels *c, uint32_t t_ms, const struct channels_rules *rules, const struct shed *shed,
                   struct events *events);

struct power_board {
    struct bus_power_config config;
    struct mppt mppt;
    struct charger charger;
    struct soc soc;
    struct shed shed;
    struct strings strings;
    struct events events;
    uint8_t configured, autonomous, uvlo, heater, clear_latches, mode;
    uint16_t flags;
    struct channels channels;
    ...;
};
void power_board_init(struct power_board *p);
uint8_t power_board_configure(struct power_board *p, const struct bus_power_config *m);
uint8_t power_board_curve(struct power_board *p, const struct bus_battery_curve *m);
uint8_t power_board_channels_set(struct power_board *p, const struct bus_channels_set *m);
uint8_t power_board_channel_clear(struct power_board *p, const struct bus_channel_clear *m);
uint8_t power_board_shed_tiers(struct power_board *p, const struct bus_shed_tiers *m);
uint8_t power_board_shed_channels(struct power_board *p, const struct bus_shed_channels *m);
void power_board_channels_page(struct power_board *p, uint64_t t_us, const struct bus_tick_channels *m);
void power_board_strings_page(struct power_board *p, const struct bus_tick_strings *m);
void power_board_heard(struct power_board *p, uint64_t t_us);
void power_board_step(struct power_board *p, uint64_t t_us, const struct bus_tick_power *s);
void power_board_settings(const struct power_board *p, struct bus_done_power *out);
void power_board_report(const struct power_board *p, struct bus_power_tlm *out);
