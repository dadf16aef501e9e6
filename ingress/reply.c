#include "reply.h"

#include "base/clock.h"
#include "base/crash_point.h"

/* Content 20,480 bytes, escaped at worst 6 for 1, base64 4 for 3, and a nonce from a URL. */
#define REPLY_MAX_BYTES (512 * 1024)
/* What the sealed reply has beside the sealed text and the nonce: padding, names, signature. */
#define REPLY_FRAME_BYTES 256

#define REPEAT_AFTER_S "15" /* BOSSHI's first repeat comes then */

void reply_init(struct reply *r, struct ingress *in, const struct reply_source *source)
{
    *r = (struct reply){
        .in = in,
        .req = source->req,
        .config = config_ref(in->config),
        .bot = source->bot,
        .keys = source->keys,
        .nonce = source->nonce,
        .received_ms = loop_now_ms(in->loop),
    };
    http_set_context(r->req, r);
}

void reply_pass(struct reply *to, struct reply *from)
{
    *to = *from;
    to->config = config_ref(from->config);
    from->req = NULL;
    if (to->req)
        http_set_context(to->req, to);
}

void reply_done(struct reply *r)
{
    BRG_CHECK(!r->req);
    config_unref(r->config);
    r->config = NULL;
    r->bot = NULL;
}

void reply_gone(struct reply *r)
{
    r->req = NULL;
}

int64_t reply_age_ms(const struct reply *r)
{
    return loop_now_ms(r->in->loop) - r->received_ms;
}

/* The request, to be answered now; NULL when nobody waits any more. */
static struct http_request *take_request(struct reply *r)
{
    struct http_request *req = r->req;
    r->req = NULL;
    if (req)
        http_set_context(req, NULL);
    return req;
}

static void send_sealed(struct reply *r)
{
    struct buf body;
    buf_init(&body, REPLY_MAX_BYTES);
    (void)buf_reserve(&body, CRYPTO_BASE64_BYTES(r->in->sealing.len) + REPLY_FRAME_BYTES +
                                 r->nonce.len);
    wecom_reply_seal(r->in->crypto, &r->bot->wecom, r->keys, &r->in->sealing,
                     clock_wall_ms() / 1000, r->nonce, &body);
    BRG_CHECK(!body.overflowed);
    http_reply(take_request(r), 200, "application/json", &body);
    crash_point("reply.queued");
}

void reply_stream(struct reply *r, struct bytes stream_id, bool finish, struct bytes content)
{
    if (!r->req)
        return;
    wecom_reply_begin(&r->in->sealing);
    wecom_write_stream(&r->in->sealing, stream_id, finish, content);
    send_sealed(r);
}

void reply_empty(struct reply *r)
{
    if (!r->req)
        return;
    wecom_reply_begin(&r->in->sealing);
    wecom_write_empty(&r->in->sealing);
    send_sealed(r);
}

void reply_taken(struct reply *r)
{
    struct http_request *req = take_request(r);
    if (!req)
        return;
    http_reply_text(req, 200, "application/json", BYTES_LIT("{}"));
    crash_point("reply.queued");
}

void reply_repeat(struct reply *r)
{
    struct http_request *req = take_request(r);
    if (!req)
        return;
    http_reply_header(req, "Retry-After", REPEAT_AFTER_S);
    http_reply_text(req, 503, "text/plain", BYTES_LIT("not accepted, repeat\n"));
    crash_point("reply.queued");
}

void reply_refuse(struct http_request *req, int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {400, "bad request\n"},
        {401, "unauthorized\n"},
        {404, "not found\n"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (texts[i].status == status) {
            http_reply_text(req, status, "text/plain", bytes_of_str(texts[i].text));
            return;
        }
    }
    BRG_CHECK(!"a status without a text");
}
