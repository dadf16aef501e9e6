/* The pipelines' other sides, by name: how many runs each may have at once, and who waits for a
 * place, first come first served.
 *
 * Known by the pipeline's name, so that a reload keeps count; the limit is that of the latest
 * configuration. Loop thread only. */
#pragma once

#include "base/list.h"
#include "base/map.h"

#include <stdint.h>

struct upstream;

/* Part of who wants a place; owned by the caller. */
struct upstream_place {
    struct list node; /* in the queue while waiting */
    struct upstream *upstream;
    bool is_held;
};

typedef void upstreams_turn_fn(struct upstream_place *place, void *arg);

struct upstreams {
    struct map by_name;
    upstreams_turn_fn *on_turn;
    void *arg;
    size_t held, waiting; /* over all, for the metrics */
};

void upstreams_init(struct upstreams *u, upstreams_turn_fn *on_turn, void *arg);
void upstreams_free(struct upstreams *u); /* after every place was left */

void upstream_place_init(struct upstream_place *place);

/* Asks for a place; on_turn gives it, perhaps before this returns. `limit` 0: none. */
void upstreams_enter(struct upstreams *u, struct upstream_place *place, struct bytes name,
                     int64_t limit);
/* Gives the place, or the wait for it, up; safe when there is none. The next one's turn may
 * come before this returns. */
void upstreams_leave(struct upstreams *u, struct upstream_place *place);
