#include "rota.h"

#include "base/error.h"

struct rota_group {
    struct map_node node;
    struct list turn; /* in rota.turns */
    struct list queue;
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
