#include "wecom_callback.h"

#include "base/crash_point.h"
#include "events.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "publish.h"
#include "refresh.h"

static struct metric requests[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"verification\"",
           "Requests of WeCom, by kind; refused ones by why."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"message\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"refresh\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"event\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"malformed\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_requests_total", "kind=\"unauthorized\"", NULL),
};
enum request_kind {
    KIND_VERIFICATION,
    KIND_MESSAGE,
    KIND_REFRESH,
    KIND_EVENT,
    KIND_MALFORMED,
    KIND_UNAUTHORIZED,
};

void wecom_callback_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
        metric_register(&requests[i]);
}

static void refuse(struct http_request *req, const struct config_bot *bot, int status)
{
    metric_add(&requests[status == 401 ? KIND_UNAUTHORIZED : KIND_MALFORMED], 1);
    log_debug("wecom", "refused", "bot=%s status=%d", bot->name, status);
    reply_refuse(req, status);
}

static bool read_query(const struct http_request *req, struct wecom_query *query,
                       int64_t *timestamp_s)
{
    return http_query(req, "msg_signature", &query->signature) &&
           http_query(req, "timestamp", &query->timestamp) &&
           http_query(req, "nonce", &query->nonce) &&
           bytes_to_i64(query->timestamp, timestamp_s);
}

void wecom_verification(struct ingress *in, struct http_request *req,
                        const struct config_bot *bot)
{
    struct wecom_query query;
    struct wecom_keyring used;
    struct bytes echo, text;
    int64_t timestamp_s;
    if (!read_query(req, &query, &timestamp_s) || !http_query(req, "echostr", &echo)) {
        refuse(req, bot, 400);
        return;
    }
    if (wecom_open(in->crypto, &bot->wecom, &query, echo, &in->opened, &text, &used) !=
        WECOM_GENUINE) {
        refuse(req, bot, 401);
        return;
    }
    metric_add(&requests[KIND_VERIFICATION], 1);
    struct buf body;
    buf_init(&body, text.len);
    buf_append(&body, text);
    http_reply(req, 200, "text/plain", &body);
}

static void dispatch(struct ingress *in, const struct reply_source *source, struct bytes text)
{
    struct wecom_callback callback;
    wecom_parse(text, &callback);
    switch (callback.kind) {
    case WECOM_REFRESH:
        metric_add(&requests[KIND_REFRESH], 1);
        refresh_start(in, source, callback.stream_id);
        json_free(callback.root);
        break;
    case WECOM_TEXT:
        metric_add(&requests[KIND_MESSAGE], 1);
        publish_start(in, source, &callback);
        break;
    default:
        metric_add(&requests[KIND_EVENT], 1);
        events_start(in, source, &callback, text);
        break;
    }
}

void wecom_callback(struct ingress *in, struct http_request *req, const struct config_bot *bot)
{
    struct wecom_query query;
    struct reply_source source = {.req = req, .bot = bot};
    struct bytes encrypt, text;
    struct json *root;
    if (!read_query(req, &query, &source.sent_at_s) ||
        wecom_parse_body(http_body(req), &root, &encrypt)) {
        refuse(req, bot, 400);
        return;
    }
    enum wecom_verdict verdict =
        wecom_open(in->crypto, &bot->wecom, &query, encrypt, &in->opened, &text, &source.keys);
    json_free(root);
    if (verdict != WECOM_GENUINE) {
        refuse(req, bot, 401);
        return;
    }
    crash_point("callback.verified");
    source.nonce = query.nonce;
    dispatch(in, &source, text);
}
