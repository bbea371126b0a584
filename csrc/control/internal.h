/* What the parts of control share. Nothing outside csrc/control includes it. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "bus/receiver.h"
#include "control/control.h"

#define CTL_EVENTS 256
#define CTL_TRIES 10
#define CTL_RESEND_US 500000u
#define CTL_SECOND_US 1000000u
#define CTL_TTL_MAX_US 10000000u /* no lease of any session lives longer: the parameter's maximum */
#define CTL_MASK_PAGE 160        /* channels of one channels_set */
#define CTL_MASK_PAGES ((CTL_NODES_MAX + CTL_MASK_PAGE - 1) / CTL_MASK_PAGE)
#define CTL_CHANNEL_PAGE 24
#define CTL_ABSENT_US 500000u /* of readings that cannot be: the sensor is absent */

/* The command that waits for its ACK; one at a time for each board. type 0: none. */
struct ctl_command {
    uint64_t sent_us;
    uint32_t seq;
    uint8_t type, length, tries;
    uint8_t payload[BUS_MAX_PAYLOAD];
};

struct ctl_link {
    uint64_t tlm_us;   /* board time of the newest telemetry; while none came: when it was identified */
    uint64_t hello_us; /* when to ask for a HELLO, unless it is flown */
    uint64_t retry_us; /* no configuration before */
    uint64_t rx_us;    /* time in the newest frame that was taken */
    uint32_t command_seq;
    uint32_t boot_count;
    uint32_t tx_frames;
    uint64_t tx_bytes;
    uint16_t tx_seq, rx_seq;
    uint8_t rx_seq_known;
    uint8_t status;  /* SPACE_BOARD_STATUS_* */
    uint8_t refusal; /* of the last refusal, until the board is ready */
    uint8_t config_step;
    uint8_t reset_wanted;
    uint8_t identified; /* it flies: no other board may have its hardware id */
    uint8_t known;      /* hardware_id and boot_count are of an earlier HELLO */
    uint8_t hardware_id[12];
    struct ctl_command command;
    struct bus_receiver receiver;
    struct bus_link_report report;       /* the board's own count of its line, as last sent */
    struct bus_hardware_report hardware; /* last one; only real hardware sends any */
};

struct ctl_settings { /* the parameters in the loop's units */
    uint32_t lease_ttl_us, lease_renew_us, lost_after_us, hold_us;
    int32_t margin_permille, charge_permille, rise_permille;
    int32_t soc_target_cpct, soc_reserve_cpct, soc_safe_cpct;
    int32_t die_limit_cdeg, hbm_limit_cdeg, coolant_limit_cdeg;
    uint16_t boot_parallel;
};

struct ctl_power {
    struct bus_power_tlm tlm;   /* what is gone by: heard, with what the balance does not trust replaced */
    struct bus_power_tlm heard; /* last good one */
    struct bus_power_tlm used;  /* tlm as it was before */
    uint64_t tlm_us;            /* 0: none yet */
    uint64_t refresh_us;
    uint64_t pages_seen;               /* bit k: channels 24 k .. are known */
    uint8_t acked_mask[CTL_NODES_MAX]; /* the mask that it has confirmed, a byte a channel */
    uint8_t refresh_page;
    uint8_t probed; /* the sweep was at its next point when this was measured */
    uint8_t uvlo;
};

enum ctl_plan { CTL_PLAN_NONE = 0, CTL_PLAN_RESTS = 1, CTL_PLAN_WOKEN = 2 };

struct ctl_supply { /* all mW at the bus */
    int64_t array;  /* held over a sweep */
    int64_t string;
    int64_t decline;    /* of the array in a tick, of late */
    int64_t guaranteed; /* now */
    int64_t grantable;  /* what new caps may count on: falls at once, rises slowly */
    int64_t falling;    /* by how much guaranteed fell in this tick, and so may in the next ones */
    int64_t available;  /* what the array could give */
    int64_t maximum;    /* its last seen maximum-power point; 0: none yet */
    int64_t outlook;    /* what it gives in the sun, dawn and dusk apart */
    int64_t array_before;
    int64_t appetite; /* what the battery would take */
    int64_t budget;   /* what nodes shall draw */
    int64_t lease_sum;
    int64_t load;   /* of nodes: measured, booting ones at their boot power */
    int64_t proven; /* array power that was measured at proven_us, with proven_strings alive */
    int64_t proven_string;
    uint64_t proven_us;
    uint64_t falls_until_us;    /* no cap is raised before: the guarantee fell by more than noise does */
    uint64_t steady_us;         /* when the tracker last did not sweep */
    uint64_t sun_us;            /* when sunlit was last seen as it is */
    uint64_t turned_us;         /* when the Sun came or went */
    uint64_t entry_us, exit_us; /* of the eclipse, or the next; 0: none known */
    uint64_t period_us;         /* from one to the next */
    uint64_t planned_us;        /* last planned ahead */
    uint64_t looked_us;         /* last looked whether a node that rests is worth its boot */
    int64_t sun_mw, dark_mw;    /* what nodes shall draw at the price that the plan found */
    uint8_t scarce;             /* that price is above 0 */
    uint16_t resting;           /* nodes that are off by plan */
    uint8_t planned;            /* enum ctl_plan, in this eclipse */
    uint8_t sunlit, low, hungry, proven_strings;
    uint8_t steady_ticks; /* for which the array has given much less than the outlook, and no less yet */
};

#define CTL_POWER_SENSORS (SPACE_SENSOR_SOC_CPCT - SPACE_SENSOR_BUS_MV + 1)

struct ctl_balance {
    struct ctl_sensor sensors[CTL_POWER_SENSORS]; /* by SPACE_SENSOR_* - SPACE_SENSOR_BUS_MV */
    float residual_mw;                            /* array less hotel, nodes and battery, now */
    float beyond_mw;                              /* its magnitude, less what nodes may have told late */
    float error_mw;                               /* that of late; the following too */
    float load_left_mw, nodes_left_mw;            /* signed: what channels and nodes leave of the balance, of late */
    float load_error_mw, nodes_error_mw;          /* channels less nodes; the residual with nodes for channels */
    float hotel_error_mw, rest_error_mw;          /* hotel less what it usually is; the residual with that */
    float slow_nodes_mw;
    float hotel_mw;       /* what it usually is */
    int64_t uncertain_mw; /* that the guarantee is derated by */
    uint32_t good_mv;     /* bus voltage that nodes last agreed to */
    uint32_t over_us;     /* since it was within limits */
    uint32_t open_us;     /* since the balance closed */
    uint8_t bad;          /* a sensor of it reads what cannot be */
};

enum { CTL_MEASURED = 0, CTL_BALANCED = 1 };

/* A current behind the lags of the polarisation pairs. */
struct ctl_lag {
    float first, second, ma;
};

struct ctl_battery {
    int64_t charge_ma_us, moved_ma_us; /* own count of the charge; net sum of all that moved */
    int64_t capacity_mah;              /* at 25 degC */
    struct ctl_lag lag[2];             /* of the measured current, and of the balance's */
    float error_ma[2];                 /* of each, against the voltage, of late */
    float offset_mv;                   /* of the voltage, that the model does not explain */
    float ohm;                         /* at 25 degC */
    float slow_ma, slow_mv, sum_xx, sum_xy;
    uint64_t pointed_us;
    int64_t point_ma_us;
    int32_t point_cpct, board_cpct;
    uint32_t point_us;
    uint8_t capacity_known, pointed, begun, fast;
};

struct ctl_array {
    float share, seen_s, peak_s;
};

struct ctl_loop {
    float share; /* of the emission that the file says, that its radiator has */
    float known_s;
    float heat_w, coolant_c;
    float before_c; /* coolant at looked_us */
};

struct ctl_heat {
    float die_k_per_w, hbm_k_per_w[CTL_WORKLOADS]; /* over the coolant */
    float seen_s[CTL_WORKLOADS];                   /* node seconds of it */
    float worked_mu[CTL_WORKLOADS], expected_mu[CTL_WORKLOADS];
    struct ctl_loop loops[CTL_LOOPS];
    uint64_t looked_us;
};

struct ctl {
    struct ctl_config config;
    struct ctl_settings set;
    struct ctl_power power;
    struct ctl_supply supply;
    struct ctl_balance balance;
    struct ctl_battery battery;
    struct ctl_array array;
    struct ctl_heat heat;
    uint64_t t_us, start_us, steady_us;
    uint32_t session;
    uint8_t started, mode, mode_reason, commanded_safe, derated, low_told;
    int attention, attention_kept; /* of this step; of those since Python looked */
    uint16_t booting, waiting;
    uint16_t grant_from; /* node that is first in turn to be raised */
    int64_t rise_mw;     /* what caps together may still rise by */
    uint32_t retransmissions, command_timeouts, sequence_gaps, stale_frames, bad_payloads, unknown_frames;
    uint32_t events_dropped, batch_dropped;
    uint16_t event_head, event_count;
    struct ctl_event events[CTL_EVENTS];
    struct ctl_link *links; /* nodes + 1 */
    struct ctl_node *nodes;
    struct bus_batch *tx; /* of this step */
};

static inline uint64_t ctl_age(uint64_t now_us, uint64_t then_us) {
    return now_us > then_us ? now_us - then_us : 0;
}

static inline int64_t ctl_clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static inline int64_t ctl_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t ctl_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* 1 when the board is identified and configured, and has been heard within lost_after_s. */
static inline int ctl_ready(const struct ctl *c, uint16_t board) {
    return c->links[board].status == SPACE_BOARD_STATUS_READY;
}

/* control.c */
void ctl_event(struct ctl *c, uint16_t code, uint16_t source, int32_t arg0, int32_t arg1);

/* link.c: frames and commands of one board. */
void ctl_link_init(struct ctl_link *l);
void ctl_link_receive(struct ctl *c, uint16_t board, const uint8_t *bytes, size_t n);
void ctl_link_send(struct ctl *c, uint16_t board, uint8_t type, const uint8_t *payload, size_t n);
int ctl_command_free(const struct ctl *c, uint16_t board);
/* Opens the window for one command; returns the sequence number to put into it. */
uint32_t ctl_command_begin(struct ctl *c, uint16_t board, uint8_t type);
/* Sends what was encoded into links[board].command.payload. */
void ctl_command_send(struct ctl *c, uint16_t board, size_t n);
void ctl_link_tick(struct ctl *c, uint16_t board);
void ctl_link_refuse(struct ctl *c, uint16_t board, uint8_t refusal, int32_t got);

/* identify.c */
void ctl_hello(struct ctl *c, uint16_t board, const struct bus_header *h, const uint8_t *payload);
void ctl_identify_tick(struct ctl *c, uint16_t board);
/* A configuration command was acknowledged. */
void ctl_configured(struct ctl *c, uint16_t board);
/* It flies, and says that it has no configuration: it booted, and lost what it had kept, its boot count too. */
void ctl_unconfigured(struct ctl *c, uint16_t board);

/* power.c */
void ctl_power_frame(struct ctl *c, const struct bus_header *h, const uint8_t *payload);
void ctl_power_configure(struct ctl *c);
void ctl_power_acked(struct ctl *c, const struct ctl_command *command, uint8_t code);
void ctl_power_tick(struct ctl *c);
/* What it was asked to do and has not done is refused. */
void ctl_power_lost(struct ctl *c);

/* node.c */
void ctl_node_forget(struct ctl_node *n);
void ctl_node_frame(struct ctl *c, uint16_t node, const struct bus_header *h, const uint8_t *payload);
void ctl_node_configure(struct ctl *c, uint16_t node);
void ctl_node_acked(struct ctl *c, uint16_t node, const struct ctl_command *command, uint8_t code);
void ctl_nodes_tick(struct ctl *c);

/* What its speed counts for: the weight of its job times what it does against its curve. */
static inline float ctl_worth(const struct ctl_node *n) {
    float weight = n->weight_permille > 0 ? (float)n->weight_permille / 1000 : 1;
    return weight * (n->speed > 0 ? n->speed : 1);
}

/* fleet.c: the working nodes of each workload, and those that rest, as one. Speeds count for what they are worth. */
struct ctl_fleet {
    const struct ctl_curve *curves;
    uint16_t count[CTL_WORKLOADS];
    float dynamic_mw[CTL_WORKLOADS]; /* of one node above idle, at full speed */
    float worth[CTL_WORKLOADS];      /* of its speed */
    float idle_mw, floor_mw;
    float most_mw; /* of all, by their temperatures */
};
void ctl_fleet_of(const struct ctl *c, struct ctl_fleet *f);
/* The most speed for a mW of a node of a workload, idle draw included; *at_mw: where that is. */
float ctl_fleet_best(const struct ctl_fleet *f, uint8_t workload, float *at_mw);
/* Speed of so many nodes of each workload on so many mW; negative: not even their floors. */
float ctl_fleet_speed(const struct ctl_fleet *f, const uint16_t on[CTL_WORKLOADS], float watts_mw);
/* What all draw at a price (speed for a mW); may_rest: nodes that are not worth it draw nothing, else their base. */
float ctl_fleet_draw(const struct ctl_fleet *f, float price, int may_rest);

/* horizon.c: the price of a watt over the next eclipses; sets what nodes shall draw in the sun and in the dark. */
void ctl_horizon(struct ctl *c);
/* What the battery gives between two states of charge, at such a draw. */
int64_t ctl_stored_mws(const struct ctl *c, int64_t from_cpct, int64_t to_cpct, int64_t draw_mw);

/* sensor.c. A reading as it is; the last one used when it cannot be. */
int64_t ctl_sensor_read(struct ctl_sensor *s, int64_t reading, int64_t low, int64_t high, int64_t used, uint32_t dt_us);
/* Tells the ground. residual: reading less what it should be. */
void ctl_sensor_exclude(struct ctl *c, struct ctl_sensor *s, uint16_t source, unsigned which, int64_t residual);
/* Trusts it again when it was right for long enough, and not by standing still: returns whether. */
int ctl_sensor_readmit(struct ctl *c, struct ctl_sensor *s, uint16_t source, unsigned which, int right, uint32_t dt_us,
                       int64_t residual);

/* balance.c: sensors against each other. since_us: since the power board's telemetry before. */
void ctl_balance_init(struct ctl *c);
void ctl_balance(struct ctl *c, uint64_t since_us);
/* node_sensors.c: a node's sensors against its channel, its neighbours and each other. */
void ctl_heat_init(struct ctl *c);
void ctl_node_check(struct ctl *c, uint16_t node, uint64_t since_us);
uint16_t ctl_nodes_out(const struct ctl *c);

/* cooling.c: what radiators emit. */
uint8_t ctl_loop_of(const struct ctl *c, uint16_t node);
void ctl_cooling_tick(struct ctl *c);

/* estimate.c: what is learned of battery and array. out: the sensor that is replaced by the balance, or 0. */
void ctl_estimate_init(struct ctl *c);
void ctl_battery_compare(struct ctl *c, float measured_ma, float balanced_ma, float dt_s);
void ctl_battery_learn(struct ctl *c, unsigned out, uint32_t dt_us);
void ctl_array_learn(struct ctl *c, float dt_s);
int32_t ctl_own_cpct(const struct ctl *c);
/* Of the battery at 25 degC: learned, within half and 105 % of what the file says. */
uint32_t ctl_capacity_mah(const struct ctl *c);
/* This and the following of the battery at its temperature: what it holds when it is full, resistance. */
int64_t ctl_full_ma_us(const struct ctl *c);
float ctl_resistance_ohm(const struct ctl *c);
/* At rest, at a state of charge in 0.01 %. */
float ctl_ocv_mv(const struct ctl *c, float cpct);

/* supply.c */
void ctl_supply_tick(struct ctl *c);
/* What caps in force may add up to when those that are sent now have arrived. */
int64_t ctl_lease_limit(const struct ctl *c);
void ctl_mode_tick(struct ctl *c);

/* guard.c: bounds of a node from its own telemetry. */
void ctl_guard_telemetry(struct ctl *c, uint16_t node, uint64_t dt_us);
void ctl_guard_tick(struct ctl *c);

/* plan.c: which nodes rest through an eclipse. */
void ctl_plan_tick(struct ctl *c);

/* allocate.c */
void ctl_allocate(struct ctl *c);

/* lease.c */
void ctl_lease_acked(struct ctl_node *n, uint32_t seq);
void ctl_lease_foreign(struct ctl *c, struct ctl_node *n);
/* What the caps of a node may add up to now. */
uint32_t ctl_lease_in_force(const struct ctl *c, uint16_t node);
void ctl_lease_tick(struct ctl *c);

#endif
