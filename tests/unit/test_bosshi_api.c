/* Calls of BOSSHI's API, against a server whose every answer the test decides. */
#include "bosshi/bosshi_wire.h"
#include "support_bosshi.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <unistd.h>

/* --- forms --- */

static void sends_and_updates(void **state)
{
    struct scene *s = *state;
    struct outcome o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(o.message_id, "m1~");
    assert_string_equal(s->send.query, "chat_id u-1");
    assert_string_equal(s->send.authorization, "Bearer t-one");
    api_expect_body(&s->send, "{\"receive_id\":\"chat~\",\"msg_type\":\"text\","
                              "\"content\":{\"text\":\"a\"}}");
    api_expect_body(&s->token, "{\"app_id\":\"bli_1\",\"app_secret\":\"s3cret\"}");
    o = api_run_update(s, "m/1 ~");
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->other.path, "/open-apis/im/messages/m/1 ~/update");
    api_expect_body(&s->other,
                    "{\"content\":\"{\\\"modules\\\":[]}\",\"msg_type\":\"compressive_card\"}");
    assert_int_equal(s->token.count, 1);
}

static void encodes_ids_in_addresses(void **state)
{
    struct scene *s = *state;
    struct bosshi_outgoing m = api_text;
    char *url = bosshi_update_url(s->app, BYTES_LIT("a/b?c#\xe4~-_.%"));
    assert_string_equal(strstr(url, "/open"),
                        "/open-apis/im/messages/a%2Fb%3Fc%23%E4~-_.%25/update");
    free(url);
    m.uuid = BYTES_LIT("a&b");
    url = bosshi_send_url(s->app, &m);
    assert_non_null(strstr(url, "?receive_id_type=chat_id&uuid=a%26b"));
    free(url);
    api_configure(s, "\"uuid_in\":\"body\"");
    url = bosshi_send_url(s->app, &m);
    assert_null(strstr(url, "uuid"));
    free(url);
}

static void writes_what_is_configured(void **state)
{
    static const struct {
        const char *members;
        bool is_card;
        const char *body;
    } forms[] = {
        {"", true,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"compressive_card\","
         "\"content\":{\"text\":\"a\"}}"},
        {"\"content_encoding\":\"string\"", false,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"text\","
         "\"content\":\"{\\\"text\\\":\\\"a\\\"}\"}"},
        {"\"card_wrapper\":\"compressiveCardContent\"", true,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"compressive_card\",\"content\":{"
         "\"compressiveCardContent\":\"{\\\"text\\\":\\\"a\\\"}\"}}"},
        {"\"card_wrapper\":\"compressiveCardContent\",\"content_encoding\":\"string\"", true,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"compressive_card\",\"content\":"
         "\"{\\\"compressiveCardContent\\\":\\\"{\\\\\\\"text\\\\\\\":\\\\\\\"a\\\\\\\"}\\\"}"
         "\"}"},
        {"\"card_wrapper\":\"compressiveCardContent\"", false,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"text\",\"content\":{\"text\":\"a\"}}"},
        {"\"uuid_in\":\"body\"", false,
         "{\"receive_id\":\"chat~\",\"msg_type\":\"text\",\"content\":{\"text\":\"a\"},"
         "\"uuid\":\"u-1\"}"},
    };
    struct scene *s = *state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct bosshi_outgoing m = api_text;
        api_configure(s, forms[i].members);
        m.is_card = forms[i].is_card;
        struct outcome o = api_run(s, &m);
        api_expect(&o, BOSSHI_CALL_DONE, 0);
        api_expect_body(&s->send, forms[i].body);
    }
}

/* --- answers --- */

static void tells_answers_apart(void **state)
{
    static const struct {
        struct answer answer;
        enum bosshi_outcome text, card;
        int64_t code;
    } cases[] = {
        {{200, "{\"code\":0,\"message_id\":\"m\"}", NULL, NULL}, 0, 0, 0},
        {{200, "{}", NULL, NULL}, BOSSHI_CALL_DONE, BOSSHI_CALL_DONE, 0},
        {{200, "{\"success\":false}", NULL, NULL},
         BOSSHI_CALL_UNKNOWN,
         BOSSHI_CALL_UNKNOWN,
         200},
        {{200, "{\"code\":1.5}", NULL, NULL}, BOSSHI_CALL_UNKNOWN, BOSSHI_CALL_UNKNOWN, 200},
        {{200, "", NULL, NULL}, BOSSHI_CALL_UNKNOWN, BOSSHI_CALL_UNKNOWN, 200},
        {{200, "{\"code\":12345}", NULL, NULL}, BOSSHI_CALL_STOP, BOSSHI_CALL_NO_CARD, 12345},
        {{200, "{\"code\":230099}", NULL, NULL},
         BOSSHI_CALL_NO_CARD,
         BOSSHI_CALL_NO_CARD,
         230099},
        {{200, "{\"code\":230002}", NULL, NULL}, BOSSHI_CALL_STOP, BOSSHI_CALL_STOP, 230002},
        {{200, "{\"code\":230020}", NULL, NULL}, BOSSHI_CALL_RETRY, BOSSHI_CALL_RETRY, 230020},
        {{400, "{\"code\":99991400}", NULL, NULL},
         BOSSHI_CALL_RETRY,
         BOSSHI_CALL_RETRY,
         99991400},
        {{400, "{\"code\":230025}", NULL, NULL},
         BOSSHI_CALL_TOO_LONG,
         BOSSHI_CALL_TOO_LONG,
         230025},
        {{400, "{\"code\":230001}", NULL, NULL}, BOSSHI_CALL_STOP, BOSSHI_CALL_NO_CARD, 230001},
        {{400, "{\"code\":0}", NULL, NULL}, BOSSHI_CALL_STOP, BOSSHI_CALL_NO_CARD, 400},
        {{404, "", NULL, NULL}, BOSSHI_CALL_STOP, BOSSHI_CALL_NO_CARD, 404},
        {{302, "", "Location", "/x"}, BOSSHI_CALL_STOP, BOSSHI_CALL_NO_CARD, 302},
        {{429, "", NULL, NULL}, BOSSHI_CALL_RETRY, BOSSHI_CALL_RETRY, 429},
        {{500, "{\"code\":77}", NULL, NULL}, BOSSHI_CALL_UNKNOWN, BOSSHI_CALL_UNKNOWN, 77},
        {{502, "<html>", NULL, NULL}, BOSSHI_CALL_UNKNOWN, BOSSHI_CALL_UNKNOWN, 502},
        {{200, NULL, NULL, NULL}, BOSSHI_CALL_UNKNOWN, BOSSHI_CALL_UNKNOWN, 0},
    };
    struct scene *s = *state;
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct bosshi_outgoing m = api_text;
        m.is_card = i % 2 == 1;
        s->send.answers = &cases[i / 2].answer;
        s->send.answer_count = 1;
        struct outcome o = api_run(s, &m);
        api_expect(&o, m.is_card ? cases[i / 2].card : cases[i / 2].text, cases[i / 2].code);
        if (i < 2)
            assert_string_equal(o.message_id, "m");
    }
}

static void nobody_there_is_for_later(void **state)
{
    struct scene *s = *state;
    struct outcome o = api_run(s, &api_text);
    http_server_free(s->server);
    o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_RETRY, 0);
    struct http_options http = {.listen = "127.0.0.1:0", .max_connections = 8};
    s->server = http_server_new(s->loop, &http, &(struct http_callbacks){.arg = s}, NULL);
}

/* A server that keeps the connection of token and send, and hangs up on the update. */
struct hang_up {
    int listener, fd;
    struct buf in, repeated;
};

static void say(int fd, const char *body)
{
    char answer[512];
    snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    (void)peer_send(fd, bytes_of_str(answer));
}

static void answer_token_and_send(void *arg)
{
    struct hang_up *h = arg;
    h->fd = peer_accept(h->listener);
    (void)peer_read_until(h->fd, &h->in, "s3cret\"}");
    say(h->fd, api_good_token[0].body);
    (void)peer_read_until(h->fd, &h->in, "{\"text\":\"a\"}}");
    say(h->fd, api_good_send[0].body);
}

static void hang_up_on_update(void *arg)
{
    struct hang_up *h = arg;
    (void)peer_read_until(h->fd, &h->in, "_card\"}");
    (void)close(h->fd);
    h->fd = peer_accept(h->listener);
    (void)peer_read_until(h->fd, &h->repeated, "_card\"}");
    (void)close(h->fd);
}

/* The next one comes by the session's pace, which would not hold if HTTP repeated it. */
static void makes_a_call_once(void **state)
{
    struct scene *s = *state;
    struct hang_up h = {.listener = peer_listen(&s->port, 4)};
    struct outcome o;
    buf_init(&h.in, PEER_BYTES);
    buf_init(&h.repeated, PEER_BYTES);
    api_configure(s, "");
    api_start(s, &o, &api_text);
    peer_run(s->loop, answer_token_and_send, &h);
    loop_until(s->loop, api_are_all_done, s);
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    api_start_update(s, &o, "m1");
    peer_run(s->loop, hang_up_on_update, &h);
    loop_until(s->loop, api_are_all_done, s);
    api_expect(&o, BOSSHI_CALL_UNKNOWN, 0);
    assert_int_equal(count_text(&h.in, "/update HTTP"), 1);
    assert_int_equal(h.repeated.len, 0);
    (void)close(h.listener);
    buf_free(&h.in);
    buf_free(&h.repeated);
}

static void obeys_its_own_table(void **state)
{
    static const struct answer answers[] = {
        {200, "{\"code\":5,\"msg\":\"a \\\"b\\\"\\nc\",\"traceId\":\"t-9\"}", NULL, NULL},
        {200, "{\"code\":230002}", NULL, NULL},
        {200, "{\"code\":\"6\"}", NULL, NULL},
        {200, "{\"code\":7}", NULL, NULL},
    };
    struct scene *s = *state;
    api_configure(s, "\"api_errors\":{\"5\":\"retry\",\"230002\":\"done\",\"6\":\"no_card\","
                     "\"7\":\"too_long\"}");
    ANSWERS(s->send, answers);
    struct outcome o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_RETRY, 5);
    assert_string_equal(o.detail, "status 200, code 5, trace t-9: a  b  c");
    assert_int_equal(o.log_bytes, strlen("status 200, code 5, trace t-9"));
    o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_DONE, 230002);
    o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_NO_CARD, 6);
    o = api_run(s, &api_text);
    api_expect(&o, BOSSHI_CALL_TOO_LONG, 7);
}

static void hands_on_how_long_to_wait(void **state)
{
    static const struct answer answers[] = {
        {429, "{\"code\":99991400}", "x-ogw-ratelimit-reset", "7"},
        {503, "", "Retry-After", "3"},
        {200, SENT("m"), NULL, NULL},
    };
    struct scene *s = *state;
    ANSWERS(s->send, answers);
    assert_int_equal(api_run(s, &api_text).retry_after_ms, 7000);
    assert_int_equal(api_run(s, &api_text).retry_after_ms, 3000);
    assert_int_equal(api_run(s, &api_text).retry_after_ms, -1);
}

/* --- reply --- */

static void replies(void **state)
{
    struct scene *s = *state;
    struct bosshi_outgoing m = api_text;
    api_configure(s, "\"reply_mode\":\"reply\"");
    m.reply_to = BYTES_LIT("q1~");
    struct outcome o = api_run(s, &m);
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->other.path, "/open-apis/im/v2/messages/q1~/reply");
    assert_string_equal(s->other.query, " u-1");
    api_expect_body(&s->other, "{\"msg_type\":\"text\",\"content\":{\"text\":\"a\"}}");
    assert_int_equal(s->send.count, 0);
}

static struct outcome reply_to(struct scene *s, const char *message_id)
{
    struct bosshi_outgoing m = api_text;
    m.reply_to = bytes_of_str(message_id);
    struct outcome o = api_run(s, &m);
    api_expect(&o, BOSSHI_CALL_DONE, 0);
    return o;
}

static const struct answer not_found[] = {{404, "not found", NULL, NULL}};

static void a_message_that_is_not_found_is_answered_in_the_chat(void **state)
{
    struct scene *s = *state;
    api_configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, not_found);
    (void)reply_to(s, "q1~");
    assert_string_equal(s->send.query, "chat_id u-1");
    (void)reply_to(s, "q1~"); /* the same says nothing new */
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->other.count, 2);
    ANSWERS(s->other, api_good_send);
    (void)reply_to(s, "q2~");
    assert_int_equal(s->send.count, 2);
    ANSWERS(s->other, not_found);
    (void)reply_to(s, "q3~"); /* not in a row */
    ANSWERS(s->other, api_good_send);
    (void)reply_to(s, "q4~");
    assert_int_equal(s->send.count, 3);
    assert_int_equal(s->other.count, 1);
}

static void two_messages_that_are_not_found_are_the_path(void **state)
{
    struct scene *s = *state;
    api_configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, not_found);
    (void)reply_to(s, "q1~");
    (void)reply_to(s, "q2~");
    (void)reply_to(s, "q3~");
    assert_int_equal(s->send.count, 3);
    assert_int_equal(s->other.count, 2);
}

static void a_method_that_is_refused_is_the_path(void **state)
{
    static const struct answer refused[] = {{405, "", NULL, NULL}};
    struct scene *s = *state;
    api_configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, refused);
    (void)reply_to(s, "q1~");
    (void)reply_to(s, "q2~");
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->other.count, 1);
}

static void a_code_of_404_is_not_found_under_any_status(void **state)
{
    static const struct answer refused[] = {{200, "{\"code\":404}", NULL, NULL},
                                            {400, "{\"code\":404}", NULL, NULL}};
    struct scene *s = *state;
    api_configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, refused);
    (void)reply_to(s, "q1~");
    (void)reply_to(s, "q2~");
    (void)reply_to(s, "q3~");
    assert_int_equal(s->send.count, 3);
    assert_int_equal(s->other.count, 2);
}

/* --- pace --- */

static void paces_each_chat(void **state)
{
    struct scene *s = *state;
    api_configure(s, "\"chat_interval_ms\":200");
    int64_t first_ms = bosshi_pace(s->api, s->app, BYTES_LIT("a"));
    assert_int_equal(first_ms, loop_now_ms(s->loop));
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), first_ms + 200);
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("b")), first_ms);
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), first_ms + 400);
    bosshi_pace_over(s->api, s->app, BYTES_LIT("b"));
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("b")), first_ms + 200);
    api_configure(s, "\"chat_interval_ms\":0");
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), loop_now_ms(s->loop));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_set_up, api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sends_and_updates),
        TEST(encodes_ids_in_addresses),
        TEST(writes_what_is_configured),
        TEST(tells_answers_apart),
        TEST(nobody_there_is_for_later),
        TEST(makes_a_call_once),
        TEST(obeys_its_own_table),
        TEST(hands_on_how_long_to_wait),
        TEST(replies),
        TEST(a_message_that_is_not_found_is_answered_in_the_chat),
        TEST(two_messages_that_are_not_found_are_the_path),
        TEST(a_method_that_is_refused_is_the_path),
        TEST(a_code_of_404_is_not_found_under_any_status),
        TEST(paces_each_chat),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
