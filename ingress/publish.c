#include "publish.h"

#include "accept.h"
#include "admission.h"
#include "base/clock.h"
#include "base/crash_point.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "owed.h"
#include "recall.h"
#include "refresh.h"

#define CLOSE_PATIENCE_MS 1000 /* for the store, before busy is said without it */

enum publish_state {
    PUBLISH_OPENING,   /* the store's answer is awaited, or the gate */
    PUBLISH_PRODUCING, /* Kafka's report is awaited, or the budget's end */
    PUBLISH_CLOSING,   /* not durable in time: the store is told before the user */
    PUBLISH_ANSWERED,  /* kept only for calls that are still to come */
};

struct publish {
    struct reply reply;
    enum publish_state state;
    unsigned awaited;         /* calls that will come: open, report, close */
    bool is_opened;           /* in the store, as far as is known */
    bool is_accepted;         /* by Kafka */
    struct wheel_timer timer; /* the gate in OPENING, patience in CLOSING */
    enum stream_reason end;   /* in CLOSING: busy, or stopped when it never can be accepted;
                               * none when the user was told another end meanwhile */
    struct json *root;        /* what the message's views point into */
    struct message message;
};

static struct metric messages[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_messages_total", "outcome=\"accepted\"",
           "New messages answered, by outcome."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_messages_total", "outcome=\"repeat\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_messages_total", "outcome=\"busy\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_messages_total", "outcome=\"late\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_messages_total", "outcome=\"unacceptable\"",
           NULL),
};
enum message_outcome {
    OUTCOME_ACCEPTED,
    OUTCOME_REPEAT,
    OUTCOME_BUSY,
    OUTCOME_LATE,
    OUTCOME_UNACCEPTABLE,
};
static struct metric answer_ms = METRIC(METRIC_HISTOGRAM, "botbridge_ingress_message_ms", NULL,
                                        "From receipt of a new message to its first answer.");

void publish_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
        metric_register(&messages[i]);
    metric_register(&answer_ms);
}

static struct bytes id_of(const struct publish *p)
{
    return stream_id_bytes(&p->message.stream);
}

static struct bytes bot_of(const struct publish *p)
{
    return bytes_of_str(p->reply.bot->name);
}

static void free_if_over(struct publish *p)
{
    if (p->state != PUBLISH_ANSWERED || p->awaited > 0)
        return;
    reply_done(&p->reply);
    json_free(p->root);
    free(p);
}

static void set_state(struct publish *p, enum publish_state state)
{
    p->state = state;
    loop_timer_cancel(p->reply.in->loop, &p->timer);
    if (state != PUBLISH_ANSWERED)
        return;
    metric_observe_ms(&answer_ms, reply_age_ms(&p->reply));
    free_if_over(p);
}

static struct store_stream stream_of(const struct publish *p)
{
    return (struct store_stream){
        .id = id_of(p),
        .bot = bot_of(p),
        .start_at_ms = p->message.start_at_ms,
        .deadline_at_ms = p->message.deadline_at_ms,
        .ttl_ms = p->reply.config->store.stream_ttl_ms,
    };
}

static void note(struct publish *p, const struct record *r)
{
    struct record kept = record_of_answer(r, p->reply.bot);
    recall_note(p->reply.in->recall, id_of(p), bot_of(p), store_ahead_ms(p->reply.in->store),
                &kept);
}

static bool recall(const struct publish *p, struct record *out)
{
    return recall_find(p->reply.in->recall, id_of(p), bot_of(p),
                       store_ahead_ms(p->reply.in->store), out);
}

/* What the memory says: it was told of the message itself and of all the store answered. */
static void answer_from_memory(struct publish *p)
{
    struct ingress *in = p->reply.in;
    struct record r;
    if (!recall(p, &r))
        r = (struct record){.state = STREAM_OPEN};
    struct rendering shown = render(&r, p->reply.bot, &in->rendered);
    reply_stream(&p->reply, id_of(p), shown.finish, shown.content);
    set_state(p, PUBLISH_ANSWERED);
}

static void answer_from_store(struct publish *p, const struct store_reply *reply,
                              enum message_outcome outcome)
{
    metric_add(&messages[outcome], 1);
    refresh_continue(&p->reply, id_of(p), reply);
    set_state(p, PUBLISH_ANSWERED);
}

static enum message_outcome outcome_of_end(const struct publish *p)
{
    return p->end == REASON_BUSY ? OUTCOME_BUSY : OUTCOME_UNACCEPTABLE;
}

/* The user was told the end of this stream, and the store may not know it yet. */
static bool is_over_in_memory(struct publish *p)
{
    struct record r;
    return recall(p, &r) && r.state == STREAM_FINAL;
}

/* An end that was told, by a poll or an earlier delivery, stays as it was told. */
static void repeat_end(struct publish *p)
{
    p->end = REASON_NONE;
    metric_add(&messages[OUTCOME_REPEAT], 1);
    answer_from_memory(p);
}

static void answer_end_without_store(struct publish *p)
{
    struct ingress *in = p->reply.in;
    if (is_over_in_memory(p)) {
        repeat_end(p);
        return;
    }
    struct record end = {
        .state = STREAM_FINAL,
        .reason = p->end,
        .by_ingress = true,
        .start_at_ms = p->message.start_at_ms,
        .deadline_at_ms = p->message.deadline_at_ms,
    };
    note(p, &end);
    metric_add(&messages[outcome_of_end(p)], 1);
    struct rendering shown = render(&end, p->reply.bot, &in->rendered);
    reply_stream(&p->reply, id_of(p), shown.finish, shown.content);
    set_state(p, PUBLISH_ANSWERED);
}

static void owe_close(struct publish *p)
{
    struct store_stream stream = stream_of(p);
    if (p->end != REASON_NONE)
        owed_add(p->reply.in->owed_closes, &stream, p->end);
}

static void on_closed(const struct store_reply *reply, void *arg)
{
    struct publish *p = arg;
    crash_point("close.answered");
    p->awaited--;
    if (p->state == PUBLISH_CLOSING && is_over_in_memory(p)) {
        repeat_end(p);
        return;
    }
    if (reply->outcome != STORE_DONE)
        owe_close(p);
    if (p->state == PUBLISH_ANSWERED)
        free_if_over(p);
    else if (reply->outcome != STORE_DONE)
        answer_end_without_store(p);
    else /* a worker that has it already makes it live after all */
        answer_from_store(p, reply,
                          reply->verdict == VERDICT_OK ? outcome_of_end(p) : OUTCOME_LATE);
}

static void say_end(struct publish *p, enum stream_reason end, const char *reason)
{
    struct ingress *in = p->reply.in;
    if (is_over_in_memory(p)) {
        repeat_end(p);
        return;
    }
    p->end = end;
    log_warn("publish", end == REASON_BUSY ? "busy" : "unacceptable",
             "bot=%s stream=%s reason=\"%s\" age_ms=%lld", p->reply.bot->name,
             p->message.stream.text, reason, (long long)reply_age_ms(&p->reply));
    set_state(p, PUBLISH_CLOSING);
    int64_t patience = ANSWER_CEILING_MS - reply_age_ms(&p->reply);
    if (patience > CLOSE_PATIENCE_MS)
        patience = CLOSE_PATIENCE_MS;
    loop_timer_set(in->loop, &p->timer, patience);
    struct store_stream stream = stream_of(p);
    p->awaited++;
    store_close(in->store, &stream, p->end, on_closed, p);
    crash_point("close.sent");
}

static void say_busy(struct publish *p, const char *reason)
{
    say_end(p, REASON_BUSY, reason);
}

/* Asking again would not help: the user is not told to. */
static void say_unacceptable(struct publish *p, const char *reason)
{
    say_end(p, REASON_STOPPED, reason);
}

static void on_letter(enum brg_err err, const char *reason, void *arg)
{
    struct publish *p = arg;
    p->awaited--;
    BRG_CHECK(p->state == PUBLISH_PRODUCING);
    if (err && err != BRG_REJECT)
        say_busy(p, reason ? reason : "dead letter not acknowledged");
    else
        say_unacceptable(p, "no record can hold it");
}

/* Its end is told when the dead letter is acknowledged: told before, it would be all there is
 * after a crash. */
static void write_letter(struct publish *p, const char *why, enum accept_letter letter)
{
    int64_t due_ms = p->reply.received_ms + p->reply.config->ingress.publish_budget_ms;
    enum brg_err err = accept_dead_letter(p->reply.in, &p->message, ENVELOPE_TYPE_REQUEST, why,
                                          letter, due_ms, on_letter, p);
    if (!err)
        p->awaited++;
    else if (err == BRG_REJECT)
        say_unacceptable(p, why);
    else
        say_busy(p, why);
}

/* Whoever does not remember it would take it for unknown when it is polled, and call it lost
 * before a worker has it. */
static void owe_open(struct publish *p)
{
    struct store_stream stream = stream_of(p);
    owed_add(p->reply.in->owed_opens, &stream, REASON_NONE);
}

static void on_accepted(enum brg_err err, const char *reason, void *arg)
{
    struct publish *p = arg;
    crash_point("request.reported");
    p->awaited--;
    BRG_CHECK(p->state == PUBLISH_PRODUCING);
    if (err == BRG_REJECT) {
        write_letter(p, reason ? reason : "refused", ACCEPT_OUTLINE);
        return;
    }
    if (err) {
        say_busy(p, reason ? reason : "not acknowledged");
        return;
    }
    metric_add(&messages[OUTCOME_ACCEPTED], 1);
    p->is_accepted = true;
    if (!p->is_opened && p->awaited == 0)
        owe_open(p);
    answer_from_memory(p);
}

static void produce(struct publish *p)
{
    struct ingress *in = p->reply.in;
    struct brg_error error;
    if (in->phase == INGRESS_ENDED) { /* the producer is gone, and so is who asked */
        set_state(p, PUBLISH_ANSWERED);
        return;
    }
    if (is_over_in_memory(p)) {
        repeat_end(p);
        return;
    }
    set_state(p, PUBLISH_PRODUCING);
    int64_t due_ms = p->reply.received_ms + p->reply.config->ingress.publish_budget_ms;
    enum brg_err err = accept_record(in, BUS_REQUESTS, &p->message, ENVELOPE_TYPE_REQUEST,
                                     due_ms, on_accepted, p, &error);
    crash_point("request.produced");
    if (err == BRG_REJECT)
        write_letter(p, error.text, ACCEPT_WHOLE);
    else if (err)
        say_busy(p, error.text);
    else
        p->awaited++;
}

static void on_opened(const struct store_reply *reply, void *arg)
{
    struct publish *p = arg;
    crash_point("open.answered");
    p->awaited--;
    struct record r =
        record_of(reply, store_now_ms(p->reply.in->store) + p->reply.bot->stream_deadline_ms);
    p->is_opened = reply->outcome == STORE_DONE;
    if (p->is_opened)
        note(p, &r);
    if (p->state != PUBLISH_OPENING) { /* late: only noted */
        if (!p->is_opened && p->is_accepted)
            owe_open(p);
        free_if_over(p);
        return;
    }
    if (!p->is_opened) {
        produce(p);
    } else if (reply->state == STREAM_RUN || reply->state == STREAM_FINAL) {
        answer_from_store(p, reply, OUTCOME_REPEAT);
    } else {
        p->message.start_at_ms = r.start_at_ms; /* a repeat keeps the first start */
        p->message.deadline_at_ms = r.deadline_at_ms;
        produce(p);
    }
}

static void on_timer(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct publish *p = arg;
    if (p->state == PUBLISH_OPENING)
        produce(p);
    else /* the close is on its way, and owed if it fails */
        answer_end_without_store(p);
}

static void open_stream(struct publish *p)
{
    struct ingress *in = p->reply.in;
    loop_timer_set(in->loop, &p->timer, p->reply.config->ingress.store_gate_ms);
    struct store_stream stream = stream_of(p);
    p->awaited++;
    store_open(in->store, &stream, STREAM_OPEN, on_opened, p);
    crash_point("open.sent");
}

/* True: the message was seen before. */
static bool set_times(struct publish *p, int64_t sent_at_s)
{
    struct message *m = &p->message;
    m->received_at_ms = store_now_ms(p->reply.in->store);
    m->start_at_ms = m->received_at_ms - start_before_receipt_ms(sent_at_s, clock_wall_ms());
    m->deadline_at_ms = m->start_at_ms + p->reply.bot->stream_deadline_ms;
    struct record known;
    bool is_repeat = recall(p, &known);
    if (is_repeat && known.state != STREAM_UNKNOWN) {
        m->start_at_ms = known.start_at_ms;
        m->deadline_at_ms = known.deadline_at_ms;
    }
    struct record r = {
        .state = STREAM_OPEN,
        .start_at_ms = m->start_at_ms,
        .deadline_at_ms = m->deadline_at_ms,
    };
    note(p, &r);
    return is_repeat;
}

/* A repeat was counted when it came first. */
static bool is_admitted(struct publish *p)
{
    struct ingress *in = p->reply.in;
    return admission_take(in->admission, bot_of(p), p->message.sender_id,
                          p->reply.bot->user_rate_per_min, loop_now_ms(in->loop));
}

void publish_start(struct ingress *in, const struct reply_source *source,
                   const struct wecom_callback *callback)
{
    struct publish *p = BRG_NEW(struct publish);
    reply_init(&p->reply, in, source);
    wheel_timer_init(&p->timer, on_timer, p);
    p->root = callback->root;
    p->message = (struct message){
        .platform = PLATFORM_WECOM,
        .bot = bot_of(p),
        .message_id = callback->msgid,
        .stream = stream_id_of(in->crypto, bot_of(p), callback->msgid),
        .kind = callback->msgtype,
        .chat_type = callback->is_group ? CHAT_GROUP : CHAT_SINGLE,
        .chat_id = callback->is_group ? callback->chat_id : bytes_of(NULL, 0),
        .sender_id = callback->user_id,
        .text = callback->text,
        .reply_mode = REPLY_STREAM,
        .response_url = callback->response_url,
        .raw = callback->root,
    };
    bool is_repeat = set_times(p, source->sent_at_s);
    if (!is_repeat && !is_admitted(p))
        say_busy(p, "the user asks too often");
    else if (store_is_up(in->store))
        open_stream(p);
    else
        produce(p);
}
