#include "refresh.h"

#include "base/crash_point.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "owed.h"
#include "recall.h"

/* Longest chain is read, read under the shadow id, open, close(lost) met by a worker,
 * close(deadline). More would be a store that contradicts itself. */
#define REFRESH_STEPS_MAX 6
#define REFRESH_RETRY_MS 100 /* the store is up, but failed this one operation */
#define REFRESH_GRACE_MS 500 /* for a store's answer, however late the poll itself began */

enum refresh_state {
    REFRESH_READING,  /* the record is asked for */
    REFRESH_OPENING,  /* it was missing and is being made */
    REFRESH_CLOSING,  /* it is due and is being ended */
    REFRESH_HELD,     /* the store is away */
    REFRESH_ANSWERED, /* kept only for an answer of the store that is still to come */
};

struct refresh {
    struct reply reply;
    enum refresh_state state;
    bool is_awaited; /* the store will call */
    bool is_shadow;  /* `key` is not the asked id: that one is another bot's */
    unsigned steps;
    enum stream_reason closing; /* for which reason, in REFRESH_CLOSING */
    int64_t answer_by_ms;       /* loop time */
    struct wheel_timer timer;   /* answer_by_ms, or sooner in REFRESH_HELD */
    struct list held;           /* in ingress.held in REFRESH_HELD */
    size_t id_len, key_len;
    char id[WECOM_STREAM_ID_MAX];  /* as asked: what the answer carries */
    char key[WECOM_STREAM_ID_MAX]; /* what is looked up */
};

static struct metric polls[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_polls_total", "outcome=\"live\"",
           "Stream refreshes answered, by what the answer was."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_polls_total", "outcome=\"final\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_polls_total", "outcome=\"malformed\"", NULL),
};
enum refresh_outcome { OUTCOME_LIVE, OUTCOME_FINAL, OUTCOME_MALFORMED };
static struct metric from_memory_total =
    METRIC(METRIC_COUNTER, "botbridge_ingress_polls_from_memory_total", NULL,
           "Stream refreshes answered without the store.");
static struct metric ends[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_streams_ended_total", "reason=\"deadline\"",
           "Streams that ingress ended on a poll, by reason."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_streams_ended_total", "reason=\"lost\"", NULL),
};

void refresh_register_metrics(void)
{
    for (size_t i = 0; i < sizeof(polls) / sizeof(*polls); i++)
        metric_register(&polls[i]);
    metric_register(&from_memory_total);
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
        metric_register(&ends[i]);
}

static void set_state(struct refresh *p, enum refresh_state state)
{
    struct ingress *in = p->reply.in;
    if (p->state == REFRESH_HELD) {
        list_remove(&p->held);
        in->held_count--;
    }
    p->state = state;
    if (state == REFRESH_HELD) {
        list_push_back(&in->held, &p->held);
        in->held_count++;
    }
}

static struct bytes id_of(const struct refresh *p)
{
    return bytes_of(p->id, p->id_len);
}

static struct bytes key_of(const struct refresh *p)
{
    return bytes_of(p->key, p->key_len);
}

static struct bytes bot_of(const struct refresh *p)
{
    return bytes_of_str(p->reply.bot->name);
}

static int64_t store_now(const struct refresh *p)
{
    return store_now_ms(p->reply.in->store);
}

static bool recall(struct refresh *p, struct record *out)
{
    return recall_find(p->reply.in->recall, key_of(p), bot_of(p),
                       store_ahead_ms(p->reply.in->store), out);
}

static struct record seen(const struct refresh *p, const struct store_reply *reply)
{
    return record_of(reply, store_now(p) + p->reply.bot->stream_deadline_ms);
}

static enum stream_reason due(const struct refresh *p, const struct record *r)
{
    return render_due(r, store_now(p), p->reply.config->ingress.unknown_ms);
}

/* Only the store can say that nobody knows it: without, it has its whole time. */
static enum stream_reason due_in_memory(const struct refresh *p, const struct record *r)
{
    if (r->state != STREAM_UNKNOWN || p->is_shadow)
        return due(p, r);
    return store_now(p) >= r->deadline_at_ms ? REASON_DEADLINE : REASON_NONE;
}

static void free_if_over(struct refresh *p)
{
    if (p->state != REFRESH_ANSWERED || p->is_awaited)
        return;
    reply_done(&p->reply);
    free(p);
}

static void on_shown(const struct store_reply *reply, void *arg)
{
    (void)reply; /* not noted: the next poll tries again, or response_url repeats the text */
    (void)arg;
    crash_point("shown.answered");
}

/* Last use of `p` unless the store still owes it a call. */
static void answer(struct refresh *p, const struct record *r)
{
    struct ingress *in = p->reply.in;
    struct record kept = record_of_answer(r, p->reply.bot);
    recall_note(in->recall, key_of(p), bot_of(p), store_ahead_ms(in->store), &kept);
    struct rendering shown = render(r, p->reply.bot, &in->rendered);
    reply_stream(&p->reply, id_of(p), shown.finish, shown.content);
    metric_add(&polls[shown.finish ? OUTCOME_FINAL : OUTCOME_LIVE], 1);
    loop_timer_cancel(in->loop, &p->timer);
    set_state(p, REFRESH_ANSWERED);
    free_if_over(p);
}

/* First heard of now: the placeholder for a while, then the lost notice. */
static struct record new_unknown(const struct refresh *p)
{
    int64_t now = store_now(p);
    return (struct record){
        .state = STREAM_UNKNOWN,
        .start_at_ms = now,
        .deadline_at_ms = now + p->reply.bot->stream_deadline_ms,
    };
}

static struct store_stream stream_of(const struct refresh *p, const struct record *r)
{
    return (struct store_stream){
        .id = key_of(p),
        .bot = bot_of(p),
        .start_at_ms = r->start_at_ms,
        .deadline_at_ms = r->deadline_at_ms,
        .ttl_ms = p->reply.config->store.stream_ttl_ms,
    };
}

static void count_end(const struct refresh *p, enum stream_reason reason)
{
    metric_add(&ends[reason == REASON_LOST], 1);
    log_warn("refresh", "ended", "bot=%s stream=" BYTES_FMT " reason=%s", p->reply.bot->name,
             BYTES_ARG(key_of(p)), stream_reason_name(reason));
}

/* Another bot's record is out of bounds: this bot's poll gets a record of its own, as if the
 * id were unknown. */
static void enter_shadow(struct refresh *p)
{
    char text[sizeof("foreign\n") - 1 + WECOM_STREAM_ID_MAX];
    size_t head = sizeof("foreign\n") - 1;
    memcpy(text, "foreign\n", head);
    memcpy(text + head, p->id, p->id_len);
    struct stream_id shadow =
        stream_id_of(p->reply.in->crypto, bot_of(p), bytes_of(text, head + p->id_len));
    memcpy(p->key, shadow.text, STREAM_ID_CHARS);
    p->key_len = STREAM_ID_CHARS;
    p->is_shadow = true;
}

static void answer_from_memory(struct refresh *p)
{
    struct record r;
    if (!p->is_shadow && recall_is_foreign(p->reply.in->recall, key_of(p), bot_of(p)))
        enter_shadow(p);
    if (!recall(p, &r))
        r = new_unknown(p);
    enum stream_reason reason = due_in_memory(p, &r);
    if (reason != REASON_NONE) {
        struct store_stream stream = stream_of(p, &r);
        owed_add(p->reply.in->owed_closes, &stream, reason);
        count_end(p, reason);
        r.state = STREAM_FINAL;
        r.reason = reason;
        r.by_ingress = true;
    }
    metric_add(&from_memory_total, 1);
    answer(p, &r);
}

static void hold(struct refresh *p)
{
    struct ingress *in = p->reply.in;
    int64_t now = loop_now_ms(in->loop);
    if (now >= p->answer_by_ms || in->phase == INGRESS_ENDED) {
        answer_from_memory(p);
        return;
    }
    set_state(p, REFRESH_HELD);
    int64_t retry_at = store_is_up(in->store) ? now + REFRESH_RETRY_MS : p->answer_by_ms;
    loop_timer_set_at(in->loop, &p->timer,
                      retry_at < p->answer_by_ms ? retry_at : p->answer_by_ms);
}

static void on_read(const struct store_reply *reply, void *arg);
static void on_opened(const struct store_reply *reply, void *arg);
static void on_closed(const struct store_reply *reply, void *arg);

/* The store may call back before its function returns: each of these is the last act. */
static void read_record(struct refresh *p)
{
    set_state(p, REFRESH_READING);
    p->is_awaited = true;
    loop_timer_set_at(p->reply.in->loop, &p->timer, p->answer_by_ms);
    store_read(p->reply.in->store, key_of(p), on_read, p);
    crash_point("read.sent");
}

static void open_record(struct refresh *p, const struct record *r, enum stream_state as)
{
    struct store_stream stream = stream_of(p, r);
    set_state(p, REFRESH_OPENING);
    p->is_awaited = true;
    store_open(p->reply.in->store, &stream, as, on_opened, p);
    crash_point("reopen.sent");
}

static void close_record(struct refresh *p, const struct record *r, enum stream_reason reason)
{
    struct store_stream stream = stream_of(p, r);
    set_state(p, REFRESH_CLOSING);
    p->closing = reason;
    p->is_awaited = true;
    store_close(p->reply.in->store, &stream, reason, on_closed, p);
    crash_point("end.sent");
}

/* The store's record and what was shown here before: the store wins, but text that was shown
 * does not vanish, and an earlier known start keeps its deadline. */
static void merge(const struct record *known, struct record *r)
{
    if (r->text.len == 0)
        r->text = known->text;
    if (known->state != STREAM_UNKNOWN && known->deadline_at_ms < r->deadline_at_ms)
        r->deadline_at_ms = known->deadline_at_ms;
}

static void decide(struct refresh *p, struct record *r)
{
    struct record known;
    bool is_known = recall(p, &known);
    if (is_known && known.state == STREAM_FINAL && r->state != STREAM_FINAL) {
        answer(p, &known); /* it ended here; the store lost that and a worker began anew */
        return;
    }
    if (is_known)
        merge(&known, r);
    enum stream_reason reason = due(p, r);
    if (reason == REASON_NONE)
        answer(p, r);
    else if (++p->steps > REFRESH_STEPS_MAX)
        answer_from_memory(p);
    else
        close_record(p, r, reason);
}

/* Nobody knows the id, or only as unknown. */
static void on_missing(struct refresh *p, struct record *r)
{
    struct record known;
    bool is_known = recall(p, &known);
    if (++p->steps > REFRESH_STEPS_MAX) {
        answer_from_memory(p);
    } else if (is_known && known.state == STREAM_FINAL) {
        answer(p, &known);
    } else if (is_known && known.state != STREAM_UNKNOWN) {
        open_record(p, &known, STREAM_OPEN); /* the store lost it: the bubble's clock goes on */
    } else if (r->state == STREAM_MISSING) {
        if (!is_known)
            known = new_unknown(p);
        known.start_at_ms = store_now(p); /* that nobody knows it counts from now on */
        open_record(p, &known, STREAM_UNKNOWN);
    } else {
        decide(p, r);
    }
}

/* A worker that could not read a record does not always know whose it was: its end is for
 * whoever has its id. */
static bool is_foreign(const struct refresh *p, const struct store_reply *reply)
{
    bool is_known = reply->state != STREAM_MISSING && reply->bot.len > 0;
    return is_known && !bytes_eq(reply->bot, bot_of(p));
}

/* The call that was awaited has come: false when there is nothing more to do. */
static bool resume(struct refresh *p, const struct store_reply *reply)
{
    p->is_awaited = false;
    if (p->state == REFRESH_ANSWERED) {
        free_if_over(p);
        return false;
    }
    if (reply->outcome == STORE_DONE)
        return true;
    if (reply->outcome == STORE_REFUSED)
        answer_from_memory(p);
    else
        hold(p);
    return false;
}

static void take(struct refresh *p, const struct store_reply *reply)
{
    struct ingress *in = p->reply.in;
    if (is_foreign(p, reply)) {
        if (p->is_shadow) { /* the shadow's id holds the bot: a broken record */
            answer_from_memory(p);
            return;
        }
        enter_shadow(p);
        read_record(p);
        return;
    }
    struct record r = seen(p, reply);
    if (r.state == STREAM_MISSING || r.state == STREAM_UNKNOWN) {
        on_missing(p, &r);
        return;
    }
    if (r.state == STREAM_FINAL && !r.by_ingress && reply->shown_at_ms == 0) {
        store_shown(in->store, key_of(p), on_shown, NULL);
        crash_point("shown.sent");
    }
    decide(p, &r);
}

static void on_read(const struct store_reply *reply, void *arg)
{
    crash_point("read.answered");
    if (resume(arg, reply))
        take(arg, reply);
}

static void on_opened(const struct store_reply *reply, void *arg)
{
    struct refresh *p = arg;
    crash_point("reopen.answered");
    if (!resume(p, reply))
        return;
    struct record r = seen(p, reply);
    decide(p, &r);
}

static void on_closed(const struct store_reply *reply, void *arg)
{
    struct refresh *p = arg;
    crash_point("end.answered");
    if (!resume(p, reply))
        return;
    if (reply->verdict == VERDICT_OK)
        count_end(p, p->closing);
    struct record r = seen(p, reply);
    decide(p, &r);
}

static void on_timer(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct refresh *p = arg;
    bool is_over = loop_now_ms(p->reply.in->loop) >= p->answer_by_ms;
    if (p->state == REFRESH_HELD && !is_over)
        read_record(p);
    else
        answer_from_memory(p);
}

void refresh_store_up(struct ingress *in)
{
    /* A poll that fails again goes to the end of the same list: visit each once. */
    size_t count = in->held_count;
    while (count-- > 0 && !list_is_empty(&in->held))
        read_record(LIST_ENTRY(in->held.next, struct refresh, held));
}

static struct refresh *refresh_new(struct bytes id)
{
    struct refresh *p = BRG_NEW(struct refresh);
    list_init(&p->held);
    wheel_timer_init(&p->timer, on_timer, p);
    p->id_len = p->key_len = id.len;
    memcpy(p->id, id.ptr, id.len);
    memcpy(p->key, id.ptr, id.len);
    return p;
}

static void set_limit(struct refresh *p)
{
    const struct reply *r = &p->reply;
    int64_t by = r->received_ms + r->config->ingress.poll_hold_ms;
    int64_t grace = loop_now_ms(r->in->loop) + REFRESH_GRACE_MS;
    int64_t ceiling = r->received_ms + ANSWER_CEILING_MS;
    if (by < grace)
        by = grace;
    p->answer_by_ms = by < ceiling ? by : ceiling;
}

static bool is_stream_id(struct bytes id)
{
    if (id.len == 0 || id.len > WECOM_STREAM_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return true;
}

void refresh_start(struct ingress *in, const struct reply_source *source, struct bytes id)
{
    if (!is_stream_id(id)) {
        struct reply reply;
        reply_init(&reply, in, source);
        reply_empty(&reply);
        reply_done(&reply);
        metric_add(&polls[OUTCOME_MALFORMED], 1);
        return;
    }
    struct refresh *p = refresh_new(id);
    reply_init(&p->reply, in, source);
    set_limit(p);
    if (store_is_up(in->store))
        read_record(p);
    else
        hold(p);
}

void refresh_continue(struct reply *from, struct bytes id, const struct store_reply *seen)
{
    struct refresh *p = refresh_new(id);
    reply_pass(&p->reply, from);
    set_limit(p);
    loop_timer_set_at(p->reply.in->loop, &p->timer, p->answer_by_ms);
    take(p, seen);
}
