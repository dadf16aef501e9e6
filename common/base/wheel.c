#include "base/wheel.h"

#include "base/error.h"

enum { LEVEL_BITS = 6, TOP = WHEEL_LEVELS - 1 };

void wheel_init(struct wheel *w, int64_t now_ms)
{
    *w = (struct wheel){.now_ms = now_ms, .horizon_ms = now_ms};
    list_init(&w->ready);
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
}

void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *t, void *arg),
                      void *arg)
{
    *t = (struct wheel_timer){.fire = fire, .arg = arg};
    list_init(&t->node);
}

/* The level of the highest bit in which `due` differs from `now`. */
static unsigned level_of(uint64_t now, uint64_t due)
{
    unsigned high_bit = 63U - (unsigned)__builtin_clzll((now ^ due) | 1U);
    unsigned level = high_bit / LEVEL_BITS;
    return level > TOP ? TOP : level;
}

/* `t` is due after now_ms and in no list. */
static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t now = (uint64_t)w->now_ms;
    uint64_t due = (uint64_t)t->due_ms;
    unsigned level = level_of(now, due);
    uint64_t step = due >> (level * LEVEL_BITS);
    if (level == TOP) {
        uint64_t last = (now >> (TOP * LEVEL_BITS)) + WHEEL_SLOTS - 1;
        step = step > last ? last : step;
    }
    unsigned slot = (unsigned)(step % WHEEL_SLOTS);
    t->slot = (uint16_t)(level * WHEEL_SLOTS + slot);
    w->occupied[level] |= (uint64_t)1 << slot;
    list_push_back(&w->slots[level][slot], &t->node);
}

void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t due_ms)
{
    wheel_cancel(w, t);
    w->count++;
    t->due_ms = due_ms > 0 ? due_ms : 1;
    if (due_ms > w->horizon_ms) {
        place(w, t);
        return;
    }
    t->slot = WHEEL_READY;
    list_push_back(&w->ready, &t->node);
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
    if (!wheel_is_set(t))
        return;
    list_remove(&t->node);
    t->due_ms = 0;
    w->count--;
    if (t->slot == WHEEL_READY)
        return;
    /* A timer that wheel_advance has taken out of its slot still names it: then the list says
     * whether somebody else is there. */
    unsigned level = t->slot / WHEEL_SLOTS;
    unsigned slot = t->slot % WHEEL_SLOTS;
    if (list_is_empty(&w->slots[level][slot]))
        w->occupied[level] &= ~((uint64_t)1 << slot);
}

struct next_slot {
    unsigned level;
    unsigned slot;
    int64_t start_ms;
};

static bool find_next(const struct wheel *w, struct next_slot *next)
{
    unsigned level = 0;
    while (level < WHEEL_LEVELS && w->occupied[level] == 0)
        level++;
    if (level == WHEEL_LEVELS)
        return false;
    uint64_t step = (uint64_t)w->now_ms >> (level * LEVEL_BITS);
    unsigned cursor = (unsigned)(step % WHEEL_SLOTS);
    uint64_t bits = w->occupied[level];
    /* Rotated so that bit 0 is now's own slot. */
    if (cursor > 0)
        bits = (bits >> cursor) | (bits << (WHEEL_SLOTS - cursor));
    unsigned distance = (unsigned)__builtin_ctzll(bits);
    next->level = level;
    next->slot = (cursor + distance) % WHEEL_SLOTS;
    next->start_ms = (int64_t)((step + distance) << (level * LEVEL_BITS));
    return true;
}

/* Fires what is due and places the rest nearer. Callbacks may cancel entries of `batch`. */
static void run_batch(struct wheel *w, struct list *batch)
{
    for (struct list *node = list_pop_front(batch); node; node = list_pop_front(batch)) {
        struct wheel_timer *t = LIST_ENTRY(node, struct wheel_timer, node);
        if (t->slot != WHEEL_READY && t->due_ms > w->now_ms) {
            place(w, t);
            continue;
        }
        t->due_ms = 0;
        w->count--;
        t->fire(t, t->arg);
    }
}

void wheel_advance(struct wheel *w, int64_t now_ms)
{
    struct list batch;
    struct next_slot next;
    if (now_ms > w->now_ms)
        w->horizon_ms = now_ms;
    list_move(&w->ready, &batch);
    run_batch(w, &batch);
    while (find_next(w, &next) && next.start_ms <= w->horizon_ms) {
        w->now_ms = next.start_ms;
        w->occupied[next.level] &= ~((uint64_t)1 << next.slot);
        list_move(&w->slots[next.level][next.slot], &batch);
        run_batch(w, &batch);
    }
    w->now_ms = w->horizon_ms;
}

int64_t wheel_next_ms(const struct wheel *w)
{
    struct next_slot next;
    if (!list_is_empty(&w->ready))
        return 0;
    return find_next(w, &next) ? next.start_ms - w->now_ms : -1;
}
