/* Events that a step or a command raised, in order, until the board sends them. A step that could raise more than fits
 * asks events_room first and keeps the rest for the next step, so that none is lost. */
#ifndef DAWNLINE_BOARDS_EVENTS_H
#define DAWNLINE_BOARDS_EVENTS_H

#include <stdint.h>

#define EVENTS_MAX 16

struct board_event_entry {
    uint16_t code; /* BUS_EVENT_* */
    int32_t arg0, arg1;
};

struct events {
    uint8_t count;
    struct board_event_entry list[EVENTS_MAX];
};

static inline int events_room(const struct events *e) {
    return EVENTS_MAX - e->count;
}

/* Adds an event; without room it is left out. */
static inline void events_add(struct events *e, uint16_t code, int32_t arg0, int32_t arg1) {
    if (e->count < EVENTS_MAX) {
        e->list[e->count].code = code;
        e->list[e->count].arg0 = arg0;
        e->list[e->count].arg1 = arg1;
        ++e->count;
    }
}

#endif
