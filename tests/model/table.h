/* A growing list of equal items without duplicates: the first bytes of an item are its key.
 * Items are named by their place; their addresses change when it grows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
    char *items;
    size_t item_bytes, count, capacity;
    uint32_t *slot; /* place + 1, 0 is free */
    size_t slots;   /* a power of two */
};

void table_init(struct table *t, size_t item_bytes);
void table_free(struct table *t);
/* The place of the item whose first `key_bytes` are those of `item`; a new one is a copy of as
 * much, followed by zeroes. */
uint32_t table_find(struct table *t, const void *item, size_t key_bytes, bool *is_new);
void *table_at(const struct table *t, uint32_t place);

uint64_t hash_bytes(const void *data, size_t len);
