/* The messages of an answer in a chat: which are sent, how often, by whom, and what is said of
 * them. One worker on real Kafka and Redis; BOSSHI's API, the LLM and a rival owner are in the
 * test's hand. */
#include "base/clock.h"
#include "support_chat.h"

#include <inttypes.h>
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

static void answer(struct chat *c, size_t call, const char *text)
{
    stage_await_calls(c->stage, call + 1);
    stage_say(c->stage, call, text);
    stage_done(c->stage, call);
}

static const struct stage_letter *letter_of(struct chat *c, bool is_dead,
                                            const struct stage_question *q)
{
    const struct stage_letter *letter = stage_letter_of(c->stage, is_dead, q);
    while (!letter) {
        stage_await_letters(c->stage, c->stage->letter_count + 1);
        letter = stage_letter_of(c->stage, is_dead, q);
    }
    return letter;
}

static void expect_reply(struct chat *c, const struct stage_question *q, const char *member)
{
    const struct buf *value = &letter_of(c, false, q)->value;
    if (!memmem(value->ptr, value->len, member, strlen(member)))
        fail_msg("%s not in " BYTES_FMT, member, BYTES_ARG(buf_bytes(value)));
    stage_await_settled(c->stage, q);
    stage_await_idle(c->stage);
}

static void expect_undelivered(struct chat *c, const struct stage_question *q)
{
    assert_string_equal(letter_of(c, true, q)->reason, "undelivered");
}

static void expect_sends(struct chat *c, const char *const *uuids, size_t count)
{
    assert_int_equal(c->call_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(c->calls[i].kind, CHAT_SEND);
        assert_string_equal(c->calls[i].uuid, uuids[i]);
    }
}

#define EXPECT_SENDS(c, ...)                                        \
    do {                                                            \
        static const char *const uuids[] = {__VA_ARGS__};           \
        expect_sends(c, uuids, sizeof(uuids) / sizeof((uuids)[0])); \
    } while (0)

static const char *last_text(const struct chat *c)
{
    return c->calls[c->call_count - 1].text;
}

/* A rival has claimed the stream and goes no further. */
static struct store_reply rival(struct chat *c, struct stage_question *q)
{
    stage_stop_worker(c->stage, true);
    chat_ask(c, q);
    struct store_reply r = rig_claim(c->stage->other, &q->stream, "rival", STAGE_LEASE_MS);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    return r;
}

/* Likewise, and has written the end. */
static struct store_reply rival_end(struct chat *c, struct stage_question *q, const char *text)
{
    struct store_reply r = rival(c, q);
    (void)rig_finish(c->stage->other, &q->stream, r.epoch, REASON_DONE, text, "", "event,reply",
                     STAGE_LEASE_MS);
    return r;
}

static void note(struct chat *c, const struct stage_question *q, uint64_t epoch,
                 const char *field, const char *value)
{
    (void)rig_note(c->stage->other, &q->stream, epoch, field, value);
}

/* What is noted before a send that may have been made so long ago. */
static void note_ago(struct chat *c, const struct stage_question *q, uint64_t epoch,
                     const char *field, const char *place, int64_t age_ms)
{
    char value[96];
    bool is_card = strcmp(field, "card") == 0;
    int64_t at_ms = clock_wall_ms() - age_ms;
    if (is_card)
        snprintf(value, sizeof(value), "%" PRId64 " %s", at_ms, place);
    else
        snprintf(value, sizeof(value), "%s %" PRId64, place, at_ms);
    note(c, q, epoch, field, value);
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
    answer(c, 0, "two");
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    assert_string_equal(last_text(c), "one two");
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
    expect_reply(c, &q, "\"messages\":1");
    assert_int_equal(c->call_count, 1 + 2 + 1);
    assert_string_equal(last_text(c), whole);
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
    answer(c, 0, "three");
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230011}");
    expect_undelivered(c, &q);
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
    answer(c, 0, "two");
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    assert_int_equal(c->call_count, 3);
    assert_string_equal(c->calls[2].uuid, "t0");
    assert_string_equal(last_text(c), "one two");
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
    answer(c, 0, "two");
    expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(last_text(c), "one two");
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
    answer(c, 0, "two");
    chat_await_calls(c, 2);
    stage_linger(c->stage, 900);
    assert_int_equal(c->call_count, 2);
    expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_int_equal(c->call_count, 4);
    assert_string_equal(last_text(c), "one two");
}

/* --- parts --- */

static void test_a_long_text_is_said_in_parts(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    answer(c, 0, LINE LINE LINE);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    EXPECT_SENDS(c, "t0", "t1", "t2");
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
    answer(c, 0, LINE LINE LINE);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"unknown\",\"code\":31337,\"messages\":3}");
    expect_undelivered(c, &q);
    EXPECT_SENDS(c, "t0", "t1", "t1", "t2");
}

static void test_a_repeat_refused_by_a_known_code_ends_it(void **state)
{
    static const struct chat_plan plan[] = {{0, NULL, NULL}, {400, NOT_IN_CHAT, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    answer(c, 0, LINE LINE LINE);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230002}");
    expect_undelivered(c, &q);
    EXPECT_SENDS(c, "t0", "t0");
}

/* Who was told to come later was not heard: there is nothing that the repeat could repeat. */
static void test_a_refusal_after_a_pause_ends_it(void **state)
{
    static const struct chat_plan plan[] = {{429, "", NULL}, {400, UNKNOWN_CODE, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    answer(c, 0, LINE LINE LINE);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":31337}");
    EXPECT_SENDS(c, "t0", "t0");
}

/* --- who comes after a crash --- */

static void test_a_next_owner_goes_on_after_what_was_said(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, LINE LINE LINE);
    note(c, &q, r.epoch, "said", "1 51 t prompt");
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    EXPECT_SENDS(c, "t1", "t2");
}

static void test_a_next_owner_repeats_the_part_that_was_noted(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, LINE LINE LINE);
    note(c, &q, r.epoch, "said", "1 51 t prompt");
    note_ago(c, &q, r.epoch, "part", "1 51 t prompt", 0);
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    EXPECT_SENDS(c, "t1", "t2");
    assert_string_equal(c->calls[0].text, LINE);
}

static void test_a_next_owner_knows_what_the_user_perhaps_has_not(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, LINE LINE LINE);
    note(c, &q, r.epoch, "said", "2 102 t prompt 31337");
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"unknown\",\"code\":31337,\"messages\":3}");
    expect_undelivered(c, &q);
    EXPECT_SENDS(c, "t2");
}

/* Its uuid is forgotten by now: once more might be a second one. */
static void test_a_part_of_an_hour_ago_is_not_repeated(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, LINE LINE LINE);
    note_ago(c, &q, r.epoch, "part", "0 0 t prompt", HOUR_MS);
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"unknown\",\"code\":0,\"messages\":3}");
    expect_undelivered(c, &q);
    EXPECT_SENDS(c, "t1", "t2");
}

static void test_a_card_of_an_hour_ago_is_followed_by_text(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, "all");
    note_ago(c, &q, r.epoch, "card", "prompt", HOUR_MS);
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    EXPECT_SENDS(c, "t0");
    assert_string_equal(last_text(c), "all");
}

static void test_what_was_given_up_is_not_tried_again(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, "all");
    note(c, &q, r.epoch, "reply", "stop 230002");
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230002}");
    expect_undelivered(c, &q);
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
    answer(c, 0, "two");
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
    answer(c, 0, "all");
    expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(last_text(c), "LATE\n\nall");
    assert_null(stage_letter_of(c->stage, true, &q));
}

static void test_a_question_whose_worker_died_is_answered_after_its_time(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    q.deadline_ms = 500;
    struct store_reply r = rival(c, &q);
    (void)rig_put(c->stage->other, &q.stream, r.epoch, "one ", 500);
    note_ago(c, &q, r.epoch, "card", "prompt", 0);
    note(c, &q, r.epoch, "card_id", "m9~");
    stage_linger(c->stage, 700);
    stage_start_worker(c->stage);
    answer(c, 0, "one two");
    expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(last_text(c), "one two");
    assert_string_equal(c->calls[c->call_count - 1].message_id, "m9~");
}

static void test_an_answer_has_its_time_and_no_more(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, "one");
    expect_reply(c, &q, "\"outcome\":\"deadline\"");
    assert_string_equal(last_text(c), "one\n\nNOTICE");
    assert_string_equal(letter_of(c, true, &q)->reason, "deadline");
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
    assert_string_equal(letter_of(c, true, &q)->reason, "expired");
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
    struct store_reply r = rival(c, &q);
    (void)rig_put(c->stage->other, &q.stream, r.epoch, "one ", STAGE_LEASE_MS);
    note_ago(c, &q, r.epoch, "card", "prompt", 0);
    note(c, &q, r.epoch, "card_id", "m9~");
    stage_start_worker(c->stage);
    assert_string_equal(letter_of(c, true, &q)->reason, "expired");
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
    struct store_reply r = rival_end(c, &q, "all");
    note_ago(c, &q, r.epoch, "card", "prompt", 0);
    note(c, &q, r.epoch, "card_id", "m9~");
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(last_text(c), "all");
}

static void test_the_second_part_of_a_late_text_is_counted_with_its_beginning(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = rival_end(c, &q, LINE LINE);
    note(c, &q, r.epoch, "said", "1 57 t late"); /* LATE and a blank line, then a line */
    stage_start_worker(c->stage);
    expect_reply(c, &q, "\"messages\":2");
    EXPECT_SENDS(c, "t1");
    assert_string_equal(last_text(c), LINE);
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
    answer(c, 0, "two");
    expect_reply(c, &q, "\"messages\":1");
    assert_string_equal(last_text(c), "one two");
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
