#include "rota.h"

#include "base/error.h"

struct rota_group {
    struct map_node node;
    struct list turn; /* in rota.turns */
    struct list queue;
    uint64_t next_number;
    char name[];
};

void rota_init(struct rota *r)
{
    *r = (struct rota){0};
    map_init(&r->by_name);
    list_init(&r->turns);
}

void rota_free(struct rota *r)
{
    BRG_CHECK(r->count == 0);
    map_free(&r->by_name);
}

void rota_place_init(struct rota_place *place)
{
    place->group = NULL;
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
    list_init(&group->queue);
    map_insert(&r->by_name, &group->node, bytes_of(group->name, name.len));
    list_push_back(&r->turns, &group->turn);
    return group;
}

void rota_push(struct rota *r, struct rota_place *place, struct bytes group)
{
    BRG_CHECK(!place->group);
    place->group = group_get(r, group);
    place->number = place->group->next_number++;
    list_push_back(&place->group->queue, &place->node);
    r->count++;
}

void rota_remove(struct rota *r, struct rota_place *place)
{
    struct rota_group *group = place->group;
    if (!group)
        return;
    place->group = NULL;
    list_remove(&place->node);
    r->count--;
    if (!list_is_empty(&group->queue))
        return;
    list_remove(&group->turn);
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

struct rota_place *rota_pop(struct rota *r)
{
    if (list_is_empty(&r->turns))
        return NULL;
    struct rota_group *group = LIST_ENTRY(r->turns.next, struct rota_group, turn);
    struct rota_place *place = LIST_ENTRY(group->queue.next, struct rota_place, node);
    list_remove(&group->turn);
    list_push_back(&r->turns, &group->turn);
    rota_remove(r, place);
    return place;
}
