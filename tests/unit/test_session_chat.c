/* The messages of an answer in a chat: which are sent, how often, by whom, and what is said of
 * them. One worker on real Kafka and Redis; BOSSHI's API, the LLM and a rival owner are in the
 * test's hand. */
#include "support_chat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define UNKNOWN_CODE "{\"code\":31337,\"msg\":\"what\"}"
#define NOT_IN_CHAT "{\"code\":230002}"
#define RECALLED "{\"code\":230011}"
#define NO_UPDATE "{\"code\":230031}"
#define BAD_TOKEN "{\"code\":99991663}"

#define TEN "0123456789"
#define FORTY TEN TEN TEN TEN
#define LINE FORTY TEN "\n" /* two of them are one message of 100 */
#define TEXTS "\"stream\":\"final\",\"text_limit\":100,\"text_limit_unit\":\"bytes\""

enum { HOUR_MS = 3600 * 1000 };

static int set_up_with(void **state, const char *members)
{
    *state = chat_open(stage_open(), members);
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, "");
}

static int set_up_texts(void **state)
{
    return set_up_with(state, TEXTS);
}

static int tear_down(void **state)
{
    chat_close(*state);
    return 0;
}

static struct stage_question one(void)
{
    return (struct stage_question){.message_id = "ev-1", .user = "ou_1", .text = "why"};
}

/* --- the card --- */

static void test_a_card_grows_to_the_answer(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    assert_int_equal(c->calls[0].kind, CHAT_SEND);
    assert_string_equal(c->calls[0].uuid, "c0");
    assert_string_equal(c->calls[0].text, "one ");
    chat_answer(c, 0, "two");
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    assert_string_equal(chat_last_text(c), "one two");
    assert_string_equal(c->calls[c->call_count - 1].message_id, c->calls[0].message_id);
    assert_null(stage_letter_of(c->stage, true, &q));
}

static void test_a_card_takes_so_many_updates(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    char whole[CHAT_TEXT_BYTES] = "";
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    for (int i = 0; i < 40; i++) {
        stage_say(c->stage, 0, TEN);
        snprintf(whole + i * 10, sizeof(whole) - (size_t)i * 10, TEN);
        stage_linger(c->stage, 50);
    }
    assert_int_equal(c->call_count, 1 + 2);
    stage_done(c->stage, 0);
    chat_expect_reply(c, &q, "\"messages\":1");
    assert_int_equal(c->call_count, 1 + 2 + 1);
    assert_string_equal(chat_last_text(c), whole);
}

static int set_up_few_updates(void **state)
{
    return set_up_with(state, "\"updates_max\":2");
}

static void test_a_recalled_card_is_left_alone(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {400, RECALLED, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    stage_say(c->stage, 0, "two ");
    chat_await_calls(c, 2);
    chat_answer(c, 0, "three");
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230011}");
    chat_expect_undelivered(c, &q);
    assert_int_equal(c->call_count, 2);
}

static void test_a_card_that_takes_no_update_is_followed_by_text(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {400, NO_UPDATE, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    chat_answer(c, 0, "two");
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    assert_int_equal(c->call_count, 3);
    assert_string_equal(c->calls[2].uuid, "t0");
    assert_string_equal(chat_last_text(c), "one two");
}

static void test_a_token_that_ends_in_mid_answer(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {400, BAD_TOKEN, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    chat_answer(c, 0, "two");
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(chat_last_text(c), "one two");
    assert_int_equal(c->token_count, 2);
}

static void test_what_is_asked_for_is_waited_for(void **state)
{
    static const struct chat_plan plan[] = {
        {200, NULL, NULL}, {429, "{\"code\":99991400}", "1"}, {500, "", NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    chat_answer(c, 0, "two");
    chat_await_calls(c, 2);
    stage_linger(c->stage, 900);
    assert_int_equal(c->call_count, 2);
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_int_equal(c->call_count, 4);
    assert_string_equal(chat_last_text(c), "one two");
}

/* --- parts --- */

static void test_a_long_text_is_said_in_parts(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    chat_answer(c, 0, LINE LINE LINE);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    CHAT_EXPECT_SENDS(c, "t0", "t1", "t2");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(c->calls[i].text, LINE);
}

/* The platform may have taken the first, and refuses its repeat for that, or for anything. */
static void test_a_repeat_refused_by_an_unknown_code_counts_as_said(void **state)
{
    static const struct chat_plan plan[] = {
        {200, NULL, NULL}, {0, NULL, NULL}, {400, UNKNOWN_CODE, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, LINE LINE LINE);
    chat_expect_reply(c, &q,
                      "\"reply\":{\"outcome\":\"unknown\",\"code\":31337,\"messages\":3}");
    chat_expect_undelivered(c, &q);
    CHAT_EXPECT_SENDS(c, "t0", "t1", "t1", "t2");
}

static void test_a_repeat_refused_by_a_known_code_ends_it(void **state)
{
    static const struct chat_plan plan[] = {{0, NULL, NULL}, {400, NOT_IN_CHAT, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, LINE LINE LINE);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230002}");
    chat_expect_undelivered(c, &q);
    CHAT_EXPECT_SENDS(c, "t0", "t0");
}

/* Who was told to come later was not heard: there is nothing that the repeat could repeat. */
static void test_a_refusal_after_a_pause_ends_it(void **state)
{
    static const struct chat_plan plan[] = {{429, "", NULL}, {400, UNKNOWN_CODE, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, LINE LINE LINE);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":31337}");
    CHAT_EXPECT_SENDS(c, "t0", "t0");
}

/* --- who comes after a crash --- */

static void test_a_next_owner_goes_on_after_what_was_said(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, LINE LINE LINE);
    chat_rig_note(c, &q, r.epoch, "said", "1 51 t prompt");
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    CHAT_EXPECT_SENDS(c, "t1", "t2");
}

static void test_a_next_owner_repeats_the_part_that_was_noted(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, LINE LINE LINE);
    chat_rig_note(c, &q, r.epoch, "said", "1 51 t prompt");
    chat_rig_note_ago(c, &q, r.epoch, "part", "1 51 t prompt", 0);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    CHAT_EXPECT_SENDS(c, "t1", "t2");
    assert_string_equal(c->calls[0].text, LINE);
}

static void test_a_next_owner_knows_what_the_user_perhaps_has_not(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, LINE LINE LINE);
    chat_rig_note(c, &q, r.epoch, "said", "2 102 t prompt 31337");
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q,
                      "\"reply\":{\"outcome\":\"unknown\",\"code\":31337,\"messages\":3}");
    chat_expect_undelivered(c, &q);
    CHAT_EXPECT_SENDS(c, "t2");
}

/* Its uuid is forgotten by now: once more might be a second one. */
static void test_a_part_of_an_hour_ago_is_not_repeated(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, LINE LINE LINE);
    chat_rig_note_ago(c, &q, r.epoch, "part", "0 0 t prompt", HOUR_MS);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"unknown\",\"code\":0,\"messages\":3}");
    chat_expect_undelivered(c, &q);
    CHAT_EXPECT_SENDS(c, "t1", "t2");
}

static void test_a_card_of_an_hour_ago_is_followed_by_text(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, "all");
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt", HOUR_MS);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    CHAT_EXPECT_SENDS(c, "t0");
    assert_string_equal(chat_last_text(c), "all");
}

static void test_what_was_given_up_is_not_tried_again(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, "all");
    chat_rig_note(c, &q, r.epoch, "reply", "stop 230002");
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230002}");
    chat_expect_undelivered(c, &q);
    assert_int_equal(c->call_count, 0);
}

/* Frozen between the end and the last update: the rival has the stream. */
static void test_a_frozen_worker_says_nothing_when_it_wakes(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {503, "", "2"}};
    const struct timespec frozen = {.tv_sec = 1, .tv_nsec = 500000000};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    chat_answer(c, 0, "two");
    chat_await_calls(c, 2);
    assert_int_equal(nanosleep(&frozen, NULL), 0);
    struct store_reply r = rig_claim(c->stage->other, &q.stream, "rival", 60000);
    assert_int_not_equal(r.verdict, VERDICT_HELD);
    stage_linger(c->stage, 2500);
    assert_int_equal(c->call_count, 2);
    (void)rig_settle(c->stage->other, &q.stream, r.epoch, "reply");
    (void)rig_settle(c->stage->other, &q.stream, r.epoch, "event");
    stage_await_idle(c->stage);
    assert_int_equal(c->call_count, 2);
}

/* --- time --- */

/* No worker was there for longer than an answer may take: the user still wants it. */
static void test_a_question_that_nobody_began_in_its_time_is_answered(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.age_ms = HOUR_MS;
    q.deadline_ms = -HOUR_MS + 600000;
    chat_ask(c, &q);
    chat_answer(c, 0, "all");
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(chat_last_text(c), "LATE\n\nall");
    assert_null(stage_letter_of(c->stage, true, &q));
}

static void test_a_question_whose_worker_died_is_answered_after_its_time(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.deadline_ms = 500;
    struct store_reply r = chat_rival(c, &q);
    (void)rig_put(c->stage->other, &q.stream, r.epoch, "one ", 500);
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt", 0);
    chat_rig_note(c, &q, r.epoch, "card_id", "m9~");
    stage_linger(c->stage, 700);
    stage_start_worker(c->stage);
    chat_answer(c, 0, "one two");
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(chat_last_text(c), "one two");
    assert_string_equal(c->calls[c->call_count - 1].message_id, "m9~");
}

static void test_an_answer_has_its_time_and_no_more(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one");
    chat_expect_reply(c, &q, "\"outcome\":\"deadline\"");
    assert_string_equal(chat_last_text(c), "one\n\nNOTICE");
    assert_string_equal(chat_letter_of(c, true, &q)->reason, "deadline");
}

static int set_up_brief(void **state)
{
    return set_up_with(state, "\"stream_deadline_ms\":1500");
}

static void test_what_is_of_no_use_any_more_is_not_answered(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.age_ms = 9 * HOUR_MS;
    q.deadline_ms = -8 * HOUR_MS;
    chat_ask(c, &q);
    assert_string_equal(chat_letter_of(c, true, &q)->reason, "expired");
    stage_await_idle(c->stage);
    assert_int_equal(c->call_count, 0);
    assert_int_equal(c->stage->call_count, 0);
}

/* But what is in the chat has an end. */
static void test_a_card_that_is_of_no_use_any_more_ends_with_a_notice(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.age_ms = 9 * HOUR_MS;
    struct store_reply r = chat_rival(c, &q);
    (void)rig_put(c->stage->other, &q.stream, r.epoch, "one ", STAGE_LEASE_MS);
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt", 0);
    chat_rig_note(c, &q, r.epoch, "card_id", "m9~");
    stage_start_worker(c->stage);
    assert_string_equal(chat_letter_of(c, true, &q)->reason, "expired");
    stage_await_settled(c->stage, &q);
    assert_int_equal(c->call_count, 1);
    assert_string_equal(c->calls[0].message_id, "m9~");
    assert_string_equal(c->calls[0].text, "one \n\nNOTICE");
    assert_int_equal(c->stage->call_count, 0);
}

/* Whether it is late is said once, by who sends first. */
static void test_a_card_that_is_not_late_does_not_become_late(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.age_ms = HOUR_MS;
    struct store_reply r = chat_rival_end(c, &q, "all");
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt", 0);
    chat_rig_note(c, &q, r.epoch, "card_id", "m9~");
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(chat_last_text(c), "all");
}

static void test_the_second_part_of_a_late_text_is_counted_with_its_beginning(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, LINE LINE);
    chat_rig_note(c, &q, r.epoch, "said",
                  "1 57 t late"); /* LATE and a blank line, then a line */
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"messages\":2");
    CHAT_EXPECT_SENDS(c, "t1");
    assert_string_equal(chat_last_text(c), LINE);
}

/* --- the store --- */

static void test_a_store_that_forgot_is_told_of_the_card(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one ");
    chat_await_calls(c, 1);
    stage_await_text(c->stage, &q, "one ");
    test_redis_restart(c->stage->redis);
    stage_await_text(c->stage, &q, "one ");
    char *card = stage_field(c->stage, &q, "n:card"),
         *id = stage_field(c->stage, &q, "n:card_id");
    assert_non_null(strstr(card, " prompt"));
    assert_string_equal(id, c->calls[0].message_id);
    free(card);
    free(id);
    chat_answer(c, 0, "two");
    chat_expect_reply(c, &q, "\"messages\":1");
    assert_string_equal(chat_last_text(c), "one two");
}

#define CHAT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEXT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_texts, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHAT_TEST(test_a_card_grows_to_the_answer),
        cmocka_unit_test_setup_teardown(test_a_card_takes_so_many_updates, set_up_few_updates,
                                        tear_down),
        CHAT_TEST(test_a_recalled_card_is_left_alone),
        CHAT_TEST(test_a_card_that_takes_no_update_is_followed_by_text),
        CHAT_TEST(test_a_token_that_ends_in_mid_answer),
        CHAT_TEST(test_what_is_asked_for_is_waited_for),
        TEXT_TEST(test_a_long_text_is_said_in_parts),
        TEXT_TEST(test_a_repeat_refused_by_an_unknown_code_counts_as_said),
        TEXT_TEST(test_a_repeat_refused_by_a_known_code_ends_it),
        TEXT_TEST(test_a_refusal_after_a_pause_ends_it),
        TEXT_TEST(test_a_next_owner_goes_on_after_what_was_said),
        TEXT_TEST(test_a_next_owner_repeats_the_part_that_was_noted),
        TEXT_TEST(test_a_next_owner_knows_what_the_user_perhaps_has_not),
        TEXT_TEST(test_a_part_of_an_hour_ago_is_not_repeated),
        CHAT_TEST(test_a_card_of_an_hour_ago_is_followed_by_text),
        CHAT_TEST(test_what_was_given_up_is_not_tried_again),
        CHAT_TEST(test_a_frozen_worker_says_nothing_when_it_wakes),
        CHAT_TEST(test_a_question_that_nobody_began_in_its_time_is_answered),
        CHAT_TEST(test_a_question_whose_worker_died_is_answered_after_its_time),
        cmocka_unit_test_setup_teardown(test_an_answer_has_its_time_and_no_more, set_up_brief,
                                        tear_down),
        CHAT_TEST(test_what_is_of_no_use_any_more_is_not_answered),
        CHAT_TEST(test_a_card_that_is_of_no_use_any_more_ends_with_a_notice),
        CHAT_TEST(test_a_card_that_is_not_late_does_not_become_late),
        TEXT_TEST(test_the_second_part_of_a_late_text_is_counted_with_its_beginning),
        CHAT_TEST(test_a_store_that_forgot_is_told_of_the_card),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
