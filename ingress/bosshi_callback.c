#include "bosshi_callback.h"

#include "base/crash_point.h"
#include "bosshi_event.h"
#include "json/json_pick.h"
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

static bool is_signed(const struct http_request *req, const struct config_bosshi *b)
{
    return http_header(req, b->signature_header).len > 0;
}

/* What proves a click is not documented where we could read it: the first that is refused tells
 * the operator what it has. */
static void tell_of_card(const struct http_request *req, const struct config_bot *bot)
{
    static bool is_told;
    struct json_pick encrypt = {.key = "encrypt"};
    if (is_told)
        return;
    is_told = true;
    bool is_encrypted = json_pick(http_body(req), &encrypt, 1) && encrypt.string.ptr;
    log_warn("bosshi", "card_refused", "bot=%s signature_header=%s encrypted=%s", bot->name,
             is_signed(req, &bot->bosshi) ? "present" : "absent", is_encrypted ? "yes" : "no");
}

static void refuse(struct http_request *req, const struct config_bot *bot,
                   enum bosshi_route route, int status)
{
    metric_add(&requests[status == 401 ? KIND_UNAUTHORIZED : KIND_MALFORMED], 1);
    log_debug("bosshi", "refused", "bot=%s status=%d", bot->name, status);
    if (route == BOSSHI_ROUTE_CARD && status == 401)
        tell_of_card(req, bot);
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
                                    const struct config_bosshi *b, enum bosshi_route route)
{
    bool is_card = route == BOSSHI_ROUTE_CARD;
    struct bosshi_post post = {
        .body = http_body(req),
        .is_card = is_card,
        .proof = is_card ? b->card_proof : BOSSHI_PROOF_TOKEN,
    };
    if (!b->check_signature && post.proof != BOSSHI_PROOF_SIGNATURE)
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
    log_info("bosshi", "first_event", "bot=%s signature_header=%s encrypted=%s", bot->name,
             is_signed(req, &bot->bosshi) ? "present" : "absent",
             bot->bosshi.keys.encrypt_key_count > 0 ? "yes" : "no");
}

static void handle(struct ingress *in, struct http_request *req, const struct config_bot *bot,
                   enum bosshi_route route)
{
    struct bosshi_post post = read_post(req, &bot->bosshi, route);
    struct bosshi_opened opened;
    struct bytes challenge;
    switch (bosshi_open(in->crypto, &bot->bosshi.keys, &post, &in->opened, &opened)) {
    case BOSSHI_MALFORMED:
        refuse(req, bot, route, 400);
        return;
    case BOSSHI_REFUSED:
        refuse(req, bot, route, 401);
        return;
    case BOSSHI_GENUINE:
        break;
    }
    crash_point("callback.verified");
    if (bosshi_is_challenge(opened.root, &challenge)) {
        answer_challenge(req, challenge);
        json_free(opened.root);
        return;
    }
    if (route == BOSSHI_ROUTE_EVENT)
        tell_of_signature(req, bot);
    metric_add(&requests[route == BOSSHI_ROUTE_CARD ? KIND_CARD : KIND_EVENT], 1);
    struct reply_source source = {.req = req, .bot = bot};
    bosshi_event_start(in, &source, route, &opened);
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
