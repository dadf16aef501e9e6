#include "wecom_link.h"

#include "base/clock.h"
#include "fetch/fetch.h"

enum {
    NONCE_DIGITS = 10,
    ECHO_DIGITS = 19,
    REASON_BYTES = 384,
    IDLE_CONNECTIONS = 4096,
    CALLBACK_MAX_BYTES = 512 * 1024,
    URL_MAX_BYTES = 16 * 1024,
    /* Replies with images of about this size were refused by the platform; ours are smaller. */
    ANSWER_MAX_BYTES = 2 * 1024 * 1024,
};

struct wecom_link {
    struct loop *loop;
    struct fetch_pool *pool;
    struct crypto *crypto;
    struct wecom_keys keys;
    char *url;
    bool keep_alive;
    struct buf plain; /* of the callback that is being sealed, or the reply being opened */
};

struct wecom_call {
    struct wecom_link *link;
    struct fetch *fetch; /* NULL between deliveries */
    struct wheel_timer timer;
    char nonce[NONCE_DIGITS];
    char echo[ECHO_DIGITS];
    bool is_check;
    struct buf url;  /* NUL-terminated */
    struct buf body; /* empty for the check */
    struct buf received;
    int status;
    unsigned deliveries;
    int64_t delivered_at_ms;
    struct wecom_call_callbacks callbacks;
    void *arg;
};

struct wecom_link *wecom_link_new(struct loop *loop, const struct wecom_link_options *options)
{
    static const struct fetch_options pool = {.max_idle_connections = IDLE_CONNECTIONS};
    struct wecom_link *link = BRG_NEW(struct wecom_link);
    link->loop = loop;
    link->pool = fetch_pool_new(loop, &pool);
    link->crypto = crypto_new();
    link->keys = options->keys;
    link->url = brg_strdup(options->url);
    link->keep_alive = options->keep_alive;
    buf_init(&link->plain, ANSWER_MAX_BYTES);
    return link;
}

void wecom_link_free(struct wecom_link *link)
{
    if (!link)
        return;
    fetch_pool_free(link->pool);
    crypto_free(link->crypto);
    wecom_keys_wipe(&link->keys);
    buf_free(&link->plain);
    free(link->url);
    free(link);
}

struct crypto *wecom_link_crypto(struct wecom_link *link)
{
    return link->crypto;
}

static void call_free(struct wecom_call *call)
{
    loop_timer_cancel(call->link->loop, &call->timer);
    buf_free(&call->url);
    buf_free(&call->body);
    buf_free(&call->received);
    free(call);
}

static void end_call(struct wecom_call *call, enum wecom_outcome outcome, const char *reason,
                     struct bytes text)
{
    struct wecom_answer answer = {outcome, reason, text, call->deliveries};
    struct wecom_call_callbacks callbacks = call->callbacks;
    void *arg = call->arg;
    call_free(call);
    callbacks.on_answer(&answer, arg);
}

static void end_unanswered(struct wecom_call *call, const char *reason)
{
    char text[REASON_BYTES + 64];
    if (call->deliveries > 1)
        (void)snprintf(text, sizeof(text),
                       "no usable answer to %u deliveries; the last one: %s", call->deliveries,
                       reason);
    else
        (void)snprintf(text, sizeof(text), "no usable answer: %s", reason);
    end_call(call, WECOM_UNANSWERED, text, BYTES_LIT(""));
}

static void repeat(struct wecom_call *call, const char *reason)
{
    unsigned allowed = call->is_check ? 1 : WECOM_DELIVERIES_MAX;
    if (call->deliveries == allowed) {
        end_unanswered(call, reason);
        return;
    }
    if (call->callbacks.on_repeat)
        call->callbacks.on_repeat(reason, call->deliveries, call->arg);
    loop_timer_set_at(call->link->loop, &call->timer, call->delivered_at_ms + WECOM_ANSWER_MS);
}

static void judge_check(struct wecom_call *call)
{
    struct bytes got = buf_bytes(&call->received);
    struct bytes wanted = bytes_of(call->echo, sizeof(call->echo));
    char reason[REASON_BYTES] = "";
    if (!bytes_eq(got, wanted))
        (void)snprintf(reason, sizeof(reason),
                       "the body (%zu bytes) is not the decrypted echostr (%zu digits and "
                       "nothing else)",
                       got.len, wanted.len);
    end_call(call, *reason ? WECOM_BROKEN_RULE : WECOM_ANSWERED, reason, BYTES_LIT(""));
}

static void judge_reply(struct wecom_call *call)
{
    struct wecom_link *link = call->link;
    struct brg_error error = {0};
    struct bytes text = BYTES_LIT("");
    enum brg_err err = wecom_reply_open(link->crypto, &link->keys, buf_bytes(&call->received),
                                        bytes_of(call->nonce, sizeof(call->nonce)),
                                        &link->plain, &text, &error);
    end_call(call, err == BRG_OK ? WECOM_ANSWERED : WECOM_BROKEN_RULE, error.text, text);
}

static void on_head(const struct fetch_head *head, void *arg)
{
    struct wecom_call *call = arg;
    call->status = head->status;
}

static void on_data(struct bytes data, void *arg)
{
    struct wecom_call *call = arg;
    buf_append(&call->received, data);
}

static const char *failure_of(const struct wecom_call *call, enum fetch_result result,
                              const char *detail, char reason[REASON_BYTES])
{
    int limit_s = (call->is_check ? WECOM_CHECK_MS : WECOM_ANSWER_MS) / 1000;
    if (result == FETCH_CONNECT)
        (void)snprintf(reason, REASON_BYTES, "no connection: %s", detail);
    else if (result == FETCH_TIMEOUT)
        (void)snprintf(reason, REASON_BYTES, "not answered within %d s", limit_s);
    else if (result == FETCH_CUT)
        (void)snprintf(reason, REASON_BYTES, "the answer was cut: %s", detail);
    else if (result == FETCH_BAD_REQUEST)
        (void)snprintf(reason, REASON_BYTES, "the URL cannot be used: %s", detail);
    else if (result == FETCH_OK && call->status != 200)
        (void)snprintf(reason, REASON_BYTES, "status %d instead of 200", call->status);
    else
        return NULL;
    return reason;
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct wecom_call *call = arg;
    char buffer[REASON_BYTES];
    call->fetch = NULL;
    const char *failure = failure_of(call, result, detail, buffer);
    if (failure)
        repeat(call, failure);
    else if (result == FETCH_TOO_LARGE)
        end_call(call, WECOM_BROKEN_RULE, "the answer is longer than 2 MiB", BYTES_LIT(""));
    else if (call->is_check)
        judge_check(call);
    else
        judge_reply(call);
}

static void deliver(struct wecom_call *call)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    int64_t limit_ms = call->is_check ? WECOM_CHECK_MS : WECOM_ANSWER_MS;
    struct fetch_request request = {
        .url = call->url.ptr,
        .headers = call->is_check ? NULL : headers,
        .body = buf_bytes(&call->body),
        .connect_timeout_ms = limit_ms,
        .total_timeout_ms = limit_ms,
        .max_body_bytes = ANSWER_MAX_BYTES,
        .fresh_connection = !call->link->keep_alive,
    };
    buf_reset(&call->received);
    call->status = 0;
    call->deliveries++;
    call->delivered_at_ms = loop_now_ms(call->link->loop);
    call->fetch = fetch_start(call->link->pool, &request, &callbacks, call);
}

static void on_repeat_due(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    deliver(arg);
}

/* The first digit is not 0, as in numbers that were printed. */
static void random_digits(struct crypto *c, char *out, size_t count)
{
    crypto_random(c, out, count);
    for (size_t i = 0; i < count; i++)
        out[i] = (char)((i ? '0' : '1') + (unsigned char)out[i] % (i ? 10 : 9));
}

static struct wecom_call *call_new(struct wecom_link *link,
                                   const struct wecom_call_callbacks *callbacks, void *arg)
{
    struct wecom_call *call = BRG_NEW(struct wecom_call);
    call->link = link;
    call->callbacks = *callbacks;
    call->arg = arg;
    wheel_timer_init(&call->timer, on_repeat_due, call);
    random_digits(link->crypto, call->nonce, sizeof(call->nonce));
    buf_init(&call->url, URL_MAX_BYTES);
    buf_init(&call->body, CALLBACK_MAX_BYTES);
    buf_init(&call->received, ANSWER_MAX_BYTES);
    buf_append_str(&call->url, link->url);
    buf_append_char(&call->url, strchr(link->url, '?') ? '&' : '?');
    return call;
}

/* What users type is bounded by the caller, so neither buffer can overflow. */
static struct wecom_call *launch(struct wecom_call *call)
{
    buf_append_char(&call->url, '\0');
    BRG_CHECK(!call->url.overflowed && !call->body.overflowed);
    deliver(call);
    return call;
}

struct buf *wecom_link_begin(struct wecom_link *link)
{
    wecom_reply_begin(&link->plain);
    return &link->plain;
}

struct wecom_call *wecom_call_start(struct wecom_link *link,
                                    const struct wecom_call_callbacks *callbacks, void *arg)
{
    struct wecom_call *call = call_new(link, callbacks, arg);
    wecom_callback_seal(link->crypto, &link->keys, &link->plain, clock_wall_ms() / 1000,
                        bytes_of(call->nonce, sizeof(call->nonce)), &call->body, &call->url);
    return launch(call);
}

struct wecom_call *wecom_check_start(struct wecom_link *link,
                                     const struct wecom_call_callbacks *callbacks, void *arg)
{
    struct wecom_call *call = call_new(link, callbacks, arg);
    call->is_check = true;
    random_digits(link->crypto, call->echo, sizeof(call->echo));
    buf_append(wecom_link_begin(link), bytes_of(call->echo, sizeof(call->echo)));
    wecom_echo_seal(link->crypto, &link->keys, &link->plain, clock_wall_ms() / 1000,
                    bytes_of(call->nonce, sizeof(call->nonce)), &call->url);
    return launch(call);
}

void wecom_call_cancel(struct wecom_call *call)
{
    if (!call)
        return;
    if (call->fetch)
        fetch_cancel(call->fetch);
    call_free(call);
}
