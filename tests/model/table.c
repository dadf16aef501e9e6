#include "table.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

uint64_t hash_bytes(const void *data, size_t len)
{
    const unsigned char *at = data;
    uint64_t hash = 0x9E3779B97F4A7C15U ^ len;
    while (len > 0) {
        uint64_t word = 0;
        size_t part = len < sizeof(word) ? len : sizeof(word);
        memcpy(&word, at, part);
        hash = (hash ^ word) * 0xFF51AFD7ED558CCDU;
        hash ^= hash >> 32;
        at += part;
        len -= part;
    }
    hash *= 0xC4CEB9FE1A85EC53U;
    return hash ^ (hash >> 29);
}

void table_init(struct table *t, size_t item_bytes)
{
    *t = (struct table){.item_bytes = item_bytes, .slots = 1024, .capacity = 512};
    t->slot = brg_calloc(t->slots, sizeof(*t->slot));
    t->items = brg_calloc(t->capacity, item_bytes);
}

void table_free(struct table *t)
{
    free(t->slot);
    free(t->items);
}

void *table_at(const struct table *t, uint32_t place)
{
    return t->items + place * t->item_bytes;
}

static size_t slot_for(const struct table *t, const void *item, size_t key_bytes)
{
    size_t at = hash_bytes(item, key_bytes) & (t->slots - 1);
    while (t->slot[at] != 0 && memcmp(table_at(t, t->slot[at] - 1), item, key_bytes) != 0)
        at = (at + 1) & (t->slots - 1);
    return at;
}

static void grow(struct table *t, size_t key_bytes)
{
    t->capacity *= 2;
    t->slots *= 2;
    t->items = brg_realloc(t->items, t->capacity * t->item_bytes);
    free(t->slot);
    t->slot = brg_calloc(t->slots, sizeof(*t->slot));
    for (uint32_t i = 0; i < t->count; i++)
        t->slot[slot_for(t, table_at(t, i), key_bytes)] = i + 1;
}

uint32_t table_find(struct table *t, const void *item, size_t key_bytes, bool *is_new)
{
    size_t at = slot_for(t, item, key_bytes);
    *is_new = t->slot[at] == 0;
    if (!*is_new)
        return t->slot[at] - 1;
    if (t->count == t->capacity) {
        grow(t, key_bytes);
        at = slot_for(t, item, key_bytes);
    }
    BRG_CHECK(t->count < UINT32_MAX - 1);
    char *to = table_at(t, (uint32_t)t->count);
    memset(to, 0, t->item_bytes);
    memcpy(to, item, key_bytes);
    t->slot[at] = (uint32_t)++t->count;
    return (uint32_t)t->count - 1;
}
