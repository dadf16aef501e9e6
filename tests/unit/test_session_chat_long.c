/* Messages that the platform refuses as too long, though they are within the limit that is
 * configured: the same stage as test_session_chat.c. */
#include "support_chat.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TOO_LONG "{\"code\":230025}"
#define LINE "01234567890123456789012345678901234567890123456789\n" /* 51 */
#define TWELVE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE
#define OF_1000 "\"card_limit\":1000,\"text_limit\":1000,\"text_limit_unit\":\"bytes\""

static int set_up_cards(void **state)
{
    *state = chat_open(stage_open(), OF_1000);
    return 0;
}

static int set_up_texts(void **state)
{
    *state = chat_open(stage_open(), OF_1000 ",\"stream\":\"final\"");
    return 0;
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

/* The calls from the first on say the whole, one after the other, in messages of their own. */
static void expect_whole(const struct chat *c, size_t first, const char *whole)
{
    struct buf said;
    buf_init(&said, CHAT_CALLS * CHAT_TEXT_BYTES);
    for (size_t i = first; i < c->call_count; i++)
        buf_append_str(&said, c->calls[i].text);
    assert_true(bytes_eq_str(buf_bytes(&said), whole));
    buf_free(&said);
}

static void test_a_text_that_is_too_long_is_said_in_shorter_ones(void **state)
{
    static const struct chat_plan plan[] = {{400, TOO_LONG, NULL}, {400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, TWELVE);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":11}");
    assert_null(stage_letter_of(c->stage, true, &q));
    assert_int_equal(c->call_count, 2 + 11);
    assert_string_equal(c->calls[0].uuid, "t0");
    assert_string_equal(c->calls[1].uuid, "t0.306");
    assert_string_equal(c->calls[1].text, LINE LINE LINE LINE LINE);
    assert_string_equal(c->calls[2].uuid, "t0.127");
    assert_string_equal(c->calls[3].uuid, "t1.127");
    expect_whole(c, 2, TWELVE);
}

static void test_a_later_text_that_is_too_long_goes_on_where_it_was(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, TWELVE TWELVE);
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(c->calls[0].uuid, "t0");
    assert_string_equal(c->calls[1].uuid, "t1");
    assert_memory_equal(c->calls[2].uuid, "t1.", 3);
    size_t first = strlen(c->calls[0].text);
    expect_whole(c, 2, &TWELVE TWELVE[first]);
}

/* What is no longer than any limit may be is not refused for its length. */
static void test_a_short_text_that_is_too_long_ends_it(void **state)
{
    static const struct chat_plan plan[] = {
        {400, TOO_LONG, NULL}, {400, TOO_LONG, NULL}, {400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, TWELVE);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"stop\",\"code\":230025}");
    chat_expect_undelivered(c, &q);
    CHAT_EXPECT_SENDS(c, "t0", "t0.306", "t0.127");
}

static void test_a_first_card_that_is_too_long_is_a_shorter_one(void **state)
{
    static const struct chat_plan plan[] = {{400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, TWELVE);
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_string_equal(c->calls[0].uuid, "c0");
    assert_memory_equal(c->calls[1].uuid, "c0.", 3);
    for (size_t i = 0; i < c->call_count; i++)
        assert_true(c->calls[i].is_card);
    assert_string_equal(chat_last_text(c), LINE LINE);
}

/* What it shows it keeps while the answer grows, and the rest follows it in further cards. */
static void test_a_card_that_became_too_long_is_followed_by_others(void **state)
{
    static const struct chat_plan plan[] = {{200, NULL, NULL}, {400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    stage_await_calls(c->stage, 1);
    stage_say(c->stage, 0, TWELVE);
    chat_await_calls(c, 1);
    stage_say(c->stage, 0, LINE);
    chat_await_calls(c, 2);
    stage_linger(c->stage, 300);
    assert_int_equal(c->call_count, 2);
    chat_answer(c, 0, LINE);
    chat_expect_reply(c, &q, "\"outcome\":\"done\"");
    assert_int_equal(c->calls[2].kind, CHAT_UPDATE);
    assert_memory_equal(c->calls[3].uuid, "c1.", 3);
    expect_whole(c, 2, TWELVE LINE LINE);
}

static void test_a_short_card_that_is_too_long_is_text(void **state)
{
    static const struct chat_plan plan[] = {{400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    chat_ask(c, &q);
    chat_answer(c, 0, "all");
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    CHAT_EXPECT_SENDS(c, "c0", "t0");
}

/* The earlier owner's may have been shorter, and be in the chat: no other card. */
static void test_a_repeated_card_that_is_too_long_is_followed_by_text(void **state)
{
    static const struct chat_plan plan[] = {{400, TOO_LONG, NULL}};
    struct chat *c = *state;
    struct stage_question q = one();
    CHAT_PLAN(c, plan);
    struct store_reply r = chat_rival_end(c, &q, TWELVE);
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt", 0);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":1}");
    CHAT_EXPECT_SENDS(c, "c0", "t0");
    assert_string_equal(chat_last_text(c), TWELVE);
}

/* --- who comes after a crash --- */

static void test_a_next_owner_repeats_the_shortened_part(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, TWELVE);
    chat_rig_note_ago(c, &q, r.epoch, "part", "0 0 t306 prompt", 0);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    CHAT_EXPECT_SENDS(c, "t0.306", "t1.306", "t2.306");
    assert_string_equal(c->calls[0].text, LINE LINE LINE LINE LINE);
    expect_whole(c, 0, TWELVE);
}

static void test_a_next_owner_goes_on_with_the_shortened_limit(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, TWELVE);
    chat_rig_note(c, &q, r.epoch, "said", "1 255 t306 prompt");
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    CHAT_EXPECT_SENDS(c, "t1.306", "t2.306");
    expect_whole(c, 0, &TWELVE[255]);
}

static void test_a_next_owner_repeats_the_shortened_card(void **state)
{
    struct chat *c = *state;
    struct stage_question q = one();
    struct store_reply r = chat_rival_end(c, &q, TWELVE);
    chat_rig_note_ago(c, &q, r.epoch, "card", "prompt c306", 0);
    stage_start_worker(c->stage);
    chat_expect_reply(c, &q, "\"reply\":{\"outcome\":\"done\",\"code\":0,\"messages\":3}");
    assert_string_equal(c->calls[0].uuid, "c0.306");
    assert_int_equal(c->calls[1].kind, CHAT_UPDATE); /* what the first has shown is not known */
    expect_whole(c, 1, TWELVE);
}

#define CARD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_cards, tear_down)
#define TEXT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_texts, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEXT_TEST(test_a_text_that_is_too_long_is_said_in_shorter_ones),
        TEXT_TEST(test_a_later_text_that_is_too_long_goes_on_where_it_was),
        TEXT_TEST(test_a_short_text_that_is_too_long_ends_it),
        CARD_TEST(test_a_first_card_that_is_too_long_is_a_shorter_one),
        CARD_TEST(test_a_card_that_became_too_long_is_followed_by_others),
        CARD_TEST(test_a_short_card_that_is_too_long_is_text),
        CARD_TEST(test_a_repeated_card_that_is_too_long_is_followed_by_text),
        TEXT_TEST(test_a_next_owner_repeats_the_shortened_part),
        TEXT_TEST(test_a_next_owner_goes_on_with_the_shortened_limit),
        CARD_TEST(test_a_next_owner_repeats_the_shortened_card),
    };
    return cmocka_run_group_tests(tests, stage_group_begin, stage_group_end);
}
