#include "support_chat.h"

#include "base/clock.h"
#include "json/json.h"
#include "json/json_writer.h"

#include <inttypes.h>
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

void chat_answer(struct chat *c, size_t call, const char *text)
{
    stage_await_calls(c->stage, call + 1);
    stage_say(c->stage, call, text);
    stage_done(c->stage, call);
}

const struct stage_letter *chat_letter_of(struct chat *c, bool is_dead,
                                          const struct stage_question *q)
{
    const struct stage_letter *letter = stage_letter_of(c->stage, is_dead, q);
    while (!letter) {
        stage_await_letters(c->stage, c->stage->letter_count + 1);
        letter = stage_letter_of(c->stage, is_dead, q);
    }
    return letter;
}

void chat_expect_reply(struct chat *c, const struct stage_question *q, const char *member)
{
    const struct buf *value = &chat_letter_of(c, false, q)->value;
    if (!memmem(value->ptr, value->len, member, strlen(member)))
        fail_msg("%s not in " BYTES_FMT, member, BYTES_ARG(buf_bytes(value)));
    stage_await_settled(c->stage, q);
    stage_await_idle(c->stage);
}

void chat_expect_undelivered(struct chat *c, const struct stage_question *q)
{
    assert_string_equal(chat_letter_of(c, true, q)->reason, "undelivered");
}

void chat_expect_sends(struct chat *c, const char *const *uuids, size_t count)
{
    assert_int_equal(c->call_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(c->calls[i].kind, CHAT_SEND);
        assert_string_equal(c->calls[i].uuid, uuids[i]);
    }
}

const char *chat_last_text(const struct chat *c)
{
    return c->calls[c->call_count - 1].text;
}

struct store_reply chat_rival(struct chat *c, struct stage_question *q)
{
    stage_stop_worker(c->stage, true);
    chat_ask(c, q);
    struct store_reply r = rig_claim(c->stage->other, &q->stream, "rival", STAGE_LEASE_MS);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    return r;
}

struct store_reply chat_rival_end(struct chat *c, struct stage_question *q, const char *text)
{
    struct store_reply r = chat_rival(c, q);
    (void)rig_finish(c->stage->other, &q->stream, r.epoch, REASON_DONE, text, "", "event,reply",
                     STAGE_LEASE_MS);
    return r;
}

void chat_rig_note(struct chat *c, const struct stage_question *q, uint64_t epoch,
                   const char *field, const char *value)
{
    (void)rig_note(c->stage->other, &q->stream, epoch, field, value);
}

void chat_rig_note_ago(struct chat *c, const struct stage_question *q, uint64_t epoch,
                       const char *field, const char *place, int64_t age_ms)
{
    char value[96];
    bool is_card = strcmp(field, "card") == 0;
    int64_t at_ms = clock_wall_ms() - age_ms;
    if (is_card)
        snprintf(value, sizeof(value), "%" PRId64 " %s", at_ms, place);
    else
        snprintf(value, sizeof(value), "%s %" PRId64, place, at_ms);
    chat_rig_note(c, q, epoch, field, value);
}
