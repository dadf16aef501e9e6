#include "accept.h"

#include "metrics/metrics.h"

struct acceptance {
    struct ingress *in;
    struct wheel_timer budget;
    int64_t began_ms;
    accept_cb *cb; /* NULL once called */
    void *arg;
};

static struct metric ack_ms =
    METRIC(METRIC_HISTOGRAM, "botbridge_ingress_accept_ms", NULL,
           "From handing a record to the producer to Kafka's acknowledgement.");
static struct metric failures[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_accept_failures_total", "cause=\"queue_full\"",
           "Records that were not accepted, by cause."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_accept_failures_total", "cause=\"too_large\"",
           NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_accept_failures_total", "cause=\"budget\"", NULL),
    METRIC(METRIC_COUNTER, "botbridge_ingress_accept_failures_total", "cause=\"report\"", NULL),
};
enum failure { FAILURE_QUEUE_FULL, FAILURE_TOO_LARGE, FAILURE_BUDGET, FAILURE_REPORT };
static struct metric late_total =
    METRIC(METRIC_COUNTER, "botbridge_ingress_accepted_late_total", NULL,
           "Records that Kafka acknowledged after the caller had been told otherwise.");

void accept_register_metrics(void)
{
    metric_register(&ack_ms);
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++)
        metric_register(&failures[i]);
    metric_register(&late_total);
}

static void tell(struct acceptance *a, enum brg_err err, const char *reason)
{
    accept_cb *cb = a->cb;
    a->cb = NULL;
    loop_timer_cancel(a->in->loop, &a->budget);
    cb(err, reason, a->arg);
}

static void on_budget(struct wheel_timer *t, void *arg)
{
    (void)t;
    metric_add(&failures[FAILURE_BUDGET], 1);
    tell(arg, BRG_RETRY, "no report within the budget");
}

static void on_report(enum brg_err err, const char *reason, void *arg)
{
    struct acceptance *a = arg;
    if (!a->cb) {
        metric_add(&late_total, err == BRG_OK);
    } else {
        if (err == BRG_OK)
            metric_observe_ms(&ack_ms, loop_now_ms(a->in->loop) - a->began_ms);
        else
            metric_add(&failures[err == BRG_REJECT ? FAILURE_TOO_LARGE : FAILURE_REPORT], 1);
        tell(a, err, reason);
    }
    free(a);
}

static enum brg_err produce(struct acceptance *a, const char *topic, const struct envelope *e)
{
    struct bus_header headers[ENVELOPE_HEADERS_MAX];
    for (size_t i = 0; i < e->header_count; i++)
        headers[i] = (struct bus_header){e->headers[i].name, e->headers[i].value};
    struct bus_record record = {
        .topic = topic,
        .key = buf_bytes(&e->key),
        .value = buf_bytes(&e->value),
        .headers = headers,
        .header_count = e->header_count,
    };
    return bus_produce(a->in->producer, &record, on_report, a);
}

enum brg_err accept_record(struct ingress *in, enum bus_topic topic,
                           const struct message *message, const char *type, int64_t due_ms,
                           accept_cb *cb, void *arg, struct brg_error *error)
{
    enum brg_err err = envelope_encode(&in->envelope, message, type, in->crypto);
    if (err) {
        metric_add(&failures[FAILURE_TOO_LARGE], 1);
        return brg_fail(error, err, "the record would be too large");
    }
    struct acceptance *a = BRG_NEW(struct acceptance);
    *a = (struct acceptance){.in = in, .began_ms = loop_now_ms(in->loop), .cb = cb, .arg = arg};
    wheel_timer_init(&a->budget, on_budget, a);
    err = produce(a, in->topics[topic], &in->envelope);
    if (err) {
        free(a);
        metric_add(&failures[err == BRG_REJECT ? FAILURE_TOO_LARGE : FAILURE_QUEUE_FULL], 1);
        return brg_fail(error, err, "%s",
                        err == BRG_REJECT ? "the record is too large" : "producer queue full");
    }
    loop_timer_set_at(in->loop, &a->budget, due_ms);
    return BRG_OK;
}
