/* Sensors of the power board against each other: array = hotel + nodes + battery at the bus, node inputs against the
 * bus, battery current against its voltage. What does not fit is replaced by what the others say (docs/estimation.md).
 *
 * c->power.heard is what the board said; c->power.tlm, which everything else goes by, is that with the replacements. */
#include "control/internal.h"

#define OPEN_PERMILLE 30 /* of the array at the bus: the balance does not close */
#define LATE_US 250000u  /* nodes are told that late */
#define CONFIRM_US (2 * CTL_SECOND_US)
#define LOAD_US (15 * CTL_SECOND_US)
#define FRESH_US CTL_SECOND_US
#define DT_MAX_US CTL_SECOND_US
#define UNCERTAIN_PERMILLE 15
#define ERROR_TAU_S 1.0f
#define SIGNED_TAU_S 3.0f
#define HOTEL_TAU_S 300.0f
#define VOLTS_SHARE 32     /* a node's input may differ from the bus by a 32nd: it is told five times a second */
#define CURRENT_SHARE 0.4f /* of what both currents differ by, that the voltage must tell apart */

static float magnitude(float x) {
    return x < 0 ? -x : x;
}

static struct ctl_sensor *sensor(struct ctl *c, unsigned which) {
    return &c->balance.sensors[which - SPACE_SENSOR_BUS_MV];
}

static int trusted(const struct ctl *c, unsigned which) {
    return c->balance.sensors[which - SPACE_SENSOR_BUS_MV].state == SPACE_SENSOR_STATE_TRUSTED;
}

static void exclude(struct ctl *c, unsigned which, int64_t residual) {
    ctl_sensor_exclude(c, sensor(c, which), bus_address_of(0), which, residual);
}

static void follow(float *x, float to, float dt_s, float tau_s) {
    *x += (to - *x) * dt_s / (tau_s + dt_s);
}

/* ------------------------------------------------------------------ what nodes say */

struct seen {
    int64_t nodes_mw;       /* sum of their draw */
    int64_t close_mv;       /* sum of the inputs that are near the voltage last agreed on */
    uint16_t agree, differ; /* inputs against the bus */
    uint16_t close;
};

static int tells_input(const struct ctl *c, uint16_t i) {
    const struct ctl_node *n = &c->nodes[i];
    return ctl_ready(c, (uint16_t)(1 + i)) && n->tlm_us != 0 && ctl_age(c->t_us, n->tlm_us) < FRESH_US &&
           n->channel == BUS_CHANNEL_STATE_ON && n->phase == CTL_PHASE_UP && n->tlm.bus_cv > 0;
}

static struct seen look(const struct ctl *c) {
    struct seen s = {0};
    int64_t bus = c->power.heard.bus_mv, good = c->balance.good_mv;
    for (uint16_t i = 0; i < c->config.nodes; i++) {
        const struct ctl_node *n = &c->nodes[i];
        int heard = ctl_ready(c, (uint16_t)(1 + i)) && n->tlm_us != 0;
        s.nodes_mw += heard ? n->tlm.power_mw : (int64_t)n->channel_ma * c->power.tlm.bus_mv / 1000;
        if (!tells_input(c, i))
            continue;
        int64_t input = INT64_C(10) * n->tlm.bus_cv, off = input > bus ? input - bus : bus - input;
        int agrees = off * VOLTS_SHARE <= bus;
        s.agree = (uint16_t)(s.agree + agrees);
        s.differ = (uint16_t)(s.differ + !agrees);
        int64_t away = input > good ? input - good : good - input;
        if (away * VOLTS_SHARE <= good) {
            s.close_mv += input;
            s.close++;
        }
    }
    return s;
}

/* The bus voltage against the inputs of nodes, most of which must contradict it. */
static void check_voltage(struct ctl *c, const struct seen *seen, uint32_t dt_us) {
    struct ctl_balance *b = &c->balance;
    struct bus_power_tlm *t = &c->power.tlm;
    struct ctl_sensor *s = sensor(c, SPACE_SENSOR_BUS_MV);
    int64_t read = ctl_sensor_read(s, c->power.heard.bus_mv, c->config.power.uvlo_mv / 2,
                                   2 * (int64_t)c->config.power.charge_mv, b->good_mv, dt_us);
    int wrong = (seen->differ >= 2 && seen->differ > seen->agree) || s->bad_us > CTL_ABSENT_US;
    int64_t nodes_mv = seen->close > 0 ? seen->close_mv / seen->close : b->good_mv;
    s->wrong_us = wrong ? s->wrong_us + dt_us : 0;
    if (s->state == SPACE_SENSOR_STATE_TRUSTED) {
        if (s->wrong_us >= CONFIRM_US)
            exclude(c, SPACE_SENSOR_BUS_MV, (int64_t)c->power.heard.bus_mv - nodes_mv);
    } else {
        ctl_sensor_readmit(c, s, bus_address_of(0), SPACE_SENSOR_BUS_MV, !wrong && seen->agree > 0, dt_us,
                           (int64_t)c->power.heard.bus_mv - nodes_mv);
    }
    t->bus_mv = (uint32_t)(s->state == SPACE_SENSOR_STATE_TRUSTED ? read : nodes_mv);
    if (seen->close > 0 || !wrong)
        b->good_mv = (uint32_t)(wrong ? nodes_mv : t->bus_mv);
}

/* ------------------------------------------------------------------ the balance at the bus */

struct sum { /* mW at the bus, as read */
    int64_t array, hotel, load, battery;
};

static int64_t open_mw(const struct ctl *c) {
    return ctl_max(1, (int64_t)c->config.array_mw * c->config.converter_permille / 1000 * OPEN_PERMILLE / 1000);
}

/* Of channels and nodes, which are never read in the same moment, the sum that comes nearer to what is left. */
static int64_t nearer(const struct ctl *c, int64_t left_mw, int64_t load_mw, int64_t nodes_mw) {
    int64_t a = left_mw - load_mw, b = left_mw - nodes_mw;
    a = a < 0 ? -a : a;
    b = b < 0 ? -b : b;
    return trusted(c, SPACE_SENSOR_LOAD_MW) && a <= b ? load_mw : nodes_mw;
}

/* Readings that can be; load and hotel come from the bus voltage and are no better than that. */
static struct sum read_all(struct ctl *c, const struct seen *seen, uint32_t dt_us) {
    const struct bus_power_tlm *h = &c->power.heard;
    struct bus_power_tlm *t = &c->power.tlm;
    const struct bus_power_tlm *before = &c->power.used;
    int64_t most_mw = 4 * (int64_t)c->config.nodes * c->config.node.max_mw + 1000;
    int64_t most_ma = 20 * (int64_t)c->config.power.charge_ma;
    t->batt_ma = (int32_t)ctl_sensor_read(sensor(c, SPACE_SENSOR_BATT_MA), h->batt_ma, -most_ma, most_ma,
                                          before->batt_ma, dt_us);
    t->array_mw = (uint32_t)ctl_sensor_read(sensor(c, SPACE_SENSOR_ARRAY_MW), h->array_mw, 0,
                                            3 * (int64_t)c->config.array_mw, before->array_mw, dt_us);
    t->largest_string_mw = (uint32_t)ctl_min(t->largest_string_mw, t->array_mw);
    int64_t hotel = before->hotel_mw, load = seen->nodes_mw;
    if (trusted(c, SPACE_SENSOR_BUS_MV) && sensor(c, SPACE_SENSOR_BUS_MV)->bad_us == 0) {
        hotel = ctl_sensor_read(sensor(c, SPACE_SENSOR_HOTEL_MW), h->hotel_mw, 0, most_mw, hotel, dt_us);
        load = ctl_sensor_read(sensor(c, SPACE_SENSOR_LOAD_MW), h->load_mw, 0, most_mw, before->load_mw, dt_us);
    }
    t->hotel_mw = (uint32_t)hotel;
    t->load_mw = (uint32_t)load;
    int64_t heater = h->flags & BUS_POWER_FLAG_HEATER_ON ? c->config.heater_mw : 0;
    struct sum s = {
        .array = (int64_t)t->array_mw * c->config.converter_permille / 1000,
        .hotel = hotel + heater,
        .battery = (int64_t)t->bus_mv * t->batt_ma / 1000,
    };
    s.load = nearer(c, s.array - s.hotel - s.battery, load, seen->nodes_mw);
    return s;
}

/* Channels against nodes: the channels are told a page at a time, so they may be late while all nodes move. */
static void check_load(struct ctl *c, int64_t left_mw, const struct seen *seen, uint32_t dt_us) {
    struct ctl_balance *b = &c->balance;
    struct ctl_sensor *load = sensor(c, SPACE_SENSOR_LOAD_MW);
    float open = (float)open_mw(c), dt_s = (float)dt_us * 1e-6f;
    int64_t apart = (int64_t)c->power.tlm.load_mw - seen->nodes_mw;
    follow(&b->load_error_mw, magnitude((float)(left_mw - c->power.tlm.load_mw)), dt_s, ERROR_TAU_S);
    follow(&b->load_left_mw, (float)(left_mw - c->power.tlm.load_mw), dt_s, SIGNED_TAU_S);
    follow(&b->nodes_left_mw, (float)(left_mw - seen->nodes_mw), dt_s, SIGNED_TAU_S);
    follow(&b->nodes_error_mw, magnitude((float)(left_mw - seen->nodes_mw)), dt_s, ERROR_TAU_S);
    int wrong = load->bad_us > CTL_ABSENT_US || (b->load_error_mw > open && b->nodes_error_mw < 0.5f * open);
    load->wrong_us = wrong ? load->wrong_us + dt_us : 0;
    if (load->state != SPACE_SENSOR_STATE_TRUSTED)
        ctl_sensor_readmit(c, load, bus_address_of(0), SPACE_SENSOR_LOAD_MW, b->load_error_mw < 0.5f * open, dt_us,
                           apart);
    else if (load->wrong_us >= LOAD_US)
        exclude(c, SPACE_SENSOR_LOAD_MW, apart);
    if (load->state != SPACE_SENSOR_STATE_TRUSTED)
        c->power.tlm.load_mw = (uint32_t)seen->nodes_mw;
}

static int reads_nonsense(const struct ctl *c, unsigned which) {
    return c->balance.sensors[which - SPACE_SENSOR_BUS_MV].bad_us > CTL_ABSENT_US;
}

static int absent(const struct ctl *c) {
    return reads_nonsense(c, SPACE_SENSOR_BATT_MA) || reads_nonsense(c, SPACE_SENSOR_ARRAY_MW) ||
           reads_nonsense(c, SPACE_SENSOR_HOTEL_MW);
}

/* Which of array, hotel and battery is wrong: 0 when it cannot be told yet. */
static unsigned culprit(const struct ctl *c, const struct sum *s, float residual) {
    const struct ctl_balance *b = &c->balance;
    float open = (float)open_mw(c), apart_ma = residual * 1000 / (float)ctl_max(1, c->power.tlm.bus_mv);
    float battery = c->battery.error_ma[CTL_MEASURED], balance = c->battery.error_ma[CTL_BALANCED];
    if (reads_nonsense(c, SPACE_SENSOR_BATT_MA))
        return SPACE_SENSOR_BATT_MA;
    if (reads_nonsense(c, SPACE_SENSOR_ARRAY_MW))
        return SPACE_SENSOR_ARRAY_MW;
    if (reads_nonsense(c, SPACE_SENSOR_HOTEL_MW) ||
        (b->hotel_error_mw > 0.5f * open && b->hotel_error_mw > 0.5f * b->error_mw && b->rest_error_mw < 0.5f * open))
        return SPACE_SENSOR_HOTEL_MW;
    if (c->power.heard.mode == BUS_CHARGE_MODE_OFF && (float)s->array > open)
        return SPACE_SENSOR_ARRAY_MW;
    float needed = CURRENT_SHARE * magnitude(apart_ma);
    if (battery > balance + needed)
        return SPACE_SENSOR_BATT_MA;
    return balance > battery + needed ? SPACE_SENSOR_ARRAY_MW : 0;
}

static unsigned excluded(const struct ctl *c) {
    if (!trusted(c, SPACE_SENSOR_BATT_MA))
        return SPACE_SENSOR_BATT_MA;
    if (!trusted(c, SPACE_SENSOR_ARRAY_MW))
        return SPACE_SENSOR_ARRAY_MW;
    return trusted(c, SPACE_SENSOR_HOTEL_MW) ? 0 : SPACE_SENSOR_HOTEL_MW;
}

/* What a sensor reads less what the balance says, in its own unit. */
static int64_t residual_of(const struct ctl *c, unsigned which, float residual) {
    if (which == SPACE_SENSOR_BATT_MA)
        return (int64_t)(-residual * 1000 / (float)ctl_max(1, c->power.tlm.bus_mv));
    if (which == SPACE_SENSOR_ARRAY_MW)
        return (int64_t)(residual * 1000 / (float)c->config.converter_permille);
    return (int64_t)-residual;
}

static void replace(struct ctl *c, const struct sum *s, unsigned which) {
    struct bus_power_tlm *t = &c->power.tlm;
    const struct bus_power_tlm *h = &c->power.heard;
    if (which == SPACE_SENSOR_BATT_MA) {
        t->batt_ma =
            (int32_t)ctl_clamp((s->array - s->hotel - s->load) * 1000 / ctl_max(1, t->bus_mv), INT32_MIN, INT32_MAX);
    } else if (which == SPACE_SENSOR_HOTEL_MW) {
        t->hotel_mw = (uint32_t)ctl_clamp(s->array - s->load - s->battery, 0, UINT32_MAX);
    } else {
        int64_t array = ctl_max(0, (s->hotel + s->load + s->battery) * 1000 / c->config.converter_permille);
        array = h->mode == BUS_CHARGE_MODE_OFF ? 0 : ctl_min(array, UINT32_MAX);
        int64_t live = ctl_max(1, t->strings_live);
        int told = t->array_mw > 0 && sensor(c, SPACE_SENSOR_ARRAY_MW)->bad_us == 0;
        t->largest_string_mw = (uint32_t)(told ? array * t->largest_string_mw / t->array_mw : array / live);
        t->array_mw = (uint32_t)array;
    }
}

/* What the guarantee is derated by: an array of which only the balance tells is as good as that; a balance that is open
 * and tells not yet why, as bad as it is at this moment. */
static int64_t uncertain(const struct ctl *c, const struct sum *s, unsigned out) {
    float error = c->balance.error_mw;
    if (c->balance.over_us > LATE_US && c->balance.beyond_mw > error)
        error = c->balance.beyond_mw;
    if (out == SPACE_SENSOR_ARRAY_MW || out == SPACE_SENSOR_HOTEL_MW)
        return (c->power.tlm.hotel_mw + s->load) * UNCERTAIN_PERMILLE / 1000;
    return out == 0 && error > (float)open_mw(c) ? (int64_t)error : 0;
}

static void judge(struct ctl *c, const struct sum *s, uint32_t dt_us) {
    struct ctl_balance *b = &c->balance;
    float open = (float)open_mw(c), residual = (float)(s->array - s->hotel - s->load - s->battery);
    unsigned out = excluded(c);
    int wrong = b->error_mw > open || (out == 0 && absent(c));
    b->open_us = wrong ? b->open_us + dt_us : 0;
    if (out != 0) {
        if (ctl_sensor_readmit(c, sensor(c, out), bus_address_of(0), out, b->error_mw < 0.5f * open, dt_us,
                               residual_of(c, out, residual)))
            out = 0;
    } else if (b->open_us >= CONFIRM_US) {
        out = culprit(c, s, residual);
        if (out != 0)
            exclude(c, out, residual_of(c, out, residual));
    }
    if (out != 0)
        replace(c, s, out);
    if (c->power.heard.mode == BUS_CHARGE_MODE_OFF) /* the electronics see no array */
        c->power.tlm.array_mw = c->power.tlm.largest_string_mw = 0;
    b->uncertain_mw = uncertain(c, s, out);
}

/* What the balance leaves, now and of late, whichever sensor is the reason. */
static void measure(struct ctl *c, const struct sum *s, const struct seen *seen, float dt_s) {
    struct ctl_balance *b = &c->balance;
    float open = (float)open_mw(c), clip = 20 * open, usual = b->hotel_mw > 0 ? b->hotel_mw : (float)c->config.hotel_mw;
    float residual = (float)(s->array - s->hotel - s->load - s->battery);
    usual += (float)(s->hotel - c->power.tlm.hotel_mw); /* the heater */
    b->residual_mw = residual > clip ? clip : residual < -clip ? -clip : residual;
    follow(&b->slow_nodes_mw, (float)seen->nodes_mw, dt_s, ERROR_TAU_S);
    float late = magnitude((float)seen->nodes_mw - b->slow_nodes_mw), size = magnitude(b->residual_mw);
    b->beyond_mw = size > late ? size - late : 0;
    b->over_us = b->beyond_mw > open ? b->over_us + (uint32_t)(dt_s * 1e6f) : 0;
    follow(&b->error_mw, b->beyond_mw, dt_s, ERROR_TAU_S);
    follow(&b->hotel_error_mw, magnitude((float)s->hotel - usual), dt_s, ERROR_TAU_S);
    follow(&b->rest_error_mw, magnitude((float)(s->array - s->load - s->battery) - usual), dt_s, ERROR_TAU_S);
    if (excluded(c) != 0 || !trusted(c, SPACE_SENSOR_BUS_MV) || b->error_mw > 0.5f * open || size > 0.5f * open)
        return;
    float hotel = (float)c->power.tlm.hotel_mw;
    b->hotel_mw = b->hotel_mw > 0 ? b->hotel_mw + (hotel - b->hotel_mw) * dt_s / (HOTEL_TAU_S + dt_s) : hotel;
}

void ctl_balance(struct ctl *c, uint64_t since_us) {
    uint32_t dt_us = (uint32_t)ctl_min((int64_t)since_us, DT_MAX_US);
    float dt_s = (float)dt_us * 1e-6f;
    c->power.tlm = c->power.heard;
    struct seen seen = look(c);
    check_voltage(c, &seen, dt_us);
    struct sum s = read_all(c, &seen, dt_us);
    int doubtful = sensor(c, SPACE_SENSOR_BUS_MV)->wrong_us > 0 && trusted(c, SPACE_SENSOR_BUS_MV);
    if (!doubtful) { /* all else is measured with it */
        measure(c, &s, &seen, dt_s);
        check_load(c, s.array - s.hotel - s.battery, &seen, dt_us);
        int64_t left_mw = s.array - s.hotel - s.load;
        ctl_battery_compare(c, (float)c->power.tlm.batt_ma,
                            (float)left_mw * 1000 / (float)ctl_max(1, c->power.tlm.bus_mv), dt_s);
        judge(c, &s, dt_us);
        ctl_battery_learn(c, excluded(c), dt_us);
        ctl_array_learn(c, dt_s);
    }
    /* The hotel is not believed to take less than it usually does: the guarantee would be too high. */
    c->power.tlm.hotel_mw = (uint32_t)ctl_max(c->power.tlm.hotel_mw, (int64_t)c->balance.hotel_mw);
    c->power.used = c->power.tlm;
}

void ctl_balance_init(struct ctl *c) {
    c->balance.good_mv = c->config.power.charge_mv;
}
