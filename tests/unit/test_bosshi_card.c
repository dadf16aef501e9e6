/* Cards and texts for BOSSHI: their form, and long answers in parts that lose nothing. */
#include "bosshi/bosshi_card.h"
#include "cut.h"

#include "base/random.h"
#include "base/utf8.h"
#include "json/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TEXT_BYTES = 40000, TEXTS = 300 };

static void expect_text(struct buf *out, const char *text)
{
    if (!bytes_eq_str(buf_bytes(out), text))
        fail_msg("wrote " BYTES_FMT, BYTES_ARG(buf_bytes(out)));
    buf_reset(out);
}

static void writes_messages(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    bosshi_write_text(&out, BYTES_LIT("a\"b\n\xe4\xb8\xad"));
    expect_text(&out, "{\"text\":\"a\\\"b\\n\xe4\xb8\xad\"}");
    bosshi_write_card(&out, BYTES_LIT(""), BYTES_LIT("**a**"));
    expect_text(&out, "{\"globalConfig\":{\"forward\":false,\"shareCard\":true},\"modules\":["
                      "{\"tag\":\"markdown\",\"content\":\"**a**\",\"textAlign\":\"left\"}]}");
    bosshi_write_card(&out, BYTES_LIT("T"), BYTES_LIT("a"));
    expect_text(&out, "{\"globalConfig\":{\"forward\":false,\"shareCard\":true},\"header\":{"
                      "\"text\":{\"tag\":\"plain_text\",\"content\":\"T\"},\"color\":\"blue\"},"
                      "\"modules\":[{\"tag\":\"markdown\",\"content\":\"a\","
                      "\"textAlign\":\"left\"}]}");
    buf_free(&out);
}

static void counts_in_its_unit(void **state)
{
    (void)state;
    struct bytes text = BYTES_LIT("a\xe4\xb8\xad\xf0\x9f\x9a\x80z");
    const struct {
        size_t count, characters, utf16, bytes;
    } cases[] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 4, 4, 1}, {3, 8, 4, 1},
                 {4, 9, 8, 4}, {5, 9, 9, 4}, {8, 9, 9, 8}, {9, 9, 9, 9}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bosshi_limit limit = {cases[i].count, BOSSHI_CHARACTERS};
        assert_int_equal(bosshi_fit(text, limit), cases[i].characters);
        limit.unit = BOSSHI_UTF16;
        assert_int_equal(bosshi_fit(text, limit), cases[i].utf16);
        limit.unit = BOSSHI_BYTES;
        assert_int_equal(bosshi_fit(text, limit), cases[i].bytes);
    }
}

static void is_whole_at_its_limit(void **state)
{
    (void)state;
    static char text[300];
    struct buf out;
    struct bosshi_limit limit = {300, BOSSHI_BYTES};
    buf_init(&out, 1000);
    memset(text, 'x', sizeof(text));
    assert_int_equal(bosshi_part(bytes_of(text, 300), 0, 0, limit, &out), 300);
    assert_int_equal(out.len, 300);
    buf_reset(&out);
    limit.count = 299;
    size_t next = bosshi_part(bytes_of(text, 300), 0, 0, limit, &out);
    assert_true(next < 299 && next > 200 && out.len == next);
    buf_reset(&out);
    assert_int_equal(bosshi_part(bytes_of(text, 300), next, 0, limit, &out), 300);
    assert_int_equal(out.len, 300 - next);
    buf_free(&out);
}

static void closes_and_opens_again(void **state)
{
    (void)state;
    struct buf text, out;
    struct bosshi_limit limit = {200, BOSSHI_CHARACTERS};
    buf_init(&text, 1000);
    buf_init(&out, 1000);
    buf_append_str(&text, "```c\n");
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "line %02d\n", i);
    size_t next = bosshi_part(buf_bytes(&text), 0, 0, limit, &out);
    assert_true(next % 8 == 5); /* at a line's end */
    assert_true(out.len == next + 3 && memcmp(out.ptr + next, "```", 3) == 0);
    buf_reset(&out);
    (void)bosshi_part(buf_bytes(&text), next, 0, limit, &out);
    assert_true(bytes_starts_with(buf_bytes(&out), BYTES_LIT("```c\nline ")));
    buf_free(&text);
    buf_free(&out);
}

/* --- random texts --- */

static void random_text(struct buf *out)
{
    static const char *const pieces[] = {
        "word ",
        "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97",
        "\xf0\x9f\x9a\x80",
        "\n",
        "\n\n",
        "\n- item ",
        "\n```\n",
        "\n````python\n",
        "`code` ",
        "\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "\n| long cell with text | more |\n",
        "<think>",
        "</think>",
        "<thin",
        "   ",
        "averyveryveryveryveryveryveryverylongwordthatgoesonandonandon",
    };
    size_t count = 1 + random_below(400);
    for (size_t i = 0; i < count; i++)
        buf_append_str(out, pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);
}

static void expect(bool is_right, struct bytes text, struct bosshi_limit limit,
                   const char *what)
{
    if (is_right)
        return;
    struct buf shown;
    buf_init(&shown, 8 * TEXT_BYTES);
    json_escape(&shown, text);
    print_error("limit %zu %d, text \"" BYTES_FMT "\"\n", limit.count, (int)limit.unit,
                BYTES_ARG(buf_bytes(&shown)));
    buf_free(&shown);
    fail_msg("%s", what);
}

#define EXPECT(condition) expect((condition), text, limit, #condition)

static void check_parts(struct bytes text, size_t least, struct bosshi_limit limit)
{
    struct buf out, closing;
    size_t from = 0, parts = 0;
    buf_init(&out, 4 * TEXT_BYTES);
    buf_init(&closing, 100);
    while (from < text.len) {
        buf_reset(&out);
        size_t next = bosshi_part(text, from, least, limit, &out);
        struct bytes part = buf_bytes(&out), piece = bytes_of(text.ptr + from, next - from);
        EXPECT(next > from && next <= text.len);
        EXPECT(from > 0 || next >= least);
        EXPECT(bosshi_fit(part, limit) == part.len);
        EXPECT(utf8_is_valid(part) && utf8_is_valid(piece));
        EXPECT(memmem(part.ptr, part.len, piece.ptr, piece.len) != NULL);
        buf_reset(&closing);
        cut_close(part, part.len, &closing);
        EXPECT(next == text.len || closing.len == 0);
        from = next;
        parts++;
        EXPECT(parts <= 2 + 8 * text.len / limit.count);
    }
    buf_free(&out);
    buf_free(&closing);
}

static size_t check_growth(struct bytes text, struct bosshi_limit limit)
{
    size_t shown = 0;
    for (size_t len = 0; len <= text.len; len += 1 + random_below(7)) {
        size_t now = bosshi_growing(bytes_of(text.ptr, len), limit);
        EXPECT(now >= shown && now <= len);
        EXPECT(bosshi_fit(bytes_of(text.ptr, now), limit) == now);
        shown = now;
    }
    return shown;
}

static void loses_nothing(void **state)
{
    (void)state;
    struct buf text;
    uint64_t seed = random_u64();
    print_message("seed %llu\n", (unsigned long long)seed);
    random_seed(seed);
    buf_init(&text, TEXT_BYTES);
    for (int i = 0; i < TEXTS; i++) {
        struct bosshi_limit limit = {120 + random_below(900),
                                     (enum bosshi_unit)random_below(BOSSHI_BYTES + 1)};
        buf_reset(&text);
        random_text(&text);
        size_t least = check_growth(buf_bytes(&text), limit);
        check_parts(buf_bytes(&text), 0, limit);
        check_parts(buf_bytes(&text), least, limit);
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_messages),       cmocka_unit_test(counts_in_its_unit),
        cmocka_unit_test(is_whole_at_its_limit), cmocka_unit_test(closes_and_opens_again),
        cmocka_unit_test(loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
