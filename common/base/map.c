#include "base/map.h"

#include "base/clock.h"
#include "base/error.h"

#include <sys/random.h>

enum { FIRST_SLOTS = 16 };

struct sip {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(struct sip *s)
{
    s->a += s->b;
    s->b = rotate(s->b, 13) ^ s->a;
    s->a = rotate(s->a, 32);
    s->c += s->d;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = rotate(s->b, 17) ^ s->c;
    s->c = rotate(s->c, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->d ^= word;
    sip_round(s);
    s->a ^= word;
}

/* SipHash-1-3: short keys cost a few nanoseconds and collisions need the seed. */
static uint64_t hash_of(const struct map *m, struct bytes key)
{
    struct sip s = {
        m->seed[0] ^ 0x736F6D6570736575U,
        m->seed[1] ^ 0x646F72616E646F6DU,
        m->seed[0] ^ 0x6C7967656E657261U,
        m->seed[1] ^ 0x7465646279746573U,
    };
    size_t at = 0;
    for (; key.len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, key.ptr + at, sizeof(word));
        sip_word(&s, word);
    }
    uint64_t last = 0;
    if (key.len > at)
        memcpy(&last, key.ptr + at, key.len - at);
    sip_word(&s, last | ((uint64_t)key.len << 56));
    s.c ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
    if (getrandom(m->seed, sizeof(m->seed), 0) != (ssize_t)sizeof(m->seed)) {
        m->seed[0] = (uint64_t)clock_mono_us();
        m->seed[1] = (uint64_t)(uintptr_t)m;
    }
}

void map_free(struct map *m)
{
    free(m->slots);
    m->slots = NULL;
    m->slot_count = 0;
    m->count = 0;
}

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
    return &m->slots[hash & (m->slot_count - 1)];
}

struct map_node *map_find(const struct map *m, struct bytes key)
{
    if (m->count == 0)
        return NULL;
    uint64_t hash = hash_of(m, key);
    struct map_node *node = *slot_of(m, hash);
    while (node && (node->hash != hash || !bytes_eq(node->key, key)))
        node = node->next;
    return node;
}

static void put(struct map *m, struct map_node *node)
{
    struct map_node **slot = slot_of(m, node->hash);
    node->next = *slot;
    *slot = node;
}

static void grow(struct map *m)
{
    struct map_node **old = m->slots;
    size_t old_count = m->slot_count;
    m->slot_count = old_count ? old_count * 2 : FIRST_SLOTS;
    m->slots = brg_calloc(m->slot_count, sizeof(struct map_node *));
    for (size_t i = 0; i < old_count; i++) {
        struct map_node *next = NULL;
        for (struct map_node *node = old[i]; node; node = next) {
            next = node->next;
            put(m, node);
        }
    }
    free(old);
}

void map_insert(struct map *m, struct map_node *node, struct bytes key)
{
    if (m->count == m->slot_count)
        grow(m);
    node->key = key;
    node->hash = hash_of(m, key);
    put(m, node);
    m->count++;
}

void map_remove(struct map *m, struct map_node *node)
{
    BRG_CHECK(m->count > 0);
    struct map_node **link = slot_of(m, node->hash);
    while (*link && *link != node)
        link = &(*link)->next;
    BRG_CHECK(*link == node);
    *link = node->next;
    node->next = NULL;
    m->count--;
}

void map_each(struct map *m, void (*visit)(struct map_node *node, void *arg), void *arg)
{
    for (size_t i = 0; i < m->slot_count; i++) {
        struct map_node *next = NULL;
        for (struct map_node *node = m->slots[i]; node; node = next) {
            next = node->next;
            visit(node, arg);
        }
    }
}
