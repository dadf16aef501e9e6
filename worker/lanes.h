/* Lanes: the units of order. Of each lane only the head may be begun; the next has its turn
 * when the head leaves, at its visible end.
 *
 * At most `capacity` heads have their turn at once over all lanes; further lanes wait in the
 * order in which they became ready, fairly over groups (bots, see rota.h): neither a lane with
 * many questions nor a bot with many lanes delays the others, whose turns come while some are
 * kept for them. What waits is bounded by quotas
 * and the consumer's windows. Lanes exist while something is in them. Loop thread only. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "rota.h"

struct lane;

/* Part of what stands in a lane; owned by the caller. */
struct lane_place {
    struct list node;
    struct lane *lane; /* NULL while in none */
};

typedef void lanes_turn_fn(struct lane_place *place, void *arg);

struct lanes {
    struct map by_name;
    struct rota turns; /* of the lanes' heads */
    size_t places;
    bool is_pumping;
    lanes_turn_fn *on_turn;
    void *arg;
};

void lanes_init(struct lanes *l, size_t capacity, lanes_turn_fn *on_turn, void *arg);
void lanes_free(struct lanes *l); /* after everything has left */

void lane_place_init(struct lane_place *place);

/* At the end of the lane `name`, whose group is that of its first. The turn may come before
 * this returns. */
void lanes_enter(struct lanes *l, struct lane_place *place, struct bytes name,
                 struct bytes group);
/* From wherever it stands; safe when it is in no lane. The next one's turn may come before this
 * returns. */
void lanes_leave(struct lanes *l, struct lane_place *place);

bool lanes_has_turn(const struct lane_place *place);
size_t lanes_ahead(const struct lane_place *place); /* places before it in its lane; O(these) */
void lanes_set_capacity(struct lanes *l, size_t capacity);
/* Several groups may come: none gets all turns. */
void lanes_set_shared(struct lanes *l, bool is_shared);
