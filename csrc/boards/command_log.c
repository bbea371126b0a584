#include "boards/command_log.h"

#include "bus/bus_icd.h"

int command_log_check(const struct command_log *log, uint32_t session, uint32_t sequence) {
    if (session == 0 || session < log->session) {
        return BUS_ACK_CODE_STALE_SESSION;
    }
    if (session > log->session || log->count == 0 || sequence > log->newest) {
        return COMMAND_LOG_NEW;
    }
    for (unsigned i = 0; i < log->count; ++i) {
        if (log->sequence[i] == sequence) {
            return log->code[i] == BUS_ACK_CODE_OK ? BUS_ACK_CODE_REPEATED : log->code[i];
        }
    }
    return BUS_ACK_CODE_STALE_SEQUENCE;
}

void command_log_raise(struct command_log *log, uint32_t session) {
    if (session > log->session) {
        log->session = session;
        log->count = 0;
        log->next = 0;
    }
}

void command_log_add(struct command_log *log, uint32_t session, uint32_t sequence, uint8_t code) {
    command_log_raise(log, session);
    log->newest = sequence;
    log->sequence[log->next] = sequence;
    log->code[log->next] = code;
    log->next = (uint8_t)((log->next + 1) % COMMAND_LOG_DEPTH);
    if (log->count < COMMAND_LOG_DEPTH) {
        ++log->count;
    }
}
