/* What holds a question back, or refuses it: caps of its bot and pipeline, other bounds of a
 * worker, the breaker, and the suspicion that workers died of it. */
#include "metrics/metrics.h"
#include "support_worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct stage_question of(const char *user)
{
    return (struct stage_question){.message_id = user, .user = user, .text = user};
}

static size_t call_of(const struct stage *s, const char *text)
{
    char quoted[32];
    snprintf(quoted, sizeof(quoted), "\"%s\"", text);
    size_t i = s->call_count;
    while (i > 0) {
        const struct buf *body = &s->calls[--i].body;
        if (memmem(body->ptr, body->len, quoted, strlen(quoted)))
            return i;
    }
    fail_msg("%s was not asked", text);
    return 0;
}

static void answer(struct stage *s, const struct stage_question *q)
{
    size_t call = call_of(s, q->text);
    stage_say(s, call, "answer");
    stage_done(s, call);
    stage_await_final(s, q, REASON_DONE, "answer");
    stage_await_settled(s, q);
}

/* --- caps --- */

static void expect_third_is_shed(struct stage *s)
{
    struct stage_question a = of("a"), b = of("b"), c = of("c"), d = of("d");
    stage_ask(s, &a);
    stage_ask(s, &b); /* the limit */
    stage_await_calls(s, 2);
    stage_ask(s, &c); /* and one more */
    stage_await_final(s, &c, REASON_APOLOGY, "BUSY");
    stage_await_settled(s, &c);
    assert_string_equal(stage_await_dead_letter(s, &c)->reason, "overload");
    assert_int_equal(s->call_count, 2);
    answer(s, &a);
    stage_ask(s, &d);
    stage_await_calls(s, 3);
    answer(s, &d);
    answer(s, &b);
    stage_await_idle(s);
}

static void test_a_bots_records_are_capped(void **state)
{
    stage_restart_worker(*state, ",\"bot_max_records\":2", "");
    expect_third_is_shed(*state);
}

static void test_a_pipelines_records_are_capped(void **state)
{
    stage_restart_worker(*state, ",\"pipeline_max_records\":2", "");
    expect_third_is_shed(*state);
}

/* The lane's earlier question runs on; the shed one does not wait for it. */
static void test_a_lane_is_capped_with_its_bot(void **state)
{
    struct stage *s = *state;
    stage_restart_worker(s, ",\"bot_max_records\":2", "");
    struct stage_question first = of("a"), second = of("a"), third = of("a");
    second.message_id = "second";
    third.message_id = "third";
    stage_ask(s, &first);
    stage_ask(s, &second);
    stage_ask(s, &third);
    stage_await_final(s, &third, REASON_APOLOGY, "BUSY");
    stage_await_calls(s, 1);
    answer(s, &first);
    stage_await_calls(s, 2);
    answer(s, &second);
    stage_await_idle(s);
}

static bool is_copy_held(void *arg)
{
    const struct stage *s = arg;
    return s->worker->in_state[SESSION_WAITING] == 1;
}

/* A question whose bubble is over and whose answer goes on; the copy of its record waits. */
static void begin_late(struct stage *s, struct stage_question *late)
{
    *late = of("late");
    late->has_url = true;
    late->deadline_ms = 2500;
    stage_ask(s, late);
    stage_await_calls(s, 1);
    stage_say(s, 0, "some");
    stage_await_final(s, late, REASON_DEADLINE, "some\n\nNOTICE");
    loop_until(s->loop, is_copy_held, s);
}

static void test_late_answers_count_for_their_bot(void **state)
{
    struct stage *s = *state;
    struct stage_question late, a = of("a"), b = of("b"), c = of("c");
    stage_restart_worker(s, ",\"bot_max_records\":2", "");
    begin_late(s, &late);
    stage_ask(s, &a); /* the limit: a copy does not count while another holds its stream */
    stage_await_calls(s, 2);
    stage_ask(s, &b);
    stage_await_final(s, &b, REASON_APOLOGY, "BUSY");
    stage_done(s, 0);
    stage_await_posts(s, 1);
    stage_await_settled(s, &late);
    stage_ask(s, &c);
    stage_await_calls(s, 3);
    answer(s, &a);
    answer(s, &c);
    stage_await_idle(s);
}

/* Whoever ran it is gone, and there is no room for it here. */
static void test_copies_are_capped_when_they_are_to_run(void **state)
{
    struct stage *s = *state;
    struct stage_question late, a = of("a"), b = of("b");
    stage_restart_worker(s, ",\"bot_max_records\":2", "");
    begin_late(s, &late);
    stage_ask(s, &a);
    stage_await_calls(s, 2);
    struct list *first = s->worker->sessions.next;
    session_drop(LIST_ENTRY(first, struct session, node));
    stage_ask(s, &b); /* the limit again, before the lease ends */
    stage_await_calls(s, 3);
    stage_await_settled(s, &late);
    assert_string_equal(stage_await_dead_letter(s, &late)->reason, "overload");
    assert_int_equal(s->call_count, 3);
    answer(s, &a);
    answer(s, &b);
    stage_await_idle(s);
}

/* --- other bounds --- */

static void test_an_answer_ends_at_its_bound(void **state)
{
    static const char said[] = "余下部分未能显示）";
    struct stage *s = *state;
    char piece[8001];
    struct stage_question q = of("a");
    stage_restart_worker(s, ",\"answer_max_bytes\":32768", "");
    memset(piece, 'x', sizeof(piece));
    piece[sizeof(piece) - 1] = '\0';
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    for (size_t i = 0; i < 5; i++)
        stage_say(s, 0, piece);
    stage_await_hang_up(s, 0);
    stage_await_settled(s, &q);
    struct store_reply r = stage_read(s, &q);
    assert_int_equal(r.reason, REASON_DONE);
    assert_non_null(memmem(r.text.ptr, r.text.len, said, strlen(said)));
    stage_await_letters(s, 1);
    const struct buf *event = &stage_letter_of(s, false, &q)->value;
    assert_non_null(memmem(event->ptr, event->len, "\"text_bytes\":32768,", 19));
}

static void test_turns_are_limited(void **state)
{
    struct stage *s = *state;
    struct stage_question a = of("a"), b = of("b");
    stage_restart_worker(s, ",\"max_sessions\":1", "");
    stage_ask(s, &a);
    stage_ask(s, &b);
    stage_await_calls(s, 1);
    stage_linger(s, 300);
    assert_int_equal(s->call_count, 1);
    answer(s, &a);
    stage_await_calls(s, 2);
    answer(s, &b);
    stage_await_idle(s);
}

/* Each text is there, though only one write at a time is. */
static void test_puts_wait_for_their_turn(void **state)
{
    struct stage *s = *state;
    struct stage_question q[3] = {of("a"), of("b"), of("c")};
    stage_restart_worker(s, ",\"puts_in_flight\":1", "");
    for (size_t i = 0; i < 3; i++)
        stage_ask(s, &q[i]);
    stage_await_calls(s, 3);
    for (size_t i = 0; i < 3; i++)
        stage_say(s, i, "ans");
    for (size_t i = 0; i < 3; i++)
        stage_await_text(s, &q[i], "ans");
    for (size_t i = 0; i < 3; i++) {
        stage_say(s, i, "wer");
        stage_done(s, i);
        stage_await_final(s, &q[i], REASON_DONE, "answer");
    }
    stage_await_idle(s);
}

static int64_t times_full(void)
{
    static const char name[] = "\nbotbridge_bus_queue_full_total ";
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_write(&text);
    const char *found = memmem(text.ptr, text.len, name, sizeof(name) - 1);
    assert_non_null(found);
    int64_t times = strtoll(found + sizeof(name) - 1, NULL, 10);
    buf_free(&text);
    return times;
}

/* What a full queue does not take is owed and tried again. */
static void test_letters_wait_for_a_full_queue(void **state)
{
    enum { COUNT = 4 };
    struct stage *s = *state;
    struct stage_question q[COUNT] = {of("a"), of("b"), of("c"), of("d")};
    int64_t before = times_full();
    stage_restart_worker(s, ",\"queue_messages\":1", "");
    for (size_t i = 0; i < COUNT; i++)
        stage_ask(s, &q[i]);
    stage_await_calls(s, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        stage_say(s, i, "answer");
    for (size_t i = 0; i < COUNT; i++)
        stage_done(s, i);
    stage_await_letters(s, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(stage_letter_of(s, false, &q[i]));
    assert_true(times_full() > before);
    stage_await_idle(s);
}

/* --- the breaker --- */

static void test_a_breaker_holds_questions_back(void **state)
{
    struct stage *s = *state;
    stage_restart_worker(s, "", ",\"breaker_failures\":2,\"breaker_open_ms\":1500");
    struct stage_question a = of("a"), b = of("b"), c = of("c");
    stage_ask(s, &a);
    stage_ask(s, &b);
    stage_await_calls(s, 2);
    stage_refuse(s, 0, 503);
    stage_refuse(s, 1, 503);
    stage_ask(s, &c);
    stage_linger(s, 1000); /* all want a place: two after a pause of 500 ms at most */
    assert_int_equal(s->call_count, 2);
    stage_await_calls(s, 3);
    stage_linger(s, 300);
    assert_int_equal(s->call_count, 3); /* the probe */
    stage_say(s, 2, "up again");
    stage_await_calls(s, 5);
    for (size_t i = 2; i < 5; i++) {
        if (i > 2)
            stage_say(s, i, "me too");
        stage_done(s, i);
    }
    stage_await_idle(s);
    assert_int_equal(s->call_count, 5);
}

static void test_a_breaker_is_not_waited_for_longer_than_for_text(void **state)
{
    struct stage *s = *state;
    stage_restart_worker(s, "",
                         ",\"breaker_failures\":1,\"breaker_open_ms\":60000,"
                         "\"first_text_timeout_ms\":1000");
    struct stage_question q = of("a");
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_refuse(s, 0, 503);
    stage_await_final(s, &q, REASON_APOLOGY, "SORRY");
    assert_string_equal(stage_await_dead_letter(s, &q)->reason, "failed");
    assert_string_equal(stage_letter_of(s, true, &q)->attempts, "1");
    assert_int_equal(s->call_count, 1);
}

/* --- suspicion --- */

static void die_and_come_back(struct stage *s)
{
    stage_stop_worker(s, false);
    stage_start_worker(s);
}

static void test_what_kills_workers_runs_alone_and_then_not_at_all(void **state)
{
    struct stage *s = *state;
    struct stage_question bad = of("bad"), other = of("other");
    stage_ask(s, &bad);
    stage_await_calls(s, 1);
    die_and_come_back(s);
    stage_await_calls(s, 2);
    die_and_come_back(s);
    stage_await_calls(s, 3);
    assert_int_equal(call_of(s, "bad"), 2);
    stage_ask(s, &other);
    stage_linger(s, 500);
    assert_int_equal(s->call_count, 3); /* the third start is alone */
    die_and_come_back(s);
    stage_await_final(s, &bad, REASON_APOLOGY, "SORRY");
    assert_string_equal(stage_await_dead_letter(s, &bad)->reason, "poison");
    stage_await_calls(s, 4);
    answer(s, &other);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 4);
}

static void test_alone_ends_with_the_answer(void **state)
{
    struct stage *s = *state;
    struct stage_question slow = of("slow"), other = of("other");
    stage_ask(s, &slow);
    stage_await_calls(s, 1);
    die_and_come_back(s);
    stage_await_calls(s, 2);
    die_and_come_back(s);
    stage_await_calls(s, 3);
    stage_ask(s, &other);
    stage_linger(s, 300);
    assert_int_equal(s->call_count, 3);
    answer(s, &slow);
    stage_await_calls(s, 4);
    answer(s, &other);
    stage_await_idle(s);
}

/* An orderly end takes its start back, and who showed something is not suspected yet. */
static void test_drains_and_shown_text_are_no_suspicion(void **state)
{
    enum { DEATHS = 4 };
    struct stage *s = *state;
    struct stage_question drained = of("drained"), shown = of("shown");
    s->drain_ms = 50;
    stage_restart_worker(s, "", "");
    stage_ask(s, &drained);
    stage_await_calls(s, 1);
    for (size_t i = 1; i <= DEATHS; i++) {
        stage_stop_worker(s, true);
        stage_start_worker(s);
        stage_await_calls(s, i + 1);
    }
    stage_ask(s, &shown);
    stage_await_calls(s, DEATHS + 2); /* both at once */
    stage_say(s, call_of(s, "shown"), "ans");
    stage_await_text(s, &shown, "ans");
    answer(s, &drained);
    size_t calls = s->call_count;
    for (size_t i = 1; i <= 2; i++) {
        die_and_come_back(s);
        stage_await_calls(s, calls + i);
    }
    struct stage_question other = of("other");
    stage_ask(s, &other);
    stage_await_calls(s, calls + 3);
    answer(s, &other);
    answer(s, &shown);
    stage_await_idle(s);
}

/* Between two texts the limit is theirs, also where that of the first text is longer. */
static void test_silence_after_text_is_noticed_at_its_own_limit(void **state)
{
    struct stage *s = *state;
    stage_restart_worker(s, "", ",\"first_text_timeout_ms\":60000,\"gap_timeout_ms\":500");
    struct stage_question q = of("u1");
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "half");
    stage_await_hang_up(s, 0);
    assert_non_null(stage_await_dead_letter(s, &q));
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, stage_set_up, stage_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(test_a_bots_records_are_capped),
        STAGE_TEST(test_a_pipelines_records_are_capped),
        STAGE_TEST(test_a_lane_is_capped_with_its_bot),
        STAGE_TEST(test_late_answers_count_for_their_bot),
        STAGE_TEST(test_copies_are_capped_when_they_are_to_run),
        STAGE_TEST(test_an_answer_ends_at_its_bound),
        STAGE_TEST(test_turns_are_limited),
        STAGE_TEST(test_puts_wait_for_their_turn),
        STAGE_TEST(test_letters_wait_for_a_full_queue),
        STAGE_TEST(test_a_breaker_holds_questions_back),
        STAGE_TEST(test_a_breaker_is_not_waited_for_longer_than_for_text),
        STAGE_TEST(test_what_kills_workers_runs_alone_and_then_not_at_all),
        STAGE_TEST(test_alone_ends_with_the_answer),
        STAGE_TEST(test_drains_and_shown_text_are_no_suspicion),
        STAGE_TEST(test_silence_after_text_is_noticed_at_its_own_limit),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
