/* The life of a question: one worker on real Kafka and Redis, its LLM and a rival owner in the
 * test's hand. Each test would fail if the promise in its name were broken. */
#include "support_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static struct stage_question one(void)
{
    return (struct stage_question){.message_id = "msg-1", .user = "u1", .text = "why"};
}

static bool is_in(const struct buf *b, const char *text)
{
    return memmem(b->ptr, b->len, text, strlen(text)) != NULL;
}

/* --- in health --- */

static void test_text_grows_and_ends(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    assert_true(is_in(&s->calls[0].body, "\"why\""));
    stage_say(s, 0, "one");
    stage_await_text(s, &q, "one");
    stage_say(s, 0, " two");
    stage_await_text(s, &q, "one two");
    stage_say(s, 0, " three");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "one two three");
    stage_await_settled(s, &q);
    stage_await_letters(s, 1);
    const struct stage_letter *event = stage_letter_of(s, false, &q);
    assert_non_null(event);
    assert_true(is_in(&event->value, "\"outcome\":\"done\""));
    assert_true(is_in(&event->value, "one two three"));
    assert_null(stage_letter_of(s, true, &q));
    stage_await_idle(s);
}

static void test_a_lane_is_answered_in_order(void **state)
{
    struct stage *s = *state;
    struct stage_question first = one(), second = one(), other = one();
    second.message_id = "msg-2";
    second.text = "second";
    other.message_id = "msg-3";
    other.user = "u2";
    stage_ask(s, &first);
    stage_ask(s, &second);
    stage_ask(s, &other);
    stage_await_calls(s, 2);
    stage_linger(s, 300);
    assert_int_equal(s->call_count, 2); /* the second of u1 waits, u2 does not */
    assert_false(is_in(&s->calls[0].body, "second") || is_in(&s->calls[1].body, "second"));
    for (size_t i = 0; i < 2; i++) {
        stage_say(s, i, "a");
        stage_done(s, i);
    }
    stage_await_calls(s, 3);
    stage_await_settled(s, &first);
    stage_say(s, 2, "b");
    stage_done(s, 2);
    stage_await_final(s, &second, REASON_DONE, "b");
    stage_await_idle(s);
}

static void test_no_more_runs_than_the_pipeline_allows(void **state)
{
    enum { QUESTIONS = 6, LIMIT = 4 };
    static const char *const users[QUESTIONS] = {"a", "b", "c", "d", "e", "f"};
    struct stage *s = *state;
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct stage_question q = {.message_id = users[i], .user = users[i], .text = "t"};
        stage_ask(s, &q);
    }
    stage_await_calls(s, LIMIT);
    stage_linger(s, 300);
    assert_int_equal(s->call_count, LIMIT);
    for (size_t i = 0; i < QUESTIONS; i++) {
        stage_await_calls(s, i + 1);
        stage_say(s, i, "x");
        stage_done(s, i);
    }
    stage_await_idle(s);
}

static void test_a_repeated_record_is_answered_once(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_ask(s, &q);
    stage_say(s, 0, "once");
    stage_done(s, 0);
    stage_await_idle(s);
    stage_ask(s, &q);
    stage_linger(s, 300);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
    stage_await_final(s, &q, REASON_DONE, "once");
}

/* --- failing pipelines --- */

static void test_failures_end_in_apology_and_dead_letter(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    for (size_t i = 0; i < 3; i++) {
        stage_await_calls(s, i + 1);
        stage_refuse(s, i, 500);
    }
    stage_await_final(s, &q, REASON_APOLOGY, "SORRY");
    stage_await_letters(s, 2);
    const struct stage_letter *dead = stage_letter_of(s, true, &q);
    assert_non_null(dead);
    assert_string_equal(dead->reason, "failed");
    assert_string_equal(dead->attempts, "3");
    assert_true(is_in(&dead->value, "\"why\"")); /* the request verbatim */
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 3);
}

static void test_a_later_attempt_succeeds(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_refuse(s, 0, 429);
    stage_await_calls(s, 2);
    stage_say(s, 1, "well");
    stage_done(s, 1);
    stage_await_final(s, &q, REASON_DONE, "well");
}

static void test_no_attempt_after_text_was_shown(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "half");
    stage_await_text(s, &q, "half");
    http_stream_abort(s->calls[0].req);
    stage_await_final(s, &q, REASON_APOLOGY, "half\n\nSORRY");
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
}

/* No bubble is left without a word to read; another attempt while nothing has been shown. */
static void test_an_answer_without_words_is_none(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "\n");
    stage_done(s, 0);
    stage_await_calls(s, 2);
    stage_say(s, 1, "<think>hm</think>");
    stage_await_text(s, &q, "<think>hm</think>");
    stage_done(s, 1);
    stage_await_final(s, &q, REASON_APOLOGY, "<think>hm</think>\n\nSORRY");
    stage_await_idle(s);
    assert_int_equal(s->call_count, 2);
}

static void test_what_will_fail_again_is_not_tried_again(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_refuse(s, 0, 400);
    stage_await_final(s, &q, REASON_APOLOGY, "SORRY");
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
}

/* --- time --- */

static void test_a_silent_pipeline_ends_by_the_clock(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.deadline_ms = 2500; /* less the margin of 1000 */
    int64_t begin_ms = loop_now_ms(s->loop);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "begun");
    stage_await_final(s, &q, REASON_DEADLINE, "begun\n\nNOTICE");
    int64_t took_ms = loop_now_ms(s->loop) - begin_ms;
    assert_in_range(took_ms, 1000, 2000);
    stage_await_hang_up(s, 0);
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "deadline");
    stage_await_idle(s);
}

/* Less than the margin is left: half of it is used. */
static void test_a_short_rest_is_used(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.deadline_ms = 900;
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_await_final(s, &q, REASON_DEADLINE, "NOTICE");
    assert_true(store_now_ms(s->worker->store) < q.stream.deadline_at_ms);
}

static void test_an_expired_record_is_not_run(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.age_ms = 10000;
    q.deadline_ms = -1000;
    stage_ask(s, &q);
    stage_await_final(s, &q, REASON_DEADLINE, "NOTICE");
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "expired");
    stage_await_idle(s);
    assert_int_equal(s->call_count, 0);
}

/* --- ownership --- */

static void test_a_held_stream_is_waited_for(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    struct store_reply held = rig_claim(s->other, &q.stream, "rival", 60000);
    assert_int_equal(held.verdict, VERDICT_GRANTED);
    (void)rig_put(s->other, &q.stream, held.epoch, "shown by the rival", 60000);
    stage_start_worker(s);
    stage_linger(s, 500);
    assert_int_equal(s->call_count, 0);
    (void)rig_release(s->other, &q.stream, held.epoch);
    int64_t released_ms = loop_now_ms(s->loop);
    stage_await_calls(s, 1);
    assert_true(loop_now_ms(s->loop) - released_ms < 1500);

    stage_say(s, 0, "shown by"); /* silent until it is as long as what is shown */
    stage_linger(s, 500);
    stage_await_text(s, &q, "shown by the rival");
    stage_say(s, 0, " the second one");
    stage_await_text(s, &q, "shown by the second one");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "shown by the second one");
}

/* The end of an answer that is not whole keeps what was shown, whoever showed it. */
static void test_an_apology_after_a_takeover_keeps_the_text(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    struct store_reply held = rig_claim(s->other, &q.stream, "rival", 60000);
    (void)rig_put(s->other, &q.stream, held.epoch, "shown by the rival", 60000);
    (void)rig_release(s->other, &q.stream, held.epoch);
    stage_start_worker(s);
    stage_await_calls(s, 1);
    stage_say(s, 0, "x");
    stage_linger(s, 300);
    http_stream_abort(s->calls[0].req);
    for (size_t i = 1; i < 3; i++) { /* nothing of ours was shown: it is tried again */
        stage_await_calls(s, i + 1);
        stage_refuse(s, i, 500);
    }
    stage_await_final(s, &q, REASON_APOLOGY, "shown by the rival\n\nSORRY");
}

static void test_a_fenced_run_stops_and_writes_nothing(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "ours");
    stage_await_text(s, &q, "ours");
    stage_set_field(s, &q, "lease_until", "0");
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 60000);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    (void)rig_put(s->other, &q.stream, r.epoch, "theirs", 60000);
    stage_await_hang_up(s, 0);
    stage_linger(s, 300);
    stage_await_text(s, &q, "theirs");
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "theirs all", "", "", 60000);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
    stage_await_final(s, &q, REASON_DONE, "theirs all");
}

/* The process stands still for longer than its lease, in the pause before its second attempt.
 */
static void test_a_frozen_worker_calls_nobody_when_it_wakes(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    const struct timespec frozen = {.tv_sec = 1, .tv_nsec = 500000000};
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    s->call_retry_after_s = 1;
    stage_refuse(s, 0, 503);
    stage_linger(s, 100);
    assert_int_equal(nanosleep(&frozen, NULL), 0);
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 60000);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    stage_linger(s, 500);
    assert_int_equal(s->call_count, 1);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "theirs", "", "", 60000);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
    stage_await_final(s, &q, REASON_DONE, "theirs");
}

static void test_what_is_owed_is_settled_by_the_next_owner(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 1000);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_APOLOGY, "SORRY", "", "dlq,event",
                     1000);
    stage_start_worker(s); /* the rival died before it wrote the letters */
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "failed");
    assert_true(is_in(&stage_letter_of(s, false, &q)->value, "SORRY"));
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 0);
}

static void test_a_stream_that_ingress_closed_is_told_once(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "late");
    stage_await_text(s, &q, "late");
    assert_int_equal(rig_close(s->other, &q.stream, REASON_DEADLINE).verdict, VERDICT_OK);
    stage_await_hang_up(s, 0);
    stage_await_letters(s, 2);
    assert_string_equal(stage_letter_of(s, true, &q)->reason, "deadline");
    assert_true(is_in(&stage_letter_of(s, false, &q)->value, "\"outcome\":\"closed\""));
    stage_await_idle(s);
    stage_ask(s, &q); /* a repeat of the record says nothing again */
    stage_linger(s, 500);
    stage_await_idle(s);
    assert_int_equal(s->letter_count, 2);
    assert_int_equal(s->call_count, 1);
}

static void test_a_busy_answer_is_not_run(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    assert_int_equal(rig_close(s->other, &q.stream, REASON_BUSY).verdict, VERDICT_OK);
    stage_start_worker(s);
    stage_await_letters(s, 1);
    stage_await_idle(s);
    assert_null(stage_letter_of(s, true, &q));
    assert_int_equal(s->call_count, 0);
}

static void test_drain_releases_what_runs(void **state)
{
    struct stage *s = *state;
    struct stage_question running = one(), queued = one();
    queued.message_id = "msg-2";
    stage_ask(s, &running);
    stage_ask(s, &queued);
    stage_await_calls(s, 1);
    stage_say(s, 0, "half");
    stage_await_text(s, &running, "half");
    stage_stop_worker(s, true);
    char *lease = stage_field(s, &running, "lease_until");
    assert_string_equal(lease, "0");
    free(lease);
    stage_start_worker(s); /* neither offset was committed */
    stage_await_calls(s, 2);
    stage_say(s, 1, "half and all");
    stage_done(s, 1);
    stage_await_final(s, &running, REASON_DONE, "half and all");
    stage_await_calls(s, 3);
    stage_say(s, 2, "next");
    stage_done(s, 2);
    stage_await_final(s, &queued, REASON_DONE, "next");
    stage_await_idle(s);
    stage_stop_worker(s, true);
    stage_start_worker(s); /* both were: nothing is read again */
    stage_linger(s, 500);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 3);
}

/* New questions do not wait for the answers that a draining worker still gives. */
static void test_a_draining_worker_holds_nobody_up(void **state)
{
    struct stage *s = *state;
    struct stage_question running = one(), next = one();
    stage_stop_worker(s, true);
    s->drain_ms = 20000;
    stage_start_worker(s);
    stage_ask(s, &running);
    stage_await_calls(s, 1);
    struct worker *draining = s->worker;
    worker_drain(draining);
    stage_start_worker(s);
    next.message_id = "msg-2";
    next.user = "u2";
    stage_ask(s, &next);
    stage_await_calls(s, 2);
    stage_say(s, 1, "b");
    stage_done(s, 1);
    stage_await_final(s, &next, REASON_DONE, "b");
    stage_say(s, 0, "a");
    stage_done(s, 0);
    loop_run(s->loop); /* until the drain is over */
    worker_free(draining);
    stage_await_final(s, &running, REASON_DONE, "a");
    stage_await_idle(s); /* the new owner found it final */
    assert_int_equal(s->call_count, 2);
}

/* --- the store away --- */

static void test_an_emptied_store_gets_text_and_end_again(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "one");
    stage_await_text(s, &q, "one");
    test_redis_restart(s->redis);
    stage_await_text(s, &q, "one"); /* without a new word from the LLM */
    test_redis_kill(s->redis);
    stage_say(s, 0, " two"); /* goes on in memory */
    stage_linger(s, 300);
    test_redis_restart(s->redis);
    stage_await_text(s, &q, "one two");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "one two");
    stage_await_idle(s);
    test_redis_restart(s->redis);
    stage_await_final(s, &q, REASON_DONE, "one two");
    stage_await_settled(s, &q);
    assert_int_equal(s->call_count, 1);
}

static void test_an_answer_that_ends_while_the_store_is_away(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "one");
    stage_await_text(s, &q, "one");
    test_redis_kill(s->redis);
    stage_say(s, 0, " two");
    stage_done(s, 0);
    stage_linger(s, 300);
    assert_int_equal(s->letter_count, 0);
    test_redis_restart(s->redis);
    stage_await_final(s, &q, REASON_DONE, "one two");
    stage_await_settled(s, &q);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
}

/* The lease cannot be confirmed: another may own the stream by now, so nobody outside is
 * called. */
static void test_no_effect_under_an_unconfirmed_lease(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    s->call_retry_after_s = 1;
    stage_refuse(s, 0, 503);
    test_redis_freeze(s->redis);
    stage_linger(s, 2500);
    assert_int_equal(s->call_count, 1);
    test_redis_thaw(s->redis);
    stage_await_calls(s, 2);
    stage_say(s, 1, "after all");
    stage_done(s, 1);
    stage_await_final(s, &q, REASON_DONE, "after all");
}

/* --- odd records --- */

static void test_an_unreadable_record_is_ended_and_kept(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one();
    q.id = stream_id_of(s->crypto, BYTES_LIT("helpdesk"), BYTES_LIT("odd"));
    q.stream = (struct store_stream){stream_id_bytes(&q.id), BYTES_LIT("helpdesk"),
                                     store_now_ms(s->other->store),
                                     store_now_ms(s->other->store) + 60000, 3600000};
    (void)rig_open(s->other, &q.stream, STREAM_OPEN);
    struct bus_header headers[] = {{"bb-stream", q.stream.id}};
    stage_produce(s, BYTES_LIT("msg-1 is not JSON"), headers, 1);
    const struct stage_letter *dead = stage_await_dead_letter(s, &q);
    assert_string_equal(dead->reason, "unreadable");
    assert_true(bytes_eq_str(buf_bytes(&dead->value), "msg-1 is not JSON"));
    struct store_reply r = stage_read(s, &q);
    assert_int_equal(r.state, STREAM_FINAL);
    assert_int_equal(r.reason, REASON_APOLOGY);
    assert_true(r.text.len > 0);
    stage_await_settled(s, &q);

    stage_produce(s, BYTES_LIT(""), NULL, 0); /* nothing tells whose it was */
    stage_await_letters(s, 2);
    stage_await_idle(s);
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, stage_set_up, stage_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(test_text_grows_and_ends),
        STAGE_TEST(test_a_lane_is_answered_in_order),
        STAGE_TEST(test_no_more_runs_than_the_pipeline_allows),
        STAGE_TEST(test_a_repeated_record_is_answered_once),
        STAGE_TEST(test_failures_end_in_apology_and_dead_letter),
        STAGE_TEST(test_a_later_attempt_succeeds),
        STAGE_TEST(test_no_attempt_after_text_was_shown),
        STAGE_TEST(test_an_answer_without_words_is_none),
        STAGE_TEST(test_what_will_fail_again_is_not_tried_again),
        STAGE_TEST(test_a_silent_pipeline_ends_by_the_clock),
        STAGE_TEST(test_a_short_rest_is_used),
        STAGE_TEST(test_an_expired_record_is_not_run),
        STAGE_TEST(test_a_held_stream_is_waited_for),
        STAGE_TEST(test_an_apology_after_a_takeover_keeps_the_text),
        STAGE_TEST(test_a_fenced_run_stops_and_writes_nothing),
        STAGE_TEST(test_a_frozen_worker_calls_nobody_when_it_wakes),
        STAGE_TEST(test_what_is_owed_is_settled_by_the_next_owner),
        STAGE_TEST(test_a_stream_that_ingress_closed_is_told_once),
        STAGE_TEST(test_a_busy_answer_is_not_run),
        STAGE_TEST(test_drain_releases_what_runs),
        STAGE_TEST(test_a_draining_worker_holds_nobody_up),
        STAGE_TEST(test_an_emptied_store_gets_text_and_end_again),
        STAGE_TEST(test_an_answer_that_ends_while_the_store_is_away),
        STAGE_TEST(test_no_effect_under_an_unconfirmed_lease),
        STAGE_TEST(test_an_unreadable_record_is_ended_and_kept),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
