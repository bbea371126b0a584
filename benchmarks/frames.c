/*
 * Times csrc/bus in a loop of its own: usage frames PAYLOAD ZEROS ROUNDS; prints ns a frame as JSON.
 *
 * 512 different frames, so that neither branches nor data are learnt by heart; ZEROS percent of the payload's bytes are
 * zero, since zeros are what stuffing costs. Each figure is the best round.
 */
#include "bus/crc32c.h"
#include "bus/frame.h"
#include "bus/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FRAMES 512

typedef uint32_t crc_function(uint32_t crc, const uint8_t *p, size_t n);

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double best(double previous, double started_ns) {
    double each = (now_ns() - started_ns) / FRAMES;
    return previous == 0.0 || each < previous ? each : previous;
}

static double time_crc(crc_function *crc, const uint8_t *bytes, size_t n, int rounds, uint32_t *sum) {
    double shortest = 0.0;
    for (int round = 0; round < rounds; round++) {
        double started = now_ns();
        for (size_t i = 0; i < FRAMES; i++) {
            *sum ^= crc(0, bytes + i, n);
        }
        shortest = best(shortest, started);
    }
    return shortest;
}

int main(int argc, char **argv) {
    static uint8_t payloads[FRAMES][BUS_MAX_PAYLOAD], wire[FRAMES * BUS_MAX_WIRE];
    int length = argc == 4 ? atoi(argv[1]) : 0, zeros = argc == 4 ? atoi(argv[2]) : 0;
    int rounds = argc == 4 ? atoi(argv[3]) : 0;
    if (length < 1 || length > BUS_MAX_PAYLOAD || rounds < 1) {
        fprintf(stderr, "usage: frames PAYLOAD ZEROS ROUNDS\n");
        return 2;
    }
    srand(1);
    for (int i = 0; i < FRAMES; i++) {
        for (int k = 0; k < length; k++) {
            payloads[i][k] = rand() % 100 < zeros ? 0 : (uint8_t)(1 + rand() % 255);
        }
    }
    struct bus_header h = {.type = BUS_MSG_NODE_TLM, .src = 256, .dst = 1, .length = (uint8_t)length};
    struct bus_receiver receiver;
    bus_receiver_init(&receiver);
    double encode = 0.0, receive = 0.0;
    for (int round = 0; round < rounds; round++) {
        size_t n = 0;
        double started = now_ns();
        for (int i = 0; i < FRAMES; i++) {
            h.seq++;
            h.t_us += 100000;
            n += bus_frame_encode(&h, payloads[i], wire + n);
        }
        encode = best(encode, started);
        const uint8_t *p = wire;
        struct bus_frame f;
        started = now_ns();
        while (bus_receiver_next(&receiver, &p, wire + n, &f) == BUS_RX_FRAME) {
        }
        receive = best(receive, started);
    }
    uint32_t sum = receiver.rx_frames;
    size_t checked = BUS_HEADER_BYTES + (size_t)length;
    double crc = time_crc(bus_crc32c, wire, checked, rounds, &sum);
    double slice8 = time_crc(bus_crc32c_slice8, wire, checked, rounds, &sum);
    double small = time_crc(bus_crc32c_small, wire, checked, rounds, &sum);
    printf("{\"encode\": %.2f, \"receive\": %.2f, \"crc\": %.2f, \"crc_slice8\": %.2f, \"crc_small\": %.2f, "
           "\"frames\": %u, \"sum\": %u}\n",
           encode, receive, crc, slice8, small, receiver.rx_frames, sum);
    return receiver.rx_frames == (uint32_t)(FRAMES * rounds) ? 0 : 1;
}
