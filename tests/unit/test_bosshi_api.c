/* Calls of BOSSHI's API and the tokens they carry, against a server whose every answer the test
 * decides. */
#include "base/random.h"
#include "bosshi_api.h"
#include "bosshi_wire.h"
#include "support_config.h"
#include "support_fetch.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum { REQUESTS = 64, SERVER_BODY_BYTES = 1 << 20 };
#define TOKEN_PATH "/open-apis/auth/tenant_access_token/internal"
#define SEND_PATH "/open-apis/im/v2/messages"
#define TOKEN(name, seconds)                                                 \
    "{\"code\":0,\"success\":true,\"data\":{\"tenant_access_token\":\"" name \
    "\",\"expire\":" seconds "}}"
#define SENT(id) "{\"code\":0,\"traceId\":\"t-1\",\"data\":{\"message_id\":\"" id "\"}}"

struct answer {
    int status;
    const char *body; /* NULL: none comes */
    const char *header, *value;
};

/* What came for one path, and what is said to it, in order; the last answer stays. */
struct route {
    const struct answer *answers;
    size_t answer_count, count;
    char path[128], query[128], authorization[64];
    struct buf body;
};

struct outcome {
    struct scene *scene;
    struct bosshi_call *call;
    bool is_done;
    enum bosshi_outcome outcome;
    int64_t code, retry_after_ms, log_bytes;
    char message_id[64];
    char detail[BOSSHI_DETAIL_BYTES];
};

struct scene {
    struct loop *loop;
    struct fetch_pool *pool;
    struct http_server *server;
    struct config *config;
    const struct config_bosshi *app;
    struct bosshi_api *api;
    struct route token, send, other;
    size_t done, wanted;
};

static void keep(char *out, size_t size, struct bytes text)
{
    snprintf(out, size, BYTES_FMT, BYTES_ARG(text));
}

static void take(struct route *r, struct http_request *req)
{
    struct bytes value = BYTES_LIT(""), uuid = BYTES_LIT("");
    keep(r->path, sizeof(r->path), http_path(req));
    (void)http_query(req, "receive_id_type", &value);
    (void)http_query(req, "uuid", &uuid);
    snprintf(r->query, sizeof(r->query), BYTES_FMT " " BYTES_FMT, BYTES_ARG(value),
             BYTES_ARG(uuid));
    keep(r->authorization, sizeof(r->authorization), http_header(req, "authorization"));
    buf_reset(&r->body);
    buf_append(&r->body, http_body(req));
    size_t turn = r->count++;
    const struct answer *a = &r->answers[turn < r->answer_count ? turn : r->answer_count - 1];
    if (a->header)
        http_reply_header(req, a->header, a->value);
    if (a->body)
        http_reply_text(req, a->status, "application/json", bytes_of_str(a->body));
}

static void on_request(struct http_request *req, void *arg)
{
    struct scene *s = arg;
    struct bytes path = http_path(req);
    take(bytes_eq_str(path, TOKEN_PATH)  ? &s->token
         : bytes_eq_str(path, SEND_PATH) ? &s->send
                                         : &s->other,
         req);
}

#define ANSWERS(route, list)                                     \
    do {                                                         \
        (route).answers = (list);                                \
        (route).answer_count = sizeof(list) / sizeof((list)[0]); \
        (route).count = 0;                                       \
    } while (0)

static const struct answer good_token[] = {{200, TOKEN("t-one", "7140"), NULL, NULL}};
static const struct answer good_send[] = {{200, SENT("m1~"), NULL, NULL}};

static void configure(struct scene *s, const char *members)
{
    struct buf bots;
    buf_init(&bots, 4096);
    buf_printf(&bots,
               "[{\"name\":\"erp\",\"platform\":\"bosshi\",\"app_id\":\"bli_1\","
               "\"app_secret\":\"s3cret\",\"verification_token\":\"v\",\"pipeline\":\"main\","
               "\"api_base\":\"http://127.0.0.1:%u\",\"api_timeout_ms\":400%s%s}]",
               http_server_port(s->server), members[0] ? "," : "", members);
    buf_append_char(&bots, '\0');
    config_unref(s->config);
    s->config = config_load_good(&(struct parts){.bots = bots.ptr});
    s->app = &s->config->bots[0].bosshi;
    buf_free(&bots);
}

static int set_up(void **state)
{
    struct scene *s = BRG_NEW(struct scene);
    struct fetch_options fetch = {.max_idle_connections = 4};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .max_body_bytes = SERVER_BODY_BYTES,
                                .max_connections = 64,
                                .idle_timeout_s = 60};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = s};
    struct route *const routes[] = {&s->token, &s->send, &s->other};
    s->loop = loop_new();
    s->pool = fetch_pool_new(s->loop, &fetch);
    s->server = http_server_new(s->loop, &http, &callbacks, NULL);
    s->api = bosshi_api_new(s->loop, s->pool);
    for (size_t i = 0; i < 3; i++)
        buf_init(&routes[i]->body, SERVER_BODY_BYTES);
    configure(s, "");
    ANSWERS(s->token, good_token);
    ANSWERS(s->send, good_send);
    ANSWERS(s->other, good_send);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    bosshi_api_free(s->api);
    fetch_pool_free(s->pool);
    http_server_free(s->server);
    loop_free(s->loop);
    config_unref(s->config);
    buf_free(&s->token.body);
    buf_free(&s->send.body);
    buf_free(&s->other.body);
    free(s);
    return 0;
}

static void on_result(const struct bosshi_result *r, void *arg)
{
    struct outcome *o = arg;
    assert_false(o->is_done);
    assert_null(strstr(r->detail, "s3cret"));
    o->is_done = true;
    o->outcome = r->outcome;
    o->code = r->code;
    o->retry_after_ms = r->retry_after_ms;
    keep(o->message_id, sizeof(o->message_id), r->message_id);
    snprintf(o->detail, sizeof(o->detail), "%s", r->detail);
    o->log_bytes = (int64_t)r->log_bytes;
    o->scene->done++;
}

static bool are_all_done(void *arg)
{
    struct scene *s = arg;
    return s->done == s->wanted;
}

static const struct bosshi_outgoing text_message = {
    .content = {"{\"text\":\"a\"}", 12},
    .receive_id_type = BOSSHI_CHAT_ID,
    .receive_id = {"chat~", 5},
    .uuid = {"u-1", 3},
};

static void start(struct scene *s, struct outcome *o, const struct bosshi_outgoing *m)
{
    *o = (struct outcome){.scene = s};
    s->wanted++;
    o->call = bosshi_send(s->api, s->app, BYTES_LIT("tenant"), m, on_result, o);
}

static struct outcome run(struct scene *s, const struct bosshi_outgoing *m)
{
    struct outcome o;
    start(s, &o, m);
    loop_until(s->loop, are_all_done, s);
    return o;
}

static struct outcome run_update(struct scene *s, const char *message_id)
{
    struct outcome o = {.scene = s};
    s->wanted++;
    o.call = bosshi_update(s->api, s->app, BYTES_LIT("tenant"), bytes_of_str(message_id),
                           BYTES_LIT("{\"modules\":[]}"), on_result, &o);
    loop_until(s->loop, are_all_done, s);
    return o;
}

static void expect(const struct outcome *o, enum bosshi_outcome outcome, int64_t code)
{
    if (o->outcome != outcome || o->code != code)
        fail_msg("%s %" PRId64 " (%s), expected %s %" PRId64, bosshi_outcome_name(o->outcome),
                 o->code, o->detail, bosshi_outcome_name(outcome), code);
}

static void expect_body(const struct route *r, const char *body)
{
    if (!bytes_eq_str(buf_bytes(&r->body), body))
        fail_msg("body " BYTES_FMT, BYTES_ARG(buf_bytes(&r->body)));
}

/* --- forms --- */

static void sends_and_updates(void **state)
{
    struct scene *s = *state;
    struct outcome o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(o.message_id, "m1~");
    assert_string_equal(s->send.query, "chat_id u-1");
    assert_string_equal(s->send.authorization, "Bearer t-one");
    expect_body(&s->send, "{\"receive_id\":\"chat~\",\"msg_type\":\"text\","
                          "\"content\":{\"text\":\"a\"}}");
    expect_body(&s->token, "{\"app_id\":\"bli_1\",\"app_secret\":\"s3cret\"}");
    o = run_update(s, "m/1 ~");
    expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->other.path, "/open-apis/im/messages/m/1 ~/update");
    expect_body(&s->other,
                "{\"content\":\"{\\\"modules\\\":[]}\",\"msg_type\":\"compressive_card\"}");
    assert_int_equal(s->token.count, 1);
}

static void encodes_ids_in_addresses(void **state)
{
    struct scene *s = *state;
    struct bosshi_outgoing m = text_message;
    char *url = bosshi_update_url(s->app, BYTES_LIT("a/b?c#\xe4~-_.%"));
    assert_string_equal(strstr(url, "/open"),
                        "/open-apis/im/messages/a%2Fb%3Fc%23%E4~-_.%25/update");
    free(url);
    m.uuid = BYTES_LIT("a&b");
    url = bosshi_send_url(s->app, &m);
    assert_non_null(strstr(url, "?receive_id_type=chat_id&uuid=a%26b"));
    free(url);
    configure(s, "\"uuid_in\":\"body\"");
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
        struct bosshi_outgoing m = text_message;
        configure(s, forms[i].members);
        m.is_card = forms[i].is_card;
        struct outcome o = run(s, &m);
        expect(&o, BOSSHI_CALL_DONE, 0);
        expect_body(&s->send, forms[i].body);
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
        struct bosshi_outgoing m = text_message;
        m.is_card = i % 2 == 1;
        s->send.answers = &cases[i / 2].answer;
        s->send.answer_count = 1;
        struct outcome o = run(s, &m);
        expect(&o, m.is_card ? cases[i / 2].card : cases[i / 2].text, cases[i / 2].code);
        if (i < 2)
            assert_string_equal(o.message_id, "m");
    }
}

static void nobody_there_is_for_later(void **state)
{
    struct scene *s = *state;
    struct outcome o = run(s, &text_message);
    http_server_free(s->server);
    o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_RETRY, 0);
    struct http_options http = {.listen = "127.0.0.1:0", .max_connections = 8};
    s->server = http_server_new(s->loop, &http, &(struct http_callbacks){.arg = s}, NULL);
}

static void obeys_its_own_table(void **state)
{
    static const struct answer answers[] = {
        {200, "{\"code\":5,\"msg\":\"a \\\"b\\\"\\nc\",\"traceId\":\"t-9\"}", NULL, NULL},
        {200, "{\"code\":230002}", NULL, NULL},
        {200, "{\"code\":\"6\"}", NULL, NULL},
    };
    struct scene *s = *state;
    configure(s, "\"api_errors\":{\"5\":\"retry\",\"230002\":\"done\",\"6\":\"no_card\"}");
    ANSWERS(s->send, answers);
    struct outcome o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_RETRY, 5);
    assert_string_equal(o.detail, "status 200, code 5, trace t-9: a  b  c");
    assert_int_equal(o.log_bytes, strlen("status 200, code 5, trace t-9"));
    o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_DONE, 230002);
    o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_NO_CARD, 6);
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
    assert_int_equal(run(s, &text_message).retry_after_ms, 7000);
    assert_int_equal(run(s, &text_message).retry_after_ms, 3000);
    assert_int_equal(run(s, &text_message).retry_after_ms, -1);
}

/* --- reply --- */

static void replies(void **state)
{
    struct scene *s = *state;
    struct bosshi_outgoing m = text_message;
    configure(s, "\"reply_mode\":\"reply\"");
    m.reply_to = BYTES_LIT("q1~");
    struct outcome o = run(s, &m);
    expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->other.path, "/open-apis/im/v2/messages/q1~/reply");
    assert_string_equal(s->other.query, " u-1");
    expect_body(&s->other, "{\"msg_type\":\"text\",\"content\":{\"text\":\"a\"}}");
    assert_int_equal(s->send.count, 0);
}

static struct outcome reply_to(struct scene *s, const char *message_id)
{
    struct bosshi_outgoing m = text_message;
    m.reply_to = bytes_of_str(message_id);
    struct outcome o = run(s, &m);
    expect(&o, BOSSHI_CALL_DONE, 0);
    return o;
}

static const struct answer not_found[] = {{404, "not found", NULL, NULL}};

static void a_message_that_is_not_found_is_answered_in_the_chat(void **state)
{
    struct scene *s = *state;
    configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, not_found);
    (void)reply_to(s, "q1~");
    assert_string_equal(s->send.query, "chat_id u-1");
    (void)reply_to(s, "q1~"); /* the same says nothing new */
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->other.count, 2);
    ANSWERS(s->other, good_send);
    (void)reply_to(s, "q2~");
    assert_int_equal(s->send.count, 2);
    ANSWERS(s->other, not_found);
    (void)reply_to(s, "q3~"); /* not in a row */
    ANSWERS(s->other, good_send);
    (void)reply_to(s, "q4~");
    assert_int_equal(s->send.count, 3);
    assert_int_equal(s->other.count, 1);
}

static void two_messages_that_are_not_found_are_the_path(void **state)
{
    struct scene *s = *state;
    configure(s, "\"reply_mode\":\"reply\"");
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
    configure(s, "\"reply_mode\":\"reply\"");
    ANSWERS(s->other, refused);
    (void)reply_to(s, "q1~");
    (void)reply_to(s, "q2~");
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->other.count, 1);
}

/* --- tokens --- */

static void many_calls_share_one_token(void **state)
{
    struct scene *s = *state;
    struct outcome outcomes[20];
    for (size_t i = 0; i < 20; i++)
        start(s, &outcomes[i], &text_message);
    loop_until(s->loop, are_all_done, s);
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
    (void)run(s, &text_message);
    struct outcome o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_DONE, 0);
    assert_string_equal(s->send.authorization, "Bearer t-two");
    assert_int_equal(s->token.count, 2);
    assert_int_equal(s->send.count, 3);
    ANSWERS(s->send, refused);
    o = run(s, &text_message);
    expect(&o, BOSSHI_CALL_REFRESH, 401);
    assert_int_equal(s->send.count, 2);
    assert_int_equal(s->token.count, 3);
}

static void a_token_is_renewed_before_its_end(void **state)
{
    static const struct answer tokens[] = {{200, TOKEN("t-one", "1"), NULL, NULL},
                                           {200, TOKEN("t-two", "7140"), NULL, NULL}};
    struct scene *s = *state;
    ANSWERS(s->token, tokens);
    (void)run(s, &text_message);
    (void)run(s, &text_message);
    assert_int_equal(s->token.count, 1);
    int64_t until_ms = loop_now_ms(s->loop) + 600; /* of 900 that it is used */
    while (loop_now_ms(s->loop) < until_ms)
        (void)run(s, &text_message);
    assert_int_equal(s->token.count, 2);
    (void)run(s, &text_message);
    (void)run(s, &text_message);
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
            start(s, &outcomes[i], &text_message);
        loop_until(s->loop, are_all_done, s);
        for (size_t i = 0; i < 10; i++) {
            expect(&outcomes[i], BOSSHI_CALL_RETRY, 0);
            assert_true(outcomes[i].retry_after_ms >= 500);
        }
        assert_int_equal(s->token.count, 1);
    }
    while (s->send.count == 0)
        (void)run(s, &text_message);
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
        configure(s, members);
        bosshi_api_free(s->api);
        s->api = bosshi_api_new(s->loop, s->pool);
        s->token.answers = &answer;
        struct outcome o = run(s, &text_message);
        expect(&o, cases[i].expected ? BOSSHI_CALL_DONE : BOSSHI_CALL_RETRY, 0);
        assert_int_equal(o.retry_after_ms, cases[i].expected ? -1 : 300000); /* of a day */
        if (cases[i].expected)
            assert_string_equal(s->send.authorization, cases[i].expected);
    }
}

static void tenants_have_tokens_of_their_own(void **state)
{
    struct scene *s = *state;
    struct outcome o = {.scene = s};
    configure(s, "\"token_with_tenant\":true");
    (void)run(s, &text_message);
    expect_body(&s->token,
                "{\"app_id\":\"bli_1\",\"app_secret\":\"s3cret\",\"tenant_key\":\"tenant\"}");
    s->wanted++;
    o.call = bosshi_send(s->api, s->app, BYTES_LIT("other"), &text_message, on_result, &o);
    loop_until(s->loop, are_all_done, s);
    assert_int_equal(s->token.count, 2);
}

static void a_cancelled_call_says_nothing(void **state)
{
    struct scene *s = *state;
    struct outcome waiting, sending;
    start(s, &waiting, &text_message);
    s->wanted--;
    bosshi_cancel(waiting.call);
    (void)run(s, &text_message);
    start(s, &sending, &text_message);
    s->wanted--;
    bosshi_cancel(sending.call);
    (void)run(s, &text_message);
    assert_false(waiting.is_done || sending.is_done);
}

/* --- pace --- */

static void paces_each_chat(void **state)
{
    struct scene *s = *state;
    configure(s, "\"chat_interval_ms\":200");
    int64_t first_ms = bosshi_pace(s->api, s->app, BYTES_LIT("a"));
    assert_int_equal(first_ms, loop_now_ms(s->loop));
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), first_ms + 200);
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("b")), first_ms);
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), first_ms + 400);
    bosshi_pace_over(s->api, s->app, BYTES_LIT("b"));
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("b")), first_ms + 200);
    configure(s, "\"chat_interval_ms\":0");
    assert_int_equal(bosshi_pace(s->api, s->app, BYTES_LIT("a")), loop_now_ms(s->loop));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sends_and_updates),
        TEST(encodes_ids_in_addresses),
        TEST(writes_what_is_configured),
        TEST(tells_answers_apart),
        TEST(nobody_there_is_for_later),
        TEST(obeys_its_own_table),
        TEST(hands_on_how_long_to_wait),
        TEST(replies),
        TEST(a_message_that_is_not_found_is_answered_in_the_chat),
        TEST(two_messages_that_are_not_found_are_the_path),
        TEST(a_method_that_is_refused_is_the_path),
        TEST(many_calls_share_one_token),
        TEST(a_refused_token_is_replaced_once),
        TEST(a_token_is_renewed_before_its_end),
        TEST(a_failing_token_call_is_not_repeated_by_all),
        TEST(reads_tokens_wherever_they_are),
        TEST(tenants_have_tokens_of_their_own),
        TEST(a_cancelled_call_says_nothing),
        TEST(paces_each_chat),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
