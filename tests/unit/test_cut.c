/* Cutting Markdown: examples, and for random texts every cut at every limit.
 * CUT_SEED and CUT_TEXTS repeat or lengthen the random part. */
#include "answer.h"
#include "cut.h"

#include "base/random.h"
#include "base/utf8.h"
#include "json/json_writer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TEXT_MAX ((size_t)4000)
enum { PIECES = 40 };

/* --- examples --- */

static void grows(const char *text, const char *shown)
{
    size_t len = cut_growing(bytes_of_str(text), 1000);
    if (!bytes_eq_str(bytes_of(text, len), shown))
        fail_msg("\"%s\" shows \"%.*s\" and not \"%s\"", text, (int)len, text, shown);
}

static void keeps_back_what_is_undecided(void **state)
{
    (void)state;
    grows("", "");
    grows("a\nb", "a\nb");
    grows("a\n| b", "a\n");
    grows("a\n| b |\n", "a\n| b |\n");
    grows("a\n  | b", "a\n");
    grows("a\n    | b", "a\n    | b");
    grows("a | b", "a | b");
    grows("a\n `", "a\n");
    grows("a\n``", "a\n");
    grows("a\n``b", "a\n``b");
    grows("a\n```", "a\n");
    grows("a\n```c", "a\n");
    grows("a\n```c\n", "a\n```c\n");
    grows("a\n~~~", "a\n");
    grows("a ```", "a ```");
    grows("a<", "a");
    grows("a<thin", "a");
    grows("a</think", "a");
    grows("a<think>", "a<think>");
    grows("a<thing", "a<thing");
    grows("a</think>|b", "a</think>");
    grows("a</think>```py", "a</think>");
    grows("|a</think>b", "");
    grows("a\xe4\xb8", "a");
}

static void closes(const char *text, const char *closing, const char *reopening)
{
    struct buf out;
    buf_init(&out, 1000);
    cut_close(bytes_of_str(text), strlen(text), &out);
    if (!bytes_eq_str(buf_bytes(&out), closing))
        fail_msg("\"%s\" is closed by \"" BYTES_FMT "\"", text, BYTES_ARG(buf_bytes(&out)));
    buf_reset(&out);
    cut_reopen(bytes_of_str(text), strlen(text), &out);
    if (!bytes_eq_str(buf_bytes(&out), reopening))
        fail_msg("\"%s\" is reopened by \"" BYTES_FMT "\"", text, BYTES_ARG(buf_bytes(&out)));
    buf_free(&out);
}

static void closes_what_is_open(void **state)
{
    (void)state;
    closes("a", "", "");
    closes("```c\nx\n", "```", "```c\n");
    closes("```c\nx", "\n```", "```c\n");
    closes("````\n```\n", "````", "````\n");
    closes("```\nx\n```", "", "");
    closes("```\nx\n``` y\n", "```", "```\n");
    closes("~~~\n```\n", "~~~", "~~~\n");
    closes("  ```\nx\n   ```\n", "", "");
    closes("    ```\n", "", "");
    closes("```a``` b\n", "", "");
    closes("<think>x", "\n</think>", "<think>\n");
    closes("<think>\n", "</think>", "<think>\n");
    closes("<think>x</think>y", "", "");
    closes("<think>\n```\nx\n", "```\n</think>", "<think>\n```\n");
    closes("<think>\n```\nx</think>y", "", "");
    closes("```\n<think>\n", "```", "```\n");
    closes("```\n<think>\n```\n<think>", "\n</think>", "<think>\n");
}

static void repeats_the_head_of_a_table(void **state)
{
    (void)state;
    struct bytes text = BYTES_LIT("x\n| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 | 4 |\nend");
    struct buf out;
    buf_init(&out, 1000);
    cut_reopen(text, 32, &out);
    assert_true(bytes_eq_str(buf_bytes(&out), "| a | b |\n|---|:-:|\n"));
    buf_reset(&out);
    cut_reopen(text, 42, &out); /* the table is over */
    assert_int_equal(out.len, 0);
    cut_reopen(text, 2, &out); /* it begins here */
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void cuts_at_lines(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'x', sizeof(text));
    text[190] = '\n';
    assert_int_equal(cut_at(bytes_of(text, 400), 0, 200 + CUT_CLOSING_MAX), 191);
    assert_int_equal(cut_at(bytes_of(text, 400), 195, 200 + CUT_CLOSING_MAX), 200);
    text[190] = 'x';
    text[20] = '\n'; /* too far back */
    assert_int_equal(cut_at(bytes_of(text, 400), 0, 200 + CUT_CLOSING_MAX), 200);
    struct bytes head = BYTES_LIT("\n| a |\n|---|\n");
    memcpy(text + 180, head.ptr, head.len); /* the break behind the head is no place */
    assert_int_equal(cut_at(bytes_of(text, 400), 0, 189 + CUT_CLOSING_MAX), 181);
    text[0] = '|'; /* a row that leaves no other choice */
    memset(text + 1, 'x', 399);
    assert_int_equal(cut_at(bytes_of(text, 400), 0, 200 + CUT_CLOSING_MAX), 200);
}

/* --- every cut of random texts --- */

static void random_text(struct buf *out)
{
    static const char *const pieces[] = {
        "word ",
        "\xe4\xb8\xad\xe6\x96\x87",
        "\xf0\x9f\x9a\x80",
        "\n",
        "\n\n",
        "\n- item ",
        "\n```\n",
        "\n```python\n",
        "\n````\n",
        "\n~~~\n",
        "\n  ```\n",
        "`code`",
        "``",
        "\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "\n| long cell with text | more |\n",
        "| x |",
        "<think>",
        "</think>",
        "\n<think>\nwhy\n</think>\n",
        "<thin",
        "<",
        "   ",
        "~",
    };
    size_t count = 1 + random_below(PIECES);
    for (size_t i = 0; i < count; i++)
        buf_append_str(out, pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);
}

/* A second opinion on what is open, one character after the other. */
struct reader {
    bool is_thinking, is_line_start, is_row;
    size_t code; /* length of the open fence */
    char code_char;
};

static size_t read_fence(struct reader *r, const char *line, const char *end)
{
    const char *eol = memchr(line, '\n', (size_t)(end - line));
    if (!eol)
        eol = end;
    const char *tag = r->is_thinking
                          ? memmem(line, (size_t)(eol - line), "</think>", 8)
                          : (r->code ? NULL : memmem(line, (size_t)(eol - line), "<think>", 7));
    if (tag)
        eol = tag;
    const char *c = line;
    while (c < eol && *c == ' ')
        c++;
    size_t run = 0;
    while (c + run < eol && c[run] == *c && (*c == '`' || *c == '~'))
        run++;
    if (c - line > 3 || run < 3)
        return 0;
    const char *after = c + run;
    bool is_plain = true;
    for (const char *a = after; a < eol; a++)
        is_plain = is_plain && (*a == ' ');
    if (r->code > 0 && *c == r->code_char && run >= r->code && is_plain)
        r->code = 0;
    else if (r->code == 0 && (*c == '~' || !memchr(after, '`', (size_t)(eol - after)))) {
        r->code = run;
        r->code_char = *c;
    } else
        return 0;
    return (size_t)(eol - line);
}

static void read_all(struct reader *r, struct bytes text)
{
    const char *end = text.ptr + text.len;
    *r = (struct reader){.is_line_start = true};
    for (const char *c = text.ptr; c < end;) {
        const char *tag = r->is_thinking ? "</think>" : "<think>";
        size_t tag_len = strlen(tag), left = (size_t)(end - c);
        bool counts = r->is_thinking || r->code == 0;
        if (counts && left >= tag_len && memcmp(c, tag, tag_len) == 0) {
            *r = (struct reader){.is_thinking = !r->is_thinking, .is_line_start = true};
            c += tag_len;
            continue;
        }
        if (r->is_line_start) {
            const char *first = c;
            while (first < end && *first == ' ')
                first++;
            r->is_row = r->code == 0 && first - c <= 3 && first < end && *first == '|';
            r->is_line_start = false;
            size_t fence = read_fence(r, c, end);
            c += fence;
            if (fence > 0)
                continue;
        }
        r->is_line_start = *c == '\n';
        c++;
    }
}

/* The text and limit at hand, for whoever has to find out why. */
static struct bytes current;
static size_t current_limit;

static void expect(bool is_right, const char *what)
{
    if (is_right)
        return;
    struct buf shown;
    buf_init(&shown, 8 * TEXT_MAX);
    json_escape(&shown, current);
    print_error("limit %zu, text \"" BYTES_FMT "\"\n", current_limit,
                BYTES_ARG(buf_bytes(&shown)));
    buf_free(&shown);
    fail_msg("%s", what);
}

#define EXPECT(condition) expect((condition), #condition)

/* Nothing is open at the end, and no row or tag is broken. */
static void check_head(struct bytes text, size_t kept, struct bytes closed)
{
    struct reader r;
    read_all(&r, closed);
    EXPECT(!(r.is_thinking));
    EXPECT(r.code == 0);
    read_all(&r, bytes_of(text.ptr, kept));
    bool is_between = kept == text.len || r.is_line_start || !r.is_row;
    EXPECT(is_between);
    for (size_t back = 1; back < 8 && back <= kept; back++) {
        bool is_broken = kept - back + 7 <= text.len && kept < kept - back + 7 &&
                         memcmp(text.ptr + kept - back, "<think>", 7) == 0;
        EXPECT(!(is_broken));
    }
}

/* What the rest repeats in front is what was open. */
static void check_rest(struct bytes text, size_t kept)
{
    struct buf rest;
    struct reader whole, alone;
    buf_init(&rest, 2 * TEXT_MAX);
    cut_reopen(text, kept, &rest);
    buf_append(&rest, bytes_of(text.ptr + kept, text.len - kept));
    read_all(&whole, text);
    read_all(&alone, buf_bytes(&rest));
    EXPECT(alone.is_thinking == whole.is_thinking);
    EXPECT(alone.code == whole.code);
    EXPECT(alone.is_row == whole.is_row);
    buf_free(&rest);
}

static size_t longest_line(struct bytes text)
{
    size_t longest = 0, len = 0;
    for (size_t i = 0; i < text.len; i++) {
        len = text.ptr[i] == '\n' ? 0 : len + 1;
        longest = len > longest ? len : longest;
    }
    return longest;
}

static void check_limit(struct bytes text, size_t limit)
{
    struct answer a;
    struct buf out;
    struct bytes end = BYTES_LIT("\n\nMORE");
    current_limit = limit;
    answer_init(&a, 1 << 20, limit, 4);
    assert_true(answer_append(&a, text));
    buf_init(&out, limit);
    struct bytes visible = answer_visible(&a);
    size_t kept = answer_compose(&a, BYTES_LIT(""), BYTES_LIT("MORE"), &out);
    EXPECT(!(out.overflowed));
    EXPECT(utf8_is_valid(buf_bytes(&out)));
    EXPECT(bytes_starts_with(buf_bytes(&out), visible));
    EXPECT(bytes_starts_with(buf_bytes(&out), bytes_of(text.ptr, kept)));
    if (text.len > limit) {
        EXPECT(memcmp(out.ptr + out.len - end.len, end.ptr, end.len) == 0);
        check_head(text, kept, bytes_of(out.ptr, out.len - end.len));
        check_rest(text, kept);
    } else {
        EXPECT(kept == text.len);
    }
    buf_reset(&out);
    (void)answer_compose(&a, BYTES_LIT("TAIL"), BYTES_LIT(""), &out);
    EXPECT(!(out.overflowed));
    EXPECT(bytes_starts_with(buf_bytes(&out), visible));
    struct reader r;
    read_all(&r, bytes_of(out.ptr, out.len - 4));
    EXPECT(!r.is_thinking && r.code == 0);
    buf_free(&out);
    answer_free(&a);
}

static void shown_text_only_grows(struct bytes text, size_t max_bytes)
{
    size_t shown = 0;
    current_limit = max_bytes;
    for (size_t len = 0; len <= text.len; len++) {
        size_t next = cut_growing(bytes_of(text.ptr, len), max_bytes);
        EXPECT(next >= shown && next <= (len < max_bytes ? len : max_bytes));
        shown = next;
    }
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    uint64_t value = otherwise;
    const char *text = getenv(name);
    return text && bytes_to_u64(bytes_of_str(text), &value) ? value : otherwise;
}

static void every_cut_at_every_limit(void **state)
{
    (void)state;
    struct buf text;
    random_seed(0);
    uint64_t seed = number_from("CUT_SEED", random_u64());
    uint64_t texts = number_from("CUT_TEXTS", 300);
    printf("CUT_SEED=%" PRIu64 " CUT_TEXTS=%" PRIu64 "\n", seed, texts);
    random_seed(seed);
    buf_init(&text, TEXT_MAX);
    for (uint64_t i = 0; i < texts; i++) {
        buf_reset(&text);
        random_text(&text);
        struct bytes whole = buf_bytes(&text);
        current = whole;
        /* Smaller limits would leave no choice but to break a line. */
        size_t least = 2 * (longest_line(whole) + CUT_CLOSING_MAX + 40);
        for (size_t limit = least; limit < whole.len + 120 || limit == least; limit++)
            check_limit(whole, limit);
        for (size_t max = 1; max < whole.len + 2; max += 1 + random_below(40))
            shown_text_only_grows(whole, max);
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_back_what_is_undecided), cmocka_unit_test(closes_what_is_open),
        cmocka_unit_test(repeats_the_head_of_a_table),  cmocka_unit_test(cuts_at_lines),
        cmocka_unit_test(every_cut_at_every_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
