/* Breadth-first search over all states, without their states: of each it keeps a 64-bit hash,
 * where it came from and by which step, so that the first violation found has the shortest
 * trace. Two states of the same hash would be taken for one: with 10 million states the chance
 * of any such pair is 1 in 300,000. */
#pragma once

#include "model.h"

#include <stddef.h>

struct exploration {
    size_t states, transitions, goals;
    unsigned depth;
    bool is_bounded;      /* max_states were reached: not everything was seen */
    const char *broken;   /* NULL: every promise was kept */
    size_t stuck;         /* states from which no healthy steps lead to the goal */
    size_t stuck_in_time; /* the same, with nobody at a deadline */
};

struct exploration explore(size_t max_states, bool is_ending_checked);
