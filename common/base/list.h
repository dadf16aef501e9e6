/* Intrusive doubly linked list. An element is in at most one list per node; a node that is in
 * none points at itself, so list_remove is always safe after list_init. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *l, struct list *node)
{
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Removes and returns the first node, or NULL. */
static inline struct list *list_pop_front(struct list *l)
{
    if (list_is_empty(l))
        return NULL;
    struct list *node = l->next;
    list_remove(node);
    return node;
}

/* Moves all nodes of `from` to `to`, which need not be initialised and is overwritten. */
static inline void list_move(struct list *from, struct list *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->prev->next = to;
    to->next->prev = to;
    list_init(from);
}
