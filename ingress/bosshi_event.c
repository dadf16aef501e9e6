#include "bosshi_event.h"

#include "accept.h"
#include "base/crash_point.h"
#include "log/log.h"
#include "metrics/metrics.h"

/* A value holds text, parts, mentions and raw. */
#define CONTENT_MAX_BYTES ENVELOPE_VALUE_MAX_BYTES
enum event_state {
    EVENT_READING,   /* the store's answer is awaited, or the gate */
    EVENT_PRODUCING, /* Kafka's report is awaited, or the budget's end */
    EVENT_BURYING,   /* the same of its dead letter */
    EVENT_ANSWERED,  /* kept only for calls that are still to come */
};

enum event_outcome {
    OUTCOME_ACCEPTED,
    OUTCOME_REPEAT,
    OUTCOME_PUBLISHED,
    OUTCOME_UNUSABLE,
    OUTCOME_REFUSED,
};

struct event {
    struct reply reply;
    enum event_state state;
    unsigned awaited;        /* calls that will come: read, report */
    struct wheel_timer gate; /* in READING */
    enum bus_topic topic;    /* requests or events */
    struct json *root;       /* what the message's views point into, and: */
    struct buf id, raw;
    struct bosshi_content content;
    struct message message;
};

static struct metric outcomes[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_events_total", "outcome=\"accepted\"",
           "Genuine events of BOSSHI, by outcome; refused ones the platform repeats."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_events_total", "outcome=\"repeat\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_events_total", "outcome=\"published\"",
           NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_events_total", "outcome=\"unusable\"",
           NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_bosshi_events_total", "outcome=\"refused\"",
           NULL),
};
static struct metric answer_ms = METRIC(METRIC_HISTOGRAM, "botbridge_ingress_bosshi_event_ms",
                                        NULL, "From receipt of an event to its answer.");

void bosshi_event_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++)
        metric_register(&outcomes[i]);
    metric_register(&answer_ms);
}

static const struct config_bosshi *settings_of(const struct event *e)
{
    return &e->reply.bot->bosshi;
}

static const char *type_of(const struct event *e)
{
    return e->topic == BUS_REQUESTS ? ENVELOPE_TYPE_REQUEST : ENVELOPE_TYPE_EVENT;
}

static int64_t due_ms(const struct event *e)
{
    return e->reply.received_ms + e->reply.config->ingress.bosshi_budget_ms;
}

static void free_if_over(struct event *e)
{
    if (e->state != EVENT_ANSWERED || e->awaited > 0)
        return;
    reply_done(&e->reply);
    bosshi_content_free(&e->content);
    buf_free(&e->raw);
    buf_free(&e->id);
    json_free(e->root);
    free(e);
}

static void set_state(struct event *e, enum event_state state)
{
    e->state = state;
    loop_timer_cancel(e->reply.in->loop, &e->gate);
}

static void answer(struct event *e, enum event_outcome outcome)
{
    metric_add(&outcomes[outcome], 1);
    metric_observe_ms(&answer_ms, reply_age_ms(&e->reply));
    if (outcome == OUTCOME_REFUSED)
        reply_repeat(&e->reply);
    else
        reply_taken(&e->reply);
    set_state(e, EVENT_ANSWERED);
    free_if_over(e);
}

static void refuse(struct event *e, const char *reason)
{
    log_warn("bosshi", "not_accepted", "bot=%s stream=%s reason=\"%s\" age_ms=%lld",
             e->reply.bot->name, e->message.stream.text, reason,
             (long long)reply_age_ms(&e->reply));
    answer(e, OUTCOME_REFUSED);
}

static void on_buried(enum brg_err err, const char *reason, void *arg)
{
    struct event *e = arg;
    e->awaited--;
    if (err)
        refuse(e, reason ? reason : "dead letter not acknowledged");
    else
        answer(e, OUTCOME_UNUSABLE);
}

/* A repeat would not help: it is taken as soon as its letter is safe. */
static void bury(struct event *e, const char *why, enum accept_letter letter)
{
    log_warn("bosshi", "unusable", "bot=%s stream=%s reason=\"%s\"", e->reply.bot->name,
             e->message.stream.text, why);
    set_state(e, EVENT_BURYING);
    if (accept_dead_letter(e->reply.in, &e->message, type_of(e), why, letter, due_ms(e),
                           on_buried, e))
        refuse(e, "dead letter not written");
    else
        e->awaited++;
}

static void on_accepted(enum brg_err err, const char *reason, void *arg)
{
    struct event *e = arg;
    bool is_request = e->topic == BUS_REQUESTS;
    crash_point(is_request ? "request.reported" : "callback_event.reported");
    e->awaited--;
    if (err == BRG_REJECT)
        bury(e, reason ? reason : "refused", ACCEPT_OUTLINE);
    else if (err)
        refuse(e, reason ? reason : "not acknowledged");
    else
        answer(e, is_request ? OUTCOME_ACCEPTED : OUTCOME_PUBLISHED);
}

static void produce(struct event *e)
{
    struct ingress *in = e->reply.in;
    struct brg_error error;
    if (in->phase == INGRESS_ENDED) { /* the producer is gone, and so is who asked */
        set_state(e, EVENT_ANSWERED);
        free_if_over(e);
        return;
    }
    set_state(e, EVENT_PRODUCING);
    enum brg_err err =
        accept_record(in, e->topic, &e->message, type_of(e), due_ms(e), on_accepted, e, &error);
    crash_point(e->topic == BUS_REQUESTS ? "request.produced" : "callback_event.produced");
    if (err == BRG_REJECT)
        bury(e, error.text, ACCEPT_WHOLE);
    else if (err)
        refuse(e, error.text);
    else
        e->awaited++;
}

static void on_gate(struct wheel_timer *t, void *arg)
{
    (void)t;
    produce(arg);
}

static void on_read(const struct store_reply *reply, void *arg)
{
    struct event *e = arg;
    crash_point("read.answered");
    e->awaited--;
    bool is_known = reply->outcome == STORE_DONE &&
                    (reply->state == STREAM_RUN || reply->state == STREAM_FINAL);
    if (e->state != EVENT_READING)
        free_if_over(e);
    else if (is_known)
        answer(e, OUTCOME_REPEAT);
    else
        produce(e);
}

static void read_stream(struct event *e)
{
    struct ingress *in = e->reply.in;
    loop_timer_set(in->loop, &e->gate, e->reply.config->ingress.store_gate_ms);
    e->awaited++;
    store_read(in->store, stream_id_bytes(&e->message.stream), on_read, e);
    crash_point("read.sent");
}

/* --- what an event becomes --- */

static struct message message_of(struct event *e, const struct bosshi_event *event)
{
    struct ingress *in = e->reply.in;
    struct bytes bot = bytes_of_str(e->reply.bot->name);
    int64_t now_ms = store_now_ms(in->store);
    return (struct message){
        .platform = PLATFORM_BOSSHI,
        .bot = bot,
        .message_id = buf_bytes(&e->id),
        .stream = stream_id_of(in->crypto, bot, buf_bytes(&e->id)),
        .kind = event->type.len > 0 ? event->type : BYTES_LIT("unknown"),
        .app_id = event->app_id,
        .app_tenant = event->tenant,
        .sent_at_ms = event->created_ms,
        .received_at_ms = now_ms,
        .start_at_ms = now_ms,
        .deadline_at_ms = now_ms + e->reply.bot->stream_deadline_ms,
        .reply_mode = REPLY_NONE,
        .raw_text = e->raw.overflowed ? bytes_of(NULL, 0) : buf_bytes(&e->raw),
    };
}

static struct bytes chosen_id(enum bosshi_id choice, const struct bosshi_ids *ids)
{
    if (choice == BOSSHI_UNION_ID)
        return ids->union_id;
    return choice == BOSSHI_USER_ID ? ids->user_id : ids->open_id;
}

static void add_people(struct event *e, const struct bosshi_message *m)
{
    struct message *out = &e->message;
    out->chat_type = m->is_group ? CHAT_GROUP : CHAT_SINGLE;
    out->scope = settings_of(e)->conversation;
    out->chat_id = m->chat_id;
    out->root_id = m->root_id;
    out->parent_id = m->parent_id;
    out->sender_id = chosen_id(settings_of(e)->sender_id, &m->sender);
    out->sender_ids =
        (struct person_ids){m->sender.open_id, m->sender.union_id, m->sender.user_id};
    out->tenant = m->sender_tenant;
    if (m->created_ms > 0)
        out->sent_at_ms = m->created_ms;
}

static bool mentions(const struct bosshi_message *m, const char *open_id)
{
    for (size_t i = 0; i < json_length(m->mentions); i++) {
        const struct json *id = json_at(json_item(m->mentions, i), "/id/open_id");
        if (bytes_eq_str(json_string(id), open_id))
            return true;
    }
    return false;
}

/* Nobody answers what was not sent by a person, or by the bot itself: no loops. Who mentions
 * the bot is not it, though the example of the platform's documents has one id for both. */
static bool is_question(const struct event *e, const struct bosshi_event *event,
                        const struct bosshi_message *m)
{
    const struct config_bosshi *b = settings_of(e);
    bool is_own = *b->bot_open_id && bytes_eq_str(m->sender.open_id, b->bot_open_id) &&
                  !mentions(m, b->bot_open_id);
    return bosshi_is_wanted(event->type, b->event_types) && m->is_by_user && !is_own;
}

static void start_question(struct event *e, const struct bosshi_message *m, const char *why)
{
    const struct bosshi_self self = {settings_of(e)->bot_open_id, settings_of(e)->bot_names};
    if (m->type.len > 0)
        e->message.kind = m->type;
    e->message.reply_mode = REPLY_API;
    e->message.reply_message_id = m->id;
    if (!why && e->raw.overflowed)
        why = "too large";
    if (!why)
        why = bosshi_read_content(m, &self, &e->content);
    if (why) {
        bury(e, why, ACCEPT_WHOLE);
        return;
    }
    e->message.text = buf_bytes(&e->content.text);
    e->message.parts = buf_bytes(&e->content.parts);
    e->message.mentions = buf_bytes(&e->content.mentions);
    if (store_is_up(e->reply.in->store))
        read_stream(e);
    else
        produce(e);
}

/* What has no id of its own is named by its bytes: a repeat has the same. */
static void name_event(struct event *e, const struct bosshi_event *event, bool has_id,
                       struct bytes text)
{
    struct bytes app = bytes_of_str(settings_of(e)->keys.app_id);
    buf_init(&e->id, app.len + 1 + BOSSHI_EVENT_ID_MAX_BYTES);
    buf_append(&e->id, app);
    buf_append_char(&e->id, ':');
    if (has_id) {
        buf_append(&e->id, event->id);
        return;
    }
    struct stream_id own =
        stream_id_of(e->reply.in->crypto, bytes_of_str(e->reply.bot->name), text);
    buf_append(&e->id, stream_id_bytes(&own));
}

void bosshi_event_start(struct ingress *in, const struct reply_source *source,
                        enum bosshi_route route, const struct bosshi_opened *opened)
{
    const struct json *root = opened->root;
    struct event *e = BRG_NEW(struct event);
    struct bosshi_event event;
    struct bosshi_message m;
    reply_init(&e->reply, in, source);
    wheel_timer_init(&e->gate, on_gate, e);
    e->root = opened->root;
    e->topic = BUS_EVENTS;
    buf_init(&e->raw, ENVELOPE_VALUE_MAX_BYTES);
    bosshi_content_init(&e->content, CONTENT_MAX_BYTES);
    bool has_id = bosshi_parse_event(root, &event);
    const char *why = bosshi_parse_message(root, &m);
    name_event(e, &event, has_id, opened->text);
    (void)buf_reserve(&e->raw, opened->text.len);
    bosshi_write_raw(&e->raw, root);
    e->message = message_of(e, &event);
    add_people(e, &m);
    if (route == BOSSHI_ROUTE_CARD && event.type.len == 0)
        e->message.kind = BYTES_LIT("card");
    else if (route == BOSSHI_ROUTE_EVENT && !has_id)
        e->message.kind = BYTES_LIT("broken");
    if (route == BOSSHI_ROUTE_EVENT && has_id && is_question(e, &event, &m))
        e->topic = BUS_REQUESTS;
    if (opened->is_cut)
        bury(e, "nested too deeply, or too many values", ACCEPT_OUTLINE);
    else if (e->topic == BUS_REQUESTS)
        start_question(e, &m, why);
    else if (e->raw.overflowed)
        bury(e, "too large", ACCEPT_OUTLINE);
    else
        produce(e);
}
