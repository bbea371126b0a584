/* Faults of a world's lines and boards: where they hang on. What they do is in link_fault.c, sensor_fault.c, upset.c.
 */
#include "world/state.h"

int world_link_fault(struct world *w, uint32_t board, struct link_fault *f) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (w->in_tick)
        return WORLD_ERR_STATE;
    struct link_fault **end = &l->link_faults;
    while (*end != NULL)
        end = &(*end)->next;
    f->next = NULL;
    *end = f;
    return WORLD_OK;
}

int world_lift_link_fault(struct world *w, uint32_t board, struct link_fault *f) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    f->lifted = 1;
    if (f->way[LINK_TO_BOARD].held + f->way[LINK_FROM_BOARD].held != 0)
        return 1;
    struct link_fault **at = &l->link_faults;
    while (*at != NULL && *at != f)
        at = &(*at)->next;
    if (*at != NULL)
        *at = f->next;
    return WORLD_OK;
}

int world_sensor_fault(struct world *w, uint32_t board, struct sensor_fault *f) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (w->in_tick)
        return WORLD_ERR_STATE;
    struct sensor_fault **end = &l->sensor_faults;
    while (*end != NULL)
        end = &(*end)->next;
    f->next = NULL;
    *end = f;
    return WORLD_OK;
}

int world_lift_sensor_fault(struct world *w, uint32_t board, struct sensor_fault *f) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    struct sensor_fault **at = &l->sensor_faults;
    while (*at != NULL && *at != f)
        at = &(*at)->next;
    if (*at != NULL)
        *at = f->next;
    return WORLD_OK;
}

int world_hang(struct world *w, uint32_t board, int on) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (w->in_tick)
        return WORLD_ERR_STATE;
    if (l->hung && !on && l->stats.state == WORLD_BOARD_PRESENT)
        l->unsure = 1; /* a TICK behind a HELLO_REQ may be of any time */
    l->hung = (uint8_t)(on != 0);
    return WORLD_OK;
}

int world_reboot(struct world *w, uint32_t board) {
    struct line *l = line_of(w, board);
    if (l == NULL)
        return WORLD_ERR_BOARD;
    if (l->stats.state != WORLD_BOARD_PRESENT || w->in_tick)
        return WORLD_ERR_STATE;
    l->stats.state = WORLD_BOARD_ABSENT;
    line_absent(l);
    return WORLD_OK;
}

struct mock *world_mock(struct world *w, uint32_t board) {
    const struct line *l = line_of(w, board);
    return l != NULL && !l->external ? w->mocks[board] : NULL;
}
