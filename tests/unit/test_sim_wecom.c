/* The simulated platform against a bot made here: what it sends, how it repeats, and that it
 * notices each broken rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/http_server.h"
#include "support_wecom.h"
#include "wecom_args.h"
#include "wecom_rules.h"
#include "wecom_stream.h"

#define TOKEN "simToken"
#define QUESTION "你好 \"bot\"\n"

/* --- the rules, on plaintexts --- */

static void judge_is(const char *text, const char *known, const char *part_of_reason)
{
    struct wecom_reply reply;
    struct brg_error error = {0};
    enum brg_err err =
        wecom_reply_judge(bytes_of_str(text), bytes_of_str(known), &reply, &error);
    if (part_of_reason && (err == BRG_OK || !strstr(error.text, part_of_reason)))
        fail_msg("%s: \"%s\" expected, got \"%s\"", text, part_of_reason, error.text);
    if (!part_of_reason && err != BRG_OK)
        fail_msg("%s: %s", text, error.text);
    json_free(reply.root);
}

#define STREAM(members) "{\"msgtype\":\"stream\",\"stream\":{" members "}}"
#define TEXT ",\"content\":\"x\""
#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

static void test_rules(void **state)
{
    (void)state;
    judge_is(STREAM("\"id\":\"a-Z_9\"" TEXT), "", NULL);
    judge_is(STREAM("\"id\":\"a\",\"finish\":true" TEXT), "a", NULL);
    judge_is(STREAM("\"id\":\"" SIXTY "abcd\"" TEXT), "", NULL);
    judge_is(STREAM("\"id\":\"" SIXTY "abcde\"" TEXT), "", "1 to 64");
    judge_is(STREAM("\"id\":\"\"" TEXT), "", "1 to 64");
    judge_is(STREAM("\"id\":\"a.b\"" TEXT), "", "1 to 64");
    judge_is(STREAM("\"id\":7" TEXT), "", "stream.id is missing");
    judge_is(STREAM("\"id\":\"b\"" TEXT), "a", "changed from a to b");
    judge_is(STREAM("\"id\":\"a\",\"finish\":\"true\"" TEXT), "", "finish is no boolean");
    judge_is(STREAM("\"id\":\"a\",\"finish\":true"), "", "content is missing");
    judge_is(STREAM("\"id\":\"a\",\"content\":\"\""), "", "content is empty");
    judge_is("{}", "", "nothing to say");
    judge_is("{\"msgtype\":\"text\"}", "", "not \"stream\"");
    judge_is("{\"msgtype\":\"stream\",\"stream\":[]}", "", "no object");
    judge_is("success", "", "");
}

static void test_content_limit(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, WECOM_PLAIN_MAX_BYTES);
    for (size_t len = WECOM_CONTENT_MAX_BYTES; len <= WECOM_CONTENT_MAX_BYTES + 1; len++) {
        char *content = brg_calloc(1, len + 1);
        memset(content, '\t', len); /* two bytes each in JSON, which do not count */
        buf_reset(&text);
        wecom_write_stream(&text, BYTES_LIT("a"), false, bytes_of(content, len));
        buf_append_char(&text, '\0');
        judge_is(text.ptr, "a", len > WECOM_CONTENT_MAX_BYTES ? "20481 bytes" : NULL);
        free(content);
    }
    buf_free(&text);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *url;
        bool is_loopback;
    } rows[] = {
        {"http://127.0.0.1:8080/wecom/x", true},
        {"https://127.1.2.3", true},
        {"http://localhost/x", true},
        {"http://[::1]:8080/x", true},
        {"http://127.0.0.1.example.com/", false},
        {"http://127.0.0.1@example.com/", false},
        {"http://a@localhost:1@example.com", false},
        {"http://example.com/@127.0.0.1", false},
        {"http://example.com#@127.0.0.1", false},
        {"http://example.com?@127.0.0.1/", false},
        {"http://10.0.0.1/127.0.0.1", false},
        {"http://[::ffff:8.8.8.8]/", false},
        {"http://localhost.example.com/", false},
        {"http://0.0.0.0/", false},
        {"example.com", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wecom_args args = {.url = rows[i].url};
        if (wecom_args_is_loopback(&args) != rows[i].is_loopback)
            fail_msg("%s", rows[i].url);
    }
}

/* --- streams, with a bot --- */

enum { STEPS_MAX = 8 };

/* What the bot does with each request in turn; the last step goes on for ever. */
struct step {
    int status;
    const char *id, *content;
    bool finish;
};

struct rig {
    struct loop *loop;
    struct http_server *server;
    struct crypto *crypto;
    struct wecom_keys keys;
    struct wecom_link *link;
    struct step steps[STEPS_MAX];
    size_t step_count;
    size_t requests;
    struct buf bodies[STEPS_MAX];
    int64_t at_ms[STEPS_MAX];
    bool is_quoting_echo;
    /* What the stream or the check told. */
    struct buf shown; /* "1:text|" first, "…:text|" later ones, "!" behind the last */
    size_t repeats;
    bool is_over;
    enum wecom_end end;
    char reason[512];
};

static void open_callback(struct rig *rig, struct http_request *req, bool is_echo,
                          struct buf *plain, struct bytes *text, struct wecom_query *query)
{
    struct bytes encrypt = {0};
    struct json *root = NULL;
    struct wecom_keyring used;
    assert_true(http_query(req, "msg_signature", &query->signature));
    assert_true(http_query(req, "timestamp", &query->timestamp));
    assert_true(http_query(req, "nonce", &query->nonce));
    if (is_echo)
        assert_true(http_query(req, "echostr", &encrypt));
    else
        assert_int_equal(wecom_parse_body(http_body(req), &root, &encrypt), BRG_OK);
    assert_int_equal(wecom_open(rig->crypto, &rig->keys, query, encrypt, plain, text, &used),
                     WECOM_GENUINE);
    json_free(root);
}

static void check_callback(struct rig *rig, struct bytes text)
{
    struct wecom_callback callback;
    wecom_parse(text, &callback);
    bool is_first = rig->shown.len == 0;
    assert_int_equal(callback.kind, is_first ? WECOM_TEXT : WECOM_REFRESH);
    assert_true(bytes_eq_str(callback.user_id, "li.si"));
    assert_true(callback.is_group);
    assert_true(bytes_eq_str(callback.chat_id, "wrGROUP"));
    assert_int_equal(callback.msgid.len, 32);
    if (is_first)
        assert_true(bytes_eq_str(callback.text, QUESTION));
    else
        assert_true(bytes_eq_str(callback.stream_id,
                                 rig->steps[0].id ? rig->steps[0].id : rig->steps[1].id));
    json_free(callback.root);
}

static void answer_message(struct rig *rig, struct http_request *req)
{
    size_t number = rig->requests++;
    const struct step *step =
        &rig->steps[number < rig->step_count ? number : rig->step_count - 1];
    struct buf plain, out;
    struct bytes text;
    struct wecom_query query;
    if (number < STEPS_MAX) {
        rig->at_ms[number] = clock_mono_ms();
        buf_append(&rig->bodies[number], http_body(req));
    }
    buf_init(&plain, WECOM_PLAIN_MAX_BYTES);
    buf_init(&out, WECOM_REPLY_MAX_BYTES);
    open_callback(rig, req, false, &plain, &text, &query);
    check_callback(rig, text);
    wecom_reply_begin(&plain);
    wecom_write_stream(&plain, bytes_of_str(step->id), step->finish,
                       bytes_of_str(step->content));
    wecom_reply_seal(rig->crypto, &rig->keys, (struct wecom_keyring){0, 0}, &plain,
                     clock_wall_ms() / 1000, query.nonce, &out);
    if (step->status == 200)
        http_reply(req, 200, "application/json", &out);
    else
        http_reply_text(req, step->status, "text/plain", BYTES_LIT("sorry"));
    buf_free(&plain);
    buf_free(&out);
}

static void answer_echo(struct rig *rig, struct http_request *req)
{
    struct buf plain, body;
    struct bytes text;
    struct wecom_query query;
    buf_init(&plain, WECOM_PLAIN_MAX_BYTES);
    buf_init(&body, 64);
    open_callback(rig, req, true, &plain, &text, &query);
    buf_printf(&body, rig->is_quoting_echo ? "\"" BYTES_FMT "\"" : BYTES_FMT, BYTES_ARG(text));
    http_reply(req, 200, "text/plain", &body);
    buf_free(&plain);
    buf_free(&body);
}

static void on_request(struct http_request *req, void *arg)
{
    if (http_method(req) == HTTP_GET)
        answer_echo(arg, req);
    else
        answer_message(arg, req);
}

static void on_shown(const struct wecom_shown *shown, void *arg)
{
    struct rig *rig = arg;
    assert_true(shown->latency_us >= 0);
    buf_printf(&rig->shown, "%s:" BYTES_FMT "|%s", shown->is_first ? "1" : "",
               BYTES_ARG(shown->content), shown->is_finished ? "!" : "");
}

static void on_repeat(const char *reason, unsigned deliveries, void *arg)
{
    struct rig *rig = arg;
    rig->repeats++;
    assert_int_equal(deliveries, rig->repeats);
    assert_non_null(strstr(reason, "status 503"));
}

static void on_end(enum wecom_end end, const char *reason, void *arg)
{
    struct rig *rig = arg;
    assert_false(rig->is_over);
    rig->is_over = true;
    rig->end = end;
    (void)snprintf(rig->reason, sizeof(rig->reason), "%s", reason);
    loop_stop(rig->loop);
}

static int set_up(void **state)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct http_options options = {
        .listen = "127.0.0.1:0", .max_body_bytes = 1 << 20, .max_connections = 100};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = rig};
    char url[64];
    rig->loop = loop_new();
    rig->crypto = crypto_new();
    rig->keys = keys_make(TOKEN, KEY_ONE, "");
    rig->server = http_server_new(rig->loop, &options, &callbacks, NULL);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/wecom/x",
                   http_server_port(rig->server));
    struct wecom_link_options link = {.url = url, .keys = keys_make(TOKEN, KEY_ONE, "")};
    rig->link = wecom_link_new(rig->loop, &link);
    buf_init(&rig->shown, 4096);
    for (size_t i = 0; i < STEPS_MAX; i++)
        buf_init(&rig->bodies[i], 1 << 20);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    wecom_link_free(rig->link);
    http_server_free(rig->server);
    loop_free(rig->loop);
    crypto_free(rig->crypto);
    wecom_keys_wipe(&rig->keys);
    buf_free(&rig->shown);
    for (size_t i = 0; i < STEPS_MAX; i++)
        buf_free(&rig->bodies[i]);
    free(rig);
    return 0;
}

static void ask(struct rig *rig, const struct step *steps, size_t count, int64_t limit_ms)
{
    static const struct wecom_stream_callbacks callbacks = {on_shown, on_repeat, on_end};
    struct wecom_ask ask = {
        .user = "li.si",
        .chat_id = "wrGROUP",
        .question = BYTES_LIT(QUESTION),
        .poll_ms = 50,
        .limit_ms = limit_ms,
        .due_us = clock_mono_us(),
    };
    memcpy(rig->steps, steps, count * sizeof(*steps));
    rig->step_count = count;
    wecom_stream_start(rig->loop, rig->link, &ask, &callbacks, rig);
    loop_run(rig->loop);
    assert_true(rig->is_over);
}

static void assert_shown(struct rig *rig, const char *expected)
{
    buf_append_char(&rig->shown, '\0');
    assert_string_equal(rig->shown.ptr, expected);
}

static void test_stream_grows_to_its_end(void **state)
{
    static const struct step steps[] = {
        {200, "s1", "…", false}, {200, "s1", "一", false}, {200, "s1", "一二", true}};
    struct rig *rig = *state;
    ask(rig, steps, 3, 10000);
    assert_int_equal(rig->end, WECOM_END_FINISHED);
    assert_string_equal(rig->reason, "");
    assert_shown(rig, "1:…|:一|:一二|!");
    assert_int_equal(rig->requests, 3);
    for (size_t i = 1; i < 3; i++)
        assert_in_range(rig->at_ms[i] - rig->at_ms[i - 1], 35, 2000);
}

static void test_changed_id_is_noticed(void **state)
{
    static const struct step steps[] = {{200, "s1", "…", false}, {200, "s2", "一", true}};
    struct rig *rig = *state;
    ask(rig, steps, 2, 10000);
    assert_int_equal(rig->end, WECOM_END_BROKEN_RULE);
    assert_non_null(strstr(rig->reason, "refresh: stream.id changed"));
    assert_shown(rig, "1:…|");
}

static void test_endless_stream_is_noticed(void **state)
{
    static const struct step steps[] = {{200, "s1", "…", false}};
    struct rig *rig = *state;
    int64_t before_ms = clock_mono_ms();
    ask(rig, steps, 1, 1000);
    assert_in_range(clock_mono_ms() - before_ms, 990, 4000);
    assert_int_equal(rig->end, WECOM_END_BROKEN_RULE);
    assert_non_null(strstr(rig->reason, "no finish:true within 1 s"));
}

static void test_delivery_is_repeated_as_it_was(void **state)
{
    static const struct step steps[] = {{503, NULL, "", false}, {200, "s1", "一", true}};
    struct rig *rig = *state;
    ask(rig, steps, 2, 60000);
    assert_int_equal(rig->end, WECOM_END_FINISHED);
    assert_int_equal(rig->repeats, 1);
    assert_shown(rig, "1:一|!");
    assert_true(bytes_eq(buf_bytes(&rig->bodies[0]), buf_bytes(&rig->bodies[1])));
    assert_in_range(rig->at_ms[1] - rig->at_ms[0], WECOM_ANSWER_MS - 50,
                    WECOM_ANSWER_MS + 2000);
}

static void test_cancel_on_the_way(void **state)
{
    static const struct wecom_stream_callbacks callbacks = {on_shown, on_repeat, on_end};
    struct rig *rig = *state;
    struct wecom_ask ask = {.user = "u", .question = BYTES_LIT("q"), .poll_ms = 50};
    struct wecom_stream *s = wecom_stream_start(rig->loop, rig->link, &ask, &callbacks, rig);
    wecom_stream_cancel(s);
    assert_false(rig->is_over);
}

static void on_checked(const struct wecom_answer *answer, void *arg)
{
    struct rig *rig = arg;
    (void)snprintf(rig->reason, sizeof(rig->reason), "%d %s", (int)answer->outcome,
                   answer->reason);
    loop_stop(rig->loop);
}

static void test_url_check(void **state)
{
    static const struct wecom_call_callbacks callbacks = {NULL, on_checked};
    struct rig *rig = *state;
    wecom_check_start(rig->link, &callbacks, rig);
    loop_run(rig->loop);
    assert_string_equal(rig->reason, "0 ");
    rig->is_quoting_echo = true;
    wecom_check_start(rig->link, &callbacks, rig);
    loop_run(rig->loop);
    assert_non_null(strstr(rig->reason, "is not the decrypted echostr"));
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_content_limit),
        cmocka_unit_test(test_loopback),
        RIG_TEST(test_stream_grows_to_its_end),
        RIG_TEST(test_changed_id_is_noticed),
        RIG_TEST(test_endless_stream_is_noticed),
        RIG_TEST(test_delivery_is_repeated_as_it_was),
        RIG_TEST(test_cancel_on_the_way),
        RIG_TEST(test_url_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
