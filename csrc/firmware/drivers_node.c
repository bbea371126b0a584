/* Which sensor of a compute node is where: docs/porting.md, "Wiring of a node that flies". */
#include "boards/bytes.h"
#include "boards/clamp.h"
#include "firmware/bus_stm32f4.h"
#include "firmware/drivers.h"

enum { ADC_BUS = 0, ADC_CURRENT = 1, ADC_DIE = 4, ADC_HBM = 5, ADC_COOLANT = 6 };
#define BUS_DIVIDER 40u     /* 1 mV at the pin: 40 mV of the bus */
#define MA_PER_MV 8u        /* of the current sense amplifier */
#define SENSOR_ZERO_MV 500u /* analogue thermometers: 500 mV at 0 degC, 10 mV a degree */
#define CDEG_PER_MV 10

/* The accelerator's management port. */
enum { ACCELERATOR = 0x40 };
enum { REG_STATE = 0x00, REG_CONTROL = 0x20 };
#define STATE_BYTES 11u /* state u8, heartbeat u16, ecc corrected u16, ecc uncorrected u16, work u32 */

void drivers_start(void) {
    bus_start();
}

static int16_t cdeg(uint8_t channel) {
    return (int16_t)(((int32_t)bus_adc_mv(channel) - (int32_t)SENSOR_ZERO_MV) * CDEG_PER_MV);
}

static uint16_t get_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

void drivers_read_node(struct bus_tick_node *out) {
    uint8_t r[STATE_BYTES] = {0};
    uint32_t ma = bus_adc_mv(ADC_CURRENT) * MA_PER_MV;
    uint16_t shown_ma = (uint16_t)clamp_min_u32(ma, UINT16_MAX);
    (void)bus_i2c_read(ACCELERATOR, REG_STATE, r, sizeof r);
    *out = (struct bus_tick_node){
        .bus_mv = bus_adc_mv(ADC_BUS) * BUS_DIVIDER,
        .mean_ma = shown_ma,
        .min_ma = shown_ma,
        .max_ma = shown_ma,
        .die_cdeg = cdeg(ADC_DIE),
        .hbm_cdeg = cdeg(ADC_HBM),
        .coolant_cdeg = cdeg(ADC_COOLANT),
        .accel_state = r[0],
        .heartbeat = get_u16(r + 1),
        .ecc_corrected = get_u16(r + 3),
        .ecc_uncorrected = get_u16(r + 5),
        .work_mu = bytes_get_u32(r + 7),
    };
}

void drivers_set_node(const struct bus_done_node *m) {
    uint8_t r[8];
    bytes_u8(bytes_u8(bytes_u16(bytes_u32(r, m->cap_mw), m->clock_mhz), m->command), m->workload);
    (void)bus_i2c_write(ACCELERATOR, REG_CONTROL, r, sizeof r);
}
