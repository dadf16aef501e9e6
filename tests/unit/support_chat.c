#include "support_chat.h"

#include "json/json.h"
#include "json/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CHAT_BODY_BYTES = 1 << 20, BOTS_BYTES = 8192 };

#define TOKEN_PATH "/open-apis/auth/tenant_access_token/internal"
#define SEND_PATH "/open-apis/im/v2/messages"
#define TOKEN "{\"code\":0,\"data\":{\"tenant_access_token\":\"t-1\",\"expire\":7140}}"

static void keep(char *out, size_t size, struct bytes text)
{
    assert_true(text.len < size);
    snprintf(out, size, BYTES_FMT, BYTES_ARG(text));
}

static void keep_text(struct chat_call *call, const struct json *content)
{
    const struct json *card = json_at(content, "/modules/0/content");
    call->is_card = card != NULL;
    keep(call->text, sizeof(call->text), json_string(card ? card : json_get(content, "text")));
}

/* A send has the content as an object, an update as a string. */
static void keep_body(struct chat_call *call, struct bytes body)
{
    struct json *root = json_parse(body, JSON_STRICT, NULL);
    assert_non_null(root);
    const struct json *content = json_get(root, "content");
    struct json *inner = NULL;
    if (json_type(content) == JSON_STRING)
        inner = json_parse(json_string(content), JSON_STRICT, NULL);
    keep_text(call, inner ? inner : content);
    json_free(inner);
    json_free(root);
}

static void keep_ids(struct chat *c, struct chat_call *call, struct http_request *req)
{
    struct bytes uuid, path = http_path(req);
    call->kind = bytes_eq_str(path, SEND_PATH) ? CHAT_SEND : CHAT_UPDATE;
    if (call->kind == CHAT_UPDATE) {
        const size_t before = strlen("/open-apis/im/messages/"), after = strlen("/update");
        keep(call->message_id, sizeof(call->message_id),
             bytes_of(path.ptr + before, path.len - before - after));
        return;
    }
    assert_true(http_query(req, "uuid", &uuid));
    const char *own = memrchr(uuid.ptr, '-', uuid.len);
    assert_non_null(own);
    keep(call->uuid, sizeof(call->uuid),
         bytes_of(own + 1, uuid.len - (size_t)(own + 1 - uuid.ptr)));
    size_t nth = 0;
    while (&c->calls[nth] != call && strcmp(c->calls[nth].uuid, call->uuid) != 0)
        nth++;
    snprintf(call->message_id, sizeof(call->message_id), "m%zu~", nth);
}

static const struct chat_plan *plan_of(const struct chat *c, size_t call)
{
    size_t nth = call - c->planned_from;
    return nth < c->plan_count ? &c->plan[nth] : NULL;
}

static void on_call(struct http_request *req, void *arg)
{
    struct chat *c = arg;
    char done[160];
    if (bytes_eq_str(http_path(req), TOKEN_PATH)) {
        c->token_count++;
        http_reply_text(req, 200, "application/json", BYTES_LIT(TOKEN));
        return;
    }
    assert_true(c->call_count < CHAT_CALLS);
    const struct chat_plan *plan = plan_of(c, c->call_count);
    struct chat_call *call = &c->calls[c->call_count++];
    keep_ids(c, call, req);
    keep_body(call, http_body(req));
    snprintf(done, sizeof(done), "{\"code\":0,\"data\":{\"message_id\":\"%s\"}}",
             call->message_id);
    if (plan && plan->status == 0)
        return;
    if (plan && plan->retry_after)
        http_reply_header(req, "Retry-After", plan->retry_after);
    http_reply_text(req, plan ? plan->status : 200, "application/json",
                    bytes_of_str(plan && plan->body ? plan->body : done));
}

void chat_configure(struct chat *c, const char *members)
{
    buf_reset(&c->bots);
    buf_printf(
        &c->bots,
        "[{\"name\":\"erp\",\"platform\":\"bosshi\",\"app_id\":\"bli_1\","
        "\"app_secret\":\"s3cret\",\"verification_token\":\"v\",\"pipeline\":\"main\","
        "\"notice_text\":\"NOTICE\",\"apology_text\":\"SORRY\",\"busy_text\":\"BUSY\","
        "\"late_text\":\"LATE\",\"api_base\":\"http://127.0.0.1:%u\","
        "\"api_timeout_ms\":400,\"update_interval_ms\":50,\"chat_interval_ms\":0%s%s}]%c",
        http_server_port(c->api), members[0] ? "," : "", members, '\0');
    c->stage->bots = c->bots.ptr;
}

struct chat *chat_open(struct stage *s, const char *members)
{
    struct chat *c = BRG_NEW(struct chat);
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .max_body_bytes = CHAT_BODY_BYTES,
                                   .max_connections = 64,
                                   .idle_timeout_s = 60};
    struct http_callbacks callbacks = {.on_request = on_call, .arg = c};
    c->stage = s;
    c->api = http_server_new(s->loop, &options, &callbacks, NULL);
    assert_non_null(c->api);
    buf_init(&c->bots, BOTS_BYTES);
    chat_configure(c, members);
    stage_stop_worker(s, true);
    stage_start_worker(s);
    return c;
}

void chat_close(struct chat *c)
{
    if (c->stage->worker)
        stage_stop_worker(c->stage, false);
    http_server_free(c->api);
    stage_close(c->stage);
    buf_free(&c->bots);
    free(c);
}

void chat_ask(struct chat *c, struct stage_question *q)
{
    struct message m = {
        .platform = PLATFORM_BOSSHI,
        .bot = BYTES_LIT("erp"),
        .chat_type = CHAT_SINGLE,
        .chat_id = BYTES_LIT("chat~"),
        .sender_id = bytes_of_str(q->user),
        .sender_ids = {.open_id = bytes_of_str(q->user)},
        .reply_mode = REPLY_API,
        .reply_message_id = BYTES_LIT("asked~"),
    };
    stage_ask_as(c->stage, q, &m);
}

struct wish {
    struct chat *chat;
    size_t count;
};

static bool has_calls(void *arg)
{
    struct wish *w = arg;
    return w->chat->call_count >= w->count;
}

void chat_await_calls(struct chat *c, size_t count)
{
    struct wish w = {c, count};
    loop_until(c->stage->loop, has_calls, &w);
}
