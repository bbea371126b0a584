#include "receiver.h"

#include "cobs.h"

#include <string.h>

void bus_receiver_init(struct bus_receiver *r) {
    memset(r, 0, sizeof *r);
}

/* The run as `wire` of the frame: in place, or out of the receiver's own buffer. */
static void show_wire(struct bus_frame *f, const uint8_t *wire, size_t run_length) {
    f->wire = wire;
    f->wire_length = run_length + 2;
}

static void append(struct bus_receiver *r, const uint8_t *bytes, size_t n) {
    memcpy(r->wire + 1 + r->used, bytes, n);
    r->used = (uint16_t)(r->used + n);
}

/* Ends the run that stands in the receiver's buffer; wire[0] is always the delimiter. */
static size_t close_run(struct bus_receiver *r, struct bus_frame *f) {
    size_t n = r->used;
    r->wire[0] = 0;
    r->wire[1 + n] = 0;
    r->used = 0;
    show_wire(f, r->wire, n);
    return n;
}

static int judge(struct bus_receiver *r, struct bus_frame *f) {
    size_t n = f->wire_length - 2;
    if (bus_cobs_decode(r->body, f->wire + 1, n) != 0) {
        r->cobs_errors++;
        return BUS_RX_DAMAGED;
    }
    switch (bus_body_check(r->body, n - 1, &f->header)) {
    case 0:
        r->rx_frames++;
        f->payload = r->body + BUS_HEADER_BYTES;
        return BUS_RX_FRAME;
    case BUS_BODY_CRC:
        r->crc_errors++;
        return BUS_RX_DAMAGED;
    case BUS_BODY_VERSION:
        r->version_errors++;
        return BUS_RX_DAMAGED;
    default:
        r->length_errors++;
        return BUS_RX_DAMAGED;
    }
}

/* No delimiter within the bytes that a run may still take. */
static int keep(struct bus_receiver *r, const uint8_t *bytes, size_t n, struct bus_frame *f) {
    append(r, bytes, n);
    if (r->used <= BUS_MAX_RUN) {
        return BUS_RX_MORE;
    }
    close_run(r, f);
    r->length_errors++;
    r->skipping = 1;
    return BUS_RX_DAMAGED;
}

/* `used` is above what it can be when memory has been damaged: nothing may be written by it. */
static void check_used(struct bus_receiver *r) {
    if (r->used > BUS_MAX_RUN) {
        r->used = 0;
        r->length_errors++;
        r->skipping = 1;
    }
}

/* First byte that may belong to a run: after the rest of an overlong run and after idle delimiters. */
static const uint8_t *skip(struct bus_receiver *r, const uint8_t *at, const uint8_t *end) {
    if (r->skipping) {
        const uint8_t *delimiter = memchr(at, 0, (size_t)(end - at));
        if (delimiter == NULL) {
            return end;
        }
        r->skipping = 0;
        at = delimiter;
    }
    if (r->used == 0) {
        while (at < end && *at == 0) {
            at++;
        }
    }
    return at;
}

int bus_receiver_next(struct bus_receiver *r, const uint8_t **p, const uint8_t *end, struct bus_frame *f) {
    check_used(r);
    const uint8_t *start = *p;
    const uint8_t *at = start < end ? skip(r, start, end) : end;
    size_t room = BUS_MAX_RUN + 1u - r->used;
    size_t n = (size_t)(end - at) < room ? (size_t)(end - at) : room;
    const uint8_t *delimiter = n > 0 ? memchr(at, 0, n) : NULL;
    int result = BUS_RX_MORE;
    if (delimiter == NULL) {
        result = n > 0 ? keep(r, at, n, f) : BUS_RX_MORE;
        *p = at + n;
    } else {
        n = (size_t)(delimiter - at);
        *p = delimiter + 1;
        if (at > start) { /* a delimiter was just consumed: the frame is whole in the caller's bytes */
            show_wire(f, at - 1, n);
        } else {
            append(r, at, n);
            close_run(r, f);
        }
        result = judge(r, f);
    }
    r->rx_bytes += (uint32_t)(*p - start);
    return result;
}
