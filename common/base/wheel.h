/* Hierarchical timing wheel: set, cancel and expire in O(1) each, whatever the number of
 * timers.
 *
 * Six levels of 64 slots, one tick is a millisecond; a bitmap per level finds the next occupied
 * slot without walking. Timers never fire early. Entries are intrusive and owned by the caller.
 */
#pragma once

#include "base/list.h"

#include <stdint.h>

struct wheel_timer {
    struct list node;
    int64_t due_ms; /* 0 while not set */
    uint16_t slot;
    void (*fire)(struct wheel_timer *timer, void *arg);
    void *arg;
};

#define WHEEL_LEVELS 6
#define WHEEL_SLOTS 64

struct wheel {
    int64_t now_ms;
    size_t count;
    uint64_t occupied[WHEEL_LEVELS];
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, int64_t now_ms);

void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *t, void *arg),
                      void *arg);
/* Sets or moves; a due time in the past fires at the next advance. */
void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t due_ms);
void wheel_cancel(struct wheel *w, struct wheel_timer *t); /* safe when not set */
static inline bool wheel_is_set(const struct wheel_timer *t)
{
    return t->due_ms != 0;
}

/* Fires all that is due at `now_ms`. A callback may set and cancel any timer, its own included.
 */
void wheel_advance(struct wheel *w, int64_t now_ms);

/* Milliseconds until wheel_advance is worth calling (a lower bound of the next due time), or -1
 * when no timer is set. */
int64_t wheel_next_ms(const struct wheel *w);
