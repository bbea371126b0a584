/* Commands are executed at most once for their (session, sequence).
 *
 * A session is one life of the flight computer; a newer one replaces the older, whose commands are then rejected.
 * Within a session the sequence rises; a command seen before is answered as it was then, without being executed; one
 * older than the newest that was never seen is rejected. */
#ifndef DAWNLINE_BOARDS_COMMAND_LOG_H
#define DAWNLINE_BOARDS_COMMAND_LOG_H

#include <stdint.h>

#define COMMAND_LOG_DEPTH 8

#define COMMAND_LOG_NEW (-1)

struct command_log {
    uint32_t session; /* 0: none yet */
    uint32_t newest;  /* sequence; valid when count > 0 */
    uint8_t count, next;
    uint8_t code[COMMAND_LOG_DEPTH]; /* BUS_ACK_CODE_* that was answered */
    uint32_t sequence[COMMAND_LOG_DEPTH];
};

/* COMMAND_LOG_NEW: execute it, then call command_log_add. Else the BUS_ACK_CODE_* to answer without executing it. */
int command_log_check(const struct command_log *log, uint32_t session, uint32_t sequence);

/* Keeps the answer to a new command. */
void command_log_add(struct command_log *log, uint32_t session, uint32_t sequence, uint8_t code);

/* A newer session was seen elsewhere (a lease): commands of older ones are rejected from now on. */
void command_log_raise(struct command_log *log, uint32_t session);

#endif
