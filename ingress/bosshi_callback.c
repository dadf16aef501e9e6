#include "bosshi_callback.h"

#include "base/crash_point.h"
#include "bosshi_event.h"
#include "log/log.h"
#include "metrics/metrics.h"

#define CHALLENGE_FRAME_BYTES 64

static struct metric requests[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_requests_total", "kind=\"challenge\"",
           "Requests of BOSSHI, by kind; refused ones by why."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_requests_total", "kind=\"event\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_requests_total", "kind=\"card\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_requests_total", "kind=\"malformed\"",
           NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_requests_total", "kind=\"unauthorized\"",
           NULL),
};
enum request_kind {
    KIND_CHALLENGE,
    KIND_EVENT,
    KIND_CARD,
    KIND_MALFORMED,
    KIND_UNAUTHORIZED,
};

void bosshi_callback_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
        metric_register(&requests[i]);
}

static void refuse(struct http_request *req, const struct config_bot *bot, int status)
{
    metric_add(&requests[status == 401 ? KIND_UNAUTHORIZED : KIND_MALFORMED], 1);
    log_debug("bosshi", "refused", "bot=%s status=%d", bot->name, status);
    reply_refuse(req, status);
}

static void answer_challenge(struct http_request *req, struct bytes challenge)
{
    struct buf body;
    buf_init(&body, CHALLENGE_FRAME_BYTES + 6 * challenge.len); /* were every byte escaped */
    bosshi_write_challenge(&body, challenge);
    metric_add(&requests[KIND_CHALLENGE], 1);
    http_reply(req, 200, "application/json", &body);
}

static struct bosshi_post read_post(const struct http_request *req,
                                    const struct config_bosshi *b)
{
    struct bosshi_post post = {.body = http_body(req)};
    if (!b->check_signature)
        return post;
    post.signature = http_header(req, b->signature_header);
    post.timestamp = http_header(req, b->timestamp_header);
    post.nonce = http_header(req, b->nonce_header);
    return post;
}

/* Whether the platform signs is not documented where we could read it: the first genuine event
 * of the process tells the operator, by the headers' presence. */
static void tell_of_signature(const struct http_request *req, const struct config_bot *bot)
{
    static bool is_told;
    if (is_told)
        return;
    is_told = true;
    bool is_signed = http_header(req, bot->bosshi.signature_header).len > 0;
    log_info("bosshi", "first_event", "bot=%s signature_header=%s encrypted=%s", bot->name,
             is_signed ? "present" : "absent",
             bot->bosshi.keys.encrypt_key_count > 0 ? "yes" : "no");
}

static void handle(struct ingress *in, struct http_request *req, const struct config_bot *bot,
                   enum bosshi_route route)
{
    struct bosshi_post post = read_post(req, &bot->bosshi);
    struct bytes text, challenge;
    struct json *root;
    switch (bosshi_open(in->crypto, &bot->bosshi.keys, &post, &in->opened, &text, &root)) {
    case BOSSHI_MALFORMED:
        refuse(req, bot, 400);
        return;
    case BOSSHI_REFUSED:
        refuse(req, bot, 401);
        return;
    case BOSSHI_GENUINE:
        break;
    }
    crash_point("callback.verified");
    if (bosshi_is_challenge(root, &challenge)) {
        answer_challenge(req, challenge);
        json_free(root);
        return;
    }
    tell_of_signature(req, bot);
    metric_add(&requests[route == BOSSHI_ROUTE_CARD ? KIND_CARD : KIND_EVENT], 1);
    struct reply_source source = {.req = req, .bot = bot};
    bosshi_event_start(in, &source, route, root, text);
}

void bosshi_callback(struct ingress *in, struct http_request *req, const struct config_bot *bot)
{
    handle(in, req, bot, BOSSHI_ROUTE_EVENT);
}

void bosshi_card_callback(struct ingress *in, struct http_request *req,
                          const struct config_bot *bot)
{
    handle(in, req, bot, BOSSHI_ROUTE_CARD);
}
