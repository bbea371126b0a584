/* Which sensor of the power board is where: docs/porting.md, "Wiring of a power board that flies". */
#include "boards/bytes.h"
#include "firmware/bus_stm32f4.h"
#include "firmware/drivers.h"

enum { ADC_BUS = 0, ADC_BATTERY = 1, ADC_BATTERY_TEMPERATURE = 4, ADC_ARRAY = 5, ADC_ARRAY_CURRENT = 6, ADC_HOTEL = 7 };
#define BUS_DIVIDER 40u
#define ARRAY_DIVIDER 60u
#define BATTERY_ZERO_MV 1650 /* of a sensor for both directions */
#define BATTERY_MA_PER_MV 40
#define ARRAY_MA_PER_MV 40u
#define HOTEL_MA_PER_MV 4u
#define SENSOR_ZERO_MV 500
#define CDEG_PER_MV 10

/* Devices on I2C: the regulator, the string monitor, and a limiter for every 16 channels. */
enum { REGULATOR = 0x30, STRINGS = 0x31, LIMITERS = 0x50, CHANNELS_PER_LIMITER = 16 };
enum { REGULATOR_STATE = 0x00, REGULATOR_CONTROL = 0x20 };
enum { CHANNEL_STATE_BYTES = 5, CHANNEL_CONTROL = 0x80, CHANNEL_CONTROL_BYTES = 4 };

void drivers_start(void) {
    bus_start();
}

static int16_t cdeg(uint32_t mv) {
    return (int16_t)(((int32_t)mv - SENSOR_ZERO_MV) * CDEG_PER_MV);
}

static uint16_t get_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

void drivers_read_power(struct bus_tick_power *out) {
    uint8_t r[3] = {0}; /* electronics_flag u8, array temperature i16 in 0.01 degC */
    uint32_t bus_mv = bus_adc_mv(ADC_BUS) * BUS_DIVIDER;
    (void)bus_i2c_read(REGULATOR, REGULATOR_STATE, r, sizeof r);
    *out = (struct bus_tick_power){
        .bus_mv = bus_mv,
        .bus_min_mv = bus_mv,
        .bus_max_mv = bus_mv,
        .batt_ma = ((int32_t)bus_adc_mv(ADC_BATTERY) - BATTERY_ZERO_MV) * BATTERY_MA_PER_MV,
        .batt_cdeg = cdeg(bus_adc_mv(ADC_BATTERY_TEMPERATURE)),
        .array_mv = bus_adc_mv(ADC_ARRAY) * ARRAY_DIVIDER,
        .array_ma = bus_adc_mv(ADC_ARRAY_CURRENT) * ARRAY_MA_PER_MV,
        .array_cdeg = (int16_t)get_u16(r + 1),
        .hotel_ma = bus_adc_mv(ADC_HOTEL) * HOTEL_MA_PER_MV,
        .flags = r[0],
    };
}

static uint8_t limiter_of(uint16_t channel) {
    return (uint8_t)(LIMITERS + channel / CHANNELS_PER_LIMITER);
}

void drivers_read_channels(uint16_t base, uint8_t count, struct bus_tick_channels *out) {
    *out = (struct bus_tick_channels){.base = base, .count = count};
    for (uint8_t i = 0; i < count; ++i) {
        uint8_t r[CHANNEL_STATE_BYTES] = {0}; /* mean u16, greatest u16 in mA, channel_status u8 */
        uint16_t channel = (uint16_t)(base + i);
        uint8_t first = (uint8_t)(channel % CHANNELS_PER_LIMITER * CHANNEL_STATE_BYTES);
        (void)bus_i2c_read(limiter_of(channel), first, r, sizeof r);
        out->channels[i] = (struct bus_channel_sensor){get_u16(r), get_u16(r + 2), r[4]};
    }
}

void drivers_read_strings(uint8_t count, struct bus_tick_strings *out) {
    *out = (struct bus_tick_strings){.count = count};
    for (uint8_t i = 0; i < count; ++i) {
        uint8_t r[2] = {0};
        (void)bus_i2c_read(STRINGS, (uint8_t)(2 * i), r, sizeof r);
        out->string_ma[i] = get_u16(r);
    }
}

void drivers_set_power(const struct bus_done_power *m) {
    uint8_t r[18];
    uint8_t *p = bytes_u32(bytes_u32(bytes_u32(r, m->array_mv), m->charge_ma), m->charge_mv);
    bytes_u8(bytes_u8(bytes_u32(p, m->uvlo_mv), m->heater), m->clear_latches);
    (void)bus_i2c_write(REGULATOR, REGULATOR_CONTROL, r, sizeof r);
}

void drivers_set_channel(uint16_t channel, const struct bus_channel_setting *m) {
    uint8_t r[CHANNEL_CONTROL_BYTES];
    bytes_u8(bytes_u16(bytes_u8(r, m->on), m->limit_ma), m->trip_ms);
    uint8_t first = (uint8_t)(CHANNEL_CONTROL + channel % CHANNELS_PER_LIMITER * CHANNEL_CONTROL_BYTES);
    (void)bus_i2c_write(limiter_of(channel), first, r, sizeof r);
}
