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
    uint16_t slot;  /* level * WHEEL_SLOTS + slot, or WHEEL_READY */
    void (*fire)(struct wheel_timer *timer, void *arg);
    void *arg;
};

#define WHEEL_LEVELS 6
#define WHEEL_SLOTS 64

#define WHEEL_READY (WHEEL_LEVELS * WHEEL_SLOTS)

/* Invariants: everything due at or before `now_ms` has fired or is in `ready`. A timer in a
 * slot of level L shares with now_ms all bits above that level (the top level excepted, which
 * wraps), and its slot is ahead of now's slot; so the lowest occupied level holds the next one
 * due. A bit of `occupied` is set exactly when its slot is not empty. */
struct wheel {
    int64_t now_ms;     /* not negative */
    int64_t horizon_ms; /* where the running wheel_advance goes; now_ms outside of it */
    size_t count;
    struct list ready; /* set when already due: fire at the next advance */
    uint64_t occupied[WHEEL_LEVELS];
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, int64_t now_ms);

void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *t, void *arg),
                      void *arg);
/* Sets or moves. A due time that is not after now, or within a callback not after the time of
 * the running advance, fires at the next advance, so that a timer that sets itself cannot hold
 * the loop. Beyond the range of the wheel (2 years) it is queued again on the way. */
void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t due_ms);
void wheel_cancel(struct wheel *w, struct wheel_timer *t); /* safe when not set */
static inline bool wheel_is_set(const struct wheel_timer *t)
{
    return t->due_ms != 0;
}

/* Fires all that is due at `now_ms`. A callback may set and cancel any timer, its own included.
 */
void wheel_advance(struct wheel *w, int64_t now_ms);

/* Milliseconds from now_ms until wheel_advance is worth calling (a lower bound of the next due
 * time), or -1 when no timer is set. */
int64_t wheel_next_ms(const struct wheel *w);
