/* Calls to response_url: which addresses, what is posted, and what each answer means. */
#include "delivery.h"
#include "metrics/metrics.h"
#include "support_config.h"
#include "support_fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SECTION(members) "\"response_url\":{" members "}"
#define ANYWHERE "\"hosts\":[\"127.0.0.1\"],\"allow_http\":true,"
#define SECRET "?response_code=s3cret"

static struct config *config_with(const char *section)
{
    return config_load_good(&(struct parts){.more = section});
}

/* --- addresses --- */

struct rule {
    const char *url;
    const char *refusal; /* NULL: may be called */
};

static void expect_rules(const char *section, const struct rule *rules, size_t count)
{
    struct config *config = config_with(section);
    for (size_t i = 0; i < count; i++) {
        const char *refusal = delivery_refusal(config, bytes_of_str(rules[i].url));
        const char *expected = rules[i].refusal;
        if (!refusal != !expected || (refusal && strcmp(refusal, expected) != 0))
            fail_msg("%s: %s, expected %s", rules[i].url, refusal ? refusal : "called",
                     expected ? expected : "called");
    }
    config_unref(config);
}

#define RULES(section, rules) expect_rules(section, rules, sizeof(rules) / sizeof((rules)[0]))

static void allows_the_platform_alone(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=x", NULL},
        {"HTTPS://QYAPI.weixin.QQ.com", NULL},
        {"https://qyapi.weixin.qq.com:8443/x", NULL},
        {"https://a.qyapi.weixin.qq.com?x=@y", NULL},
        {"http://qyapi.weixin.qq.com/", "not https"},
        {"ftp://qyapi.weixin.qq.com/", "neither http nor https"},
        {"//qyapi.weixin.qq.com/", "neither http nor https"},
        {"", "neither http nor https"},
        {"https://", "malformed"},
        {"https:///qyapi.weixin.qq.com/", "malformed"},
        {"https://:443/", "malformed"},
        {"https://weixin.qq.com/", "host not allowed"},
        {"https://xqyapi.weixin.qq.com/", "host not allowed"},
        {"https://qyapi.weixin.qq.com.evil.example/", "host not allowed"},
        {"https://qyapi.weixin.qq.com./", "host not allowed"},
        {"https://evil.example/qyapi.weixin.qq.com", "host not allowed"},
        {"https://evil.example?qyapi.weixin.qq.com", "host not allowed"},
        {"https://evil.example#.qyapi.weixin.qq.com", "host not allowed"},
        {"https://127.0.0.1/", "host not allowed"},
        {"https://evil.example@qyapi.weixin.qq.com/", "names a user"},
        {"https://qyapi.weixin.qq.com@evil.example/", "names a user"},
        {"https://u:p@qyapi.weixin.qq.com/", "names a user"},
        {"https://evil.example\\@qyapi.weixin.qq.com/", "malformed"},
        {"https://evil.example\\.qyapi.weixin.qq.com/", "malformed"},
        {"https://qyapi.weixin.qq.com:/", "malformed"},
        {"https://qyapi.weixin.qq.com:0/", "malformed"},
        {"https://qyapi.weixin.qq.com:65536/", "malformed"},
        {"https://qyapi.weixin.qq.com:80:80/", "malformed"},
        {"https://qyapi.weixin.qq.com:4 3/", "malformed"},
        {"https://[::1]/", "malformed"},
        {"https://evil%2eqyapi.weixin.qq.com/", "malformed"},
        {"https://\xe2\x80\x8bqyapi.weixin.qq.com/", "malformed"},
        {"https://qyapi.weixin.qq.com/\r\nX: y", "malformed"},
        {" https://qyapi.weixin.qq.com/", "malformed"},
        {"https://qyapi.weixin.qq.com/a b", "malformed"},
    };
    RULES(NULL, rules);
}

static void allows_what_is_configured(void **state)
{
    (void)state;
    static const struct rule tests[] = {
        {"http://127.0.0.1:8080/x", NULL},
        {"http://1.127.0.0.1/x", "host not allowed"},
        {"https://qyapi.weixin.qq.com/", "host not allowed"},
        {"https://a.b.example/", NULL},
        {"https://b.example/", NULL},
        {"https://ab.example/", "host not allowed"},
    };
    static const struct rule none[] = {{"https://qyapi.weixin.qq.com/", "host not allowed"}};
    RULES(SECTION("\"hosts\":[\"127.0.0.1\",\"b.example\"],\"allow_http\":true"), tests);
    RULES(SECTION("\"hosts\":[]"), none);
}

/* --- calls --- */

struct scene {
    struct loop *loop;
    struct fetch_pool *pool;
    struct http_server *server;
    struct config *config;
    const char *answer; /* NULL: none */
    int status;
    unsigned uses;
    struct buf body;
    char type[64];
    struct delivery *call;
    bool is_done;
    enum delivery_outcome outcome;
    int64_t code;
};

static void on_request(struct http_request *req, void *arg)
{
    struct scene *s = arg;
    s->uses++;
    buf_reset(&s->body);
    buf_append(&s->body, http_body(req));
    snprintf(s->type, sizeof(s->type), BYTES_FMT, BYTES_ARG(http_header(req, "content-type")));
    if (s->status == 302)
        http_reply_header(req, "Location", "/again");
    if (s->answer)
        http_reply_text(req, s->status, "application/json", bytes_of_str(s->answer));
}

static void on_outcome(enum delivery_outcome outcome, int64_t code, const char *detail,
                       void *arg)
{
    struct scene *s = arg;
    assert_false(s->is_done);
    assert_null(strstr(detail, "s3cret"));
    s->is_done = true;
    s->outcome = outcome;
    s->code = code;
}

static bool is_scene_done(void *arg)
{
    return ((struct scene *)arg)->is_done;
}

static int set_up(void **state)
{
    struct scene *s = BRG_NEW(struct scene);
    struct fetch_options fetch = {.max_idle_connections = 4};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .max_body_bytes = 1 << 20,
                                .max_connections = 8,
                                .idle_timeout_s = 60};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = s};
    s->loop = loop_new();
    s->pool = fetch_pool_new(s->loop, &fetch);
    s->server = http_server_new(s->loop, &http, &callbacks, NULL);
    assert_non_null(s->server);
    s->config = config_with(SECTION(ANYWHERE "\"allow_private\":true,\"timeout_ms\":300"));
    buf_init(&s->body, 1 << 20);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    fetch_pool_free(s->pool);
    http_server_free(s->server);
    loop_free(s->loop);
    config_unref(s->config);
    buf_free(&s->body);
    free(s);
    return 0;
}

static void call(struct scene *s, unsigned port, struct bytes content)
{
    char url[96];
    struct buf body;
    buf_init(&body, DELIVERY_BODY_MAX_BYTES);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/cgi-bin/aibot/response" SECRET, port);
    assert_null(delivery_refusal(s->config, bytes_of_str(url)));
    delivery_write(&body, content);
    assert_false(body.overflowed);
    s->is_done = false;
    s->call =
        delivery_start(s->pool, s->config, bytes_of_str(url), buf_bytes(&body), on_outcome, s);
    buf_free(&body);
}

static void expect(struct scene *s, enum delivery_outcome outcome, int64_t code)
{
    loop_until(s->loop, is_scene_done, s);
    assert_string_equal(delivery_outcome_name(s->outcome), delivery_outcome_name(outcome));
    assert_int_equal(s->code, code);
}

static void posts_markdown_once(void **state)
{
    struct scene *s = *state;
    struct buf back;
    s->status = 200;
    s->answer = "{\"errcode\":0,\"errmsg\":\"ok\"}";
    call(s, http_server_port(s->server), BYTES_LIT("a\"b\n\xe4\xb8\xad"));
    expect(s, DELIVERY_ACCEPTED, 0);
    assert_int_equal(s->uses, 1);
    assert_string_equal(s->type, "application/json");
    assert_true(bytes_eq_str(buf_bytes(&s->body),
                             "{\"msgtype\":\"markdown\",\"markdown\":{\"content\":"
                             "\"a\\\"b\\n\xe4\xb8\xad\"}}"));
    buf_init(&back, 100);
    delivery_read(buf_bytes(&s->body), &back);
    assert_true(bytes_eq_str(buf_bytes(&back), "a\"b\n\xe4\xb8\xad"));
    buf_free(&back);
}

static void any_content_fits_a_body(void **state)
{
    (void)state;
    static char content[WECOM_CONTENT_MAX_BYTES];
    struct buf body;
    memset(content, 1, sizeof(content)); /* the longest escape */
    buf_init(&body, DELIVERY_BODY_MAX_BYTES);
    delivery_write(&body, bytes_of(content, sizeof(content)));
    assert_false(body.overflowed);
    buf_free(&body);
}

static void tells_answers_apart(void **state)
{
    static const struct {
        int64_t status;
        const char *answer;
        enum delivery_outcome outcome;
        int code;
    } answers[] = {
        {200, "{\"errcode\":40008,\"errmsg\":\"invalid\"}", DELIVERY_REFUSED, 40008},
        {200, "{\"errcode\":-1}", DELIVERY_REFUSED, -1},
        {200, "{}", DELIVERY_ACCEPTED, 0},
        {200, "ok", DELIVERY_ACCEPTED, 0},
        {204, "", DELIVERY_ACCEPTED, 0},
        {302, "", DELIVERY_REFUSED, 302},
        {400, "{\"errcode\":0}", DELIVERY_REFUSED, 400},
        {404, "", DELIVERY_REFUSED, 404},
        {429, "", DELIVERY_REFUSED, 429},
        {500, "", DELIVERY_UNKNOWN, 500},
        {503, "{\"errcode\":0}", DELIVERY_UNKNOWN, 503},
    };
    struct scene *s = *state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        s->status = (int)answers[i].status;
        s->answer = answers[i].answer;
        call(s, http_server_port(s->server), BYTES_LIT("text"));
        expect(s, answers[i].outcome, answers[i].code);
        assert_int_equal(s->uses, i + 1);
    }
}

static void a_silent_peer_may_have_it(void **state)
{
    struct scene *s = *state;
    s->answer = NULL;
    call(s, http_server_port(s->server), BYTES_LIT("text"));
    expect(s, DELIVERY_UNKNOWN, 0);
    assert_int_equal(s->uses, 1);
}

struct peer {
    int listener;
    const char *answer;
};

static void cut(void *arg)
{
    struct peer *p = arg;
    struct buf in;
    buf_init(&in, 65536);
    int fd = peer_accept(p->listener);
    (void)peer_read_until(fd, &in, "\r\n\r\n");
    (void)peer_send(fd, bytes_of_str(p->answer));
    (void)close(fd);
    buf_free(&in);
}

static void a_cut_answer_may_have_been_taken(void **state)
{
    static const struct {
        const char *answer;
        enum delivery_outcome outcome;
        int64_t code;
    } answers[] = {
        {"", DELIVERY_UNKNOWN, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"errcode\":", DELIVERY_UNKNOWN, 200},
        {"HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nno", DELIVERY_REFUSED, 403},
    };
    struct scene *s = *state;
    unsigned port;
    struct peer p = {.listener = peer_listen(&port, 1)};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        p.answer = answers[i].answer;
        call(s, port, BYTES_LIT("text"));
        peer_run(s->loop, cut, &p);
        expect(s, answers[i].outcome, answers[i].code);
    }
    (void)close(p.listener);
    call(s, port, BYTES_LIT("text"));
    expect(s, DELIVERY_UNSENT, 0);
}

static void private_addresses_are_not_called(void **state)
{
    struct scene *s = *state;
    config_unref(s->config);
    s->config = config_with(SECTION(ANYWHERE "\"timeout_ms\":300"));
    s->answer = "";
    call(s, http_server_port(s->server), BYTES_LIT("text"));
    expect(s, DELIVERY_REFUSED, 0);
    assert_int_equal(s->uses, 0);
}

static void a_cancelled_call_says_nothing(void **state)
{
    struct scene *s = *state;
    s->status = 200;
    s->answer = "{}";
    call(s, http_server_port(s->server), BYTES_LIT("text"));
    delivery_cancel(s->call);
    call(s, http_server_port(s->server), BYTES_LIT("text"));
    expect(s, DELIVERY_ACCEPTED, 0);
}

static void outcomes_have_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < DELIVERY_OUTCOME_COUNT; i++) {
        enum delivery_outcome back = DELIVERY_OUTCOME_COUNT;
        struct bytes name = bytes_of_str(delivery_outcome_name((enum delivery_outcome)i));
        assert_true(delivery_outcome_from(name, &back));
        assert_int_equal(back, i);
    }
    enum delivery_outcome none;
    assert_false(delivery_outcome_from(BYTES_LIT("other"), &none));
}

#define CALL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    delivery_metrics_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_the_platform_alone),
        cmocka_unit_test(allows_what_is_configured),
        cmocka_unit_test(any_content_fits_a_body),
        cmocka_unit_test(outcomes_have_names),
        CALL_TEST(posts_markdown_once),
        CALL_TEST(tells_answers_apart),
        CALL_TEST(a_silent_peer_may_have_it),
        CALL_TEST(a_cut_answer_may_have_been_taken),
        CALL_TEST(private_addresses_are_not_called),
        CALL_TEST(a_cancelled_call_says_nothing),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
