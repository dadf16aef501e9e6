#include "bosshi/bosshi_api.h"

#include "base/map.h"
#include "base/utf8.h"
#include "bosshi/bosshi_wire.h"
#include "json/json.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <inttypes.h>

enum {
    KEY_MAX_BYTES = 4096,
    RESPONSE_MAX_BYTES = 262144,
    REMEMBERED_MS = 3600 * 1000,
    CHATS_DEFAULT = 65536,
};

/* What an app was found not to have; monotonic times until which that is believed. */
struct habit {
    struct map_node node;
    char *key;
    int64_t no_cards_ms;
    bool is_card_refused; /* the last one sent was, by a code that no table knows */
    int64_t no_reply_ms;
    char *unfound; /* message whose reply was not found last, NULL: replies are */
};

struct chat {
    struct map_node node;
    struct list place; /* in api.chats, the longest unused first */
    char *key;
    int64_t free_ms; /* monotonic */
};

struct bosshi_api {
    struct loop *loop;
    struct fetch_pool *pool;
    struct bosshi_tokens *tokens;
    struct map habits;
    struct map chats_by_key;
    struct list chats;
    size_t max_chats;
};

enum call_kind { CALL_SEND, CALL_REPLY, CALL_UPDATE, CALL_KIND_COUNT };

struct bosshi_call {
    struct bosshi_api *api;
    const struct config_bosshi *app;
    enum call_kind kind;
    bool is_card;
    bool is_refreshed; /* a token of it was refused */
    char *tenant;
    char *reply_to;       /* "": it is no reply */
    char *url, *send_url; /* the second for a reply that falls back, else NULL */
    struct buf body, send_body;
    char *token; /* the one in use, NULL while it waits for one */
    struct bosshi_token_wait wait;
    struct fetch *fetch;
    int status; /* 0: no head came */
    int64_t retry_after_ms;
    struct buf answer;
    bosshi_cb *cb;
    void *arg;
};

static const char *const outcome_names[BOSSHI_OUTCOME_COUNT] = {
    "done", "retry", "refresh", "no_card", "too_long", "stop", "unknown",
};

const char *bosshi_outcome_name(enum bosshi_outcome outcome)
{
    return outcome_names[outcome];
}

#define CALLS(kind, outcome)                                      \
    METRIC(METRIC_COUNTER, "botbridge_worker_bosshi_calls_total", \
           "call=\"" kind "\",outcome=\"" outcome "\"", "Calls of BOSSHI's API by outcome")
#define CALLS_OF(kind)                                                            \
    {                                                                             \
        CALLS(kind, "done"), CALLS(kind, "retry"), CALLS(kind, "refresh"),        \
            CALLS(kind, "no_card"), CALLS(kind, "too_long"), CALLS(kind, "stop"), \
            CALLS(kind, "unknown"),                                               \
    }
static struct metric calls[CALL_KIND_COUNT][BOSSHI_OUTCOME_COUNT] = {
    [CALL_SEND] = CALLS_OF("send"),
    [CALL_REPLY] = CALLS_OF("reply"),
    [CALL_UPDATE] = CALLS_OF("update"),
};

static struct metric chats_kept = METRIC(METRIC_GAUGE, "botbridge_worker_bosshi_chats", NULL,
                                         "Chats of BOSSHI whose pace is kept");
static struct metric chats_limit = METRIC(METRIC_GAUGE, "botbridge_worker_bosshi_chats_limit",
                                          NULL, "Bound of the above (worker.bosshi_chats)");

struct bosshi_api *bosshi_api_new(struct loop *loop, struct fetch_pool *pool)
{
    struct bosshi_api *api = BRG_NEW(struct bosshi_api);
    api->loop = loop;
    api->pool = pool;
    api->tokens = bosshi_tokens_new(loop, pool);
    map_init(&api->habits);
    map_init(&api->chats_by_key);
    list_init(&api->chats);
    api->max_chats = CHATS_DEFAULT;
    metric_register(&chats_kept);
    metric_register(&chats_limit);
    metric_set(&chats_limit, CHATS_DEFAULT);
    for (size_t kind = 0; kind < CALL_KIND_COUNT; kind++)
        for (size_t i = 0; i < BOSSHI_OUTCOME_COUNT; i++)
            metric_register(&calls[kind][i]);
    return api;
}

void bosshi_api_limit(struct bosshi_api *api, size_t max_chats, size_t max_tokens)
{
    api->max_chats = max_chats;
    metric_set(&chats_limit, (int64_t)max_chats);
    bosshi_tokens_limit(api->tokens, max_tokens);
}

/* --- what is remembered --- */

static void free_habit(struct map_node *node, void *arg)
{
    struct habit *h = MAP_ENTRY(node, struct habit, node);
    map_remove(&((struct bosshi_api *)arg)->habits, node);
    free(h->key);
    free(h->unfound);
    free(h);
}

static struct habit *habit_of(struct bosshi_api *api, const struct config_bosshi *app)
{
    struct buf key;
    buf_init(&key, KEY_MAX_BYTES);
    buf_printf(&key, "%s\n%s", app->keys.app_id, app->api_base);
    struct map_node *found = map_find(&api->habits, buf_bytes(&key));
    if (!found) {
        struct habit *h = BRG_NEW(struct habit);
        h->key = bytes_dup(buf_bytes(&key));
        map_insert(&api->habits, &h->node, bytes_of(h->key, key.len));
        found = &h->node;
    }
    buf_free(&key);
    return MAP_ENTRY(found, struct habit, node);
}

bool bosshi_has_no_cards(struct bosshi_api *api, const struct config_bosshi *app)
{
    return loop_now_ms(api->loop) < habit_of(api, app)->no_cards_ms;
}

/* A code that is not known may have been about this one card, or a moment's trouble: two in a
 * row are about cards. */
void bosshi_card_refused(struct bosshi_api *api, const struct config_bosshi *app, bool is_known)
{
    struct habit *h = habit_of(api, app);
    bool is_for_all = is_known || h->is_card_refused;
    h->is_card_refused = !is_for_all;
    if (!is_for_all)
        return;
    log_warn("bosshi", "no_cards", "app=%s hint=\"answers go out as text for an hour\"",
             app->keys.app_id);
    h->no_cards_ms = loop_now_ms(api->loop) + REMEMBERED_MS;
}

void bosshi_card_taken(struct bosshi_api *api, const struct config_bosshi *app)
{
    habit_of(api, app)->is_card_refused = false;
}

/* --- pace --- */

static void free_chat(struct bosshi_api *api, struct chat *chat)
{
    list_remove(&chat->place);
    map_remove(&api->chats_by_key, &chat->node);
    metric_add(&chats_kept, -1);
    free(chat->key);
    free(chat);
}

static void free_unused_chats(struct bosshi_api *api, int64_t now_ms)
{
    while (!list_is_empty(&api->chats)) {
        struct chat *oldest = LIST_ENTRY(api->chats.next, struct chat, place);
        if (oldest->free_ms > now_ms && api->chats_by_key.count < api->max_chats)
            return;
        free_chat(api, oldest);
    }
}

static struct chat *find_chat(struct bosshi_api *api, const struct config_bosshi *app,
                              struct bytes chat, struct buf *key)
{
    buf_init(key, KEY_MAX_BYTES + chat.len);
    buf_printf(key, "%s\n", app->keys.app_id);
    buf_append(key, chat);
    struct map_node *found = map_find(&api->chats_by_key, buf_bytes(key));
    return found ? MAP_ENTRY(found, struct chat, node) : NULL;
}

static void use_chat(struct bosshi_api *api, struct chat *c, int64_t free_ms)
{
    if (free_ms > c->free_ms)
        c->free_ms = free_ms;
    list_remove(&c->place);
    list_push_back(&api->chats, &c->place);
}

int64_t bosshi_pace(struct bosshi_api *api, const struct config_bosshi *app, struct bytes chat)
{
    int64_t now_ms = loop_now_ms(api->loop);
    struct buf key;
    if (app->chat_interval_ms == 0)
        return now_ms;
    struct chat *c = find_chat(api, app, chat, &key);
    if (!c) {
        free_unused_chats(api, now_ms);
        c = BRG_NEW(struct chat);
        list_init(&c->place);
        c->key = bytes_dup(buf_bytes(&key));
        map_insert(&api->chats_by_key, &c->node, bytes_of(c->key, key.len));
        metric_add(&chats_kept, 1);
    }
    int64_t at_ms = c->free_ms > now_ms ? c->free_ms : now_ms;
    use_chat(api, c, at_ms + app->chat_interval_ms);
    buf_free(&key);
    return at_ms;
}

void bosshi_pace_over(struct bosshi_api *api, const struct config_bosshi *app,
                      struct bytes chat)
{
    struct buf key;
    struct chat *c = find_chat(api, app, chat, &key);
    if (c)
        use_chat(api, c, loop_now_ms(api->loop) + app->chat_interval_ms);
    buf_free(&key);
}

void bosshi_api_free(struct bosshi_api *api)
{
    if (!api)
        return;
    while (!list_is_empty(&api->chats))
        free_chat(api, LIST_ENTRY(api->chats.next, struct chat, place));
    map_each(&api->habits, free_habit, api);
    map_free(&api->habits);
    map_free(&api->chats_by_key);
    bosshi_tokens_free(api->tokens);
    free(api);
}

/* --- one call --- */

static void free_call(struct bosshi_call *c)
{
    bosshi_token_leave(&c->wait);
    free(c->tenant);
    free(c->reply_to);
    free(c->url);
    free(c->send_url);
    free(c->token);
    buf_free(&c->body);
    buf_free(&c->send_body);
    buf_free(&c->answer);
    free(c);
}

void bosshi_cancel(struct bosshi_call *c)
{
    if (c->fetch)
        fetch_cancel(c->fetch);
    free_call(c);
}

static void end(struct bosshi_call *c, const struct bosshi_result *result)
{
    metric_add(&calls[c->kind][result->outcome], 1);
    c->cb(result, c->arg);
    free_call(c);
}

static void make(struct bosshi_call *c, struct bytes token);

static void ask_for_token(struct bosshi_call *c)
{
    struct bytes token =
        bosshi_token_get(c->api->tokens, c->app, bytes_of_str(c->tenant), &c->wait);
    if (token.len > 0)
        make(c, token);
}

static void on_token(struct bytes token, int64_t retry_after_ms, const char *detail, void *arg)
{
    struct bosshi_call *c = arg;
    if (token.len > 0) {
        make(c, token);
        return;
    }
    struct bosshi_result result = {
        .outcome = BOSSHI_CALL_RETRY,
        .retry_after_ms = retry_after_ms,
        .detail = detail,
        .log_bytes = strlen(detail),
    };
    end(c, &result);
}

static bool again_with_new_token(struct bosshi_call *c, const struct bosshi_result *result)
{
    if (result->outcome != BOSSHI_CALL_REFRESH)
        return false;
    bosshi_token_refused(c->api->tokens, c->app, bytes_of_str(c->tenant),
                         bytes_of_str(c->token));
    if (c->is_refreshed)
        return false;
    c->is_refreshed = true;
    ask_for_token(c);
    return true;
}

/* As the status, or as the code of the platform's gateway under another one; else 0. */
static int not_found(const struct bosshi_call *c, const struct bosshi_result *result)
{
    bool is_refused =
        result->outcome == BOSSHI_CALL_STOP || result->outcome == BOSSHI_CALL_NO_CARD;
    if (c->status == 404 || c->status == 405)
        return c->status;
    return is_refused && (result->code == 404 || result->code == 405) ? (int)result->code : 0;
}

/* 404 is the path, or one message that was deleted: two unlike messages in a row are the path.
 * A method that is refused (405) is no message's matter. */
static void learn_no_reply(struct bosshi_call *c, int status)
{
    struct habit *h = habit_of(c->api, c->app);
    bool is_path = status == 405 || (h->unfound && strcmp(h->unfound, c->reply_to) != 0);
    free(h->unfound);
    h->unfound = is_path ? NULL : brg_strdup(c->reply_to);
    if (!is_path)
        return;
    log_warn("bosshi", "no_reply_call",
             "app=%s hint=\"answers are sent into the chat for an hour\"", c->app->keys.app_id);
    h->no_reply_ms = loop_now_ms(c->api->loop) + REMEMBERED_MS;
}

static void learn_reply(struct bosshi_call *c)
{
    struct habit *h = habit_of(c->api, c->app);
    free(h->unfound);
    h->unfound = NULL;
}

static bool again_as_send(struct bosshi_call *c, const struct bosshi_result *result)
{
    if (c->kind != CALL_REPLY)
        return false;
    if (result->outcome == BOSSHI_CALL_DONE)
        learn_reply(c);
    int status = not_found(c, result);
    if (status == 0)
        return false;
    learn_no_reply(c, status);
    c->kind = CALL_SEND;
    free(c->url);
    c->url = c->send_url;
    c->send_url = NULL;
    buf_free(&c->body);
    c->body = c->send_body;
    c->send_body = (struct buf){0};
    ask_for_token(c);
    return true;
}

static void on_head(const struct fetch_head *head, void *arg)
{
    struct bosshi_call *c = arg;
    c->status = head->status;
    c->retry_after_ms = head->retry_after_ms;
}

static void on_data(struct bytes data, void *arg)
{
    struct bosshi_call *c = arg;
    buf_append(&c->answer, data);
}

static void on_done(enum fetch_result result, const char *cause, void *arg)
{
    struct bosshi_call *c = arg;
    char detail[BOSSHI_DETAIL_BYTES];
    struct bosshi_answer answer = {
        .result = result,
        .cause = cause,
        .status = c->status,
        .body = buf_bytes(&c->answer),
        .is_card = c->is_card,
    };
    struct bosshi_result judged = {.retry_after_ms = c->retry_after_ms, .detail = detail};
    c->fetch = NULL;
    struct json *root = bosshi_judge(c->app, &answer, &judged, detail);
    bool goes_on = again_as_send(c, &judged) || again_with_new_token(c, &judged);
    if (!goes_on)
        end(c, &judged);
    json_free(root);
}

static void make(struct bosshi_call *c, struct bytes token)
{
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    struct buf authorization;
    buf_init(&authorization, token.len + 64);
    buf_append_str(&authorization, "Authorization: Bearer ");
    buf_append(&authorization, token);
    buf_append_char(&authorization, '\0');
    const char *const headers[] = {"Content-Type: application/json; charset=utf-8",
                                   authorization.ptr, NULL};
    struct fetch_request request = {
        .url = c->url,
        .headers = headers,
        .retry_header = BOSSHI_RETRY_HEADER,
        .body = buf_bytes(&c->body),
        .connect_timeout_ms = c->app->api_connect_timeout_ms,
        .total_timeout_ms = c->app->api_timeout_ms,
        .max_body_bytes = RESPONSE_MAX_BYTES,
        .send_once = true, /* whether and when it is made again is the session's to say */
    };
    free(c->token);
    c->token = bytes_dup(token);
    c->status = 0;
    c->retry_after_ms = -1;
    buf_reset(&c->answer);
    c->fetch = fetch_start(c->api->pool, &request, &callbacks, c);
    buf_free(&authorization);
}

/* --- what is called --- */

static struct bosshi_call *new_call(struct bosshi_api *api, const struct config_bosshi *app,
                                    enum call_kind kind, struct bytes tenant, size_t body_bytes)
{
    struct bosshi_call *c = BRG_NEW(struct bosshi_call);
    c->api = api;
    c->app = app;
    c->kind = kind;
    c->tenant = bytes_dup(tenant);
    c->retry_after_ms = -1;
    buf_init(&c->body, body_bytes);
    buf_init(&c->send_body, body_bytes);
    buf_init(&c->answer, RESPONSE_MAX_BYTES);
    bosshi_token_wait_init(&c->wait, on_token, c);
    return c;
}

struct bosshi_call *bosshi_send(struct bosshi_api *api, const struct config_bosshi *app,
                                struct bytes tenant, const struct bosshi_outgoing *message,
                                bosshi_cb *cb, void *arg)
{
    bool is_reply = app->reply_mode == BOSSHI_REPLY && message->reply_to.len > 0 &&
                    loop_now_ms(api->loop) >= habit_of(api, app)->no_reply_ms;
    struct bosshi_call *c = new_call(api, app, is_reply ? CALL_REPLY : CALL_SEND, tenant,
                                     bosshi_body_max(message->content));
    c->is_card = message->is_card;
    c->cb = cb;
    c->arg = arg;
    c->reply_to = bytes_dup(is_reply ? message->reply_to : BYTES_LIT(""));
    c->url = is_reply ? bosshi_reply_url(app, message) : bosshi_send_url(app, message);
    bosshi_write_send(&c->body, app, message, is_reply);
    if (is_reply) {
        c->send_url = bosshi_send_url(app, message);
        bosshi_write_send(&c->send_body, app, message, false);
    }
    ask_for_token(c);
    return c;
}

struct bosshi_call *bosshi_update(struct bosshi_api *api, const struct config_bosshi *app,
                                  struct bytes tenant, struct bytes message_id,
                                  struct bytes card, bosshi_cb *cb, void *arg)
{
    struct bosshi_call *c = new_call(api, app, CALL_UPDATE, tenant, bosshi_body_max(card));
    c->is_card = true;
    c->cb = cb;
    c->arg = arg;
    c->url = bosshi_update_url(app, message_id);
    bosshi_write_update(&c->body, card);
    ask_for_token(c);
    return c;
}
