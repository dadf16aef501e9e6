/* The same events for any split of the bytes, and the rules of WHATWG HTML 9.2.6. */
#include "base/clock.h"
#include "base/random.h"
#include "sse.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BOM "\ufeff"

enum { MAX_BYTES = 1 << 16, LOG_MAX_BYTES = 8 << 20 };

/* Events written down as "name|data\n\n", an open one with "…", so that two runs can be
 * compared. */
static void note_event(const struct sse_event *event, void *arg)
{
    struct buf *seen = arg;
    buf_append(seen, event->name);
    buf_append_char(seen, '|');
    buf_append(seen, event->data);
    buf_append_str(seen, event->is_open ? "…\n\n" : "\n\n");
}

/* Feeds `input` cut at the given ascending positions. */
static void parse_cut(struct bytes input, const size_t *cuts, size_t count, struct buf *seen)
{
    struct sse s;
    size_t from = 0;
    buf_reset(seen);
    sse_init(&s, MAX_BYTES, note_event, seen);
    for (size_t i = 0; i <= count; i++) {
        size_t to = i < count ? cuts[i] : input.len;
        /* A copy of its own size, so that a read past the piece is found. */
        char *piece = brg_calloc(to - from + 1, 1);
        if (to > from) /* an empty input may have no address */
            memcpy(piece, input.ptr + from, to - from);
        assert_int_equal(sse_feed(&s, bytes_of(piece, to - from)), BRG_OK);
        free(piece);
        from = to;
    }
    assert_int_equal(sse_end(&s), BRG_OK);
    sse_free(&s);
}

static void expect(const char *input, const char *events)
{
    struct buf seen;
    buf_init(&seen, LOG_MAX_BYTES);
    parse_cut(bytes_of_str(input), NULL, 0, &seen);
    if (!bytes_eq_str(buf_bytes(&seen), events))
        fail_msg("for \"%s\": \"" BYTES_FMT "\"", input, BYTES_ARG(buf_bytes(&seen)));
    buf_free(&seen);
}

static const char *const corpus[] = {
    "data: one\n\ndata: two\n\n",
    "data: one\r\n\r\ndata: two\r\n\r\n",
    "data: one\r\rdata: two\r\r",
    "\ufeffdata: first\n\n\ufeffdata: not a field\n\n",
    ": comment\n\ndata:no blank\ndata:  two blanks\ndata\ndata:\n\n",
    "event: error\ndata: {\"a\":1}\n\nevent: dropped without data\n\ndata: message\n\n",
    "id: 7\nretry: 10\nunknown: x\ndata: \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x9a\x80\n\n",
    "data: a\r\ndata: b\n\r\n\r\ndata: c\n\n\r\r\n",
    "data: no blank line at the end\n",
    "data: complete\ndata: cut in mid-li",
    "data: ends with CR\r",
    "\n\n\r\n: only comments\n\n",
    BOM,
    "",
    "data: before\n\nevent: x\ndata: open",
    "data: before\n\nevent: x",
    "data: before\r\rdata",
};

static void test_rules(void **state)
{
    (void)state;
    expect(corpus[0], "message|one\n\nmessage|two\n\n");
    expect(corpus[1], "message|one\n\nmessage|two\n\n");
    expect(corpus[2], "message|one\n\nmessage|two\n\n");
    expect(corpus[3], "message|first\n\n");
    expect(corpus[4], "message|no blank\n two blanks\n\n\n\n");
    expect(corpus[5], "error|{\"a\":1}\n\nmessage|message\n\n");
    expect(corpus[6], "message|\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x9a\x80\n\n");
    expect(corpus[7], "message|a\nb\n\nmessage|c\n\n");
    expect(corpus[8], "message|no blank line at the end\n\n");
    expect(corpus[9], "message|complete\n\n");
    expect(corpus[10], "message|ends with CR\n\n");
    expect(corpus[11], "");
    expect(corpus[12], "");
    expect(corpus[13], "");
    expect(corpus[14], "message|before\n\nx|open…\n\n");
    expect(corpus[15], "message|before\n\n");
    expect(corpus[16], "message|before\n\nmessage|…\n\n");
}

/* One cut and two cuts at every position of the text. */
static void expect_same_for_every_split(size_t index)
{
    struct bytes input = bytes_of_str(corpus[index]);
    struct buf whole, seen;
    buf_init(&whole, LOG_MAX_BYTES);
    buf_init(&seen, LOG_MAX_BYTES);
    parse_cut(input, NULL, 0, &whole);
    size_t cuts[2] = {0, 0};
    while (cuts[0] <= input.len) {
        parse_cut(input, cuts, 2, &seen);
        if (!bytes_eq(buf_bytes(&whole), buf_bytes(&seen)))
            fail_msg("corpus %zu cut at %zu and %zu: \"" BYTES_FMT "\"", index, cuts[0],
                     cuts[1], BYTES_ARG(buf_bytes(&seen)));
        if (cuts[1]++ == input.len)
            cuts[1] = ++cuts[0];
    }
    buf_free(&whole);
    buf_free(&seen);
}

static void test_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++)
        expect_same_for_every_split(i);
}

/* Random streams of the bytes that matter, cut at random. */
static void test_random_splits(void **state)
{
    (void)state;
    enum { ROUNDS = 3000, INPUT_MAX = 200 };
    static const char *const words[] = {"data:", "data: ", "event: x", "\n", "\n", "\r",
                                        "\r\n",  ":",      "中",       "x",  BOM,  "\n\n"};
    uint64_t seed = (uint64_t)clock_wall_ms();
    print_message("seed %" PRIu64 "\n", seed);
    random_seed(seed);
    struct buf input, whole, seen;
    buf_init(&input, INPUT_MAX + 16);
    buf_init(&whole, LOG_MAX_BYTES);
    buf_init(&seen, LOG_MAX_BYTES);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t cuts[INPUT_MAX + 16], count = 0;
        buf_reset(&input);
        while (input.len < INPUT_MAX && random_below(60) > 0)
            buf_append_str(&input, words[random_below(sizeof(words) / sizeof(words[0]))]);
        for (size_t at = random_below(8); at < input.len; at += random_below(8))
            cuts[count++] = at;
        if (count > INPUT_MAX)
            continue;
        parse_cut(buf_bytes(&input), NULL, 0, &whole);
        parse_cut(buf_bytes(&input), cuts, count, &seen);
        if (!bytes_eq(buf_bytes(&whole), buf_bytes(&seen)))
            fail_msg("round %u: \"" BYTES_FMT "\"", round, BYTES_ARG(buf_bytes(&input)));
    }
    buf_free(&input);
    buf_free(&whole);
    buf_free(&seen);
}

/* A line of `len` bytes, its end included or not, whole or byte after the first half. */
static enum brg_err feed_line(size_t len, bool is_ended, bool is_split)
{
    struct sse s;
    struct buf seen, line;
    buf_init(&seen, LOG_MAX_BYTES);
    buf_init(&line, LOG_MAX_BYTES);
    buf_append_str(&line, ": ");
    while (line.len < len)
        buf_append_char(&line, 'x');
    if (is_ended)
        buf_append_char(&line, '\n');
    sse_init(&s, MAX_BYTES, note_event, &seen);
    size_t half = is_split ? line.len / 2 : 0;
    enum brg_err err = sse_feed(&s, bytes_of(line.ptr, half));
    if (err == BRG_OK)
        err = sse_feed(&s, bytes_of(line.ptr + half, line.len - half));
    sse_free(&s);
    buf_free(&seen);
    buf_free(&line);
    return err;
}

static void test_line_bound(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool is_ended = (i & 1) != 0, is_split = (i & 2) != 0;
        assert_int_equal(feed_line(MAX_BYTES, is_ended, is_split), BRG_OK);
        assert_int_equal(feed_line(MAX_BYTES + 1, is_ended, is_split), BRG_REJECT);
    }
}

/* Data of exactly `len` bytes in lines of about 1000. */
static enum brg_err feed_event(size_t len, struct buf *seen)
{
    struct sse s;
    struct buf in;
    size_t left = len;
    buf_init(&in, LOG_MAX_BYTES);
    while (left > 0) {
        size_t part = left > 1000 ? 1000 : left;
        buf_append_str(&in, "data:");
        for (size_t i = 0; i < part; i++)
            buf_append_char(&in, 'd');
        buf_append_char(&in, '\n');
        left -= part;
        left -= left > 0 ? 1 : 0; /* the line break that joins */
    }
    buf_append_char(&in, '\n');
    sse_init(&s, MAX_BYTES, note_event, seen);
    enum brg_err err = sse_feed(&s, buf_bytes(&in));
    sse_free(&s);
    buf_free(&in);
    return err;
}

static void test_event_bound(void **state)
{
    (void)state;
    struct buf seen;
    buf_init(&seen, LOG_MAX_BYTES);
    assert_int_equal(feed_event(MAX_BYTES, &seen), BRG_OK);
    assert_int_equal(seen.len, MAX_BYTES + sizeof("message|\n\n") - 1);
    buf_reset(&seen);
    assert_int_equal(feed_event(MAX_BYTES + 1, &seen), BRG_REJECT);
    assert_int_equal(seen.len, 0);
    buf_free(&seen);
}

static struct sse *stopped;
static unsigned stop_count;

static void stop_at_first(const struct sse_event *event, void *arg)
{
    (void)event;
    (void)arg;
    stop_count++;
    sse_stop(stopped);
}

static void test_stop(void **state)
{
    (void)state;
    struct sse s;
    sse_init(&s, MAX_BYTES, stop_at_first, NULL);
    stopped = &s;
    stop_count = 0;
    assert_int_equal(sse_feed(&s, BYTES_LIT("data: a\n\ndata: b\n\n")), BRG_OK);
    assert_int_equal(sse_feed(&s, BYTES_LIT("data: c\n\n")), BRG_OK);
    assert_int_equal(sse_end(&s), BRG_OK);
    assert_int_equal(stop_count, 1);
    sse_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),         cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_random_splits), cmocka_unit_test(test_line_bound),
        cmocka_unit_test(test_event_bound),   cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
