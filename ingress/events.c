#include "events.h"

#include "accept.h"
#include "base/crash_point.h"
#include "base/utf8.h"
#include "log/log.h"
#include "metrics/metrics.h"

static struct metric events[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_events_total", "outcome=\"published\"",
           "Callbacks other than text and refresh, by outcome."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_events_total", "outcome=\"lost\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_events_total", "outcome=\"broken\"", NULL),
};
enum event_outcome { OUTCOME_PUBLISHED, OUTCOME_LOST, OUTCOME_BROKEN };

void events_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
        metric_register(&events[i]);
}

struct event {
    struct reply reply;
    enum event_outcome outcome; /* what it counts as once acknowledged */
    struct stream_id stream;
};

static void finish(struct event *e, enum event_outcome outcome)
{
    metric_add(&events[outcome], 1);
    reply_empty(&e->reply);
    reply_done(&e->reply);
    free(e);
}

static void lose(struct event *e, const char *reason)
{
    log_warn("events", "lost", "bot=%s stream=%s reason=\"%s\"", e->reply.bot->name,
             e->stream.text, reason);
    finish(e, e->outcome == OUTCOME_BROKEN ? OUTCOME_BROKEN : OUTCOME_LOST);
}

static void on_accepted(enum brg_err err, const char *reason, void *arg)
{
    struct event *e = arg;
    crash_point("callback_event.reported");
    if (err)
        lose(e, reason ? reason : "not acknowledged");
    else
        finish(e, e->outcome);
}

/* In either case it is not among the events. */
static void on_letter(enum brg_err err, const char *reason, void *arg)
{
    lose(arg, err && reason ? reason : "too large for a record");
}

static struct message message_of(struct event *e, struct bytes message_id)
{
    const struct reply *reply = &e->reply;
    struct bytes bot = bytes_of_str(reply->bot->name);
    int64_t now = store_now_ms(reply->in->store);
    e->stream = stream_id_of(reply->in->crypto, bot, message_id);
    return (struct message){
        .platform = PLATFORM_WECOM,
        .bot = bot,
        .message_id = message_id,
        .stream = e->stream,
        .received_at_ms = now,
        .start_at_ms = now,
        .deadline_at_ms = now + reply->bot->stream_deadline_ms,
        .reply_mode = REPLY_NONE,
    };
}

static void publish(struct event *e, const struct message *m)
{
    struct brg_error error;
    int64_t due_ms = e->reply.received_ms + e->reply.config->ingress.publish_budget_ms;
    enum brg_err err = accept_record(e->reply.in, BUS_EVENTS, m, ENVELOPE_TYPE_EVENT, due_ms,
                                     on_accepted, e, &error);
    crash_point("callback_event.produced");
    if (err == BRG_REJECT &&
        !accept_dead_letter(e->reply.in, m, ENVELOPE_TYPE_EVENT, error.text, ACCEPT_WHOLE,
                            due_ms, on_letter, e))
        return;
    if (err)
        lose(e, error.text);
}

static void publish_raw(struct event *e, const struct wecom_callback *callback)
{
    struct message m = message_of(e, callback->msgid);
    m.kind = callback->kind == WECOM_EVENT ? callback->event_type : callback->msgtype;
    m.chat_type = callback->is_group ? CHAT_GROUP : CHAT_SINGLE;
    m.chat_id = callback->is_group ? callback->chat_id : bytes_of(NULL, 0);
    m.sender_id = callback->user_id;
    m.response_url = callback->response_url;
    m.raw = callback->root;
    publish(e, &m);
}

static bool is_usable(struct bytes msgid)
{
    return msgid.len > 0 && msgid.len <= WECOM_MSGID_MAX_BYTES;
}

static const char *what_is_wrong(const struct wecom_callback *callback, struct bytes text)
{
    if (!callback->root)
        return utf8_is_valid(text) ? "not JSON" : "not UTF-8";
    if (json_type(callback->root) != JSON_OBJECT)
        return "not an object";
    if (!is_usable(callback->msgid))
        return callback->msgid.len > 0 ? "msgid too long" : "no msgid";
    return callback->msgtype.len > 0 ? "a member of its type is missing" : "no msgtype";
}

/* Nothing in it but a usable msgid is relied on: no conversation, no sender. */
static void publish_broken(struct event *e, const struct wecom_callback *callback,
                           struct bytes text)
{
    struct ingress *in = e->reply.in;
    struct bytes bot = bytes_of_str(e->reply.bot->name);
    struct stream_id own = stream_id_of(in->crypto, bot, text);
    struct message m =
        message_of(e, is_usable(callback->msgid) ? callback->msgid : stream_id_bytes(&own));
    log_warn("events", "broken", "bot=%s stream=%s reason=\"%s\"", e->reply.bot->name,
             e->stream.text, what_is_wrong(callback, text));
    m.kind = BYTES_LIT("broken");
    struct buf raw;
    buf_init(&raw, ENVELOPE_VALUE_MAX_BYTES);
    if (json_type(callback->root) == JSON_OBJECT) {
        m.raw = callback->root;
    } else {
        buf_append_str(&raw, "{\"base64\":\"");
        crypto_base64_encode(&raw, text);
        buf_append_str(&raw, "\"}");
        m.raw_text = buf_bytes(&raw);
    }
    e->outcome = OUTCOME_BROKEN;
    publish(e, &m);
    buf_free(&raw);
}

void events_start(struct ingress *in, const struct reply_source *source,
                  const struct wecom_callback *callback, struct bytes text)
{
    struct event *e = BRG_NEW(struct event);
    reply_init(&e->reply, in, source);
    e->outcome = OUTCOME_PUBLISHED;
    if (callback->kind == WECOM_BROKEN)
        publish_broken(e, callback, text);
    else
        publish_raw(e, callback);
    json_free(callback->root);
}
