/* The plant's interface: what C callers include through plant.h and what Python reads through cffi. One file, so that
 * nothing is written twice; therefore only declarations and plain #defines stand here (no include, no guard: C code
 * reads it through interface.h).
 *
 * Order of a tick: write node_in/power_in, call plant_step, read node_out/power_out/truth. All values are physical
 * doubles; who puts them on a wire quantises them. Numbers of states and commands are those of the board-bus ICD. */

#define PLANT_MAX_NODES 1024
#define PLANT_MAX_STRINGS 64
#define PLANT_MAX_GROUPS 8
#define PLANT_MAX_LOOPS 2
#define PLANT_OCV_POINTS 11
#define PLANT_MAX_DT_US 10000000

enum plant_error {
    PLANT_OK = 0,
    PLANT_ERR_ORBIT = -1, /* the orbit table does not cover the step: nothing was done; extend it and call again */
    PLANT_ERR_DT = -2,    /* dt_us is 0 or above PLANT_MAX_DT_US: nothing was done */
    PLANT_ERR_FAULT = -3, /* no such kind, or its index or value is out of range: nothing was changed */
};

/* ------------------------------------------------------------------ configuration
 * Field names and units are those of the satellite's file (hal/satellites), section by section. */
struct plant_config_array {
    uint32_t strings, series_cells;
    double string_isc_a, cell_voc_v, cell_vmp_v, imp_ratio; /* at 28 degC and 1,361 W/m2 */
    double voc_temp_v_per_k, isc_temp_per_k;
    double area_m2, mass_capacity_j_per_m2_k, absorptance, emittance_front, emittance_back;
    double converter_efficiency;
};

struct plant_config_battery {
    uint32_t series_cells;
    double capacity_ah, cell_r0_ohm, coulombic_efficiency;
    double ocv_cell_v[PLANT_OCV_POINTS]; /* at 0, 10, ... 100 % state of charge */
    double soc_initial, temp_initial_c, heat_capacity_j_per_k, heater_w;
    double sink_w_per_k, sink_c; /* conductance of the pack to its own cold plate, and the plate's temperature */
};

struct plant_config_bus {
    double hotel_w;
};

struct plant_config_thermal {
    uint32_t loops, groups;
    double radiator_m2, emissivity, absorptance_solar, capacity_j_per_m2_k; /* emitting area, both faces */
    double coolant_j_per_k;                                                 /* per loop */
    double radiator_w_per_k;                                                /* coolant to panels, all loops together */
    double flow_w_per_k; /* mass flow times heat capacity through all groups together */
    double initial_c;
};

struct plant_config_node {
    uint32_t count;
    double standby_w, idle_w, max_w, boot_w, boot_s, clock_max_mhz;
    double die_r_k_per_w, hbm_r_k_per_w, plate_r_k_per_w, heat_capacity_j_per_k;
    double input_capacitance_uf, input_min_v;
    double settle_s;                                           /* time constant of the draw after a change of cap */
    double transient_factor, transient_ms, transient_period_s; /* of the draw; 0 period: none */
    double power_spread;                                       /* share by which equal nodes differ */
    double ecc_corrected_per_h, ecc_uncorrected_per_h, hang_per_day, latch_up_per_day; /* outside the SAA */
};

struct plant_config {
    struct plant_config_array array;
    struct plant_config_battery battery;
    struct plant_config_bus bus;
    struct plant_config_thermal thermal;
    struct plant_config_node node;
    uint64_t seed;
};

/* One row of the orbit table, in an inertial equatorial frame (TEME): satellite position and velocity, Sun position. */
struct plant_orbit_row {
    double r_km[3], v_km_s[3], sun_km[3];
};

/* Row i is at flight time t0_s + i * step_s. Whoever owns it may replace its contents between two steps. */
struct plant_orbit {
    double t0_s, step_s;
    uint32_t rows;
    double gmst0_rad; /* Greenwich sidereal angle at flight time 0, for the South Atlantic Anomaly */
    const struct plant_orbit_row *row;
};

/* ------------------------------------------------------------------ actuators, set by the boards */
struct plant_actuators_node {
    double cap_w;     /* power limit written to the accelerator */
    double clock_mhz; /* clock lock; 0: free */
    int command;      /* accel_command: 0 off, 1 boot, 2 idle, 3 run, 4 reset */
    int workload;     /* 0 none, 1 training, 2 prefill, 3 decode */
};

struct plant_actuators_channel {
    double limit_a, trip_s;
    int on;
};

struct plant_actuators_power {
    double array_v;  /* array voltage to hold */
    double charge_a; /* battery charge current limit; 0: do not charge */
    double charge_v; /* bus voltage limit */
    double uvlo_v;   /* bus below for 2 ms: every channel is opened and latched; 0: no latch */
    int heater;
    int clear_latches; /* held at 1: the under-voltage latch is open */
    struct plant_actuators_channel channel[PLANT_MAX_NODES];
};

/* ------------------------------------------------------------------ sensors, read by the boards */
struct plant_sensors_node {
    double bus_mv;                  /* at the node's input (mean) */
    double mean_ma, min_ma, max_ma; /* input current over the period */
    double die_c, hbm_c, coolant_c;
    uint32_t work_mu; /* thousandths of a work unit since the accelerator booted; wraps */
    uint16_t heartbeat, ecc_corrected, ecc_uncorrected;
    uint8_t accel_state; /* node_state: 0 off, 1 boot, 2 idle, 3 active, 4 halted; it freezes in a hang or latch-up */
};

struct plant_sensors_channel {
    double mean_ma, max_ma;
    int status; /* bits, latched over the period: 1 on, 2 limiting, 4 tripped */
};

struct plant_sensors_power {
    double bus_mv, bus_min_mv, bus_max_mv; /* mean, least, greatest over the period */
    double batt_ma;                        /* mean; positive charges */
    double batt_c;
    double array_mv, array_ma; /* operating point of the array's terminals */
    double array_c;
    double hotel_ma;
    int flags; /* electronics_flag: 1 under-voltage latched, 2 array present, 4 over-voltage */
    struct plant_sensors_channel channel[PLANT_MAX_NODES];
    double string_ma[PLANT_MAX_STRINGS];
};

/* ------------------------------------------------------------------ what nobody on board knows */
struct plant_truth {
    double t_s;
    /* Sun */
    double r_km[3], sun_unit[3];
    double sun_fraction; /* visible part of the disc, 0 to 1 */
    double flux_w_m2;    /* at this distance from the Sun, unshadowed */
    double eclipse_s;    /* time with less than half of the disc visible */
    int in_saa;
    /* array; energies since the start */
    double array_available_w, array_used_w; /* at its terminals: true maximum-power point, and what was drawn */
    double largest_string_w;                /* available from the strongest string */
    double array_available_j, array_used_j, converter_loss_j;
    double array_c;
    /* battery */
    double soc, batt_v, batt_a, batt_c;
    double batt_in_j, batt_out_j; /* at its terminals */
    double batt_stored_j;         /* chemical energy now */
    double batt_rc_j;             /* energy in the polarisation capacitances now */
    double batt_loss_j;           /* resistive, polarisation and coulombic */
    /* loads at the bus */
    double nodes_w, hotel_w;
    double nodes_j, hotel_j, heater_j, inrush_j; /* inrush: lost in limiters and stored in input capacitors */
    double bus_v, bus_tick_min_v, bus_min_v;     /* at the end of, least within the last step; least since the start */
    /* heat */
    double die_max_c, hbm_max_c, coolant_max_c, radiator_c[PLANT_MAX_LOOPS]; /* now */
    double die_peak_c, hbm_peak_c, radiator_peak_c;                          /* since the start */
    uint32_t die_max_node;
    double radiated_j; /* net of what the panels absorbed */
    /* compute */
    double work_total, active_s_total; /* work units; seconds in state active, all nodes together */
    uint32_t uvlo_trips, lcl_trips, brown_outs;
    double work[PLANT_MAX_NODES], draw_w[PLANT_MAX_NODES], node_j[PLANT_MAX_NODES];
};

/* ------------------------------------------------------------------ faults; value 0 lifts every one of them */
enum plant_fault_kind {
    PLANT_FAULT_STRING_OPEN = 1,   /* index string, value 1: open */
    PLANT_FAULT_STRING_SHADOW = 2, /* index string, value: share of its cells in shadow (their bypass diodes carry) */
    PLANT_FAULT_STRING_FACTOR = 3, /* index string, value: share of its light that is lost */
    PLANT_FAULT_LOOP_LOST = 4,     /* index loop, value: share of its flow that is lost, 1: pump stopped */
    PLANT_FAULT_LATCH_UP = 5,      /* index node, value: current in A on top of the load; ends when its power is cut */
    PLANT_FAULT_HANG = 6,          /* index node, value 1: a reset clears it, 2: only a power cycle does */
    PLANT_FAULT_CELL_SHORT = 7,    /* value: number of shorted cells of the pack */
    PLANT_FAULT_OVERDRAW = 8,      /* index node, value: share by which it draws above its cap */
    PLANT_FAULT_CAPACITY = 9,      /* value: share of the pack's capacity that is lost */
};

struct plant;

/* Bytes and alignment-safe size of a plant, for callers that allocate it without knowing it. */
size_t plant_bytes(void);

/* Prepares a plant at flight time t_us; the caller owns its memory and keeps `orbit` alive (its table covers t_us).
 * Sensors and truth are filled. Returns PLANT_OK or PLANT_ERR_ORBIT. */
int plant_init(struct plant *p, const struct plant_config *c, const struct plant_orbit *orbit, uint64_t t_us);

/* One step: actuators in, sensors and truth out. Any actuator value is taken: what is not finite or out of range counts
 * as the nearest that is possible (not a number: 0). Returns PLANT_OK, PLANT_ERR_ORBIT or PLANT_ERR_DT. */
int plant_step(struct plant *p, uint32_t dt_us);

/* Sets or lifts (value 0) a fault. Returns PLANT_OK or PLANT_ERR_FAULT. */
int plant_fault(struct plant *p, int kind, uint32_t index, double value);

/* The parts of a plant, for callers that do not know its shape. */
struct plant_actuators_node *plant_node_in(struct plant *p);
struct plant_actuators_power *plant_power_in(struct plant *p);
const struct plant_sensors_node *plant_node_out(const struct plant *p);
const struct plant_sensors_power *plant_power_out(const struct plant *p);
const struct plant_truth *plant_truth_of(const struct plant *p);

/* ------------------------------------------------------------------ formulas, for tests and for whoever plans */

/* Visible part of the Sun's disc at r_km, 0 to 1; both vectors from the Earth's centre in one frame. */
double plant_sun_fraction(const double r_km[3], const double sun_km[3]);

/* View factor to the Earth from one face of a plate whose plane holds the nadir, at distance r_km from the centre. */
double plant_edge_view_factor(double r_km);

/* I = iph - i0 (exp(vd / a) - 1), with vd = V + I rs the voltage over the junction. */
struct plant_diode {
    double iph_a, i0_a, a_v, rs_ohm;
};

/* The diode of one string at a temperature, in full light of 1,361 W/m2, fitted to the configuration's points. */
struct plant_diode plant_string_diode(const struct plant_config_array *c, double temp_k);

/* Current at terminal voltage v, never negative; *vd is where the solution starts and where it ended. */
double plant_diode_current(const struct plant_diode *d, double v, double *vd);

/* Share of a workload's dynamic power at clock f (0 to 1 of the greatest), and its speed on a share y of that power. */
double plant_clock_power(int workload, double f);
double plant_speed(int workload, double y);

/* Draw of a node above idle at full speed in a workload at time t_us; its power over the typical chip's. */
double plant_dynamic_w(const struct plant *p, uint32_t node, int workload, uint64_t t_us);
double plant_efficiency(const struct plant *p, uint32_t node);
