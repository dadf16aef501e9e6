#include "upstreams.h"

#include "base/error.h"

struct upstream {
    struct map_node node;
    struct list queue;
    int64_t limit;
    int64_t held;
    bool is_pumping;
    char name[];
};

void upstreams_init(struct upstreams *u, upstreams_turn_fn *on_turn, void *arg)
{
    *u = (struct upstreams){.on_turn = on_turn, .arg = arg};
    map_init(&u->by_name);
}

static void drop(struct map_node *node, void *arg)
{
    struct upstreams *u = arg;
    struct upstream *up = MAP_ENTRY(node, struct upstream, node);
    BRG_CHECK(up->held == 0 && list_is_empty(&up->queue));
    map_remove(&u->by_name, node);
    free(up);
}

void upstreams_free(struct upstreams *u)
{
    map_each(&u->by_name, drop, u);
    map_free(&u->by_name);
}

void upstream_place_init(struct upstream_place *place)
{
    *place = (struct upstream_place){0};
    list_init(&place->node);
}

static struct upstream *upstream_get(struct upstreams *u, struct bytes name)
{
    struct map_node *found = map_find(&u->by_name, name);
    if (found)
        return MAP_ENTRY(found, struct upstream, node);
    struct upstream *up = brg_calloc(1, sizeof(*up) + name.len + 1);
    memcpy(up->name, name.ptr, name.len);
    list_init(&up->queue);
    map_insert(&u->by_name, &up->node, bytes_of(up->name, name.len));
    return up;
}

static bool has_room(const struct upstream *up)
{
    return up->limit == 0 || up->held < up->limit;
}

/* Nested calls return at once and the outermost goes on: see lanes.c. */
static void pump(struct upstreams *u, struct upstream *up)
{
    if (up->is_pumping)
        return;
    up->is_pumping = true;
    while (has_room(up) && !list_is_empty(&up->queue)) {
        struct upstream_place *place =
            LIST_ENTRY(list_pop_front(&up->queue), struct upstream_place, node);
        u->waiting--;
        place->is_held = true;
        up->held++;
        u->held++;
        u->on_turn(place, u->arg);
    }
    up->is_pumping = false;
}

void upstreams_enter(struct upstreams *u, struct upstream_place *place, struct bytes name,
                     int64_t limit)
{
    BRG_CHECK(place->upstream == NULL);
    struct upstream *up = upstream_get(u, name);
    up->limit = limit;
    place->upstream = up;
    list_push_back(&up->queue, &place->node);
    u->waiting++;
    pump(u, up);
}

void upstreams_leave(struct upstreams *u, struct upstream_place *place)
{
    struct upstream *up = place->upstream;
    if (!up)
        return;
    place->upstream = NULL;
    if (place->is_held) {
        place->is_held = false;
        up->held--;
        u->held--;
    } else {
        list_remove(&place->node);
        u->waiting--;
    }
    pump(u, up);
}
