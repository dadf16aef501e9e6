#include "delivery.h"

#include "json/json_writer.h"
#include "metrics/metrics.h"

#include <ctype.h>

enum { URL_MAX_BYTES = 8192, ANSWER_BODY_MAX_BYTES = 65536, PORT_MAX = 65535 };

static struct metric outcomes[] = {
#define OUTCOME(name)                                                                     \
    METRIC(METRIC_COUNTER, "botbridge_worker_response_url_total", "outcome=\"" name "\"", \
           "Calls to a message's response_url")
    [DELIVERY_ACCEPTED] = OUTCOME("accepted"),
    [DELIVERY_REFUSED] = OUTCOME("refused"),
    [DELIVERY_UNKNOWN] = OUTCOME("unknown"),
    [DELIVERY_UNSENT] = OUTCOME("unsent"),
};

void delivery_metrics_register(void)
{
    for (size_t i = 0; i < DELIVERY_OUTCOME_COUNT; i++)
        metric_register(&outcomes[i]);
}

static const char *const outcome_names[DELIVERY_OUTCOME_COUNT] = {"accepted", "refused",
                                                                  "unknown", "unsent"};

const char *delivery_outcome_name(enum delivery_outcome outcome)
{
    return outcome_names[outcome];
}

bool delivery_outcome_from(struct bytes name, enum delivery_outcome *out)
{
    for (size_t i = 0; i < DELIVERY_OUTCOME_COUNT; i++) {
        if (!bytes_eq_str(name, outcome_names[i]))
            continue;
        *out = (enum delivery_outcome)i;
        return true;
    }
    return false;
}

/* --- which addresses --- */

static bool is_visible_ascii(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f || text.ptr[i] == '\\')
            return false;
    return true;
}

static bool is_numeric(struct bytes host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!isdigit((unsigned char)host.ptr[i]) && host.ptr[i] != '.')
            return false;
    return true;
}

/* `suffix` itself or a name below it; of an address only itself. */
static bool is_below(struct bytes host, struct bytes suffix)
{
    if (host.len <= suffix.len || is_numeric(suffix))
        return bytes_eq_nocase(host, suffix);
    struct bytes end = bytes_of(host.ptr + host.len - suffix.len, suffix.len);
    return end.ptr[-1] == '.' && bytes_eq_nocase(end, suffix);
}

static bool is_allowed_host(const struct config *config, struct bytes host)
{
    for (char *const *item = config->response_url.hosts; item && *item; item++)
        if (is_below(host, bytes_of_str(*item)))
            return true;
    return false;
}

static bool is_host_name(struct bytes host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (!isalnum(c) && c != '-' && c != '.')
            return false;
    }
    return host.len > 0;
}

/* Cuts ":port" off. False: there is something else behind the host. */
static bool split_port(struct bytes *authority)
{
    const char *colon = memchr(authority->ptr, ':', authority->len);
    if (!colon)
        return true;
    size_t host_len = (size_t)(colon - authority->ptr);
    uint64_t port;
    struct bytes digits = bytes_of(colon + 1, authority->len - host_len - 1);
    if (!bytes_to_u64(digits, &port) || port == 0 || port > PORT_MAX)
        return false;
    authority->len = host_len;
    return true;
}

static bool cut_scheme(struct bytes *url, struct bytes scheme)
{
    if (url->len < scheme.len || !bytes_eq_nocase(bytes_of(url->ptr, scheme.len), scheme))
        return false;
    *url = bytes_of(url->ptr + scheme.len, url->len - scheme.len);
    return true;
}

const char *delivery_refusal(const struct config *config, struct bytes url)
{
    if (url.len > URL_MAX_BYTES || !is_visible_ascii(url))
        return "malformed";
    bool is_http = cut_scheme(&url, BYTES_LIT("http://"));
    if (!is_http && !cut_scheme(&url, BYTES_LIT("https://")))
        return "neither http nor https";
    if (is_http && !config->response_url.allow_http)
        return "not https";
    size_t len = 0;
    while (len < url.len && !strchr("/?#", url.ptr[len]))
        len++;
    struct bytes authority = bytes_of(url.ptr, len);
    if (len > 0 && memchr(authority.ptr, '@', len))
        return "names a user";
    if (!split_port(&authority) || !is_host_name(authority))
        return "malformed";
    return is_allowed_host(config, authority) ? NULL : "host not allowed";
}

/* --- what is posted --- */

void delivery_write(struct buf *out, struct bytes content)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "msgtype", BYTES_LIT("markdown"));
    json_open(&w, "markdown", '{');
    json_str(&w, "content", content);
    json_close(&w, '}');
    json_close(&w, '}');
}

void delivery_read(struct bytes body, struct buf *out)
{
    struct json *root = json_parse(body, JSON_PEER, NULL);
    buf_append(out, json_string(json_at(root, "/markdown/content")));
    json_free(root);
}

/* --- the call --- */

struct delivery {
    struct fetch *fetch;
    delivery_cb *cb;
    void *arg;
    int status; /* 0: no head came */
    struct buf answer;
};

static void on_head(const struct fetch_head *head, void *arg)
{
    struct delivery *d = arg;
    d->status = head->status;
}

static void on_data(struct bytes data, void *arg)
{
    struct delivery *d = arg;
    buf_append(&d->answer, data);
}

/* The documents name no answer; whatever else calls qyapi gets errcode. A success that says
 * nothing is one. */
static enum delivery_outcome judge(const struct delivery *d, int64_t *code)
{
    *code = d->status;
    if (d->status >= 500)
        return DELIVERY_UNKNOWN;
    if (d->status < 200 || d->status >= 300)
        return DELIVERY_REFUSED;
    struct json *root = json_parse(buf_bytes(&d->answer), JSON_PEER, NULL);
    *code = json_get_int(root, "errcode", 0);
    json_free(root);
    return *code == 0 ? DELIVERY_ACCEPTED : DELIVERY_REFUSED;
}

static enum delivery_outcome outcome_of(const struct delivery *d, enum fetch_result result,
                                        int64_t *code)
{
    switch (result) {
    case FETCH_OK:
        return judge(d, code);
    case FETCH_CONNECT:
        return DELIVERY_UNSENT;
    case FETCH_BAD_REQUEST:
    case FETCH_NOT_PUBLIC:
        return DELIVERY_REFUSED;
    case FETCH_CUT:
    case FETCH_TIMEOUT:
    case FETCH_TOO_LARGE:
        break;
    }
    bool is_refused = d->status >= 300 && d->status < 500;
    return is_refused ? DELIVERY_REFUSED : DELIVERY_UNKNOWN;
}

static void free_delivery(struct delivery *d)
{
    buf_free(&d->answer);
    free(d);
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct delivery *d = arg;
    int64_t code = d->status;
    enum delivery_outcome outcome = outcome_of(d, result, &code);
    metric_add(&outcomes[outcome], 1);
    d->cb(outcome, code, result == FETCH_NOT_PUBLIC ? "address not public" : detail, d->arg);
    free_delivery(d);
}

struct delivery *delivery_start(struct fetch_pool *pool, const struct config *config,
                                struct bytes url, struct bytes body, delivery_cb *cb, void *arg)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    char *target = bytes_dup(url);
    struct fetch_request request = {
        .url = target,
        .headers = headers,
        .body = body,
        .connect_timeout_ms = config->response_url.connect_timeout_ms,
        .total_timeout_ms = config->response_url.timeout_ms,
        .max_body_bytes = ANSWER_BODY_MAX_BYTES,
        .fresh_connection = true, /* sent once, and never on a connection that is dead */
        .public_only = !config->response_url.allow_private,
    };
    struct delivery *d = BRG_NEW(struct delivery);
    d->cb = cb;
    d->arg = arg;
    buf_init(&d->answer, ANSWER_BODY_MAX_BYTES);
    d->fetch = fetch_start(pool, &request, &callbacks, d);
    free(target);
    return d;
}

void delivery_cancel(struct delivery *d)
{
    fetch_cancel(d->fetch);
    free_delivery(d);
}
