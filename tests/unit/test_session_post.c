/* The message to response_url: who sends it, how often, and under which lease. One worker on
 * real Kafka and Redis; the platform, the LLM and a rival owner are in the test's hand. */
#include "support_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define REFUSED "{\"errcode\":45033,\"errmsg\":\"used\"}"
#define BODY_OF(text) "{\"msgtype\":\"markdown\",\"markdown\":{\"content\":\"" text "\"}}"

static const int64_t past_lease_ms = INT64_C(2) * STAGE_LEASE_MS;

static int set_up(void **state)
{
    struct stage *s = stage_open();
    stage_restart_worker(s, ",\"shown_wait_ms\":600", "");
    *state = s;
    return 0;
}

static struct stage_question one(void)
{
    return (struct stage_question){
        .message_id = "msg-1", .user = "u1", .text = "why", .has_url = true};
}

static bool is_in(const struct buf *b, const char *text)
{
    return memmem(b->ptr, b->len, text, strlen(text)) != NULL;
}

static void expect_posted(struct stage *s, size_t count, const char *body)
{
    stage_await_posts(s, count);
    assert_int_equal(s->post_count, count);
    if (!bytes_eq_str(buf_bytes(&s->posted), body))
        fail_msg("posted " BYTES_FMT, BYTES_ARG(buf_bytes(&s->posted)));
}

static void expect_event(struct stage *s, const struct stage_question *q, const char *member)
{
    stage_await_letters(s, 1);
    const struct stage_letter *event = stage_letter_of(s, false, q);
    while (!event) {
        stage_await_letters(s, s->letter_count + 1);
        event = stage_letter_of(s, false, q);
    }
    if (!is_in(&event->value, member))
        fail_msg("%s not in " BYTES_FMT, member, BYTES_ARG(buf_bytes(&event->value)));
}

static void answer(struct stage *s, size_t call, const char *text)
{
    stage_await_calls(s, call + 1);
    stage_say(s, call, text);
    stage_done(s, call);
}

/* A rival has claimed the stream and goes no further. */
static struct store_reply rival(struct stage *s, struct stage_question *q)
{
    stage_stop_worker(s, true);
    stage_ask(s, q);
    struct store_reply r = rig_claim(s->other, &q->stream, "rival", STAGE_LEASE_MS);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    return r;
}

/* --- an end that is shown, or not --- */

static void test_an_end_that_was_shown_is_not_sent(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_final(s, &q, REASON_DONE, "all");
    (void)rig_shown(s->other, &q.stream);
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
    assert_null(stage_letter_of(s, true, &q));
}

static void test_an_end_that_was_not_shown_is_sent_once(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    answer(s, 0, "all");
    expect_posted(s, 1, BODY_OF("all"));
    expect_event(s, &q,
                 "\"response_url\":{\"sent\":\"end\",\"outcome\":\"accepted\",\"code\":0}");
    stage_await_settled(s, &q);
    stage_await_idle(s);
    stage_ask(s, &q); /* a repeat of the record */
    stage_linger(s, 1000);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 1);
}

static void test_the_lease_lives_while_a_poll_is_waited_for(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    s->worker_settings = ",\"shown_wait_ms\":10000";
    stage_start_worker(s);
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_final(s, &q, REASON_DONE, "all");
    (void)rig_shown(s->other, &q.stream);
    stage_await_settled(s, &q);
    stage_await_idle(s);
}

/* --- who comes after a crash --- */

static void test_a_noted_message_is_sent_once_more(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    struct store_reply r = rival(s, &q);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DEADLINE, "NOTICE", "", "late,event",
                     STAGE_LEASE_MS);
    (void)rig_note(s->other, &q.stream, r.epoch, "url", BODY_OF("theirs"));
    s->post_answer = REFUSED; /* the rival's call had arrived */
    stage_start_worker(s);
    expect_posted(s, 1, BODY_OF("theirs"));
    expect_event(s, &q, "\"outcome\":\"refused\",\"code\":45033");
    assert_true(is_in(&stage_letter_of(s, false, &q)->value, "\"text\":\"theirs\""));
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 1);
    assert_int_equal(s->call_count, 0);
    assert_null(stage_letter_of(s, true, &q));
}

static void test_a_message_noted_as_sent_is_not_sent_again(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    struct store_reply r = rival(s, &q);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "all", "", "event,shown",
                     STAGE_LEASE_MS);
    (void)rig_note(s->other, &q.stream, r.epoch, "url", BODY_OF("all"));
    (void)rig_note(s->other, &q.stream, r.epoch, "url_done", "unknown 500");
    stage_start_worker(s);
    expect_event(s, &q, "\"sent\":\"end\",\"outcome\":\"unknown\",\"code\":500");
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
}

static void test_a_late_answer_is_made_again(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    struct store_reply r = rival(s, &q);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DEADLINE, "NOTICE", "", "late,event",
                     STAGE_LEASE_MS);
    stage_start_worker(s);
    answer(s, 0, "ours");
    expect_posted(s, 1, BODY_OF("ours"));
    expect_event(s, &q, "\"outcome\":\"late\"");
    stage_await_final(s, &q, REASON_DEADLINE, "NOTICE");
    stage_await_settled(s, &q);
    stage_await_idle(s); /* the copy's session as well */
    assert_int_equal(s->post_count, 1);
    assert_int_equal(s->call_count, 1);
}

static void test_the_rest_is_sent_from_the_store(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    struct store_reply r = rival(s, &q);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "begin", "rest",
                     "event,shown,rest", STAGE_LEASE_MS);
    (void)rig_shown(s->other, &q.stream);
    stage_start_worker(s);
    expect_posted(s, 1, BODY_OF("rest"));
    expect_event(s, &q, "\"sent\":\"rest\"");
    stage_await_settled(s, &q);
    assert_int_equal(s->call_count, 0);
}

/* --- closed by ingress --- */

static void test_a_stream_closed_before_its_claim_is_answered(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    (void)rig_close(s->other, &q.stream, REASON_BUSY);
    stage_start_worker(s);
    answer(s, 0, "after all");
    expect_posted(s, 1, BODY_OF("after all"));
    expect_event(s, &q, "\"outcome\":\"closed\"");
    stage_await_idle(s);
    stage_ask(s, &q);
    stage_linger(s, 500);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 1);
    assert_int_equal(s->call_count, 1);
    assert_null(stage_letter_of(s, true, &q));
}

static void test_a_stream_closed_in_mid_answer_goes_on(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "one ");
    stage_await_text(s, &q, "one ");
    (void)rig_close(s->other, &q.stream, REASON_DEADLINE);
    stage_linger(s, past_lease_ms);
    stage_say(s, 0, "two");
    stage_done(s, 0);
    expect_posted(s, 1, BODY_OF("one two"));
    expect_event(s, &q, "\"outcome\":\"closed\"");
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
}

static void test_no_answer_and_no_text_sends_nothing(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    (void)rig_close(s->other, &q.stream, REASON_DEADLINE);
    stage_start_worker(s);
    stage_await_calls(s, 1);
    stage_refuse(s, 0, 400);
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "failed");
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
}

/* --- time and leases --- */

static void test_the_bubble_ends_and_the_answer_goes_on(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(), behind = one();
    q.deadline_ms = 2500; /* less the margin of 1000 */
    behind.message_id = "msg-2";
    stage_ask(s, &q);
    stage_ask(s, &behind);
    stage_await_calls(s, 1);
    stage_say(s, 0, "one ");
    stage_await_final(s, &q, REASON_DEADLINE, "one \n\nNOTICE");
    stage_await_calls(s, 2); /* the lane is free */
    stage_linger(s, past_lease_ms);
    stage_say(s, 0, "two");
    stage_done(s, 0);
    expect_posted(s, 1, BODY_OF("one two"));
    expect_event(s, &q, "\"outcome\":\"late\"");
    assert_null(stage_letter_of(s, true, &q));
    stage_await_settled(s, &q);
    answer(s, 1, "b");
    stage_await_final(s, &behind, REASON_DONE, "b");
}

static void test_of_no_use_any_more(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.age_ms = INT64_C(56) * 60000;
    q.deadline_ms = -INT64_C(50) * 60000;
    stage_ask(s, &q);
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "expired");
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
    assert_int_equal(s->call_count, 0);
}

/* Frozen between the end and the message: the rival has the stream, and sends it. */
static void test_a_frozen_worker_sends_nothing_when_it_wakes(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    const struct timespec frozen = {.tv_sec = 1, .tv_nsec = 500000000};
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_final(s, &q, REASON_DONE, "all");
    assert_int_equal(nanosleep(&frozen, NULL), 0);
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 5 * past_lease_ms / 2);
    assert_int_equal(r.verdict, VERDICT_FINAL);
    stage_linger(s, 1500);
    assert_int_equal(s->post_count, 0);
    (void)rig_settle(s->other, &q.stream, r.epoch, "shown");
    (void)rig_settle(s->other, &q.stream, r.epoch, "event");
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
}

/* While the platform is silent, for longer than a lease, nobody else begins. */
static void test_the_lease_lives_while_the_platform_is_silent(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    s->post_answer = NULL;
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_posts(s, 1);
    stage_linger(s, past_lease_ms);
    assert_int_equal(rig_claim(s->other, &q.stream, "rival", 1000).verdict, VERDICT_HELD);
    expect_event(s, &q, "\"outcome\":\"unknown\",\"code\":0");
    stage_await_settled(s, &q);
    assert_int_equal(s->post_count, 1);
}

/* A store that lost everything gets the end, and what it owes, again. */
static void test_a_store_that_forgot_while_a_poll_was_waited_for(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_final(s, &q, REASON_DONE, "all");
    test_redis_restart(s->redis);
    stage_await_final(s, &q, REASON_DONE, "all");
    expect_posted(s, 1, BODY_OF("all"));
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 1);
}

static void expect_field(struct stage *s, const struct stage_question *q, const char *field,
                         const char *value)
{
    char *found = stage_field(s, q, field);
    assert_string_equal(found, value);
    free(found);
}

/* Nor does it forget that the message went, or may have gone. */
static void test_a_store_that_forgot_while_the_platform_was_silent(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    s->post_answer = NULL;
    stage_ask(s, &q);
    answer(s, 0, "all");
    stage_await_posts(s, 1);
    test_redis_restart(s->redis);
    stage_await_final(s, &q, REASON_DONE, "all");
    stage_await_settled(s, &q);
    stage_await_idle(s);
    expect_field(s, &q, "n:url", BODY_OF("all"));
    expect_field(s, &q, "n:url_done", "unknown 0");
    assert_int_equal(s->post_count, 1);
}

/* A promised rest whose hour is over. */
static void test_a_rest_of_no_use_any_more_is_dead_lettered(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.age_ms = INT64_C(56) * 60000;
    struct store_reply r = rival(s, &q);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "begin", "rest",
                     "event,shown,rest", STAGE_LEASE_MS);
    stage_start_worker(s);
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "undelivered");
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->post_count, 0);
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stage_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(test_an_end_that_was_shown_is_not_sent),
        STAGE_TEST(test_an_end_that_was_not_shown_is_sent_once),
        STAGE_TEST(test_the_lease_lives_while_a_poll_is_waited_for),
        STAGE_TEST(test_a_noted_message_is_sent_once_more),
        STAGE_TEST(test_a_message_noted_as_sent_is_not_sent_again),
        STAGE_TEST(test_a_late_answer_is_made_again),
        STAGE_TEST(test_the_rest_is_sent_from_the_store),
        STAGE_TEST(test_a_stream_closed_before_its_claim_is_answered),
        STAGE_TEST(test_a_stream_closed_in_mid_answer_goes_on),
        STAGE_TEST(test_no_answer_and_no_text_sends_nothing),
        STAGE_TEST(test_the_bubble_ends_and_the_answer_goes_on),
        STAGE_TEST(test_of_no_use_any_more),
        STAGE_TEST(test_a_frozen_worker_sends_nothing_when_it_wakes),
        STAGE_TEST(test_the_lease_lives_while_the_platform_is_silent),
        STAGE_TEST(test_a_store_that_forgot_while_a_poll_was_waited_for),
        STAGE_TEST(test_a_store_that_forgot_while_the_platform_was_silent),
        STAGE_TEST(test_a_rest_of_no_use_any_more_is_dead_lettered),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
