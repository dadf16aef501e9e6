/* base: bytes, bounded buffer, UTF-8, clocks, random, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void bytes_compare(void **state)
{
    (void)state;
    assert_true(bytes_eq(BYTES_LIT("abc"), bytes_of_str("abc")));
    assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("abd")));
    assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("ab")));
    assert_true(bytes_eq(bytes_of(NULL, 0), BYTES_LIT("")));
    assert_true(bytes_eq(bytes_of_str(NULL), BYTES_LIT("")));
    assert_true(bytes_starts_with(BYTES_LIT("abc"), BYTES_LIT("ab")));
    assert_true(bytes_starts_with(BYTES_LIT("abc"), BYTES_LIT("")));
    assert_false(bytes_starts_with(BYTES_LIT("ab"), BYTES_LIT("abc")));
    assert_true(bytes_eq_nocase(BYTES_LIT("Content-Type"), BYTES_LIT("cONTENT-tYPE")));
    assert_false(bytes_eq_nocase(BYTES_LIT("a["), BYTES_LIT("a{")));
    char *copy = bytes_dup(BYTES_LIT("x\0y"));
    assert_memory_equal(copy, "x\0y", 4);
    free(copy);
}

static void bytes_numbers(void **state)
{
    (void)state;
    uint64_t u = 7;
    int64_t i = 7;
    assert_true(bytes_to_u64(BYTES_LIT("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    u = 7;
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1e3",
                                      "١",
                                      "1\n",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    for (size_t k = 0; k < COUNT(bad); k++)
        assert_false(bytes_to_u64(bytes_of_str(bad[k]), &u));
    assert_false(bytes_to_u64(BYTES_LIT("-1"), &u));
    assert_int_equal(u, 7);
    assert_false(bytes_to_i64(BYTES_LIT("9223372036854775808"), &i));
    assert_false(bytes_to_i64(BYTES_LIT("-9223372036854775809"), &i));
    assert_false(bytes_to_i64(BYTES_LIT("--1"), &i));
    assert_int_equal(i, 7);
    assert_true(bytes_to_i64(BYTES_LIT("9223372036854775807"), &i));
    assert_true(i == INT64_MAX);
    assert_true(bytes_to_i64(BYTES_LIT("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_true(bytes_to_i64(BYTES_LIT("-12"), &i));
    assert_int_equal(i, -12);
}

static void bytes_percent(void **state)
{
    (void)state;
    char out[16];
    size_t len = bytes_percent_decode(BYTES_LIT("a+b%2B%3d%00c"), out);
    assert_int_equal(len, 7);
    assert_memory_equal(out, "a+b+=\0c", 7);
    static const char *const bad[] = {"%", "a%2", "%g0", "%0g", "%%41"};
    for (size_t k = 0; k < COUNT(bad); k++)
        assert_true(bytes_percent_decode(bytes_of_str(bad[k]), out) == SIZE_MAX);
}

static void buf_limit(void **state)
{
    (void)state;
    enum { MAX = 1000 };
    static const char block[MAX];
    struct buf b;
    buf_init(&b, MAX);
    buf_append(&b, bytes_of(block, MAX - 1));
    buf_append_char(&b, 'z');
    assert_int_equal(b.len, MAX);
    assert_int_equal(b.ptr[MAX - 1], 'z');
    assert_true(b.cap <= MAX);
    assert_false(b.overflowed);

    buf_append_char(&b, '!');
    assert_true(b.overflowed);
    assert_int_equal(b.len, MAX);
    buf_consume(&b, 500);
    buf_append_char(&b, '!');
    assert_int_equal(b.len, 500);
    assert_true(b.overflowed);

    buf_reset(&b);
    assert_false(b.overflowed);
    assert_null(buf_reserve(&b, MAX + 1));
    buf_reset(&b);
    assert_non_null(buf_reserve(&b, MAX));
    assert_null(buf_reserve(&b, SIZE_MAX));
    buf_free(&b);
    assert_false(b.overflowed);
    assert_int_equal(b.max, MAX);
}

static void buf_limit_of_printf(void **state)
{
    (void)state;
    for (int size = 250; size <= 520; size++) {
        struct buf b;
        buf_init(&b, (size_t)size);
        buf_printf(&b, "%*d", size, 7);
        assert_false(b.overflowed);
        assert_int_equal(b.len, size);
        assert_int_equal(b.ptr[size - 1], '7');
        buf_reset(&b);
        buf_printf(&b, "%*d", size + 1, 7);
        assert_true(b.overflowed);
        assert_int_equal(b.len, 0);
        buf_free(&b);
    }
}

static void buf_zero_limit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_append(&b, BYTES_LIT(""));
    assert_false(b.overflowed);
    buf_append_char(&b, 'a');
    assert_true(b.overflowed);
    buf_free(&b);
}

static void buf_content(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    buf_append_str(&b, "a=");
    buf_append_u64(&b, UINT64_MAX);
    buf_append_char(&b, ' ');
    buf_append_u64(&b, 0);
    buf_append_char(&b, ' ');
    buf_append_i64(&b, INT64_MIN);
    buf_printf(&b, " %s", "tail");
    assert_true(
        bytes_eq_str(buf_bytes(&b), "a=18446744073709551615 0 -9223372036854775808 tail"));
    buf_consume(&b, 2);
    assert_true(bytes_starts_with(buf_bytes(&b), BYTES_LIT("18446")));
    buf_consume(&b, b.len);
    assert_int_equal(b.len, 0);
    buf_append_str(&b, "mine");
    size_t len = 0;
    char *mine = buf_take(&b, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(mine, "mine", 4);
    assert_null(b.ptr);
    buf_append_str(&b, "again");
    assert_true(bytes_eq_str(buf_bytes(&b), "again"));
    buf_free(&b);
    free(mine);
}

static void utf8_validity(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "ascii",
        "\x7F",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF", /* U+D7FF, last before the surrogates */
        "\xEE\x80\x80", /* U+E000, first after them */
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF", /* U+10FFFF */
        "中文 été 🙂",
    };
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80", /* overlong NUL */
        "\xC1\xBF",
        "\xE0\x9F\xBF", /* overlong */
        "\xED\xA0\x80", /* U+D800 */
        "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF", /* overlong */
        "\xF4\x90\x80\x80", /* U+110000 */
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xC2",
        "\xE2\x82",
        "\xF0\x9F\x99",
        "\xC2\x41",
        "\xE2\x82\x41",
        "\xF0\x9F\x99\x41",
        "a\x80z",
    };
    for (size_t k = 0; k < COUNT(good); k++)
        assert_true(utf8_is_valid(bytes_of_str(good[k])));
    for (size_t k = 0; k < COUNT(bad); k++) {
        if (utf8_is_valid(bytes_of_str(bad[k])))
            fail_msg("accepted bad sequence %zu", k);
    }
}

static void utf8_cuts(void **state)
{
    (void)state;
    /* a é 中 🙂 b: characters start at 0 1 3 6 10, the end is 11. */
    struct bytes text = BYTES_LIT("a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x99\x82"
                                  "b");
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < COUNT(cuts); max++)
        assert_int_equal(utf8_cut(text, max), cuts[max]);
    static const size_t complete[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t len = 0; len < COUNT(complete); len++)
        assert_int_equal(utf8_complete(bytes_of(text.ptr, len)), complete[len]);
    /* Invalid text keeps the cut near its limit. */
    assert_int_equal(utf8_cut(BYTES_LIT("\x80\x80\x80\x80\x80\x80\x80\x80"), 7), 4);
    assert_int_equal(utf8_complete(BYTES_LIT("\x80\x80\x80\x80")), 4);
}

static void clock_text(void **state)
{
    (void)state;
    char out[CLOCK_RFC3339_BYTES];
    clock_rfc3339(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00.000Z");
    clock_rfc3339(1795316645678, out);
    assert_string_equal(out, "2026-11-22T03:04:05.678Z");
    clock_rfc3339(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
    int64_t before_us = clock_mono_us();
    int64_t ms = clock_mono_ms();
    assert_true(ms >= before_us / 1000 && ms <= clock_mono_us() / 1000);
    assert_true(clock_wall_ms() > 1700000000000);
}

static void random_ranges(void **state)
{
    (void)state;
    random_seed(42);
    uint64_t first = random_u64();
    assert_true(first != random_u64());
    random_seed(42);
    assert_true(first == random_u64());

    unsigned seen[3] = {0};
    for (int i = 0; i < 3000; i++)
        seen[random_below(3)]++;
    for (size_t i = 0; i < COUNT(seen); i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(random_below(0), 0);
    assert_int_equal(random_below(1), 0);
}

static void random_backoff(void **state)
{
    (void)state;
    random_seed(1);
    for (unsigned attempt = 0; attempt < 200; attempt++) {
        int64_t limit = attempt < 5 ? 500LL << attempt : 10000;
        int64_t longest = 0;
        for (int i = 0; i < 200; i++) {
            int64_t ms = random_backoff_ms(500, 10000, attempt);
            assert_true(ms >= 0 && ms <= limit);
            longest = ms > longest ? ms : longest;
        }
        assert_true(longest > limit / 2);
    }
    assert_int_equal(random_backoff_ms(0, 10, 3), 0);
    assert_true(random_backoff_ms(INT64_MAX, INT64_MAX - 1, 70) >= 0);
}

static void errors(void **state)
{
    (void)state;
    struct brg_error error = {0};
    assert_int_equal(brg_fail(&error, BRG_REJECT, "line %d", 7), BRG_REJECT);
    assert_int_equal(error.code, BRG_REJECT);
    assert_string_equal(error.text, "line 7");
    assert_int_equal(brg_fail(NULL, BRG_RETRY, "nobody %s", "asks"), BRG_RETRY);
    char longer[BRG_ERROR_TEXT_BYTES * 2];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    (void)brg_fail(&error, BRG_STOP, "%s", longer);
    assert_int_equal(strlen(error.text), BRG_ERROR_TEXT_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_compare),
        cmocka_unit_test(bytes_numbers),
        cmocka_unit_test(bytes_percent),
        cmocka_unit_test(buf_limit),
        cmocka_unit_test(buf_limit_of_printf),
        cmocka_unit_test(buf_zero_limit),
        cmocka_unit_test(buf_content),
        cmocka_unit_test(utf8_validity),
        cmocka_unit_test(utf8_cuts),
        cmocka_unit_test(clock_text),
        cmocka_unit_test(random_ranges),
        cmocka_unit_test(random_backoff),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
