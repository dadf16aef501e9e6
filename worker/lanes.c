#include "lanes.h"

#include "base/error.h"

struct lane {
    struct map_node node;
    struct rota_place turn; /* its head's, in lanes.turns */
    struct list queue;      /* of places, the head first */
    struct bytes group;     /* in `name`, behind the lane's own */
    char name[];
};

void lanes_init(struct lanes *l, size_t capacity, lanes_turn_fn *on_turn, void *arg)
{
    *l = (struct lanes){.on_turn = on_turn, .arg = arg};
    map_init(&l->by_name);
    rota_init(&l->turns, capacity);
}

void lanes_free(struct lanes *l)
{
    BRG_CHECK(l->by_name.count == 0);
    rota_free(&l->turns);
    map_free(&l->by_name);
}

void lane_place_init(struct lane_place *place)
{
    *place = (struct lane_place){0};
    list_init(&place->node);
}

static struct lane *lane_get(struct lanes *l, struct bytes name, struct bytes group)
{
    struct map_node *found = map_find(&l->by_name, name);
    if (found)
        return MAP_ENTRY(found, struct lane, node);
    struct lane *lane = brg_calloc(1, sizeof(*lane) + name.len + group.len + 1);
    memcpy(lane->name, name.ptr, name.len);
    if (group.len > 0)
        memcpy(lane->name + name.len, group.ptr, group.len);
    lane->group = bytes_of(lane->name + name.len, group.len);
    rota_place_init(&lane->turn);
    list_init(&lane->queue);
    map_insert(&l->by_name, &lane->node, bytes_of(lane->name, name.len));
    return lane;
}

/* Gives turns while there is capacity. A turn may enter and leave places: the loop here takes
 * them up, the nested call returns at once, so that depth does not grow with the lane. */
static void pump(struct lanes *l)
{
    if (l->is_pumping)
        return;
    l->is_pumping = true;
    struct rota_place *next = rota_next(&l->turns);
    while (next) {
        struct lane *lane = LIST_ENTRY(next, struct lane, turn);
        l->on_turn(LIST_ENTRY(lane->queue.next, struct lane_place, node), l->arg);
        next = rota_next(&l->turns);
    }
    l->is_pumping = false;
}

void lanes_enter(struct lanes *l, struct lane_place *place, struct bytes name,
                 struct bytes group)
{
    BRG_CHECK(place->lane == NULL);
    struct lane *lane = lane_get(l, name, group);
    bool is_head = list_is_empty(&lane->queue);
    place->lane = lane;
    list_push_back(&lane->queue, &place->node);
    l->places++;
    if (is_head)
        rota_wait(&l->turns, &lane->turn, lane->group);
    pump(l);
}

bool lanes_has_turn(const struct lane_place *place)
{
    const struct lane *lane = place->lane;
    return lane && lane->queue.next == &place->node && lane->turn.state == ROTA_SERVED;
}

size_t lanes_ahead(const struct lane_place *place)
{
    size_t ahead = 0;
    if (!place->lane)
        return 0;
    const struct list *node = place->node.prev;
    for (; node != &place->lane->queue; node = node->prev)
        ahead++;
    return ahead;
}

void lanes_leave(struct lanes *l, struct lane_place *place)
{
    struct lane *lane = place->lane;
    if (!lane)
        return;
    bool had_turn = lanes_has_turn(place);
    list_remove(&place->node);
    place->lane = NULL;
    l->places--;
    bool is_empty = list_is_empty(&lane->queue);
    if (had_turn || is_empty)
        rota_leave(&l->turns, &lane->turn);
    if (is_empty) {
        map_remove(&l->by_name, &lane->node);
        free(lane);
    } else if (had_turn) {
        rota_wait(&l->turns, &lane->turn, lane->group);
    }
    pump(l);
}

void lanes_set_shared(struct lanes *l, bool is_shared)
{
    l->turns.is_shared = is_shared;
}

void lanes_set_capacity(struct lanes *l, size_t capacity)
{
    l->turns.capacity = capacity;
    pump(l);
}
