#include "breaker.h"

static bool go(struct breaker *b, enum breaker_state state)
{
    bool is_change = b->state != state;
    b->state = state;
    b->failures = 0;
    return is_change;
}

bool breaker_succeeded(struct breaker *b, bool is_probe)
{
    bool counts = b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && is_probe);
    return counts && go(b, BREAKER_CLOSED);
}

bool breaker_failed(struct breaker *b, bool is_probe, int64_t now_ms)
{
    bool opens = b->state == BREAKER_HALF_OPEN && is_probe;
    if (b->state == BREAKER_CLOSED)
        opens = ++b->failures >= b->threshold && b->threshold > 0;
    if (!opens)
        return false;
    b->due_ms = now_ms + b->open_ms;
    return go(b, BREAKER_OPEN);
}

bool breaker_look(struct breaker *b, int64_t now_ms)
{
    return b->state == BREAKER_OPEN && now_ms >= b->due_ms && go(b, BREAKER_HALF_OPEN);
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "half_open", "open"};
    return names[state];
}
