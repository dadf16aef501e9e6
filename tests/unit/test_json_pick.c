#include "base/random.h"
#include "json/json.h"
#include "json/json_pick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

enum { A, B, C, D, E, PICKS };

static const struct json_pick wanted[PICKS] = {
    [A] = {.key = "a"},
    [B] = {.object = "o", .key = "b"},
    [C] = {.object = "o", .key = "a"},
    [D] = {.object = "l[0]", .key = "a"},
    [E] = {.object = "l[0].o", .key = "b"},
};

static bool pick(const char *text, struct json_pick p[PICKS])
{
    memcpy(p, wanted, sizeof wanted);
    return json_pick(bytes_of_str(text), p, PICKS);
}

static void finds_strings_where_they_are(void **state)
{
    (void)state;
    struct json_pick p[PICKS];
    assert_true(
        pick(" { \"x\":[{\"a\":\"no\"},\"}\"], \"a\" : \"1\",\"o\":{\"o\":{\"b\":\"no\"},"
             "\"b\":\"2\\t\" ,\"a\":\"\"},\"y\":-1.5e3,\"z\":null } ",
             p) == false); /* an escape in a wanted string */
    assert_true(pick(" { \"x\":[{\"a\":\"no\"},\"\\\"}\"], \"a\" : \"1\",\"o\":{\"o\":{\"b\":"
                     "\"no\"},\"b\":\"2\t\" ,\"a\":\"\"},\"y\":-1.5e3,\"z\":null } ",
                     p));
    assert_true(bytes_eq_str(p[A].string, "1"));
    assert_true(bytes_eq_str(p[B].string, "2\t"));
    assert_true(p[C].string.ptr && p[C].string.len == 0);
    assert_true(pick("{}", p));
    assert_true(!p[A].string.ptr && !p[B].string.ptr && !p[C].string.ptr);
    assert_true(pick("{\"b\":1,\"o\":{}}", p));
    assert_null(p[B].string.ptr);
    assert_true(pick("{\"a\":null,\"o\":null,\"l\":[]}", p));
    assert_true(!p[A].string.ptr && !p[B].string.ptr && !p[D].string.ptr);
}

static void finds_strings_on_a_path(void **state)
{
    (void)state;
    struct json_pick p[PICKS];
    assert_true(
        pick("{\"l\" : [ {\"x\":[{}], \"o\":{\"b\":\"1\"} ,\"a\":\"2\"} , {\"a\":\"no\"},7 ] ,"
             "\"a\":\"3\"}",
             p));
    assert_true(bytes_eq_str(p[E].string, "1"));
    assert_true(bytes_eq_str(p[D].string, "2"));
    assert_true(bytes_eq_str(p[A].string, "3"));
    assert_true(pick(
        "{\"l[0]\":{\"a\":\"1\"},\"l[0].o\":{\"b\":\"1\"},\"o\":{\"o\":{\"b\":\"1\"}}}", p));
    assert_true(!p[B].string.ptr && !p[D].string.ptr && !p[E].string.ptr);
    assert_true(pick("{\"l\":[{\"o\":null,\"a\":null}]}", p));
    assert_true(!p[D].string.ptr && !p[E].string.ptr);
}

static void leaves_the_rest_to_the_parser(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "\"a\"",
        "{\"a\":\"1\"} x",
        "{\"a\":\"1\",}",
        "{\"a\":\"\xFF\"}",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"a\":\"1\",\"a\":\"2\"}",
        "{\"\\u0061\":\"1\"}",
        "{\"o\":\"1\"}",
        "{\"o\":{\"b\":\"1\"},\"o\":{}}",
        "{\"o\":{\"b\":\"1\"},\"o\":7}",
        "{\"o\":{\"b\":\"1\",\"b\":\"1\"}}",
        "{\"o\":{\"b\":[\"1\"]}}",
        "{\"o\":[{\"b\":\"1\"}]}",
        "{\"l\":{\"a\":\"1\"}}",
        "{\"l\":[null]}",
        "{\"l\":[\"1\"]}",
        "{\"l\":[{\"o\":{},\"o\":{}}]}",
        "{\"l\":[],\"l\":[{}]}",
        "{\"l\":[{\"o\":[{\"b\":\"1\"}]}]}",
    };
    struct json_pick p[PICKS];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(pick(texts[i], p));
}

static size_t random_text(char *text, size_t max)
{
    static const char *const pieces[] = {"{",
                                         "}",
                                         "\"a\":",
                                         "\"o\":{",
                                         "\"b\":",
                                         "\"1\"",
                                         ",",
                                         "\"a\"",
                                         "[",
                                         "]",
                                         "null",
                                         "7",
                                         " ",
                                         "\"\\\"\"",
                                         "\"x\":",
                                         "\"\\\\\"",
                                         "{}",
                                         "\"o\":",
                                         "\n",
                                         "true",
                                         "\"b\":\"2\"",
                                         "\"a\":\"3\",",
                                         "}}",
                                         "\"c\":[1,{\"b\":2}],",
                                         "\"l\":[{",
                                         "\"l\":[",
                                         "}]",
                                         "\"l\":[{\"o\":{\"b\":",
                                         ",{\"a\":\"5\"}]",
                                         "\"l\":[{\"o\":{\"b\":\"4\"}}]",
                                         ",\"l\":[{\"a\":\"6\"}",
                                         "]"};
    size_t len = 0;
    text[len++] = '{';
    for (uint64_t n = 1 + random_below(8); n > 0; n--) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
        size_t size = strlen(piece);
        if (len + size + 2 > max)
            break;
        memcpy(text + len, piece, size);
        len += size;
    }
    text[len++] = '}';
    return len;
}

static void expect(const struct json_pick *p, const struct json *object)
{
    const struct json *member = json_get(object, p->key);
    assert_int_equal(member != NULL, p->string.ptr != NULL);
    assert_true(bytes_eq(p->string, json_string(member)));
}

/* Where a text is taken for plain, the parser must say the same of it. */
static void says_what_the_parser_says(void **state)
{
    (void)state;
    const char *given = getenv("BOTBRIDGE_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec + 1;
    print_message("seed %llu (BOTBRIDGE_TEST_SEED)\n", (unsigned long long)seed);
    random_seed(seed);
    unsigned plain = 0, in_items = 0;
    for (unsigned round = 0; round < 400000; round++) {
        char made[256];
        struct json_pick p[PICKS];
        size_t len = random_text(made, sizeof made);
        char *text = bytes_dup(bytes_of(made, len)); /* so that a step too far is noticed */
        memcpy(p, wanted, sizeof wanted);
        if (json_pick(bytes_of(text, len), p, PICKS)) {
            struct json *root = json_parse(bytes_of(text, len), JSON_PEER, NULL);
            assert_int_equal(json_type(root), JSON_OBJECT);
            expect(&p[A], root);
            expect(&p[B], json_get(root, "o"));
            expect(&p[C], json_get(root, "o"));
            const struct json *item = json_item(json_get(root, "l"), 0);
            in_items += p[E].string.ptr != NULL;
            expect(&p[D], item);
            expect(&p[E], json_get(item, "o"));
            json_free(root);
            plain++;
        }
        free(text);
    }
    print_message("%u plain texts, %u with a string in an item\n", plain, in_items);
    assert_true(plain > 1000 && in_items > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_strings_where_they_are),
        cmocka_unit_test(finds_strings_on_a_path),
        cmocka_unit_test(leaves_the_rest_to_the_parser),
        cmocka_unit_test(says_what_the_parser_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
