/* What a store that lost its data costs: no end, no second run, no end of another's. One worker
 * on real Kafka and Redis; the LLM, the platform and a rival owner are in the test's hand. */
#include "support_worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int set_up(void **state)
{
    struct stage *s = stage_open();
    stage_restart_worker(s, ",\"shown_wait_ms\":3000", "");
    *state = s;
    return 0;
}

static struct stage_question one(bool has_url)
{
    return (struct stage_question){
        .message_id = "msg-1", .user = "u1", .text = "why", .has_url = has_url};
}

static struct session *session_of(struct stage *s)
{
    assert_false(list_is_empty(&s->worker->sessions));
    return LIST_ENTRY(s->worker->sessions.next, struct session, node);
}

static void answer(struct stage *s, const struct stage_question *q)
{
    stage_await_calls(s, 1);
    stage_say(s, 0, "all");
    stage_done(s, 0);
    stage_await_final(s, q, REASON_DONE, "all");
}

static void flush(struct stage *s)
{
    test_redis_do(s->redis, "FLUSHALL", NULL);
}

static void expect_starts(struct stage *s, const struct stage_question *q, const char *count)
{
    char *starts = stage_field(s, q, "starts");
    assert_string_equal(starts, count);
    free(starts);
}

static void expect_all_once(struct stage *s, const struct stage_question *q)
{
    stage_await_final(s, q, REASON_DONE, "all");
    (void)rig_shown(s->other, &q->stream);
    stage_await_settled(s, q);
    stage_await_idle(s);
    stage_await_final(s, q, REASON_DONE, "all");
    expect_starts(s, q, "1");
    assert_int_equal(s->call_count, 1);
    assert_int_equal(s->post_count, 0);
    assert_null(stage_letter_of(s, true, q));
}

/* The next reader finds the record of a store that lost it as good as new: who has the end
 * writes it, whether the partition is still his or not. */
static void test_an_end_is_written_again_though_the_partition_went(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_ask(s, &q);
    answer(s, &q);
    session_on_revoke(session_of(s));
    test_redis_restart(s->redis);
    expect_all_once(s, &q);
}

/* The text of a lost store is due again, and the end comes before it. */
static void test_an_end_just_after_a_loss_meets_no_lease_of_its_own(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    s->worker->puts_in_flight += s->worker->max_puts_in_flight; /* no put has its turn */
    flush(s);
    session_on_store_up(session_of(s), true);
    stage_linger(s, 200);
    answer(s, &q);
    s->worker->puts_in_flight -= s->worker->max_puts_in_flight;
    expect_all_once(s, &q);
}

/* The store is told that a letter is written, and knows of nothing. */
static void test_an_end_that_is_missing_when_a_letter_is_settled(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "all");
    stage_done(s, 0);
    while (s->worker->in_state[SESSION_SETTLING] == 0)
        stage_linger(s, 1);
    flush(s);
    expect_all_once(s, &q);
    stage_await_letters(s, 1);
    stage_linger(s, 300);
    assert_int_equal(s->letter_count, 1);
}

/* The lease is renewed while a poll is waited for: that makes the record again. */
static void test_an_end_that_is_missing_when_the_lease_is_renewed(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_ask(s, &q);
    answer(s, &q);
    flush(s);
    expect_all_once(s, &q);
}

/* The same, for a store that comes back with what the renewal and the end left there. */
static void test_a_restart_that_loses_nothing_after_one_that_did(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_ask(s, &q);
    answer(s, &q);
    flush(s);
    stage_await_final(s, &q, REASON_DONE, "all");
    session_on_store_up(session_of(s), true);
    expect_all_once(s, &q);
}

/* A letter is written, and the store restarts with all its data before it was told so. */
static void test_a_restart_that_loses_nothing_before_a_letter_is_settled(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "all");
    stage_done(s, 0);
    while (s->worker->in_state[SESSION_SETTLING] == 0)
        stage_linger(s, 1);
    test_redis_freeze(s->redis);
    struct session *session = session_of(s);
    while (session->unsettled == 0 || session->is_letter_pending)
        stage_linger(s, 1);
    test_redis_thaw(s->redis);
    stage_set_field(s, &q, "owed",
                    "event"); /* the frozen server had read the call, and does it */
    session_on_store_up(session, true);
    expect_all_once(s, &q);
}

/* Another one was quicker after the loss: his end is what counts, also after the next loss. */
static void test_anothers_end_is_not_replaced_by_ours(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_ask(s, &q);
    answer(s, &q);
    test_redis_restart(s->redis);
    assert_true(rig_run_until_up(s->other, false) && rig_run_until_up(s->other, true));
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 60000);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "theirs", "", "", 60000);
    stage_await_idle(s);
    assert_int_equal(s->worker->finals.count, 0);
    stage_await_final(s, &q, REASON_DONE, "theirs");
    assert_int_equal(s->call_count, 1);
}

/* An end taken over from a dead owner is lost, and ingress ends the bubble: nothing is run. */
static void test_an_end_taken_over_that_is_closed_then(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", STAGE_LEASE_MS);
    (void)rig_finish(s->other, &q.stream, r.epoch, REASON_DONE, "theirs", "", "event",
                     STAGE_LEASE_MS);
    stage_start_worker(s);
    while (s->worker->in_state[SESSION_SETTLING] == 0)
        stage_linger(s, 1);
    struct session *session = session_of(s);
    flush(s);
    assert_int_equal(rig_close(s->other, &q.stream, REASON_DEADLINE).verdict, VERDICT_OK);
    session_on_store_up(session, true);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 0);
    assert_int_equal(s->post_count, 0);
}

/* What the user was told is over stays over, for who knows it and for who reads a repeat. */
static void test_a_closed_stream_is_not_run_again(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(true);
    s->post_answer = NULL;
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "all");
    stage_await_text(s, &q, "all");
    (void)rig_close(s->other, &q.stream, REASON_DEADLINE);
    stage_done(s, 0);
    stage_await_posts(s, 1);
    test_redis_restart(s->redis);
    stage_await_letters(s, 1);
    stage_await_idle(s);
    stage_ask(s, &q);
    stage_linger(s, 1500);
    stage_await_idle(s);
    assert_int_equal(s->call_count, 1);
    assert_int_equal(s->post_count, 1);
    assert_int_equal(s->letter_count, 1);
}

/* --- a server that is emptied and goes on --- */

static void test_a_quiet_text_comes_back(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "half");
    stage_await_text(s, &q, "half");
    flush(s);
    stage_await_text(s, &q, "half");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "half");
}

/* What an earlier owner showed, while ours is shorter. */
static void test_an_earlier_owners_text_comes_back(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_stop_worker(s, true);
    stage_ask(s, &q);
    struct store_reply r = rig_claim(s->other, &q.stream, "rival", 1);
    (void)rig_put(s->other, &q.stream, r.epoch, "theirs", 1);
    stage_start_worker(s);
    stage_await_calls(s, 1);
    flush(s);
    stage_await_text(s, &q, "theirs");
    stage_say(s, 0, "ours is longer");
    stage_await_text(s, &q, "ours is longer");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "ours is longer");
}

static void test_an_end_that_owes_nothing_comes_back(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_ask(s, &q);
    answer(s, &q);
    stage_await_settled(s, &q);
    stage_await_idle(s);
    flush(s);
    expect_all_once(s, &q);
}

/* One record alone: seen by its own session at the next renewal of the lease. */
static void test_a_single_record_comes_back(void **state)
{
    struct stage *s = *state;
    struct stage_question q = one(false);
    stage_ask(s, &q);
    stage_await_calls(s, 1);
    stage_say(s, 0, "half");
    stage_await_text(s, &q, "half");
    char hash[STREAM_ID_CHARS + 8], text[STREAM_ID_CHARS + 8];
    snprintf(hash, sizeof(hash), "bb:{%s}:m", q.id.text);
    snprintf(text, sizeof(text), "bb:{%s}:t", q.id.text);
    test_redis_do(s->redis, "DEL", hash, text, NULL);
    stage_await_text(s, &q, "half");
    stage_done(s, 0);
    stage_await_final(s, &q, REASON_DONE, "half");
    expect_starts(s, &q, "1");
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stage_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(test_an_end_is_written_again_though_the_partition_went),
        STAGE_TEST(test_an_end_just_after_a_loss_meets_no_lease_of_its_own),
        STAGE_TEST(test_an_end_that_is_missing_when_a_letter_is_settled),
        STAGE_TEST(test_an_end_that_is_missing_when_the_lease_is_renewed),
        STAGE_TEST(test_a_restart_that_loses_nothing_after_one_that_did),
        STAGE_TEST(test_a_restart_that_loses_nothing_before_a_letter_is_settled),
        STAGE_TEST(test_anothers_end_is_not_replaced_by_ours),
        STAGE_TEST(test_an_end_taken_over_that_is_closed_then),
        STAGE_TEST(test_a_closed_stream_is_not_run_again),
        STAGE_TEST(test_a_quiet_text_comes_back),
        STAGE_TEST(test_an_earlier_owners_text_comes_back),
        STAGE_TEST(test_an_end_that_owes_nothing_comes_back),
        STAGE_TEST(test_a_single_record_comes_back),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
