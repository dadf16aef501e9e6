/* The pipelines' other sides, by name: how many runs each may have at once, who waits for a
 * place, and whether it is asked at all.
 *
 * Places are given fairly over groups (bots), see rota.h. A breaker per pipeline (breaker.h)
 * holds everybody back while the other side fails, and lets one probe through after a while;
 * who waits, waits on.
 *
 * A place may be asked for alone: it is given when no place at all is held, and others get none
 * meanwhile. That is bounded: after `alone_ms` others are served again, for as long at least.
 *
 * Known by the pipeline's name, so that a reload keeps count; the terms are those of the latest
 * configuration. Loop thread only. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "breaker.h"
#include "loop/loop.h"
#include "rota.h"

#include <stdint.h>

struct upstream;

/* Part of who wants a place; owned by the caller. */
struct upstream_place {
    struct rota_place turn;
    struct list alone;         /* in upstreams.alone from enter to leave, if asked alone */
    struct upstream *upstream; /* NULL: asked for nothing */
};

typedef void upstreams_turn_fn(struct upstream_place *place, void *arg);

enum upstreams_gate {
    GATE_OPEN,
    GATE_CLOSED, /* only a place alone is given */
    GATE_PAUSED, /* open, and not closed again before the timer */
};

struct upstreams {
    struct loop *loop;
    struct map by_name;
    struct list all;
    struct list alone;                 /* places that asked for it */
    struct upstream_place *alone_held; /* of them the one that has its place */
    enum upstreams_gate gate;
    struct wheel_timer gate_timer;
    int64_t alone_ms;
    upstreams_turn_fn *on_turn;
    void *arg;
    size_t held, waiting; /* over all */
};

void upstreams_init(struct upstreams *u, struct loop *loop, int64_t alone_ms,
                    upstreams_turn_fn *on_turn, void *arg);
void upstreams_free(struct upstreams *u); /* after every place was left */

void upstream_place_init(struct upstream_place *place);

struct upstream_terms {
    struct bytes name;        /* of the pipeline */
    struct bytes group;       /* of who asks: the bot */
    int64_t limit;            /* places; 0: any number */
    bool is_shared;           /* other groups may ask as well */
    int64_t breaker_failures; /* 0: no breaker */
    int64_t breaker_open_ms;
    bool is_alone;
};

/* Asks for a place; on_turn gives it, perhaps before this returns. */
void upstreams_enter(struct upstreams *u, struct upstream_place *place,
                     const struct upstream_terms *terms);
/* Gives the place, or the wait for it, up; safe when there is none. The next one's turn may
 * come before this returns. */
void upstreams_leave(struct upstreams *u, struct upstream_place *place);

bool upstream_is_waiting(const struct upstream_place *place); /* and not to be alone */
bool upstream_is_held(const struct upstream_place *place);

/* What the other side does, said by who holds a place, any number of times: it answers, or it
 * fails in a way that may pass. Turns that follow from it come in a later turn of the loop. */
void upstreams_report(struct upstreams *u, struct upstream_place *place, bool is_answering);

/* False while the breaker of the place's pipeline is not closed. */
bool upstream_is_sound(const struct upstream_place *place);

/* How many get their places before one that waits; 0 for others. */
size_t upstream_ahead(const struct upstream_place *place);

void upstreams_refresh_metrics(struct upstreams *u);
