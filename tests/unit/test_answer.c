/* Cutting at characters and limits; the end never shows less text than before. */
#include "answer.h"

#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LIMIT = 200, TAIL = 20, MAX_BYTES = 1000 };

#define ROCKET "\xf0\x9f\x9a\x80"

static void expect_composed(const struct answer *a, const char *tail, const char *expected)
{
    struct buf out;
    buf_init(&out, LIMIT);
    (void)answer_compose(a, bytes_of_str(tail), BYTES_LIT("MORE"), &out);
    assert_false(out.overflowed);
    if (!bytes_eq_str(buf_bytes(&out), expected))
        fail_msg("\"" BYTES_FMT "\" and not \"%s\"", BYTES_ARG(buf_bytes(&out)), expected);
    buf_free(&out);
}

static void test_tail(void **state)
{
    (void)state;
    struct answer a;
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    expect_composed(&a, "", "");
    expect_composed(&a, "notice", "notice");
    assert_true(answer_append(&a, BYTES_LIT("text")));
    expect_composed(&a, "", "text");
    expect_composed(&a, "notice", "text\n\nnotice");
    assert_true(answer_replace(&a, BYTES_LIT("other")));
    expect_composed(&a, "notice", "other\n\nnotice");
    answer_clear(&a);
    expect_composed(&a, "notice", "notice");
    answer_free(&a);
}

/* Bytes come one by one: what is visible is always a whole number of characters. */
static void test_split_characters(void **state)
{
    (void)state;
    struct answer a;
    struct bytes text = BYTES_LIT("a\xc3\xa9\xe4\xb8\xad" ROCKET "z");
    size_t complete[] = {1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    for (size_t i = 0; i < text.len; i++) {
        assert_true(answer_append(&a, bytes_of(text.ptr + i, 1)));
        assert_int_equal(answer_visible(&a).len, complete[i]);
    }
    answer_free(&a);
}

/* For every length around the limit and every phase of the characters: whole characters, never
 * over the limit, the end keeps all that was visible, with any tail up to the one announced. */
static void test_limits(void **state)
{
    (void)state;
    static const char *const tails[] = {"", "n", "12345678901234567890"};
    for (size_t phase = 0; phase < 4; phase++) {
        struct answer a;
        struct buf out;
        answer_init(&a, MAX_BYTES, LIMIT, TAIL);
        buf_init(&out, LIMIT + 1);
        assert_true(answer_append(&a, bytes_of("abc", phase)));
        for (size_t n = 0; n < 60; n++) {
            struct bytes visible = answer_visible(&a);
            assert_true(utf8_is_valid(visible));
            for (size_t t = 0; t < 3; t++) {
                buf_reset(&out);
                size_t kept =
                    answer_compose(&a, bytes_of_str(tails[t]), BYTES_LIT("MORE"), &out);
                assert_true(out.len <= LIMIT);
                assert_true(utf8_is_valid(buf_bytes(&out)));
                assert_true(bytes_starts_with(buf_bytes(&out), visible));
                assert_in_range(kept, visible.len, a.text.len);
                bool is_cut = t == 0 && a.text.len > LIMIT;
                struct bytes end = bytes_of_str(is_cut ? "\n\nMORE" : tails[t]);
                assert_memory_equal(out.ptr + out.len - end.len, end.ptr, end.len);
            }
            assert_true(answer_append(&a, BYTES_LIT(ROCKET)));
        }
        buf_free(&out);
        answer_free(&a);
    }
}

/* A client shows nothing after an open <think>: it is closed before what is said at the end. */
static void test_open_thought(void **state)
{
    (void)state;
    struct answer a;
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    assert_true(answer_append(&a, BYTES_LIT("<think>why")));
    expect_composed(&a, "notice", "<think>why\n</think>\n\nnotice");
    assert_true(answer_append(&a, BYTES_LIT("</think>so")));
    expect_composed(&a, "notice", "<think>why</think>so\n\nnotice");
    answer_clear(&a);
    assert_true(answer_append(&a, BYTES_LIT("<think>")));
    for (size_t i = 0; i < LIMIT; i++)
        assert_true(answer_append(&a, BYTES_LIT("x")));
    struct buf out;
    buf_init(&out, LIMIT);
    (void)answer_compose(&a, BYTES_LIT(""), BYTES_LIT("MORE"), &out);
    assert_true(out.len <= LIMIT);
    assert_memory_equal(out.ptr + out.len - 15, "\n</think>\n\nMORE", 15);
    assert_true(bytes_starts_with(buf_bytes(&out), answer_visible(&a)));
    buf_free(&out);
    answer_free(&a);
}

/* The rest is readable alone, and says so when it is not all either. */
static void test_rest(void **state)
{
    (void)state;
    struct answer a;
    struct buf out;
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    buf_init(&out, LIMIT);
    assert_true(answer_append(&a, BYTES_LIT("text\n```c\none\ntwo\n```\nend")));
    answer_compose_rest(&a, 14, BYTES_LIT("OVER"), &out);
    assert_true(bytes_eq_str(buf_bytes(&out), "```c\ntwo\n```\nend"));
    for (size_t i = 0; i < LIMIT; i++)
        assert_true(answer_append(&a, BYTES_LIT("x")));
    buf_reset(&out);
    answer_compose_rest(&a, 14, BYTES_LIT("OVER"), &out);
    assert_true(bytes_starts_with(buf_bytes(&out), BYTES_LIT("```c\ntwo\n```\nendxxx")));
    assert_memory_equal(out.ptr + out.len - 7, "x\n\nOVER", 7);
    assert_true(out.len <= LIMIT && out.len > LIMIT / 2);
    buf_free(&out);
    answer_free(&a);
}

static void test_bound(void **state)
{
    (void)state;
    struct answer a;
    char *text = brg_calloc(MAX_BYTES, 1);
    memset(text, 'x', MAX_BYTES);
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    assert_true(answer_append(&a, bytes_of(text, MAX_BYTES)));
    assert_false(answer_append(&a, BYTES_LIT("x")));
    assert_int_equal(a.text.len, MAX_BYTES);
    answer_clear(&a);
    assert_true(answer_append(&a, bytes_of(text, MAX_BYTES - 1)));
    assert_false(answer_append(&a, BYTES_LIT("yz"))); /* what fits is kept */
    assert_int_equal(a.text.len, MAX_BYTES);
    assert_int_equal(a.text.ptr[MAX_BYTES - 1], 'y');
    answer_free(&a);
    free(text);
}

static void test_blank(void **state)
{
    static const char *const blank[] = {"", " \n\t\r\n", "\u3000", "<think>hm</think>",
                                        "\n<think>h</think> <think>m\n"};
    static const char *const answers[] = {
        "a", "\n.", "<think>hm</think>\n42", "<thin", "</think>", "```\n<think>", "\u4e00"};
    struct answer a;
    (void)state;
    answer_init(&a, MAX_BYTES, LIMIT, TAIL);
    for (size_t i = 0; i < sizeof(blank) / sizeof(blank[0]); i++) {
        assert_true(answer_replace(&a, bytes_of_str(blank[i])));
        assert_true(answer_is_blank(&a));
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        assert_true(answer_replace(&a, bytes_of_str(answers[i])));
        assert_false(answer_is_blank(&a));
    }
    answer_free(&a);
}

/* Cut at its maximum an answer says so, also where all that is left of it can be shown. */
static void test_cut_answers_say_so(void **state)
{
    (void)state;
    struct answer a;
    struct buf rest;
    answer_init(&a, 20, LIMIT, TAIL);
    assert_false(answer_append(&a, BYTES_LIT("```\n1234567890123\n" ROCKET)));
    assert_false(answer_has_rest(&a));
    expect_composed(&a, "", "```\n1234567890123\n```\n\nMORE");
    expect_composed(&a, "NOTICE", "```\n1234567890123\n```\n\nNOTICE");
    buf_init(&rest, LIMIT);
    answer_compose_rest(&a, 4, BYTES_LIT("OVER"), &rest);
    assert_non_null(memmem(rest.ptr, rest.len, "OVER", 4));
    buf_free(&rest);
    assert_true(answer_replace(&a, BYTES_LIT("other")));
    expect_composed(&a, "", "other");
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_split_characters),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_open_thought),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_cut_answers_say_so),
        cmocka_unit_test(test_blank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
