#include "log/log.h"
#include "metrics/metrics.h"
#include "store/store_impl.h"

/* Spare operations keep their buffers up to this size, so that the usual one allocates nothing.
 */
enum { KEPT_BYTES = 4096, KEPT_MAX_BYTES = 16 << 20, SPARE_MAX = 1024 };
/* Of a server's own words, for the log. */
enum { LOGGED_BYTES = 120 };

static struct metric outcomes[] = {
    [STORE_DONE] = METRIC(METRIC_COUNTER, "botbridge_store_operations_total",
                          "outcome=\"done\"", "Store operations by outcome"),
    [STORE_UNAVAILABLE] = METRIC(METRIC_COUNTER, "botbridge_store_operations_total",
                                 "outcome=\"unavailable\"", "Store operations by outcome"),
    [STORE_REFUSED] = METRIC(METRIC_COUNTER, "botbridge_store_operations_total",
                             "outcome=\"refused\"", "Store operations by outcome"),
};
static struct metric fenced = METRIC(METRIC_COUNTER, "botbridge_store_fenced_total", NULL,
                                     "Writes refused because a newer epoch owns the stream");
static struct metric round_trip = METRIC(METRIC_HISTOGRAM, "botbridge_store_round_trip_ms",
                                         NULL, "Time from an operation's start to its answer");
static struct metric outstanding = METRIC(METRIC_GAUGE, "botbridge_store_outstanding", NULL,
                                          "Store operations that wait for their answer");

static struct metric limit = METRIC(METRIC_GAUGE, "botbridge_store_outstanding_limit", NULL,
                                    "Above it operations fail at once");
static struct metric outstanding_bytes =
    METRIC(METRIC_GAUGE, "botbridge_store_outstanding_bytes", NULL, "Bytes of their commands");
static struct metric bytes_limit =
    METRIC(METRIC_GAUGE, "botbridge_store_outstanding_bytes_limit", NULL,
           "Above it operations fail at once");

void op_register_metrics(const struct store *s)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        metric_register(&outcomes[i]);
    metric_register(&fenced);
    metric_register(&round_trip);
    metric_register(&outstanding);
    metric_register(&limit);
    metric_register(&outstanding_bytes);
    metric_register(&bytes_limit);
    metric_set(&limit, s->max_outstanding);
    metric_set(&bytes_limit, (int64_t)s->max_held_bytes);
}

static void set_outstanding(struct store *s, unsigned count)
{
    s->outstanding = count;
    metric_set(&outstanding, count);
}

struct op *op_new(struct store *s, op_reply_fn *on_reply, store_cb *cb, void *arg)
{
    struct list *node = list_pop_front(&s->spare);
    struct op *op = NULL;
    if (node) {
        op = LIST_ENTRY(node, struct op, node);
        s->spare_count--;
    } else {
        op = BRG_NEW(struct op);
        list_init(&op->node);
        buf_init(&op->kept, KEPT_MAX_BYTES);
    }
    op->on_reply = on_reply;
    op->cb = cb;
    op->arg = arg;
    op->outcome = STORE_DONE;
    op->replies_due = 0;
    op->started_ms = loop_now_ms(s->loop);
    op->script = NULL;
    op->is_resent = false;
    buf_reset(&op->kept);
    if (cb)
        set_outstanding(s, s->outstanding + 1);
    return op;
}

bool op_admit(struct store *s, struct op *op, size_t bytes)
{
    if (s->state == CONN_UP && s->outstanding <= s->max_outstanding &&
        s->held_bytes + bytes <= s->max_held_bytes) {
        op->held_bytes = bytes;
        s->held_bytes += bytes;
        metric_set(&outstanding_bytes, (int64_t)s->held_bytes);
        return true;
    }
    op_fail(s, op, STORE_UNAVAILABLE);
    return false;
}

void op_fail(struct store *s, struct op *op, enum store_outcome outcome)
{
    op->outcome = outcome;
    list_remove(&op->node);
    list_push_back(&s->failed, &op->node);
    conn_kick(s);
}

void op_release(struct store *s, struct op *op)
{
    s->held_bytes -= op->held_bytes;
    op->held_bytes = 0;
    metric_set(&outstanding_bytes, (int64_t)s->held_bytes);
    if (op->kept.cap > KEPT_BYTES)
        buf_free(&op->kept);
    if (s->spare_count < SPARE_MAX && !s->is_freeing) {
        list_push_back(&s->spare, &op->node);
        s->spare_count++;
        return;
    }
    buf_free(&op->kept);
    free(op);
}

void op_answer(struct store *s, struct op *op, const struct store_reply *reply)
{
    set_outstanding(s, s->outstanding - 1);
    metric_add(&outcomes[reply->outcome], 1);
    if (reply->outcome == STORE_DONE)
        metric_observe_ms(&round_trip, loop_now_ms(s->loop) - op->started_ms);
    if (reply->outcome == STORE_DONE && reply->verdict == VERDICT_FENCED)
        metric_add(&fenced, 1);
    op->cb(reply, op->arg);
    op_release(s, op);
}

/* Those that fail meanwhile wait for the next turn: a caller that tries again at once must not
 * hold up the loop. */
void op_deliver_failed(struct store *s)
{
    struct list batch;
    list_move(&s->failed, &batch);
    for (struct list *node = list_pop_front(&batch); node; node = list_pop_front(&batch)) {
        struct op *op = LIST_ENTRY(node, struct op, node);
        struct store_reply reply = {.outcome = op->outcome};
        if (op->cb)
            op_answer(s, op, &reply);
        else
            op_release(s, op);
    }
}

/* What the server says of an unknown command repeats the arguments: they are not for the log.
 */
void op_log_refused(const char *name, struct bytes code, struct bytes error)
{
    const char *arguments = memmem(error.ptr, error.len, ", with args", 11);
    struct bytes words = error;
    if (arguments)
        words.len = (size_t)(arguments - error.ptr);
    if (words.len > LOGGED_BYTES)
        words.len = LOGGED_BYTES;
    log_error("store", "refused", "op=%s code=" BYTES_FMT " answer=\"" BYTES_FMT "\"", name,
              BYTES_ARG(code), BYTES_ARG(words));
}

void op_refuse(struct store *s, struct op *op, const char *name, struct bytes error)
{
    struct bytes code = {0};
    struct store_reply reply = {.outcome = STORE_UNAVAILABLE};
    switch (reply_classify(error, &code)) {
    case ERROR_AWAY:
        break;
    case ERROR_ELSEWHERE:
        conn_drop(s, "the server is a read-only replica");
        break;
    case ERROR_LOGIN:
        conn_drop(s, "the server wants a new login");
        break;
    case ERROR_NOSCRIPT:
    case ERROR_REFUSED:
        reply.outcome = STORE_REFUSED;
        op_log_refused(name, code, error);
        break;
    }
    op_answer(s, op, &reply);
}
