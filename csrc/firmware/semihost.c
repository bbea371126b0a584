#include "firmware/semihost.h"

#include <string.h>

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_SEEK = 0x0A, SYS_GET_CMDLINE = 0x15 };
enum { OPEN_READ_WRITE_BINARY = 3 };

static uint32_t file;

static uint32_t call(uint32_t operation, const void *arguments) {
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory", "cc");
    return r0;
}

/* ---- the command line */

static const char *number(const char *p, uint32_t *out) {
    *out = 0;
    while (*p >= '0' && *p <= '9') {
        *out = *out * 10 + (uint32_t)(*p++ - '0');
    }
    return *p == ' ' ? p + 1 : p;
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text behind the digits and their blank, or NULL. */
static const char *hardware_id(const char *p, uint8_t out[static 12]) {
    for (unsigned i = 0; i < 12; ++i, p += 2) {
        int high = digit(p[0]), low = high < 0 ? -1 : digit(p[1]);
        if (low < 0) {
            return NULL;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return *p == ' ' ? p + 1 : NULL;
}

/* The text behind who this is, or NULL. */
static const char *identify(struct port_facts *out) {
    static char line[256];
    uint32_t block[3] = {(uint32_t)(uintptr_t)line, sizeof line, 0}, address, cause;
    out->role = BUS_ADDRESS_NONE;
    if (call(SYS_GET_CMDLINE, block) != 0) {
        return NULL;
    }
    line[sizeof line - 1] = '\0';
    const char *p = hardware_id(number(line, &address), out->hardware_id);
    if (p == NULL) {
        return NULL;
    }
    p = number(p, &cause);
    out->role = (uint16_t)address;
    out->reset_cause = (uint8_t)cause;
    return p;
}

void semihost_identify(struct port_facts *out) {
    (void)identify(out);
}

int semihost_start(struct port_facts *out) {
    const char *p = identify(out);
    if (p == NULL) {
        return -1;
    }
    uint32_t block[3];
    size_t length = 0;
    while (p[length] != '\0') {
        ++length;
    }
    block[0] = (uint32_t)(uintptr_t)p;
    block[1] = OPEN_READ_WRITE_BINARY;
    block[2] = (uint32_t)length;
    file = call(SYS_OPEN, block);
    return file == UINT32_MAX ? -1 : 0;
}

/* ---- the file */

static int move(uint32_t operation, uint32_t offset, uint32_t address, size_t n) {
    uint32_t seek[2] = {file, offset}, block[3] = {file, address, (uint32_t)n};
    return call(SYS_SEEK, seek) != 0 || call(operation, block) != 0; /* the number of bytes not moved */
}

int semihost_read(uint32_t offset, uint8_t *out, size_t n) {
    return move(SYS_READ, offset, (uint32_t)(uintptr_t)out, n);
}

int semihost_write(uint32_t offset, const uint8_t *in, size_t n) {
    return move(SYS_WRITE, offset, (uint32_t)(uintptr_t)in, n);
}
