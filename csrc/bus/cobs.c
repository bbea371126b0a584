#include "cobs.h"

#include <string.h>

/* Boards (BUS_CRC_SMALL) and CPUs without SSE2 go byte by byte. */
#if defined(__SSE2__) && !defined(BUS_CRC_SMALL)

#include <emmintrin.h>

/* Bit i is set where p[i] == 0, for 16 bytes. */
static inline uint32_t zeros16(const uint8_t *p) {
    __m128i bytes;
    memcpy(&bytes, p, sizeof bytes);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
}

void bus_cobs_encode(uint8_t *block, size_t n) {
    size_t code_at = 0;
    size_t i = 1;
    for (; i + 16 <= n + 1; i += 16) {
        for (uint32_t zeros = zeros16(block + i); zeros != 0; zeros &= zeros - 1) {
            size_t zero_at = i + (size_t)__builtin_ctz(zeros);
            block[code_at] = (uint8_t)(zero_at - code_at);
            code_at = zero_at;
        }
    }
    for (; i <= n; i++) {
        if (block[i] == 0) {
            block[code_at] = (uint8_t)(i - code_at);
            code_at = i;
        }
    }
    block[code_at] = (uint8_t)(n + 1 - code_at);
}

#else

void bus_cobs_encode(uint8_t *block, size_t n) {
    size_t code_at = 0;
    for (size_t i = 1; i <= n; i++) {
        if (block[i] == 0) {
            block[code_at] = (uint8_t)(i - code_at);
            code_at = i;
        }
    }
    block[code_at] = (uint8_t)(n + 1 - code_at);
}

#endif

int bus_cobs_decode(uint8_t *out, const uint8_t *in, size_t n) {
    if (n == 0 || n > BUS_COBS_MAX_DATA + 1) {
        return -1;
    }
    memcpy(out, in + 1, n - 1);
    size_t code_at = 0;
    for (;;) {
        size_t code = in[code_at];
        code_at += code;
        if (code_at >= n || code == 0) {
            return code_at == n && code != 0 ? 0 : -1;
        }
        out[code_at - 1] = 0;
    }
}
