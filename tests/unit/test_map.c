/* The hash map against a plain table. BOTBRIDGE_TEST_SEED=<number printed> repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "base/random.h"

#include <inttypes.h>

enum { KEYS = 500, ROUNDS = 50000 };

struct element {
    bool is_in;
    bool is_visited;
    char key[16];
    size_t key_len;
    struct map_node node;
};

static struct bytes key_of(const struct element *e)
{
    return bytes_of(e->key, e->key_len);
}

/* Keys of every length up to 15, NUL bytes and prefixes of each other among them. */
static void make_keys(struct element *elements)
{
    for (size_t i = 0; i < KEYS; i++) {
        char digits[16];
        int len = snprintf(digits, sizeof(digits), "%zu", i);
        elements[i].key_len = (size_t)len + i % 10;
        memcpy(elements[i].key, digits, (size_t)len);
    }
}

static void check_all(const struct map *m, const struct element *elements)
{
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        const struct map_node *found = map_find(m, key_of(&elements[i]));
        assert_ptr_equal(found, elements[i].is_in ? &elements[i].node : NULL);
        count += elements[i].is_in;
    }
    assert_int_equal(m->count, count);
}

static void random_runs(void **state)
{
    (void)state;
    const char *wanted = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)clock_mono_us();
    print_message("seed %" PRIu64 "\n", seed);
    random_seed(seed);
    struct element *elements = brg_calloc(KEYS, sizeof(*elements));
    make_keys(elements);
    struct map m;
    map_init(&m);
    for (int round = 0; round < ROUNDS; round++) {
        struct element *e = &elements[random_below(KEYS)];
        if (e->is_in)
            map_remove(&m, &e->node);
        else
            map_insert(&m, &e->node, key_of(e));
        e->is_in = !e->is_in;
        if (round % 1000 == 0)
            check_all(&m, elements);
    }
    check_all(&m, elements);
    map_free(&m);
    free(elements);
}

struct sweep {
    struct map *map;
    size_t visits;
};

static void visit(struct map_node *node, void *arg)
{
    struct sweep *sweep = arg;
    struct element *e = MAP_ENTRY(node, struct element, node);
    assert_false(e->is_visited);
    e->is_visited = true;
    sweep->visits++;
    if (sweep->visits % 2)
        map_remove(sweep->map, node);
}

static void each_may_remove(void **state)
{
    (void)state;
    struct element *elements = brg_calloc(KEYS, sizeof(*elements));
    make_keys(elements);
    struct map m;
    map_init(&m);
    struct sweep sweep = {&m, 0};
    map_each(&m, visit, &sweep);
    assert_int_equal(sweep.visits, 0);
    for (size_t i = 0; i < KEYS; i++)
        map_insert(&m, &elements[i].node, key_of(&elements[i]));
    map_each(&m, visit, &sweep);
    assert_int_equal(sweep.visits, KEYS);
    assert_int_equal(m.count, KEYS / 2);
    map_free(&m);
    free(elements);
}

static void empty_key_and_empty_map(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_find(&m, BYTES_LIT("")));
    struct element e = {0};
    map_insert(&m, &e.node, bytes_of(NULL, 0));
    assert_ptr_equal(map_find(&m, BYTES_LIT("")), &e.node);
    assert_null(map_find(&m, BYTES_LIT("\0")));
    map_remove(&m, &e.node);
    assert_null(map_find(&m, BYTES_LIT("")));
    map_free(&m);
}

/* Two maps must not place the same keys alike, or a peer could find keys that collide. */
static void seeds_differ(void **state)
{
    (void)state;
    struct map a;
    struct map b;
    map_init(&a);
    map_init(&b);
    struct element in_a = {.key = "key", .key_len = 3};
    struct element in_b = in_a;
    map_insert(&a, &in_a.node, key_of(&in_a));
    map_insert(&b, &in_b.node, key_of(&in_b));
    assert_true(in_a.node.hash != in_b.node.hash);
    map_free(&a);
    map_free(&b);
}

/* SipHash-1-3 of nothing, and of 00 01 .. 0e, under the key 00 01 .. 0f. */
static void hash_is_siphash(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    m.seed[0] = 0x0706050403020100U;
    m.seed[1] = 0x0F0E0D0C0B0A0908U;
    struct element e = {0};
    map_insert(&m, &e.node, key_of(&e));
    assert_true(e.node.hash == 0xABAC0158050FC4DCU);
    struct element longer = {.key_len = 15};
    for (size_t i = 0; i < longer.key_len; i++)
        longer.key[i] = (char)i;
    map_insert(&m, &longer.node, key_of(&longer));
    assert_true(longer.node.hash == 0xD320D86D2A519956U);
    map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs),
        cmocka_unit_test(each_may_remove),
        cmocka_unit_test(empty_key_and_empty_map),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(hash_is_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
