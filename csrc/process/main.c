/* A board as a child process: bytes in on stdin, bytes out on stdout, its persistent memory in a file. It keeps no
 * clock.
 *
 * dawnline-board KIND ADDRESS HARDWARE_ID NVM_FILE CAUSE
 *   KIND: power_board or compute_node; ADDRESS: 1..65534, or 0: the one that was assigned to it and is kept in
 *   NVM_FILE, as on a microcontroller; HARDWARE_ID: 24 hexadecimal digits; NVM_FILE: made when absent; CAUSE: number of
 *   the first boot's reset cause. The line is raw already. Ends with 0 when the line ends. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boards/board.h"
#include "bus/bus_icd.h"
#include "firmware_hash.h"

#define READ_BYTES 4096
#define OUT_BYTES 65536
#define USAGE "usage: dawnline-board power_board|compute_node ADDRESS HARDWARE_ID NVM_FILE CAUSE"

struct host {
    int nvm_fd;
    int line_ended;
    size_t used;
    uint8_t out[OUT_BYTES];
};

static int fail(const char *what, const char *value) {
    fprintf(stderr, "dawnline-board: %s: %s\n", what, value);
    return 2;
}

/* ---- the line */

static void flush_line(struct host *host) {
    size_t at = 0;
    while (at < host->used && !host->line_ended) {
        ssize_t n = write(STDOUT_FILENO, host->out + at, host->used - at);
        if (n > 0) {
            at += (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            host->line_ended = 1;
        }
    }
    host->used = 0;
}

static void line_tx(void *ctx, const uint8_t *bytes, size_t n) {
    struct host *host = ctx;
    if (n > OUT_BYTES - host->used) {
        flush_line(host);
    }
    memcpy(host->out + host->used, bytes, n);
    host->used += n;
}

/* ---- persistent memory */

static int nvm_read(void *ctx, uint32_t offset, uint8_t *out, size_t n) {
    const struct host *host = ctx;
    return pread(host->nvm_fd, out, n, (off_t)offset) != (ssize_t)n;
}

static int nvm_write(void *ctx, uint32_t offset, const uint8_t *in, size_t n) {
    const struct host *host = ctx;
    return pwrite(host->nvm_fd, in, n, (off_t)offset) != (ssize_t)n;
}

static int open_nvm(struct host *host, const char *path) {
    struct stat facts;
    host->nvm_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (host->nvm_fd < 0 || fstat(host->nvm_fd, &facts) != 0) {
        return -1;
    }
    if (facts.st_size != 0 && facts.st_size != BOARD_NVM_BYTES) {
        errno = EINVAL;
        return -1;
    }
    return ftruncate(host->nvm_fd, BOARD_NVM_BYTES);
}

/* ---- arguments */

static int parse_number(const char *text, long low, long high, long *out) {
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || *out < low || *out > high;
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    return found == NULL ? -1 : (int)(found - digits);
}

static int parse_hardware_id(const char *text, uint8_t out[static 12]) {
    if (strlen(text) != 24) {
        return -1;
    }
    for (unsigned i = 0; i < 12; ++i) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return -1;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static uint8_t parse_kind(const char *text) {
    if (strcmp(text, "power_board") == 0) {
        return BUS_BOARD_KIND_POWER_BOARD;
    }
    return strcmp(text, "compute_node") == 0 ? BUS_BOARD_KIND_COMPUTE_NODE : 0;
}

static int parse(char **argv, struct board_identity *id, uint8_t *cause) {
    long address, number;
    id->kind = parse_kind(argv[1]);
    if (id->kind == 0) {
        return fail("KIND must be power_board or compute_node, not", argv[1]);
    }
    if (parse_number(argv[2], 0, 65534, &address)) {
        return fail("ADDRESS must be a number from 0 to 65534, not", argv[2]);
    }
    if (parse_hardware_id(argv[3], id->hardware_id) != 0) {
        return fail("HARDWARE_ID must be 24 hexadecimal digits, not", argv[3]);
    }
    if (parse_number(argv[5], BUS_RESET_CAUSE_POWER_ON, BUS_RESET_CAUSE_BENCH, &number)) {
        return fail("CAUSE must be the number of a reset cause (1 to 6), not", argv[5]);
    }
    id->role = (uint16_t)address;
    *cause = (uint8_t)number;
    return 0;
}

/* ---- life */

static int run(struct board *board, struct host *host, const struct board_identity *id, uint8_t cause) {
    struct board_port port = {.ctx = host, .tx = line_tx, .nvm_read = nvm_read, .nvm_write = nvm_write};
    uint8_t in[READ_BYTES];
    board_boot(board, id, &port, cause);
    while (!host->line_ended) {
        flush_line(host);
        ssize_t n = read(STDIN_FILENO, in, sizeof in);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        board_receive(board, in, n > 0 ? (size_t)n : 0);
        if (board_reset_pending(board)) {
            board_boot(board, id, &port, (uint8_t)board_reset_pending(board));
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    struct board_identity id = {.firmware_hash = FIRMWARE_HASH, .capabilities = BUS_CAPABILITY_BENCH};
    uint8_t cause;
    if (argc != 6) {
        fprintf(stderr, "%s\n", USAGE);
        return 2;
    }
    if (parse(argv, &id, &cause) != 0) {
        return 2;
    }
    struct host *host = calloc(1, sizeof *host);
    struct board *board = calloc(1, board_bytes(id.kind));
    if (host == NULL || board == NULL) {
        return fail("out of memory for", argv[1]);
    }
    if (open_nvm(host, argv[4]) != 0) {
        fprintf(stderr, "dawnline-board: NVM_FILE %s: %s (expected a file of %d bytes)\n", argv[4], strerror(errno),
                BOARD_NVM_BYTES);
        return 1;
    }
    return run(board, host, &id, cause);
}
