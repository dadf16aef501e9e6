#include "events.h"

#include "accept.h"
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

static void finish(struct reply *reply, enum event_outcome outcome)
{
    metric_add(&events[outcome], 1);
    reply_empty(reply);
    reply_done(reply);
    free(reply);
}

static void lose(struct reply *reply, const char *reason)
{
    log_warn("events", "lost", "bot=%s reason=\"%s\"", reply->bot->name, reason);
    finish(reply, OUTCOME_LOST);
}

static void on_accepted(enum brg_err err, const char *reason, void *arg)
{
    if (err)
        lose(arg, reason ? reason : "not acknowledged");
    else
        finish(arg, OUTCOME_PUBLISHED);
}

static struct message message_of(struct reply *reply, const struct wecom_callback *callback)
{
    struct bytes bot = bytes_of_str(reply->bot->name);
    bool is_event = callback->kind == WECOM_EVENT;
    int64_t now = store_now_ms(reply->in->store);
    return (struct message){
        .platform = PLATFORM_WECOM,
        .bot = bot,
        .message_id = callback->msgid,
        .stream = stream_id_of(reply->in->crypto, bot, callback->msgid),
        .kind = is_event ? callback->event_type : callback->msgtype,
        .chat_type = callback->is_group ? CHAT_GROUP : CHAT_SINGLE,
        .chat_id = callback->is_group ? callback->chat_id : bytes_of(NULL, 0),
        .sender_id = callback->user_id,
        .received_at_ms = now,
        .start_at_ms = now,
        .deadline_at_ms = now + reply->bot->stream_deadline_ms,
        .reply_mode = REPLY_NONE,
        .response_url = callback->response_url,
        .raw = callback->root,
    };
}

static void publish_raw(struct reply *reply, const struct wecom_callback *callback)
{
    struct brg_error error;
    struct message m = message_of(reply, callback);
    int64_t due_ms = reply->received_ms + reply->config->ingress.publish_budget_ms;
    if (accept_record(reply->in, BUS_EVENTS, &m, ENVELOPE_TYPE_EVENT, due_ms, on_accepted,
                      reply, &error))
        lose(reply, error.text);
}

void events_start(struct ingress *in, const struct reply_source *source,
                  const struct wecom_callback *callback)
{
    struct reply *reply = BRG_NEW(struct reply);
    reply_init(reply, in, source);
    if (callback->kind == WECOM_BROKEN) {
        log_warn("events", "broken", "bot=%s", reply->bot->name);
        finish(reply, OUTCOME_BROKEN);
    } else {
        publish_raw(reply, callback);
    }
    json_free(callback->root);
}
