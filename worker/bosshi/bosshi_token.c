#include "bosshi/bosshi_token.h"

#include "base/map.h"
#include "base/random.h"
#include "crypto/crypto.h"
#include "json/json.h"
#include "json/json_writer.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <inttypes.h>

enum {
    KEY_MAX_BYTES = 4096,
    TOKEN_MAX_BYTES = 4096,
    BODY_MAX_BYTES = 65536,
    URL_MAX_BYTES = 8192,
    TOKENS_DEFAULT = 4096,
    DETAIL_BYTES = 96,
    /* The platform makes a new token only when less than this is left, and the old one stays
     * good (dossier 6.2). */
    RENEW_MS = 30 * 60 * 1000,
    EXPIRE_DEFAULT_S = 1800, /* where the answer does not say */
    EXPIRE_MAX_S = 7 * 24 * 3600,
    SPARE_MS = 60 * 1000, /* a token about to end is none */
    RETRY_BASE_MS = 500,
    RETRY_CAP_MS = 15000,
    PAUSE_MAX_MS = 300000, /* a longer one asked for is looked at again: all answers wait */
};

struct entry {
    struct map_node node;
    struct bosshi_tokens *tokens;
    char *key;
    enum bosshi_nesting nesting;
    struct buf token;   /* empty: none */
    int64_t renew_ms;   /* monotonic: from then on another one is fetched */
    int64_t expires_ms; /* from then on it is not used */
    int64_t pause_ms;   /* no call before */
    unsigned failures;
    struct list waits;
    bool is_telling;     /* its waits are being called */
    struct fetch *fetch; /* NULL: no call under way */
    int status;
    int64_t retry_after_ms;
    struct buf answer;
};

struct bosshi_tokens {
    struct loop *loop;
    struct fetch_pool *pool;
    struct map entries;
    size_t max_entries;  /* tenants come from outside */
    struct list refused; /* asked during a pause: told in the next turn */
    struct wheel_timer tell;
};

static struct metric fetched = METRIC(METRIC_COUNTER, "botbridge_worker_bosshi_tokens_total",
                                      "outcome=\"ok\"", "Calls for tenant tokens of BOSSHI");
static struct metric failed = METRIC(METRIC_COUNTER, "botbridge_worker_bosshi_tokens_total",
                                     "outcome=\"failed\"", "Calls for tenant tokens of BOSSHI");

static struct metric kept = METRIC(METRIC_GAUGE, "botbridge_worker_bosshi_tokens", NULL,
                                   "Tokens of BOSSHI apps and tenants kept");
static struct metric kept_limit = METRIC(METRIC_GAUGE, "botbridge_worker_bosshi_tokens_limit",
                                         NULL, "Bound of the above (worker.bosshi_tokens)");

static void on_tell(struct wheel_timer *timer, void *arg);

struct bosshi_tokens *bosshi_tokens_new(struct loop *loop, struct fetch_pool *pool)
{
    struct bosshi_tokens *t = BRG_NEW(struct bosshi_tokens);
    t->loop = loop;
    t->pool = pool;
    map_init(&t->entries);
    t->max_entries = TOKENS_DEFAULT;
    list_init(&t->refused);
    wheel_timer_init(&t->tell, on_tell, t);
    metric_register(&fetched);
    metric_register(&failed);
    metric_register(&kept);
    metric_register(&kept_limit);
    metric_set(&kept_limit, TOKENS_DEFAULT);
    return t;
}

void bosshi_tokens_limit(struct bosshi_tokens *t, size_t max)
{
    t->max_entries = max;
    metric_set(&kept_limit, (int64_t)max);
}

static void forget_token(struct entry *e)
{
    if (e->token.ptr)
        crypto_wipe(e->token.ptr, e->token.len);
    buf_reset(&e->token);
}

static void free_entry(struct map_node *node, void *arg)
{
    struct bosshi_tokens *t = arg;
    struct entry *e = MAP_ENTRY(node, struct entry, node);
    map_remove(&t->entries, node);
    metric_add(&kept, -1);
    if (e->fetch)
        fetch_cancel(e->fetch);
    forget_token(e);
    buf_free(&e->token);
    buf_free(&e->answer);
    free(e->key);
    free(e);
}

void bosshi_tokens_free(struct bosshi_tokens *t)
{
    if (!t)
        return;
    loop_timer_cancel(t->loop, &t->tell);
    map_each(&t->entries, free_entry, t);
    map_free(&t->entries);
    free(t);
}

void bosshi_token_wait_init(struct bosshi_token_wait *wait, bosshi_token_cb *cb, void *arg)
{
    list_init(&wait->node);
    wait->cb = cb;
    wait->arg = arg;
}

void bosshi_token_leave(struct bosshi_token_wait *wait)
{
    list_remove(&wait->node);
}

/* --- entries --- */

static void free_idle(struct map_node *node, void *arg)
{
    struct entry *e = MAP_ENTRY(node, struct entry, node);
    if (!e->fetch && !e->is_telling && list_is_empty(&e->waits))
        free_entry(node, arg);
}

static struct entry *entry_of(struct bosshi_tokens *t, const struct config_bosshi *app,
                              struct bytes tenant)
{
    struct buf key;
    buf_init(&key, KEY_MAX_BYTES);
    buf_printf(&key, "%s\n%s\n", app->keys.app_id, app->api_base);
    if (app->token_with_tenant)
        buf_append(&key, tenant);
    struct map_node *found = map_find(&t->entries, buf_bytes(&key));
    if (found) {
        buf_free(&key);
        return MAP_ENTRY(found, struct entry, node);
    }
    if (t->entries.count >= t->max_entries)
        map_each(&t->entries, free_idle, t);
    struct entry *e = BRG_NEW(struct entry);
    e->tokens = t;
    e->key = bytes_dup(buf_bytes(&key));
    list_init(&e->waits);
    buf_init(&e->token, TOKEN_MAX_BYTES);
    buf_init(&e->answer, BODY_MAX_BYTES);
    map_insert(&t->entries, &e->node, bytes_of(e->key, key.len));
    metric_add(&kept, 1);
    buf_free(&key);
    return e;
}

/* --- what the answer says --- */

static void tell(struct list *waits, struct bytes token, int64_t retry_after_ms,
                 const char *detail)
{
    struct list told;
    list_move(waits, &told);
    while (!list_is_empty(&told)) {
        struct bosshi_token_wait *wait =
            LIST_ENTRY(list_pop_front(&told), struct bosshi_token_wait, node);
        wait->cb(token, retry_after_ms, detail, wait->arg);
    }
}

static void tell_waits(struct entry *e, struct bytes token, int64_t retry_after_ms,
                       const char *detail)
{
    e->is_telling = true;
    tell(&e->waits, token, retry_after_ms, detail);
    e->is_telling = false;
}

static void on_tell(struct wheel_timer *timer, void *arg)
{
    struct bosshi_tokens *t = arg;
    (void)timer;
    tell(&t->refused, bytes_of(NULL, 0), RETRY_CAP_MS / 2, "token call failed before");
}

/* What goes into a header as it is. */
static bool is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f)
            return false;
    return text.len > 0 && text.len <= TOKEN_MAX_BYTES;
}

static const struct json *holder_of(const struct entry *e, const struct json *root)
{
    const struct json *data = json_get(root, "data");
    bool is_in_data = json_get_string(data, "tenant_access_token").len > 0;
    if (e->nesting == BOSSHI_TOKEN_AUTO)
        return is_in_data ? data : root;
    return e->nesting == BOSSHI_TOKEN_IN_DATA ? data : root;
}

static bool take_token(struct entry *e, const struct json *root)
{
    const struct json *holder = holder_of(e, root);
    struct bytes token = json_get_string(holder, "tenant_access_token");
    int64_t seconds = json_get_int(holder, "expire", EXPIRE_DEFAULT_S);
    if (!is_token(token) || seconds <= 0)
        return false;
    int64_t lives_ms = (seconds < EXPIRE_MAX_S ? seconds : EXPIRE_MAX_S) * 1000;
    int64_t now_ms = loop_now_ms(e->tokens->loop);
    int64_t spare_ms = lives_ms / 10 < SPARE_MS ? lives_ms / 10 : SPARE_MS;
    forget_token(e);
    buf_append(&e->token, token);
    e->expires_ms = now_ms + lives_ms - spare_ms;
    /* Where the same one came again, little of it is left: not at each call. */
    e->renew_ms =
        now_ms + (lives_ms - RENEW_MS > lives_ms / 2 ? lives_ms - RENEW_MS : lives_ms / 2);
    return true;
}

/* False with the reason in `detail`; nothing of the answer but its code is told. */
static bool read_answer(struct entry *e, enum fetch_result result, const char *cause,
                        char detail[DETAIL_BYTES])
{
    if (result != FETCH_OK) {
        snprintf(detail, DETAIL_BYTES, "token call: %s", cause);
        return false;
    }
    struct json *root = json_parse(buf_bytes(&e->answer), JSON_PEER, NULL);
    int64_t code = json_get_int(root, "code", 0);
    bool is_ok = e->status >= 200 && e->status < 300 && code == 0 && take_token(e, root);
    if (!is_ok)
        snprintf(detail, DETAIL_BYTES, "token call: status %d, code %" PRId64 "%s", e->status,
                 code, e->status == 200 && code == 0 ? ", no token in it" : "");
    json_free(root);
    return is_ok;
}

static void fail(struct entry *e, const char *detail)
{
    int64_t now_ms = loop_now_ms(e->tokens->loop);
    int64_t pause_ms =
        RETRY_BASE_MS + random_backoff_ms(RETRY_BASE_MS, RETRY_CAP_MS, e->failures);
    if (e->retry_after_ms > pause_ms)
        pause_ms = e->retry_after_ms < PAUSE_MAX_MS ? e->retry_after_ms : PAUSE_MAX_MS;
    if (e->failures < 16)
        e->failures++;
    e->pause_ms = now_ms + pause_ms;
    metric_add(&failed, 1);
    log_warn("bosshi", "no_token", "pause_ms=%" PRId64 " why=\"%s\"", pause_ms, detail);
    tell_waits(e, bytes_of(NULL, 0), pause_ms, detail);
}

static void on_done(enum fetch_result result, const char *cause, void *arg)
{
    struct entry *e = arg;
    char detail[DETAIL_BYTES];
    e->fetch = NULL;
    bool is_ok = read_answer(e, result, cause, detail);
    if (e->answer.ptr)
        crypto_wipe(e->answer.ptr, e->answer.len);
    buf_free(&e->answer);
    if (!is_ok) {
        fail(e, detail);
        return;
    }
    e->failures = 0;
    e->pause_ms = 0;
    metric_add(&fetched, 1);
    tell_waits(e, buf_bytes(&e->token), -1, "");
}

/* --- the call --- */

static void on_head(const struct fetch_head *head, void *arg)
{
    struct entry *e = arg;
    e->status = head->status;
    e->retry_after_ms = head->retry_after_ms;
}

static void on_data(struct bytes data, void *arg)
{
    struct entry *e = arg;
    buf_append(&e->answer, data);
}

static void write_request(struct buf *body, const struct config_bosshi *app,
                          struct bytes tenant)
{
    struct json_writer w;
    json_begin(&w, body);
    json_open(&w, NULL, '{');
    json_str(&w, "app_id", bytes_of_str(app->keys.app_id));
    json_str(&w, "app_secret", bytes_of_str(app->app_secret));
    if (app->token_with_tenant && tenant.len > 0)
        json_str(&w, "tenant_key", tenant);
    json_close(&w, '}');
}

static void start(struct entry *e, const struct config_bosshi *app, struct bytes tenant)
{
    static const char *const headers[] = {"Content-Type: application/json; charset=utf-8",
                                          NULL};
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    struct buf url, body;
    buf_init(&url, URL_MAX_BYTES);
    buf_init(&body, BODY_MAX_BYTES);
    buf_printf(&url, "%s%s", app->api_base, app->token_path);
    buf_append_char(&url, '\0');
    write_request(&body, app, tenant);
    struct fetch_request request = {
        .url = url.overflowed ? "" : url.ptr,
        .headers = headers,
        .retry_header = BOSSHI_RETRY_HEADER,
        .body = buf_bytes(&body),
        .connect_timeout_ms = app->api_connect_timeout_ms,
        .total_timeout_ms = app->api_timeout_ms,
        .max_body_bytes = BODY_MAX_BYTES,
    };
    e->nesting = app->token_nesting;
    e->status = 0;
    e->retry_after_ms = -1;
    buf_reset(&e->answer);
    e->fetch = fetch_start(e->tokens->pool, &request, &callbacks, e);
    crypto_wipe(body.ptr, body.len);
    buf_free(&body);
    buf_free(&url);
}

struct bytes bosshi_token_get(struct bosshi_tokens *t, const struct config_bosshi *app,
                              struct bytes tenant, struct bosshi_token_wait *wait)
{
    struct entry *e = entry_of(t, app, tenant);
    int64_t now_ms = loop_now_ms(t->loop);
    bool has_token = e->token.len > 0 && now_ms < e->expires_ms;
    bool is_wanted = !has_token || now_ms >= e->renew_ms;
    bool is_paused = now_ms < e->pause_ms;
    if (is_wanted && !e->fetch && !is_paused)
        start(e, app, tenant);
    if (has_token)
        return buf_bytes(&e->token);
    if (e->fetch) {
        list_push_back(&e->waits, &wait->node);
    } else {
        list_push_back(&t->refused, &wait->node);
        loop_timer_set(t->loop, &t->tell, 0);
    }
    return bytes_of(NULL, 0);
}

void bosshi_token_refused(struct bosshi_tokens *t, const struct config_bosshi *app,
                          struct bytes tenant, struct bytes token)
{
    struct entry *e = entry_of(t, app, tenant);
    if (!bytes_eq(buf_bytes(&e->token), token))
        return;
    log_warn("bosshi", "token_refused", "app=%s", app->keys.app_id);
    forget_token(e);
}
