/* A queue that is fair to groups: they are served in turn, one member at a time, and within a
 * group who came first goes first. So a group with many members delays another group's first by
 * one place, not by many.
 *
 * Groups exist while somebody of them waits. Loop thread only. */
#pragma once

#include "base/list.h"
#include "base/map.h"

struct rota_group;

/* Part of who waits; owned by the caller. */
struct rota_place {
    struct list node;
    struct rota_group *group; /* NULL while not waiting */
    uint64_t number;          /* in the order of its group */
};

struct rota {
    struct map by_name;
    struct list turns; /* groups, the next to be served first */
    size_t count;
};

void rota_init(struct rota *r);
void rota_free(struct rota *r); /* after everybody left */

void rota_place_init(struct rota_place *place);

void rota_push(struct rota *r, struct rota_place *place, struct bytes group);
struct rota_place *rota_pop(struct rota *r); /* NULL: nobody waits */
/* How many are served before it, in about: who left from the middle still counts. */
size_t rota_ahead(const struct rota *r, const struct rota_place *place);
void rota_remove(struct rota *r, struct rota_place *place); /* safe when not waiting */
