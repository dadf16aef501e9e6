#include "owed.h"

#include "base/crash_point.h"
#include "base/list.h"
#include "log/log.h"
#include "metrics/metrics.h"

#define OWED_IN_FLIGHT 64 /* the store just came back: leave room for polls */
#define OWED_RETRY_MS 1000

struct owed_end {
    struct list node; /* in owed.waiting unless in flight */
    struct owed *owner;
    struct store_stream stream; /* views into names */
    enum stream_reason reason;
    char names[]; /* id, then bot */
};

struct owed {
    struct loop *loop;
    struct store *store;
    struct list waiting;
    size_t max_ends;
    size_t waiting_count, in_flight;
    bool is_paused; /* the store failed one: wait for the timer or for it to come up */
    struct wheel_timer retry;
};

static struct metric written_total =
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_closes_total", "outcome=\"written\"",
           "Ends told to users while the store was away, by what became of them.");
static struct metric dropped_total =
    METRIC(METRIC_COUNTER, "botbridge_ingress_owed_closes_total", "outcome=\"dropped\"", NULL);

static void on_retry(struct wheel_timer *t, void *arg);

struct owed *owed_new(struct loop *loop, struct store *store, size_t max_ends)
{
    struct owed *o = BRG_NEW(struct owed);
    o->loop = loop;
    o->store = store;
    o->max_ends = max_ends;
    list_init(&o->waiting);
    wheel_timer_init(&o->retry, on_retry, o);
    metric_register(&written_total);
    metric_register(&dropped_total);
    return o;
}

static struct owed_end *pop(struct owed *o)
{
    struct list *node = list_pop_front(&o->waiting);
    BRG_CHECK(node);
    o->waiting_count--;
    return LIST_ENTRY(node, struct owed_end, node);
}

void owed_free(struct owed *o)
{
    BRG_CHECK(o->in_flight == 0);
    loop_timer_cancel(o->loop, &o->retry);
    if (o->waiting_count > 0)
        log_error("owed", "unwritten", "ends=%zu", o->waiting_count);
    while (o->waiting_count > 0)
        free(pop(o));
    free(o);
}

static void write_some(struct owed *o);

static void on_written(const struct store_reply *reply, void *arg)
{
    struct owed_end *end = arg;
    struct owed *o = end->owner;
    crash_point("owed.answered");
    o->in_flight--;
    if (reply->outcome == STORE_DONE) {
        metric_add(&written_total, 1);
        free(end);
        write_some(o);
        return;
    }
    list_push_back(&o->waiting, &end->node);
    o->waiting_count++;
    o->is_paused = true;
    loop_timer_set(o->loop, &o->retry, OWED_RETRY_MS);
}

static void write_some(struct owed *o)
{
    while (!o->is_paused && o->waiting_count > 0 && o->in_flight < OWED_IN_FLIGHT &&
           store_is_up(o->store)) {
        struct owed_end *end = pop(o);
        o->in_flight++;
        store_close(o->store, &end->stream, end->reason, on_written, end);
        crash_point("owed.sent");
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

void owed_close(struct owed *o, const struct store_stream *stream, enum stream_reason reason)
{
    if (o->waiting_count > 0 && owed_count(o) >= o->max_ends) {
        free(pop(o));
        metric_add(&dropped_total, 1);
        log_error("owed", "dropped", "limit=%zu", o->max_ends);
    }
    struct owed_end *end = brg_calloc(1, sizeof(*end) + stream->id.len + stream->bot.len);
    end->owner = o;
    end->reason = reason;
    end->stream = *stream;
    memcpy(end->names, stream->id.ptr, stream->id.len);
    memcpy(end->names + stream->id.len, stream->bot.ptr, stream->bot.len);
    end->stream.id.ptr = end->names;
    end->stream.bot.ptr = end->names + stream->id.len;
    list_push_back(&o->waiting, &end->node);
    o->waiting_count++;
    crash_point("owed.kept");
    write_some(o);
}

size_t owed_count(const struct owed *o)
{
    return o->waiting_count + o->in_flight;
}

size_t owed_limit(const struct owed *o)
{
    return o->max_ends;
}
