/* Intrusive hash map from bytes to an owner's struct. Seeded at random per map, so that keys
 * chosen by a peer cannot be made to collide. The key's memory belongs to the element and must
 * stay put while the node is in the map. Single-threaded. */
#pragma once

#include "base/bytes.h"

struct map_node {
    struct map_node *next;
    struct bytes key;
    uint64_t hash;
};

struct map {
    struct map_node **slots;
    size_t slot_count; /* power of two, or 0 before the first insert */
    size_t count;
    uint64_t seed[2];
};

#define MAP_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

void map_init(struct map *m);
void map_free(struct map *m); /* the table only; elements belong to their owners */

struct map_node *map_find(const struct map *m, struct bytes key);
void map_insert(struct map *m, struct map_node *node,
                struct bytes key);                     /* key must be absent */
void map_remove(struct map *m, struct map_node *node); /* node must be in m */

/* Visits every node; `visit` may remove the node it is given, nothing else. */
void map_each(struct map *m, void (*visit)(struct map_node *node, void *arg), void *arg);
