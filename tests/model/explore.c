#include "explore.h"

#include "base/error.h"
#include "protocol.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    uint32_t parent;
    struct action action;
};

enum { CHUNK = 4096, GOAL = 1, GOOD = 2, GOOD_IN_TIME = 4, IN_TIME = 8 };
#define PHASE_EDGE (1U << 31)

static struct {
    struct node *nodes;
    uint64_t *hashes;
    uint8_t *marks;
    uint64_t *edge_from; /* per state, where its healthy edges begin */
    uint32_t *edges;     /* target, PHASE_EDGE if time passes */
    size_t edge_count, edge_capacity;
    uint32_t *slots;
    size_t slot_count, capacity, count, max;
    struct state **chunks; /* of states that are still to be expanded */
    size_t chunk_count;
    bool is_full;
} x;

/* --- what was seen --- */

static void rehash(size_t slot_count)
{
    free(x.slots);
    x.slot_count = slot_count;
    x.slots = brg_calloc(slot_count, sizeof(*x.slots));
    for (size_t i = 0; i < x.count; i++) {
        size_t at = x.hashes[i] & (slot_count - 1);
        while (x.slots[at] != 0)
            at = (at + 1) & (slot_count - 1);
        x.slots[at] = (uint32_t)i + 1;
    }
}

static void grow(void)
{
    x.capacity *= 2;
    x.nodes = brg_realloc(x.nodes, x.capacity * sizeof(*x.nodes));
    x.hashes = brg_realloc(x.hashes, x.capacity * sizeof(*x.hashes));
    x.marks = brg_realloc(x.marks, x.capacity);
    x.edge_from = brg_realloc(x.edge_from, (x.capacity + 1) * sizeof(*x.edge_from));
    x.chunks = brg_realloc(x.chunks, (x.capacity / CHUNK) * sizeof(struct state *));
    memset(x.chunks + x.chunk_count, 0,
           (x.capacity / CHUNK - x.chunk_count) * sizeof(struct state *));
    x.chunk_count = x.capacity / CHUNK;
    rehash(x.capacity * 2);
}

/* Nobody is near a deadline, and the store did not lose what nobody can write again. */
static bool is_in_time(const struct state *s)
{
    bool is_emptied = (s->used & (USED_FLUSH | USED_RESTART)) != 0;
    bool is_lost = is_emptied && (s->used & USED_CRASH) != 0;
    return !is_lost && (s->used & USED_DEADLINE) == 0;
}

static uint32_t see(const struct state *s, uint32_t parent, struct action a)
{
    uint64_t hash = hash_bytes(s, sizeof(*s));
    size_t at = hash & (x.slot_count - 1);
    while (x.slots[at] != 0) {
        if (x.hashes[x.slots[at] - 1] == hash)
            return x.slots[at] - 1;
        at = (at + 1) & (x.slot_count - 1);
    }
    if (x.count == x.max) {
        x.is_full = true;
        return UINT32_MAX;
    }
    uint32_t place = (uint32_t)x.count++;
    x.slots[at] = place + 1;
    x.hashes[place] = hash;
    x.nodes[place] = (struct node){parent, a};
    x.marks[place] = (uint8_t)((judge_is_goal(s) ? GOAL | GOOD | GOOD_IN_TIME : 0) |
                               (is_in_time(s) ? IN_TIME : 0));
    struct state **chunk = &x.chunks[place / CHUNK];
    if (!*chunk)
        *chunk = brg_calloc(CHUNK, sizeof(**chunk));
    memcpy(&(*chunk)[place % CHUNK], s, sizeof(*s));
    if (x.count == x.capacity)
        grow();
    return place;
}

static void add_edge(uint32_t to, struct action a)
{
    if (x.edge_count == x.edge_capacity) {
        x.edge_capacity *= 2;
        x.edges = brg_realloc(x.edges, x.edge_capacity * sizeof(*x.edges));
    }
    x.edges[x.edge_count++] = to | (a.kind == DO_PHASE ? PHASE_EDGE : 0);
}

/* --- traces --- */

static void print_trace(uint32_t to, const struct action *last)
{
    static struct action path[4096];
    unsigned len = 0;
    if (last)
        path[len++] = *last;
    for (uint32_t at = to; at != 0 && len < 4096; at = x.nodes[at].parent)
        path[len++] = x.nodes[at].action;
    struct state s;
    world_begin(&s);
    for (unsigned i = len; i-- > 0;) {
        struct state before = s;
        printf("%4u  ", len - i);
        world_step(&s, path[i]);
        world_print(path[i], &before, &s);
    }
}

/* --- the search --- */

static bool expand(uint32_t from, const struct state *s, struct exploration *e)
{
    struct action actions[ACTIONS_MAX];
    unsigned count = world_actions(s, actions);
    x.edge_from[from] = x.edge_count;
    for (unsigned i = 0; i < count; i++) {
        struct state next;
        memcpy(&next, s, sizeof(next));
        world_step(&next, actions[i]);
        e->transitions++;
        if (broken) {
            e->broken = broken;
            printf("BROKEN: %s\n", broken);
            print_trace(from, &actions[i]);
            return false;
        }
        uint32_t to = see(&next, from, actions[i]);
        if (to != UINT32_MAX && to != from && world_is_healthy(actions[i]))
            add_edge(to, actions[i]);
    }
    return true;
}

static void search(struct exploration *e)
{
    uint32_t layer_end = 1;
    for (uint32_t i = 0; i < x.count; i++) {
        if (i == layer_end) {
            e->depth++;
            layer_end = (uint32_t)x.count;
        }
        if (!expand(i, &x.chunks[i / CHUNK][i % CHUNK], e))
            return;
        if (i % CHUNK == CHUNK - 1) {
            free(x.chunks[i / CHUNK]);
            x.chunks[i / CHUNK] = NULL;
        }
    }
    x.edge_from[x.count] = x.edge_count;
}

/* --- the end: from everywhere, without further faults --- */

static bool leads_on(uint32_t from, uint8_t good, bool is_time_allowed)
{
    for (uint64_t i = x.edge_from[from]; i < x.edge_from[from + 1]; i++) {
        bool is_time = (x.edges[i] & PHASE_EDGE) != 0;
        if ((is_time_allowed || !is_time) && (x.marks[x.edges[i] & ~PHASE_EDGE] & good) != 0)
            return true;
    }
    return false;
}

static void spread(uint8_t good, bool is_time_allowed)
{
    bool is_changed = true;
    while (is_changed) {
        is_changed = false;
        for (size_t i = x.count; i-- > 0;) {
            if ((x.marks[i] & good) != 0 || !leads_on((uint32_t)i, good, is_time_allowed))
                continue;
            x.marks[i] |= good;
            is_changed = true;
        }
    }
}

static size_t count_stuck(uint8_t good, uint8_t only, const char *what)
{
    size_t stuck = 0;
    for (uint32_t i = 0; i < x.count; i++) {
        if ((x.marks[i] & good) != 0 || (x.marks[i] & only) != only)
            continue;
        if (stuck++ == 0) {
            printf("STUCK: %s\n", what);
            print_trace(i, NULL);
        }
    }
    return stuck;
}

static void check_ending(struct exploration *e)
{
    spread(GOOD, true);
    spread(GOOD_IN_TIME, false);
    if (settings.has_deadlines)
        e->stuck = count_stuck(GOOD, 0, "some question never ends");
    if (e->stuck == 0)
        e->stuck_in_time =
            count_stuck(GOOD_IN_TIME, IN_TIME, "some question ends only by its deadline");
    for (size_t i = 0; i < x.count; i++)
        e->goals += x.marks[i] & GOAL;
}

/* --- life --- */

static void begin(size_t max_states)
{
    memset(&x, 0, sizeof(x));
    x.max = max_states;
    x.edge_capacity = 1U << 16;
    x.edges = brg_calloc(x.edge_capacity, sizeof(*x.edges));
    x.capacity = CHUNK;
    grow();
}

static void end(void)
{
    for (size_t i = 0; i < x.chunk_count; i++)
        free(x.chunks[i]);
    void *parts[] = {x.nodes, x.hashes, x.marks, x.edge_from, x.edges, x.slots, x.chunks};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        free(parts[i]);
}

struct exploration explore(size_t max_states, bool is_ending_checked)
{
    struct exploration e = {0};
    struct state first;
    begin(max_states);
    world_begin(&first);
    see(&first, 0, (struct action){0});
    search(&e);
    e.states = x.count;
    e.is_bounded = x.is_full;
    if (is_ending_checked && !e.broken && !e.is_bounded)
        check_ending(&e);
    end();
    return e;
}
