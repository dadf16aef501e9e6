/* The openai pipeline against a server of its own, one row per thing that servers do. */
#include "http/http_server.h"
#include "json/json.h"
#include "pipelines/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SEEN_MAX_BYTES = 4 << 20, PATIENCE_MS = 10000, CUT_DELAY_MS = 20 };
enum { EVENT_BYTES = 1 << 16, RESPONSE_BYTES = 1 << 20 };

enum ending {
    END_CLEAN,
    END_CUT,
    END_NEVER, /* nothing more comes, and the connection stays */
};

/* What the server says and what is to be made of it. */
struct row {
    const char *name;
    int status;
    const char *type;
    const char *retry_after;
    const char *body;
    enum ending ending;
    enum pipeline_end end;
    const char *text;
    const char *detail; /* part of it; NULL: not looked at */
    int64_t retry_after_ms;
};

struct rig {
    struct loop *loop;
    struct http_server *server;
    struct fetch_pool *pool;
    struct pipeline_context context;
    struct config_pipeline config;
    struct wheel_timer patience, step;
    const struct row *row;
    struct http_request *open; /* being answered piece by piece */
    size_t at, piece;
    struct buf request, text;
    char headers[512];
    char path[128];
    unsigned ends;
    enum pipeline_end end;
    char detail[256];
    int64_t retry_after_ms;
    int64_t prompt_tokens, completion_tokens;
    char url[64];
};

/* --- the server --- */

static void send_piece(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct rig *rig = arg;
    struct bytes body = bytes_of_str(rig->row->body);
    size_t left = body.len - rig->at;
    size_t len = rig->piece > 0 && rig->piece < left ? rig->piece : left;
    if (!rig->open)
        return;
    if (rig->at == body.len && rig->row->ending == END_CUT) {
        http_stream_abort(rig->open);
        return;
    }
    http_stream_write(rig->open, bytes_of(body.ptr + rig->at, len));
    rig->at += len;
    if (rig->at < body.len) {
        loop_timer_set(rig->loop, &rig->step, 1);
        return;
    }
    if (rig->row->ending == END_CUT) /* what is not on its way yet is lost with a cut */
        loop_timer_set(rig->loop, &rig->step, CUT_DELAY_MS);
    else if (rig->row->ending == END_CLEAN)
        http_stream_end(rig->open);
}

static void on_request(struct http_request *req, void *arg)
{
    static const char *const kept[] = {"Authorization", "Content-Type", "X-Own", "traceparent"};
    struct rig *rig = arg;
    buf_reset(&rig->request);
    buf_append(&rig->request, http_body(req));
    snprintf(rig->path, sizeof(rig->path), BYTES_FMT, BYTES_ARG(http_path(req)));
    rig->headers[0] = '\0';
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        size_t used = strlen(rig->headers);
        snprintf(rig->headers + used, sizeof(rig->headers) - used, "%s: " BYTES_FMT "\n",
                 kept[i], BYTES_ARG(http_header(req, kept[i])));
    }
    if (rig->row->retry_after)
        http_reply_header(req, "Retry-After", rig->row->retry_after);
    if (rig->row->status != 200) {
        http_reply_text(req, rig->row->status, rig->row->type, bytes_of_str(rig->row->body));
        return;
    }
    rig->open = req;
    rig->at = 0;
    http_stream_begin(req, 200, rig->row->type);
    loop_timer_set(rig->loop, &rig->step, 0);
}

static void on_gone(struct http_request *req, void *arg)
{
    struct rig *rig = arg;
    if (rig->open == req)
        rig->open = NULL;
}

/* --- the session's side --- */

static void on_text(struct bytes text, void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(rig->ends, 0);
    buf_append(&rig->text, text);
}

static void on_usage(int64_t prompt_tokens, int64_t completion_tokens, void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(rig->prompt_tokens, -1);
    rig->prompt_tokens = prompt_tokens;
    rig->completion_tokens = completion_tokens;
}

static void on_end(enum pipeline_end end, const char *detail, int64_t retry_after_ms, void *arg)
{
    struct rig *rig = arg;
    rig->ends++;
    rig->end = end;
    rig->retry_after_ms = retry_after_ms;
    snprintf(rig->detail, sizeof(rig->detail), "%s", detail);
    loop_stop(rig->loop);
}

static void on_impatient(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct rig *rig = arg;
    loop_stop(rig->loop);
}

static int set_up(void **state)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .max_body_bytes = 4 << 20,
        .max_connections = 16,
        .idle_timeout_s = 10,
    };
    struct http_callbacks callbacks = {NULL, on_request, on_gone, rig};
    struct fetch_options fetch = {.max_idle_connections = 4};
    struct pipeline_limits limits = {EVENT_BYTES, RESPONSE_BYTES, 1};
    rig->loop = loop_new();
    rig->server = http_server_new(rig->loop, &options, &callbacks, NULL);
    assert_non_null(rig->server);
    rig->pool = fetch_pool_new(rig->loop, &fetch);
    pipeline_context_init(&rig->context, rig->loop, rig->pool, &limits);
    buf_init(&rig->request, SEEN_MAX_BYTES);
    buf_init(&rig->text, SEEN_MAX_BYTES);
    wheel_timer_init(&rig->patience, on_impatient, rig);
    wheel_timer_init(&rig->step, send_piece, rig);
    snprintf(rig->url, sizeof(rig->url), "http://127.0.0.1:%u/v1/",
             http_server_port(rig->server));
    rig->config = (struct config_pipeline){
        .type = PIPELINE_OPENAI,
        .url = rig->url,
        .model = "m1",
        .api_key = "sk-secret",
        .connect_timeout_ms = 2000,
        .total_timeout_ms = 5000,
    };
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    loop_timer_cancel(rig->loop, &rig->patience);
    loop_timer_cancel(rig->loop, &rig->step);
    pipeline_context_clear(&rig->context);
    fetch_pool_free(rig->pool);
    http_server_free(rig->server);
    loop_free(rig->loop);
    buf_free(&rig->request);
    buf_free(&rig->text);
    free(rig);
    return 0;
}

static struct pipeline_run *start(struct rig *rig, const struct row *row, size_t piece)
{
    struct message m = {
        .text = BYTES_LIT("why \"so\"?\n\xe4\xb8\xad"),
        .traceparent = BYTES_LIT("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
    };
    struct pipeline_sink sink = {
        .on_text = on_text, .on_usage = on_usage, .on_end = on_end, .arg = rig};
    rig->row = row;
    rig->piece = piece;
    rig->ends = 0;
    rig->prompt_tokens = -1;
    buf_reset(&rig->text);
    return pipeline_openai.start(&rig->context, &rig->config, &m, &sink);
}

static void ask(struct rig *rig, const struct row *row, size_t piece)
{
    (void)start(rig, row, piece);
    assert_int_equal(rig->ends, 0); /* never from inside start */
    loop_timer_set(rig->loop, &rig->patience, PATIENCE_MS);
    loop_run(rig->loop);
    loop_timer_cancel(rig->loop, &rig->patience);
    if (rig->ends != 1)
        fail_msg("%s: %u ends", row->name, rig->ends);
}

/* --- the dialect --- */

#define SSE "text/event-stream"
#define JSON "application/json"
#define CHUNK(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define TEXT(content) CHUNK("{\"content\":\"" content "\"}")
#define STOP "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define WHOLE(message)                                                     \
    "{\"choices\":[{\"index\":0,\"message\":" message ",\"finish_reason\"" \
    ":\"stop\"}]}"

static const struct row rows[] = {
    {"plain", 200, SSE, NULL, CHUNK("{\"role\":\"assistant\"}") TEXT("a") TEXT("b") STOP DONE,
     END_CLEAN, PIPELINE_DONE, "ab", "", -1},
    {"content null and absent", 200, SSE, NULL,
     CHUNK("{\"content\":null}") CHUNK("{}") TEXT("a") STOP DONE, END_CLEAN, PIPELINE_DONE, "a",
     "", -1},
    {"usage with empty choices", 200, SSE, NULL,
     TEXT("a") STOP
     "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\n" DONE,
     END_CLEAN, PIPELINE_DONE, "a", "", -1},
    {"usage with null choices", 200, SSE, NULL,
     TEXT("a") STOP
     "data: "
     "{\"choices\":null,\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\n" DONE,
     END_CLEAN, PIPELINE_DONE, "a", "", -1},
    {"comments and CRLF", 200, SSE, NULL,
     ": PROCESSING\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n"
     "data: [DONE]\r\n\r\n",
     END_CLEAN, PIPELINE_DONE, "x", "", -1},
    {"charset in the type", 200, SSE "; charset=utf-8", NULL, TEXT("\xe4\xb8\xad") DONE,
     END_CLEAN, PIPELINE_DONE, "\xe4\xb8\xad", "", -1},
    {"wrong type", 200, "text/plain", NULL, TEXT("a") DONE, END_CLEAN, PIPELINE_DONE, "a", "",
     -1},
    {"reasoning_content", 200, SSE, NULL,
     CHUNK("{\"reasoning_content\":\"h\",\"content\":null}")
         CHUNK("{\"reasoning_content\":\"m\"}") TEXT("so") STOP DONE,
     END_CLEAN, PIPELINE_DONE, "<think>hm</think>so", "", -1},
    {"reasoning", 200, SSE, NULL, CHUNK("{\"reasoning\":\"hm\"}") TEXT("so") DONE, END_CLEAN,
     PIPELINE_DONE, "<think>hm</think>so", "", -1},
    {"only reasoning", 200, SSE, NULL, CHUNK("{\"reasoning\":\"hm\"}") STOP DONE, END_CLEAN,
     PIPELINE_DONE, "<think>hm</think>", "", -1},
    {"finish_reason and no [DONE]", 200, SSE, NULL, TEXT("a") STOP, END_CLEAN, PIPELINE_DONE,
     "a", "", -1},
    {"[DONE] without a blank line", 200, SSE, NULL, TEXT("a") "data: [DONE]\n", END_CLEAN,
     PIPELINE_DONE, "a", "", -1},
    {"[DONE] without a line break", 200, SSE, NULL, TEXT("a") "data: [DONE]", END_CLEAN,
     PIPELINE_DONE, "a", "", -1},
    {"finish_reason without a line break", 200, SSE, NULL,
     "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}",
     END_CLEAN, PIPELINE_DONE, "a", "", -1},
    {"cut [DONE]", 200, SSE, NULL, TEXT("a") "data: [DONE", END_CLEAN, PIPELINE_INTERRUPTED,
     "a", "stream ended early", -1},
    {"cut chunk", 200, SSE, NULL,
     TEXT("a") "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}", END_CLEAN,
     PIPELINE_INTERRUPTED, "a", "stream ended early", -1},
    {"connection cut behind an open [DONE]", 200, SSE, NULL, TEXT("a") "data: [DONE]", END_CUT,
     PIPELINE_INTERRUPTED, "a", NULL, -1},
    {"surrogates cut apart", 200, SSE, NULL,
     TEXT("a\\ud83d") CHUNK("{}") TEXT("\\ude00\\uD83D") TEXT("\\uDE80b") DONE, END_CLEAN,
     PIPELINE_DONE,
     "a\xf0\x9f\x98\x80\xf0\x9f\x9a\x80"
     "b",
     "", -1},
    {"surrogates without their halves", 200, SSE, NULL,
     TEXT("\\ude00a\\ud83d") TEXT("b") TEXT("\\\"\\ude00\\ud83dc\\ud83d") DONE, END_CLEAN,
     PIPELINE_DONE, "\ufffda\ufffdb\"\ufffd\ufffdc\ufffd", "", -1},
    {"surrogates of thought and text", 200, SSE, NULL,
     CHUNK("{\"reasoning\":\"h\\ud83d\"}") TEXT("\\ude00\\ud83d\\ude00") DONE, END_CLEAN,
     PIPELINE_DONE, "<think>h\ufffd</think>\ufffd\xf0\x9f\x98\x80", "", -1},
    {"cut after finish_reason", 200, SSE, NULL, TEXT("a") STOP, END_CUT, PIPELINE_DONE, "a", "",
     -1},
    {"cut in mid-answer", 200, SSE, NULL, TEXT("a"), END_CUT, PIPELINE_INTERRUPTED, "a", NULL,
     -1},
    {"cut before text", 200, SSE, NULL, CHUNK("{\"role\":\"assistant\"}"), END_CUT,
     PIPELINE_RETRY, "", NULL, -1},
    {"cut in mid-thought", 200, SSE, NULL, CHUNK("{\"reasoning\":\"hm\"}"), END_CUT,
     PIPELINE_INTERRUPTED, "<think>hm</think>", NULL, -1},
    {"ended early", 200, SSE, NULL, TEXT("a"), END_CLEAN, PIPELINE_INTERRUPTED, "a",
     "stream ended early", -1},
    {"nothing at all", 200, SSE, NULL, "", END_CLEAN, PIPELINE_RETRY, "", "stream ended early",
     -1},
    {"empty answer", 200, SSE, NULL, STOP DONE, END_CLEAN, PIPELINE_RETRY, "", "empty answer",
     -1},
    {"filtered", 200, SSE, NULL,
     "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n" DONE,
     END_CLEAN, PIPELINE_FAILED, "", "content_filter", -1},
    {"error before text", 200, SSE, NULL,
     "data: {\"error\":{\"message\":\"sk-secret is wrong\",\"code\":\"overloaded\"}}\n\n",
     END_CLEAN, PIPELINE_RETRY, "", "code=overloaded", -1},
    {"error of a status", 200, SSE, NULL, "data: {\"error\":{\"code\":400}}\n\n", END_CLEAN,
     PIPELINE_FAILED, "", "status=400", -1},
    {"error in mid-answer", 200, SSE, NULL, TEXT("a") "data: {\"error\":\"no\"}\n\n" DONE,
     END_CLEAN, PIPELINE_INTERRUPTED, "a", "error in the answer", -1},
    {"junk before text", 200, SSE, NULL, "data: {broken\n\n", END_CLEAN, PIPELINE_FAILED, "",
     "junk", -1},
    {"junk in mid-answer", 200, SSE, NULL, TEXT("a") "data: 7\n\n", END_CLEAN,
     PIPELINE_INTERRUPTED, "a", "junk", -1},
    {"web page", 200, "text/html", NULL, "<html>\n<p>log in</p>\n</html>\n", END_CLEAN,
     PIPELINE_FAILED, "", "neither", -1},
    {"JSON although a stream was asked", 200, JSON, NULL,
     WHOLE("{\"role\":\"assistant\",\"content\":\"all\"}"), END_CLEAN, PIPELINE_DONE, "all", "",
     -1},
    {"JSON with reasoning", 200, JSON, NULL,
     WHOLE("{\"reasoning_content\":\"hm\",\"content\":\"all\"}"), END_CLEAN, PIPELINE_DONE,
     "<think>hm</think>all", "", -1},
    {"JSON called a stream", 200, SSE, NULL, " \n" WHOLE("{\"content\":\"all\"}"), END_CLEAN,
     PIPELINE_DONE, "all", "", -1},
    {"stream called JSON", 200, JSON, NULL, TEXT("a") DONE, END_CLEAN, PIPELINE_DONE, "a", "",
     -1},
    {"JSON error with 200", 200, JSON, NULL, "{\"error\":{\"type\":\"server_error\"}}",
     END_CLEAN, PIPELINE_RETRY, "", "type=server_error", -1},
    {"broken JSON", 200, JSON, NULL, "{\"choices\":[", END_CLEAN, PIPELINE_FAILED, "",
     "no JSON object", -1},
    {"cut JSON", 200, JSON, NULL, "{\"choices\":[", END_CUT, PIPELINE_RETRY, "", NULL, -1},
    {"400", 400, JSON, NULL, "{\"error\":{\"message\":\"bad\",\"type\":\"invalid_request\"}}",
     END_CLEAN, PIPELINE_FAILED, "", "refused status=400 type=invalid_request", -1},
    {"401 quotes the key", 401, JSON, NULL, "{\"error\":{\"code\":\"wrong sk-secret\"}}",
     END_CLEAN, PIPELINE_FAILED, "", "refused status=401", -1},
    {"404", 404, "text/html", NULL, "<html>", END_CLEAN, PIPELINE_FAILED, "", "status=404", -1},
    {"408", 408, JSON, NULL, "", END_CLEAN, PIPELINE_RETRY, "", "status=408", -1},
    {"429", 429, JSON, "7", "{}", END_CLEAN, PIPELINE_RETRY, "", "status=429", 7000},
    {"500", 500, JSON, NULL, "[]", END_CLEAN, PIPELINE_RETRY, "", "status=500", -1},
    {"503", 503, "text/plain", "0", "busy", END_CLEAN, PIPELINE_RETRY, "", "status=503", 0},
    {"302", 302, "text/html", NULL, "", END_CLEAN, PIPELINE_FAILED, "", "status=302", -1},
};

static void check(const struct rig *rig, const struct row *row, size_t piece)
{
    bool is_text = bytes_eq_str(buf_bytes(&rig->text), row->text);
    bool is_detail = !row->detail || strstr(rig->detail, row->detail);
    bool is_clean = !strstr(rig->detail, "secret");
    if (rig->end != row->end || !is_text || !is_detail || !is_clean ||
        rig->retry_after_ms != row->retry_after_ms)
        fail_msg("%s in pieces of %zu: end %d, text \"" BYTES_FMT
                 "\", detail \"%s\", retry %lld",
                 row->name, piece, (int)rig->end, BYTES_ARG(buf_bytes(&rig->text)), rig->detail,
                 (long long)rig->retry_after_ms);
}

static void test_dialect(void **state)
{
    static const size_t pieces[] = {0, 1, 13};
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t p = 0; p < 3; p++) {
            if (p > 0 && rows[i].status != 200)
                break;
            ask(rig, &rows[i], pieces[p]);
            check(rig, &rows[i], pieces[p]);
        }
    }
}

static void test_usage(void **state)
{
    struct rig *rig = *state;
    ask(rig, &rows[2], 0);
    assert_int_equal(rig->prompt_tokens, 7);
    assert_int_equal(rig->completion_tokens, 9);
    ask(rig, &rows[0], 0);
    assert_int_equal(rig->prompt_tokens, -1);
}

/* --- the request --- */

static void expect_json(const struct json *root, const char *pointer, const char *expected)
{
    struct bytes seen = json_string(json_at(root, pointer));
    if (!bytes_eq_str(seen, expected))
        fail_msg("%s is \"" BYTES_FMT "\"", pointer, BYTES_ARG(seen));
}

static void test_request(void **state)
{
    struct rig *rig = *state;
    char *headers[] = {"X-Own: yes", NULL};
    rig->config.system = "be brief";
    rig->config.headers = headers;
    rig->config.extra =
        "{\"temperature\":0.5,\"a/b\":[1,null],\"messages\":[],\"model\":\"m2\"}";
    ask(rig, &rows[0], 0);
    assert_string_equal(rig->path, "/v1/chat/completions");
    assert_string_equal(rig->headers,
                        "Authorization: Bearer sk-secret\nContent-Type: application/json\n"
                        "X-Own: yes\ntraceparent: "
                        "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\n");
    struct json *root = json_parse(buf_bytes(&rig->request), JSON_PEER, NULL);
    assert_non_null(root);
    expect_json(root, "/model", "m2");
    expect_json(root, "/messages/0/role", "system");
    expect_json(root, "/messages/0/content", "be brief");
    expect_json(root, "/messages/1/role", "user");
    expect_json(root, "/messages/1/content", "why \"so\"?\n\xe4\xb8\xad");
    assert_int_equal(json_length(json_get(root, "messages")), 2);
    assert_true(json_bool(json_get(root, "stream"), false));
    struct buf temperature;
    buf_init(&temperature, 32);
    json_write_value(&temperature, json_get(root, "temperature"));
    assert_true(bytes_eq_str(buf_bytes(&temperature), "0.5"));
    buf_free(&temperature);
    assert_int_equal(json_length(json_get(root, "a/b")), 2);
    json_free(root);
}

static void test_bare_request(void **state)
{
    struct rig *rig = *state;
    rig->config.api_key = "";
    rig->config.extra = "{\"stream\":false}";
    ask(rig, &rows[0], 0);
    assert_non_null(strstr(rig->headers, "Authorization: \n"));
    struct json *root = json_parse(buf_bytes(&rig->request), JSON_PEER, NULL);
    assert_false(json_bool(json_get(root, "stream"), true));
    expect_json(root, "/messages/0/role", "user");
    json_free(root);
}

/* --- bounds --- */

static void ask_for(struct rig *rig, const char *type, const char *head, size_t filler,
                    const char *tail)
{
    struct buf body;
    buf_init(&body, SEEN_MAX_BYTES);
    buf_append_str(&body, head);
    for (size_t i = 0; i < filler; i++)
        buf_append_char(&body, 'x');
    buf_append_str(&body, tail);
    buf_append_char(&body, '\0');
    struct row row = {.name = tail, .status = 200, .type = type, .body = body.ptr};
    ask(rig, &row, EVENT_BYTES / 4);
    buf_free(&body);
}

static void expect_end(const struct rig *rig, enum pipeline_end end, const char *detail)
{
    assert_int_equal(rig->end, end);
    assert_string_equal(rig->detail, detail);
}

static void test_bounds(void **state)
{
    struct rig *rig = *state;
    ask_for(rig, SSE, ": ", EVENT_BYTES - 2, "\n" TEXT("a") DONE);
    expect_end(rig, PIPELINE_DONE, "");
    ask_for(rig, SSE, ": ", EVENT_BYTES - 1, "\n" TEXT("a") DONE);
    expect_end(rig, PIPELINE_FAILED, "event too long");
    ask_for(rig, SSE, TEXT("a") "data: ", EVENT_BYTES, "\n\n" DONE);
    expect_end(rig, PIPELINE_INTERRUPTED, "event too long");
    ask_for(rig, JSON, "{\"choices\":[{\"message\":{\"content\":\"", RESPONSE_BYTES - 100,
            "\"}}]}");
    expect_end(rig, PIPELINE_DONE, "");
    assert_int_equal(rig->text.len, RESPONSE_BYTES - 100);
    ask_for(rig, JSON, "{\"choices\":[{\"message\":{\"content\":\"", RESPONSE_BYTES, "\"}}]}");
    expect_end(rig, PIPELINE_FAILED, "answer too large");
}

/* Connections that would outlive their answers. */
static void test_few_linger(void **state)
{
    static const struct row open_end = {.name = "open end",
                                        .status = 200,
                                        .type = SSE,
                                        .body = TEXT("a") DONE,
                                        .ending = END_NEVER};
    struct rig *rig = *state;
    ask(rig, &open_end, 0);
    assert_int_equal(rig->context.lingering_count, 1);
    assert_int_equal(fetch_pool_running(rig->pool), 1);
    ask(rig, &open_end, 0);
    assert_int_equal(rig->context.lingering_count, 1);
    assert_int_equal(fetch_pool_running(rig->pool), 1);
    pipeline_context_clear(&rig->context);
    assert_int_equal(rig->context.lingering_count, 0);
}

/* --- the rest --- */

static void test_nobody_there(void **state)
{
    struct rig *rig = *state;
    char url[] = "http://127.0.0.1:1/v1";
    rig->config.url = url;
    ask(rig, &rows[0], 0);
    assert_int_equal(rig->end, PIPELINE_RETRY);
}

static void test_total_timeout(void **state)
{
    static const struct row silent = {.name = "silent", .status = 200, .type = SSE, .body = ""};
    struct rig *rig = *state;
    rig->config.total_timeout_ms = 100;
    loop_timer_set(rig->loop, &rig->step, 100000);
    (void)start(rig, &silent, 0);
    loop_timer_set(rig->loop, &rig->patience, PATIENCE_MS);
    http_server_quiesce(rig->server); /* it accepts no more: the call hangs */
    loop_run(rig->loop);
    assert_int_equal(rig->ends, 1);
    assert_int_equal(rig->end, PIPELINE_RETRY);
}

static void test_cancel(void **state)
{
    struct rig *rig = *state;
    struct pipeline_run *run = start(rig, &rows[0], 1);
    pipeline_openai.cancel(run);
    run = start(rig, &rows[0], 1);
    loop_timer_set(rig->loop, &rig->patience, 30);
    loop_run(rig->loop);
    assert_int_equal(rig->ends, 0);
    pipeline_openai.cancel(run);
    loop_timer_set(rig->loop, &rig->patience, 100);
    loop_run(rig->loop);
    assert_int_equal(rig->ends, 0);
    assert_null(rig->open); /* the server saw the connection go: generation stops */
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_dialect),      RIG_TEST(test_usage),        RIG_TEST(test_request),
        RIG_TEST(test_bare_request), RIG_TEST(test_nobody_there), RIG_TEST(test_total_timeout),
        RIG_TEST(test_cancel),       RIG_TEST(test_bounds),       RIG_TEST(test_few_linger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
