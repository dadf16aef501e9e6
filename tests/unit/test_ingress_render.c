/* What a user is shown for each state of a stream, and when ingress ends it. */
#include "render.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIMIT WECOM_CONTENT_MAX_BYTES

static struct config_bot bot = {
    .name = (char *)"b",
    .placeholder = (char *)"please wait",
    .busy_text = (char *)"busy",
    .lost_text = (char *)"lost",
    .notice_text = (char *)"时间到",
    .apology_text = (char *)"sorry",
};

static struct buf scratch;

static void expect(struct record r, bool finish, const char *content)
{
    struct rendering shown = render(&r, &bot, &scratch);
    assert_int_equal(shown.finish, finish);
    assert_int_equal(shown.content.len, strlen(content));
    assert_memory_equal(shown.content.ptr, content, shown.content.len);
}

static struct record ended(enum stream_reason reason, bool by_ingress, const char *text)
{
    return (struct record){.state = STREAM_FINAL,
                           .reason = reason,
                           .by_ingress = by_ingress,
                           .text = bytes_of_str(text)};
}

static void live_streams_show_text_or_placeholder(void **state)
{
    (void)state;
    expect((struct record){.state = STREAM_UNKNOWN}, false, "please wait");
    expect((struct record){.state = STREAM_OPEN}, false, "please wait");
    expect((struct record){.state = STREAM_RUN}, false, "please wait");
    expect((struct record){.state = STREAM_RUN, .text = BYTES_LIT("so far")}, false, "so far");
    /* Text that was shown stays, whatever became of the record's state. */
    expect((struct record){.state = STREAM_OPEN, .text = BYTES_LIT("so far")}, false, "so far");
}

static void final_by_worker_is_its_text(void **state)
{
    (void)state;
    expect(ended(REASON_DONE, false, "answer"), true, "answer");
    expect(ended(REASON_APOLOGY, false, "sorry"), true, "sorry");
    expect(ended(REASON_DEADLINE, false, "half\n\nits own notice"), true,
           "half\n\nits own notice");
    expect(ended(REASON_DONE, false, ""), true, "lost");
}

static void final_by_ingress_is_a_function_of_reason(void **state)
{
    (void)state;
    expect(ended(REASON_BUSY, true, ""), true, "busy");
    expect(ended(REASON_LOST, true, ""), true, "lost");
    expect(ended(REASON_DEADLINE, true, ""), true, "时间到");
    expect(ended(REASON_DEADLINE, true, "half"), true, "half\n\n时间到");
    expect(ended(REASON_STOPPED, true, ""), true, "sorry");
    expect(ended(REASON_STOPPED, true, "half"), true, "sorry");
    expect(ended(REASON_SYNC, true, ""), true, "时间到");
}

/* A place in the queue is shown as it is, but is no part of an answer that was cut off. */
static void a_place_in_the_queue_is_no_answer(void **state)
{
    (void)state;
    struct config_bot queued = bot;
    queued.queue_text = (char *)"{n} before you";
    struct record r = {.state = STREAM_RUN, .text = BYTES_LIT("3 before you")};
    assert_true(bytes_eq_str(render(&r, &queued, &scratch).content, "3 before you"));
    assert_int_equal(record_of_answer(&r, &queued).text.len, 0);
    r.state = STREAM_FINAL;
    r.reason = REASON_DEADLINE;
    r.by_ingress = true;
    assert_true(bytes_eq_str(render(&r, &queued, &scratch).content, queued.notice_text));
    r.by_ingress = false; /* a worker's end is an answer whatever it says */
    assert_true(bytes_eq_str(render(&r, &queued, &scratch).content, "3 before you"));
    assert_int_equal(record_of_answer(&r, &queued).text.len, r.text.len);
}

/* `text` bytes of multi-byte characters, deadline by ingress: the notice whole, the text cut.
 */
static void expect_cut(size_t text_len, const char *character, size_t expected_text_len)
{
    size_t width = strlen(character);
    char *text = brg_calloc(1, text_len + width);
    size_t len = 0;
    for (; len + width <= text_len; len += width)
        memcpy(text + len, character, width);
    memset(text + len, 'a', text_len - len);
    struct record r = ended(REASON_DEADLINE, true, "");
    r.text = bytes_of(text, text_len);
    struct rendering shown = render(&r, &bot, &scratch);
    size_t tail = 2 + strlen(bot.notice_text);
    assert_true(shown.content.len <= LIMIT);
    assert_int_equal(shown.content.len, expected_text_len + tail);
    assert_memory_equal(shown.content.ptr, text, expected_text_len);
    assert_memory_equal(shown.content.ptr + expected_text_len, "\n\n", 2);
    assert_memory_equal(shown.content.ptr + expected_text_len + 2, bot.notice_text, tail - 2);
    free(text);
}

static void notice_fits_at_the_limit(void **state)
{
    (void)state;
    size_t room = LIMIT - 2 - strlen(bot.notice_text); /* 20469 = 3 * 6823 */
    assert_int_equal(room % 3, 0);
    expect_cut(room - 1, "a", room - 1);
    expect_cut(room, "a", room);
    expect_cut(room + 1, "a", room);
    expect_cut(room, "中", room);
    expect_cut(room + 1, "中", room);
    expect_cut(room + 3, "中", room);
    expect_cut(LIMIT, "🙂", room - room % 4);
    expect_cut(room + 4, "🙂", room - room % 4);
}

static void texts_over_the_limit_are_cut_at_a_character(void **state)
{
    (void)state;
    static char text[LIMIT + 4];
    for (size_t i = 0; i + 3 <= sizeof(text); i += 3)
        memcpy(text + i, "中", 3);
    struct record r = {.state = STREAM_RUN, .text = bytes_of(text, LIMIT + 1)};
    assert_int_equal(render(&r, &bot, &scratch).content.len, LIMIT - LIMIT % 3);
    memset(text, 'a', sizeof(text));
    assert_int_equal(render(&r, &bot, &scratch).content.len, LIMIT);
    r.text.len = LIMIT;
    assert_int_equal(render(&r, &bot, &scratch).content.len, LIMIT);
}

static void a_notice_of_any_length_stays_in_the_limit(void **state)
{
    (void)state;
    static char notice[LIMIT + 10];
    struct config_bot verbose = bot;
    verbose.notice_text = notice;
    struct record r = ended(REASON_DEADLINE, true, "text");
    for (size_t len = LIMIT - 8; len < sizeof(notice); len++) {
        memset(notice, 'n', len);
        notice[len] = 0;
        struct rendering shown = render(&r, &verbose, &scratch);
        assert_true(shown.content.len <= LIMIT);
        size_t whole = len < LIMIT ? len : LIMIT;
        assert_memory_equal(shown.content.ptr + shown.content.len - whole, notice, whole);
    }
}

static void due_by_deadline_and_by_first_sight(void **state)
{
    (void)state;
    struct record r = {.state = STREAM_RUN, .start_at_ms = 1000, .deadline_at_ms = 5000};
    assert_int_equal(render_due(&r, 4999, 60), REASON_NONE);
    assert_int_equal(render_due(&r, 5000, 60), REASON_DEADLINE);
    r.state = STREAM_OPEN;
    assert_int_equal(render_due(&r, 4999, 60), REASON_NONE);
    assert_int_equal(render_due(&r, 5000, 60), REASON_DEADLINE);
    r.state = STREAM_UNKNOWN;
    assert_int_equal(render_due(&r, 1059, 60), REASON_NONE);
    assert_int_equal(render_due(&r, 1060, 60), REASON_LOST);
    assert_int_equal(render_due(&r, 5000, 60000), REASON_LOST);
    r.state = STREAM_FINAL;
    assert_int_equal(render_due(&r, 999999, 60), REASON_NONE);
}

static void start_is_the_earlier_but_not_a_minute_earlier(void **state)
{
    (void)state;
    const int64_t now = 1770000100500;
    assert_int_equal(start_before_receipt_ms(1770000099, now), 1500);
    assert_int_equal(start_before_receipt_ms(1770000100, now), 500);
    assert_int_equal(start_before_receipt_ms(1770000101, now), 0);
    assert_int_equal(start_before_receipt_ms(1770000041, now), 59500);
    assert_int_equal(start_before_receipt_ms(1770000040, now), 60000);
    assert_int_equal(start_before_receipt_ms(1770000039, now), 60000);
    assert_int_equal(start_before_receipt_ms(0, now), 60000);
    assert_int_equal(start_before_receipt_ms(INT64_MAX, now), 0);
    assert_int_equal(start_before_receipt_ms(INT64_MIN, now), 60000);
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&scratch, 65536);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_streams_show_text_or_placeholder),
        cmocka_unit_test(final_by_worker_is_its_text),
        cmocka_unit_test(final_by_ingress_is_a_function_of_reason),
        cmocka_unit_test(a_place_in_the_queue_is_no_answer),
        cmocka_unit_test(notice_fits_at_the_limit),
        cmocka_unit_test(texts_over_the_limit_are_cut_at_a_character),
        cmocka_unit_test(a_notice_of_any_length_stays_in_the_limit),
        cmocka_unit_test(due_by_deadline_and_by_first_sight),
        cmocka_unit_test(start_is_the_earlier_but_not_a_minute_earlier),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
