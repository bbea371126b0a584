#include <math.h>

#include "plant/plant.h"

/* A share from 0 to 1. */
static int is_share(double value) {
    return value >= 0 && value <= 1;
}

static int array_fault(struct plant *p, int kind, uint32_t string, double value) {
    if (string >= p->c.array.strings || !is_share(value)) {
        return PLANT_ERR_FAULT;
    }
    if (kind == PLANT_FAULT_STRING_OPEN) {
        p->array.open[string] = value > 0;
    } else if (kind == PLANT_FAULT_STRING_SHADOW) {
        p->array.shadow[string] = value;
    } else {
        p->array.lost_light[string] = value;
    }
    plant_array_regroup(&p->array);
    return PLANT_OK;
}

static int node_fault(struct plant *p, int kind, uint32_t node, double value) {
    if (node >= p->c.node.count || !(value >= 0 && value <= 1e4)) {
        return PLANT_ERR_FAULT;
    }
    if (kind == PLANT_FAULT_LATCH_UP) {
        p->node[node].latch_up_a = value;
    } else if (kind == PLANT_FAULT_OVERDRAW) {
        p->node[node].overdraw = value;
    } else if (value == 0 || value == 1 || value == 2) {
        p->node[node].hang = (uint8_t)value;
    } else {
        return PLANT_ERR_FAULT;
    }
    return PLANT_OK;
}

static int battery_fault(struct plant *p, int kind, double value) {
    if (kind == PLANT_FAULT_CAPACITY ? !(value >= 0 && value < 1)
                                     : !(value >= 0 && value < p->c.battery.series_cells && value == floor(value))) {
        return PLANT_ERR_FAULT;
    }
    if (kind == PLANT_FAULT_CAPACITY) {
        p->battery.lost_capacity = value;
    } else {
        p->battery.shorted_cells = value;
    }
    p->battery.at_temp_k = -1;
    plant_battery_refresh(&p->battery);
    return PLANT_OK;
}

int plant_fault(struct plant *p, int kind, uint32_t index, double value) {
    switch (kind) {
    case PLANT_FAULT_STRING_OPEN:
    case PLANT_FAULT_STRING_SHADOW:
    case PLANT_FAULT_STRING_FACTOR:
        return array_fault(p, kind, index, value);
    case PLANT_FAULT_LOOP_LOST:
        if (index >= p->c.thermal.loops || !is_share(value)) {
            return PLANT_ERR_FAULT;
        }
        p->thermal.lost_flow[index] = value;
        return PLANT_OK;
    case PLANT_FAULT_LATCH_UP:
    case PLANT_FAULT_HANG:
    case PLANT_FAULT_OVERDRAW:
        return node_fault(p, kind, index, value);
    case PLANT_FAULT_CELL_SHORT:
    case PLANT_FAULT_CAPACITY:
        return battery_fault(p, kind, value);
    default:
        return PLANT_ERR_FAULT;
    }
}
