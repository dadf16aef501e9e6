#include "rota.h"

#include "base/error.h"

/* Of what a group holds, one in so many has to be free for it to get more. */
enum { HELD_PER_FREE = 4 };

struct rota_group {
    struct map_node node;
    struct list turn; /* in rota.turns while somebody waits */
    struct list queue;
    size_t served;
    uint64_t next_number;
    char name[];
};

void rota_init(struct rota *r, size_t capacity)
{
    *r = (struct rota){.capacity = capacity};
    map_init(&r->by_name);
    list_init(&r->turns);
}

void rota_free(struct rota *r)
{
    BRG_CHECK(r->waiting == 0 && r->served == 0);
    map_free(&r->by_name);
}

void rota_place_init(struct rota_place *place)
{
    *place = (struct rota_place){0};
    list_init(&place->node);
}

static struct rota_group *group_get(struct rota *r, struct bytes name)
{
    struct map_node *found = map_find(&r->by_name, name);
    if (found)
        return MAP_ENTRY(found, struct rota_group, node);
    struct rota_group *group = brg_calloc(1, sizeof(*group) + name.len + 1);
    if (name.len > 0)
        memcpy(group->name, name.ptr, name.len);
    list_init(&group->turn);
    list_init(&group->queue);
    map_insert(&r->by_name, &group->node, bytes_of(group->name, name.len));
    return group;
}

static void set_state(struct rota *r, struct rota_place *place, enum rota_state state)
{
    struct rota_group *group = place->group;
    r->waiting -= place->state == ROTA_WAITING;
    r->served -= place->state == ROTA_SERVED;
    group->served -= place->state == ROTA_SERVED;
    place->state = state;
    r->waiting += state == ROTA_WAITING;
    r->served += state == ROTA_SERVED;
    group->served += state == ROTA_SERVED;
}

void rota_wait(struct rota *r, struct rota_place *place, struct bytes name)
{
    BRG_CHECK(place->state == ROTA_OUT);
    struct rota_group *group = group_get(r, name);
    if (list_is_empty(&group->queue))
        list_push_back(&r->turns, &group->turn);
    place->group = group;
    place->number = group->next_number++;
    list_push_back(&group->queue, &place->node);
    set_state(r, place, ROTA_WAITING);
}

void rota_serve(struct rota *r, struct rota_place *place, struct bytes name)
{
    BRG_CHECK(place->state == ROTA_OUT);
    place->group = group_get(r, name);
    set_state(r, place, ROTA_SERVED);
}

static void stop_waiting(struct rota_place *place)
{
    list_remove(&place->node);
    if (list_is_empty(&place->group->queue))
        list_remove(&place->group->turn);
}

void rota_leave(struct rota *r, struct rota_place *place)
{
    struct rota_group *group = place->group;
    if (place->state == ROTA_OUT)
        return;
    if (place->state == ROTA_WAITING)
        stop_waiting(place);
    set_state(r, place, ROTA_OUT);
    place->group = NULL;
    if (group->served > 0 || !list_is_empty(&group->queue))
        return;
    map_remove(&r->by_name, &group->node);
    free(group);
}

/* Numbers from the first that waits to the next that will come. */
static size_t length(const struct rota_group *group)
{
    const struct rota_place *first = LIST_ENTRY(group->queue.next, struct rota_place, node);
    return (size_t)(group->next_number - first->number);
}

/* Before it go those of its group, and of each other group as many, one more where that group's
 * turn comes first. */
size_t rota_ahead(const struct rota *r, const struct rota_place *place)
{
    const struct rota_place *first =
        LIST_ENTRY(place->group->queue.next, struct rota_place, node);
    size_t own = (size_t)(place->number - first->number);
    size_t rounds = own + 1, ahead = own;
    for (struct list *node = r->turns.next; node != &r->turns; node = node->next) {
        const struct rota_group *group = LIST_ENTRY(node, struct rota_group, turn);
        size_t waiting = length(group);
        if (group == place->group)
            rounds = own; /* the rest of the groups comes after it */
        else
            ahead += waiting < rounds ? waiting : rounds;
    }
    return ahead;
}

static bool may_hold_more(const struct rota *r, const struct rota_group *group)
{
    size_t free_places = r->capacity - r->served;
    if (!r->is_shared || group->served == 0)
        return true;
    return free_places > 1 && group->served / HELD_PER_FREE < free_places;
}

struct rota_place *rota_next(struct rota *r)
{
    if (r->served >= r->capacity)
        return NULL;
    /* Each group passed over holds many places: the walk is short. */
    struct list *node = r->turns.next;
    while (node != &r->turns && !may_hold_more(r, LIST_ENTRY(node, struct rota_group, turn)))
        node = node->next;
    if (node == &r->turns)
        return NULL;
    struct rota_group *group = LIST_ENTRY(node, struct rota_group, turn);
    struct rota_place *place = LIST_ENTRY(group->queue.next, struct rota_place, node);
    list_remove(&group->turn);
    list_push_back(&r->turns, &group->turn);
    stop_waiting(place);
    set_state(r, place, ROTA_SERVED);
    return place;
}
