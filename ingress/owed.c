#include "owed.h"

#include "base/crash_point.h"
#include "base/list.h"
#include "log/log.h"
#include "metrics/metrics.h"

#define OWED_IN_FLIGHT 64 /* the store just came back: leave room for polls */
#define OWED_RETRY_MS 1000

struct owed_call {
    struct list node; /* in owed.waiting unless in flight */
    struct owed *owner;
    struct store_stream stream; /* views into names; times are the loop's */
    enum stream_reason reason;
    char names[]; /* id, then bot */
};

struct owed {
    struct loop *loop;
    struct store *store;
    struct list waiting;
    enum owed_kind kind;
    size_t max;
    size_t waiting_count, in_flight;
    bool is_paused; /* the store failed one: wait for the timer or for it to come up */
    struct wheel_timer retry;
};

static const char *const kind_names[] = {[OWED_OPENS] = "open", [OWED_CLOSES] = "close"};

static struct metric written_total[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_opens_total", "outcome=\"written\"",
           "Streams opened while the store was away, by what became of them."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_closes_total", "outcome=\"written\"",
           "Ends told to users while the store was away, by what became of them."),
};
static struct metric dropped_total[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_opens_total", "outcome=\"dropped\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_closes_total", "outcome=\"dropped\"", NULL),
};

static void on_retry(struct wheel_timer *t, void *arg);

struct owed *owed_new(struct loop *loop, struct store *store, enum owed_kind kind, size_t max)
{
    struct owed *o = BRG_NEW(struct owed);
    o->loop = loop;
    o->store = store;
    o->kind = kind;
    o->max = max;
    list_init(&o->waiting);
    wheel_timer_init(&o->retry, on_retry, o);
    metric_register(&written_total[kind]);
    metric_register(&dropped_total[kind]);
    return o;
}

static struct owed_call *pop(struct owed *o)
{
    struct list *node = list_pop_front(&o->waiting);
    BRG_CHECK(node);
    o->waiting_count--;
    return LIST_ENTRY(node, struct owed_call, node);
}

void owed_free(struct owed *o)
{
    BRG_CHECK(o->in_flight == 0);
    loop_timer_cancel(o->loop, &o->retry);
    if (o->waiting_count > 0)
        log_error("owed", "unwritten", "what=%s count=%zu", kind_names[o->kind],
                  o->waiting_count);
    while (o->waiting_count > 0)
        free(pop(o));
    free(o);
}

static void write_some(struct owed *o);

static void on_written(const struct store_reply *reply, void *arg)
{
    struct owed_call *call = arg;
    struct owed *o = call->owner;
    crash_point_of("owed.answered", kind_names[o->kind]);
    o->in_flight--;
    if (reply->outcome == STORE_DONE) {
        metric_add(&written_total[o->kind], 1);
        free(call);
        write_some(o);
        return;
    }
    list_push_back(&o->waiting, &call->node);
    o->waiting_count++;
    o->is_paused = true;
    loop_timer_set(o->loop, &o->retry, OWED_RETRY_MS);
}

/* The store's clock may have become known meanwhile. */
static void send_call(struct owed *o, struct owed_call *call)
{
    struct store_stream stream = call->stream;
    int64_t ahead_ms = store_ahead_ms(o->store);
    stream.start_at_ms += ahead_ms;
    stream.deadline_at_ms += ahead_ms;
    if (o->kind == OWED_OPENS)
        store_open(o->store, &stream, STREAM_OPEN, on_written, call);
    else
        store_close(o->store, &stream, call->reason, on_written, call);
    crash_point_of("owed.sent", kind_names[o->kind]);
}

static void write_some(struct owed *o)
{
    while (!o->is_paused && o->waiting_count > 0 && o->in_flight < OWED_IN_FLIGHT &&
           store_is_up(o->store)) {
        struct owed_call *call = pop(o);
        o->in_flight++;
        send_call(o, call);
    }
}

static void on_retry(struct wheel_timer *t, void *arg)
{
    (void)t;
    owed_store_up(arg);
}

void owed_store_up(struct owed *o)
{
    o->is_paused = false;
    write_some(o);
}

void owed_add(struct owed *o, const struct store_stream *stream, enum stream_reason reason)
{
    if (o->waiting_count > 0 && owed_count(o) >= o->max) {
        free(pop(o));
        metric_add(&dropped_total[o->kind], 1);
        log_error("owed", "dropped", "what=%s limit=%zu", kind_names[o->kind], o->max);
    }
    struct owed_call *call = brg_calloc(1, sizeof(*call) + stream->id.len + stream->bot.len);
    call->owner = o;
    call->reason = reason;
    call->stream = *stream;
    int64_t ahead_ms = store_ahead_ms(o->store);
    call->stream.start_at_ms -= ahead_ms;
    call->stream.deadline_at_ms -= ahead_ms;
    memcpy(call->names, stream->id.ptr, stream->id.len);
    memcpy(call->names + stream->id.len, stream->bot.ptr, stream->bot.len);
    call->stream.id.ptr = call->names;
    call->stream.bot.ptr = call->names + stream->id.len;
    list_push_back(&o->waiting, &call->node);
    o->waiting_count++;
    crash_point_of("owed.kept", kind_names[o->kind]);
    write_some(o);
}

size_t owed_count(const struct owed *o)
{
    return o->waiting_count + o->in_flight;
}

size_t owed_limit(const struct owed *o)
{
    return o->max;
}
