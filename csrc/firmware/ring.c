#include "firmware/ring.h"

#include "firmware/cortexm.h"

static struct {
    uint8_t bytes[RING_BYTES];
    volatile uint32_t head, tail; /* bytes ever written, ever read */
    uint32_t lost;
    uint16_t overruns, framing, noise, high_water;
} ring;

static inline __attribute__((always_inline)) void count(uint16_t *counter, uint32_t happened) {
    *counter = (uint16_t)(*counter + (happened && *counter < UINT16_MAX));
}

RAM_CODE void ring_push(uint8_t byte) {
    uint32_t waiting = ring.head - ring.tail;
    if (waiting == RING_BYTES) {
        ++ring.lost;
        return;
    }
    ring.bytes[ring.head % RING_BYTES] = byte;
    ++ring.head;
    if (waiting >= ring.high_water) {
        ring.high_water = (uint16_t)(waiting + 1);
    }
}

RAM_CODE void ring_count_errors(uint32_t overrun, uint32_t framing, uint32_t noise) {
    count(&ring.overruns, overrun);
    count(&ring.framing, framing);
    count(&ring.noise, noise);
}

size_t ring_peek(const uint8_t **bytes) {
    uint32_t waiting = ring.head - ring.tail;
    if (waiting > RING_BYTES) { /* one of the two has flipped: what is there cannot be told */
        ++ring.lost;
        ring.tail = ring.head;
        waiting = 0;
    }
    uint32_t at = ring.tail % RING_BYTES, to_end = RING_BYTES - at;
    *bytes = ring.bytes + at;
    return waiting < to_end ? waiting : to_end;
}

void ring_drop(size_t n) {
    ring.tail += (uint32_t)n;
}

int ring_is_empty(void) {
    return ring.head == ring.tail;
}

void ring_report(struct bus_hardware_report *out) {
    *out = (struct bus_hardware_report){.rx_lost = ring.lost,
                                        .overruns = ring.overruns,
                                        .framing_errors = ring.framing,
                                        .noise_errors = ring.noise,
                                        .ring_high_water = ring.high_water};
}
