/* The tokens that calls of BOSSHI's API carry, against a server whose every answer the test
 * decides. */
#include "base/random.h"
#include "support_bosshi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void many_calls_share_one_token(void **state)
{
    struct scene *s = *state;
    struct outcome outcomes[20];
    for (size_t i = 0; i < 20; i++)
        api_start(s, &outcomes[i], &api_text);
    loop_until(s->loop, api_are_all_done, s);
    assert_int_equal(s->token.count, 1);
    assert_int_equal(s->send.count, 20);
}

static void a_refused_token_is_replaced_once(void **state)
{
    static const struct answer tokens[] = {{200, TOKEN("t-one", "7140"), NULL, NULL},
                                           {200, TOKEN("t-two", "7140"), NULL, NULL}};
    static const struct answer sends[] = {{200, SENT("m"), NULL, NULL},
                                          {200, "{\"code\":99991663}", NULL, NULL},
                                          {200, SENT("m"), NULL, NULL}};
    static const struct answer refused[] = {{401, "", NULL, NULL}};
    struct scene *s = *state;
    ANSWERS(s->token, tokens);
    ANSWERS(s->send, sends);
    (void)api_run(s, &api_text);
    struct outcome o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->send.authorization, "Bearer t-two");
    assert_int_equal(s->token.count, 2);
    assert_int_equal(s->send.count, 3);
    ANSWERS(s->send, refused);
    o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_REFRESH, 401);
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->token.count, 3);
}

static void a_token_is_renewed_before_its_end(void **state)
{
    static const struct answer tokens[] = {{200, TOKEN("t-one", "1"), NULL, NULL},
                                           {200, TOKEN("t-two", "7140"), NULL, NULL}};
    struct scene *s = *state;
    ANSWERS(s->token, tokens);
    (void)api_run(s, &api_text);
    (void)api_run(s, &api_text);
    assert_int_equal(s->token.count, 1);
    int64_t until_ms = loop_now_ms(s->loop) + 600; /* of 900 that it is used */
    while (loop_now_ms(s->loop) < until_ms)
        (void)api_run(s, &api_text);
    assert_int_equal(s->token.count, 2);
    (void)api_run(s, &api_text);
    (void)api_run(s, &api_text);
    assert_string_equal(s->send.authorization, "Bearer t-two");
    assert_int_equal(s->token.count, 2);
}

static void a_failing_token_call_is_not_repeated_by_all(void **state)
{
    static const struct answer tokens[] = {{500, "", NULL, NULL},
                                           {200, "{\"code\":10014}", NULL, NULL},
                                           {200, TOKEN("t-one", "7140"), NULL, NULL}};
    struct scene *s = *state;
    struct outcome outcomes[10];
    ANSWERS(s->token, tokens);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 10; i++)
            api_start(s, &outcomes[i], &api_text);
        loop_until(s->loop, api_are_all_done, s);
        for (size_t i = 0; i < 10; i++) {
            api_expect(&outcomes[i], BOSSHI_CALL_RETRY, 0);
            assert_true(outcomes[i].retry_after_ms >= 500);
        }
        assert_int_equal(s->token.count, 1);
    }
    while (s->send.count == 0)
        (void)api_run(s, &api_text);
    assert_int_equal(s->token.count, 3);
}

static void reads_tokens_wherever_they_are(void **state)
{
    static const struct {
        const char *nesting, *answer, *expected;
    } cases[] = {
        {"auto", "{\"code\":0,\"tenant_access_token\":\"t\",\"expire\":7140}", "Bearer t"},
        {"auto", "{\"tenant_access_token\":\"x\",\"data\":{\"tenant_access_token\":\"t\"}}",
         "Bearer t"},
        {"top", "{\"tenant_access_token\":\"t\",\"data\":{\"tenant_access_token\":\"x\"}}",
         "Bearer t"},
        {"data", "{\"tenant_access_token\":\"t\"}", NULL},
        {"auto", "{\"tenant_access_token\":\"a\\nb\"}", NULL},
        {"auto", "{\"tenant_access_token\":\"t\",\"expire\":0}", NULL},
        {"auto", "{\"code\":1,\"tenant_access_token\":\"t\"}", NULL},
    };
    struct scene *s = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char members[64];
        struct answer answer = {200, cases[i].answer, "Retry-After", "86400"};
        snprintf(members, sizeof(members), "\"token_nesting\":\"%s\"", cases[i].nesting);
        api_configure(s, members);
        bosshi_api_free(s->api);
        s->api = bosshi_api_new(s->loop, s->pool);
        s->token.answers = &answer;
        struct outcome o = api_run(s, &api_text);
        api_expect(&o, cases[i].expected ? BOSSHI_CALL_DONE : BOSSHI_CALL_RETRY, 0);
        assert_int_equal(o.retry_after_ms, cases[i].expected ? -1 : 300000); /* of a day */
        if (cases[i].expected)
            assert_string_equal(s->send.authorization, cases[i].expected);
    }
}

static void tenants_have_tokens_of_their_own(void **state)
{
    struct scene *s = *state;
    struct outcome o = {.scene = s};
    api_configure(s, "\"token_with_tenant\":true");
    (void)api_run(s, &api_text);
    api_expect_body(
        &s->token,
        "{\"app_id\":\"bli_1\",\"app_secret\":\"s3cret\",\"tenant_key\":\"tenant\"}");
    s->wanted++;
    o.call = bosshi_send(s->api, s->app, BYTES_LIT("other"), &api_text, api_on_result, &o);
    loop_until(s->loop, api_are_all_done, s);
    assert_int_equal(s->token.count, 2);
}

static void a_cancelled_call_says_nothing(void **state)
{
    struct scene *s = *state;
    struct outcome waiting, sending;
    api_start(s, &waiting, &api_text);
    s->wanted--;
    bosshi_cancel(waiting.call);
    (void)api_run(s, &api_text);
    api_start(s, &sending, &api_text);
    s->wanted--;
    bosshi_cancel(sending.call);
    (void)api_run(s, &api_text);
    assert_false(waiting.is_done || sending.is_done);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_set_up, api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_calls_share_one_token),
        TEST(a_refused_token_is_replaced_once),
        TEST(a_token_is_renewed_before_its_end),
        TEST(a_failing_token_call_is_not_repeated_by_all),
        TEST(reads_tokens_wherever_they_are),
        TEST(tenants_have_tokens_of_their_own),
        TEST(a_cancelled_call_says_nothing),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
