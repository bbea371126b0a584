/* One accelerator: states, what it draws, how fast it works, how hot it gets, how it fails. */
#ifndef PLANT_NODE_H
#define PLANT_NODE_H

#include "plant/common.h"
#include "plant/interface.h"

/* Numbers of the board-bus ICD. */
enum { PLANT_NODE_OFF = 0, PLANT_NODE_BOOT = 1, PLANT_NODE_IDLE = 2, PLANT_NODE_ACTIVE = 3, PLANT_NODE_HALTED = 4 };
enum {
    PLANT_COMMAND_OFF = 0,
    PLANT_COMMAND_BOOT = 1,
    PLANT_COMMAND_IDLE = 2,
    PLANT_COMMAND_RUN = 3,
    PLANT_COMMAND_RESET = 4
};
enum { PLANT_WORKLOADS = 4, PLANT_CURVE_STEPS = 64, PLANT_NODE_HEARTBEAT_US = 10000 };

/* The same for every node: curves of a workload class over y, the share of its dynamic power. */
struct plant_node_model {
    struct plant_config_node c;
    uint64_t seed;
    double speed[PLANT_WORKLOADS][PLANT_CURVE_STEPS + 1]; /* at y = k / PLANT_CURVE_STEPS */
    struct plant_decay settle, plate[2], die, hbm;        /* plate: one per loop */
};

struct plant_node {
    uint8_t state, workload, hang;
    uint8_t locked_class; /* workload that clock_share was computed for */
    double boot_left_s;
    double draw_w; /* at the end of the step, without latch-up and transient */
    double mean_w; /* mean over the step */
    double latch_up_a, overdraw;
    double efficiency; /* this chip's power over the typical chip's */
    double activity[2], activity_phase;
    uint64_t activity_slot;
    double clock_mhz, clock_share; /* lock, and the share of dynamic power that it allows */
    uint64_t transient_us;         /* begin of the last one planned */
    uint64_t awake_us;             /* time in idle or active: the heartbeat */
    uint64_t boots;
    double work_mu, step_work; /* since boot in thousandths; of the last step in units */
    uint16_t ecc_corrected, ecc_uncorrected;
    double plate_k, die_k, hbm_k;
};

void plant_node_model_init(struct plant_node_model *m, const struct plant_config_node *c, uint64_t seed);
void plant_node_init(struct plant_node *n, const struct plant_node_model *m, uint32_t index, double temp_k);

/* Once a second of flight time: upsets and ECC errors of that second, and whether a transient begins in it.
 * rate: how much more often than outside the SAA. */
void plant_node_second(struct plant_node *n, const struct plant_node_model *m, uint32_t index, uint64_t second,
                       double rate);

/* Draw above idle at full speed in a workload (1 to PLANT_WORKLOADS - 1) at a time. */
double plant_node_dynamic_w(struct plant_node *n, const struct plant_node_model *m, uint32_t index, int workload,
                            uint64_t t_us);

/* One step: follows the command, settles the draw, works. powered: its input voltage is there. Sets mean_w. */
void plant_node_step(struct plant_node *n, const struct plant_node_model *m, uint32_t index,
                     const struct plant_actuators_node *in, int powered, uint64_t t_us, uint32_t dt_us);
/* Its input voltage is gone: everything volatile is lost. */
void plant_node_power_lost(struct plant_node *n);

/* Factor on the draw at time t_us inside a transient: up, then as much down; 1 outside. */
double plant_node_transient(const struct plant_node *n, const struct plant_node_model *m, uint64_t t_us);

/* One step of plate, die and HBM with power_w; returns the heat that went into the coolant. loop selects the cached
 * factors that node_flow has set. */
void plant_node_flow(struct plant_node_model *m, uint32_t loop, double lost_flow, double dt_s);
double plant_node_heat(struct plant_node *n, const struct plant_node_model *m, uint32_t loop, double coolant_k,
                       double power_w, double dt_s);

#endif
