/* A queue for places of which there are `capacity`, fair to groups: they are served in turn,
 * one member at a time, and within a group who came first goes first. So a group with many
 * members delays another group's first by one place, not by many.
 *
 * Where several groups share the places, nor can one hold all of them: it gets a further one
 * only while more than a quarter of what it holds stays free, and never the last. So a flood of
 * one group takes four fifths, of n groups 4/(4n+1) each, and who comes new is served at once;
 * with a capacity of 1 nothing can be kept. (Choudhury and Hahne, "Dynamic queue length
 * thresholds for shared-memory packet switches", 1998.)
 *
 * Groups exist while somebody of them waits or is served. Loop thread only. */
#pragma once

#include "base/list.h"
#include "base/map.h"

struct rota_group;

enum rota_state {
    ROTA_OUT,
    ROTA_WAITING,
    ROTA_SERVED,
};

/* Part of who waits; owned by the caller. */
struct rota_place {
    enum rota_state state;
    struct list node;
    struct rota_group *group; /* NULL while out */
    uint64_t number;          /* in the order of its group */
};

struct rota {
    struct map by_name;
    struct list turns; /* groups of whom somebody waits, the next to be served first */
    size_t waiting, served;
    size_t capacity; /* ROTA_UNBOUNDED, or places to be served in; less than `served` after it
                      * was lowered */
    bool is_shared;  /* several groups may come */
};
#define ROTA_UNBOUNDED SIZE_MAX

void rota_init(struct rota *r, size_t capacity);
void rota_free(struct rota *r); /* after everybody left */

void rota_place_init(struct rota_place *place);

void rota_wait(struct rota *r, struct rota_place *place, struct bytes group);
/* Serves the next one. NULL: nobody waits who may be served now. */
struct rota_place *rota_next(struct rota *r);
/* Serves one that did not wait, whatever the capacity. */
void rota_serve(struct rota *r, struct rota_place *place, struct bytes group);
void rota_leave(struct rota *r, struct rota_place *place); /* safe when it is out */
/* How many are served before one that waits, in about: who left from the middle still counts.
 */
size_t rota_ahead(const struct rota *r, const struct rota_place *place);
