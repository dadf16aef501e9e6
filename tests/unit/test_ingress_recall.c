/* The memory for when the store is away: what it keeps, and that it stays in its bounds. */
#include "base/random.h"
#include "recall.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BOT BYTES_LIT("helpdesk")

static struct record running(const char *text)
{
    return (struct record){
        .state = STREAM_RUN, .text = bytes_of_str(text), .start_at_ms = 1, .deadline_at_ms = 2};
}

static void note(struct recall *r, const char *id, struct record what)
{
    recall_note(r, bytes_of_str(id), BOT, 0, &what);
}

static bool knows(struct recall *r, const char *id)
{
    struct record out;
    return recall_find(r, bytes_of_str(id), BOT, 0, &out);
}

static void expect_text(struct recall *r, const char *id, const char *text)
{
    struct record out;
    assert_true(recall_find(r, bytes_of_str(id), BOT, 0, &out));
    assert_int_equal(out.text.len, strlen(text));
    assert_memory_equal(out.text.ptr ? out.text.ptr : "", text, out.text.len);
}

static void the_longest_text_of_a_live_stream_stays(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    note(r, "s", running(""));
    expect_text(r, "s", "");
    note(r, "s", running("abc"));
    note(r, "s", running("ab"));
    expect_text(r, "s", "abc");
    note(r, "s", running(""));
    expect_text(r, "s", "abc");
    note(r, "s", running("abcdef"));
    expect_text(r, "s", "abcdef");
    recall_free(r);
}

static void a_final_text_replaces_and_stays(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record end = running("end");
    end.state = STREAM_FINAL;
    end.reason = REASON_DONE;
    note(r, "s", running("a long text so far"));
    note(r, "s", end);
    expect_text(r, "s", "end");
    note(r, "s", running("a late text that is longer"));
    struct record out;
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 0, &out));
    assert_int_equal(out.state, STREAM_FINAL);
    assert_int_equal(out.reason, REASON_DONE);
    expect_text(r, "s", "end");
    recall_free(r);
}

static void an_end_without_text_keeps_the_last(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record end = running("");
    end.state = STREAM_FINAL;
    end.reason = REASON_DEADLINE;
    note(r, "s", running("half"));
    note(r, "s", end);
    expect_text(r, "s", "half");
    recall_free(r);
}

static void an_opened_stream_never_becomes_unknown(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record first = {.state = STREAM_UNKNOWN, .start_at_ms = 50, .deadline_at_ms = 60};
    struct record out;
    note(r, "s", first);
    first.start_at_ms = 55; /* first seen stays first seen */
    note(r, "s", first);
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 0, &out));
    assert_int_equal(out.start_at_ms, 50);
    note(r, "s", running("t"));
    note(r, "s", first);
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 0, &out));
    assert_int_equal(out.state, STREAM_RUN);
    assert_int_equal(out.start_at_ms, 1);
    recall_free(r);
}

static void another_bot_sees_and_changes_nothing(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record out;
    struct record theirs = running("their text");
    note(r, "s", running("ours"));
    recall_note(r, BYTES_LIT("s"), BYTES_LIT("other"), 0, &theirs);
    assert_false(recall_find(r, BYTES_LIT("s"), BYTES_LIT("other"), 0, &out));
    assert_true(recall_is_foreign(r, BYTES_LIT("s"), BYTES_LIT("other")));
    assert_false(recall_is_foreign(r, BYTES_LIT("s"), BOT));
    assert_false(recall_is_foreign(r, BYTES_LIT("t"), BOT));
    expect_text(r, "s", "ours");
    recall_free(r);
}

static void entries_are_bounded_and_the_least_recent_goes(void **state)
{
    (void)state;
    struct recall *r = recall_new(3, 100000);
    note(r, "a", running("1"));
    note(r, "b", running("2"));
    note(r, "c", running("3"));
    assert_int_equal(recall_entries(r), 3);
    note(r, "a", running("")); /* used */
    note(r, "d", running("4"));
    assert_int_equal(recall_entries(r), 3);
    assert_true(knows(r, "a"));
    assert_false(knows(r, "b"));
    assert_true(knows(r, "c"));
    assert_true(knows(r, "d"));
    recall_free(r);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    static char text[1001];
    memset(text, 'x', 1000);
    enum { BYTES = 24000, STREAMS = 50, MANY = 1000 };
    struct recall *r = recall_new(MANY, BYTES);
    struct record out;
    char id[16];
    struct record over = running("an answer");
    over.state = STREAM_FINAL;
    note(r, "over", over);
    for (int i = 0; i < STREAMS; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        note(r, id, running(text));
        assert_true(recall_bytes(r) <= BYTES);
        expect_text(r, id, text);
    }
    /* The texts made room, not the streams that live. */
    assert_false(knows(r, "over"));
    assert_int_equal(recall_entries(r), STREAMS);
    expect_text(r, "s0", "");
    expect_text(r, "s45", text);
    assert_true(recall_find(r, BYTES_LIT("s0"), BOT, 0, &out));
    assert_int_equal(out.state, STREAM_RUN);
    assert_int_equal(out.deadline_at_ms, 2);
    note(r, "s45", running("")); /* used */
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        note(r, id, running(""));
        assert_true(recall_bytes(r) <= BYTES);
    }
    assert_false(knows(r, "s0"));
    assert_true(knows(r, "t999"));
    recall_free(r);
}

static void a_text_over_the_bound_is_not_kept(void **state)
{
    (void)state;
    static char text[2001];
    memset(text, 'x', 2000);
    struct recall *r = recall_new(10, 1000);
    note(r, "s", running("short"));
    note(r, "s", running(text));
    expect_text(r, "s", "short");
    assert_true(recall_bytes(r) <= 1000);
    recall_free(r);

    r = recall_new(0, 1000);
    note(r, "s", running("short"));
    assert_false(knows(r, "s"));
    recall_free(r);
    r = recall_new(10, 8);
    note(r, "s", running("short"));
    assert_false(knows(r, "s"));
    assert_int_equal(recall_bytes(r), 0);
    recall_free(r);
}

/* The store's clock was not known when it was noted, and is another one. */
static void ages_outlive_a_change_of_clock(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record what = running("abc");
    struct record out;
    what.start_at_ms = 100000;
    what.deadline_at_ms = 440000;
    recall_note(r, BYTES_LIT("s"), BOT, 90000, &what);
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 30000, &out));
    assert_int_equal(out.start_at_ms, 40000);
    assert_int_equal(out.deadline_at_ms, 380000);
    recall_note(r, BYTES_LIT("s"), BOT, 30000, &out);
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 90000, &out));
    assert_int_equal(out.deadline_at_ms, 440000);
    recall_free(r);
}

/* What recall_find gave may be noted again with another state: how a stream is ended. */
static void a_found_record_can_be_noted(void **state)
{
    (void)state;
    struct recall *r = recall_new(10, 100000);
    struct record found;
    note(r, "s", running("half"));
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 0, &found));
    found.state = STREAM_FINAL;
    found.reason = REASON_DEADLINE;
    found.by_ingress = true;
    note(r, "s", found);
    expect_text(r, "s", "half");
    assert_true(recall_find(r, BYTES_LIT("s"), BOT, 0, &found));
    assert_int_equal(found.state, STREAM_FINAL);
    recall_free(r);
}

static void random_use_stays_in_bounds(void **state)
{
    (void)state;
    static char text[3001];
    memset(text, 'y', 3000);
    random_seed(7);
    struct recall *r = recall_new(20, 12000);
    for (int i = 0; i < 20000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "r%u", (unsigned)random_below(60));
        struct record what = running("");
        what.text = bytes_of(text, (size_t)random_below(3001));
        what.state = random_below(5) == 0 ? STREAM_FINAL : STREAM_RUN;
        note(r, id, what);
        assert_true(recall_bytes(r) <= 12000);
        assert_true(recall_entries(r) <= 20);
        assert_true(knows(r, id));
    }
    recall_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ages_outlive_a_change_of_clock),
        cmocka_unit_test(the_longest_text_of_a_live_stream_stays),
        cmocka_unit_test(a_final_text_replaces_and_stays),
        cmocka_unit_test(an_end_without_text_keeps_the_last),
        cmocka_unit_test(an_opened_stream_never_becomes_unknown),
        cmocka_unit_test(another_bot_sees_and_changes_nothing),
        cmocka_unit_test(entries_are_bounded_and_the_least_recent_goes),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(a_text_over_the_bound_is_not_kept),
        cmocka_unit_test(a_found_record_can_be_noted),
        cmocka_unit_test(random_use_stays_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
