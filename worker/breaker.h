/* Circuit breaker: after a run of failures nothing is sent to the other side for a while, then
 * one probe; its outcome decides.
 *
 * Only counts and decides; time is passed in, and who is the probe is the caller's business. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum breaker_state {
    BREAKER_CLOSED,    /* all pass */
    BREAKER_HALF_OPEN, /* one passes */
    BREAKER_OPEN,      /* none passes */
};

struct breaker {
    enum breaker_state state;
    int64_t threshold; /* failures in a row that open it; 0: never */
    int64_t open_ms;
    int64_t failures; /* in a row, while closed */
    int64_t due_ms;   /* OPEN: when it becomes half open */
};

/* Outcomes. True when the state changed. While it is open or half open only the probe counts:
 * what was begun before tells of the time before. */
bool breaker_succeeded(struct breaker *b, bool is_probe);
bool breaker_failed(struct breaker *b, bool is_probe, int64_t now_ms);
/* OPEN and the time is up: half open from now on. True when the state changed. */
bool breaker_look(struct breaker *b, int64_t now_ms);

const char *breaker_state_name(enum breaker_state state);
