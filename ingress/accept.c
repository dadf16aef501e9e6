#include "accept.h"

#include "base/crash_point.h"
#include "base/utf8.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <inttypes.h>

#define LETTER_KIND_MAX_BYTES 256 /* an event's kind is the peer's string */

struct acceptance {
    struct ingress *in;
    struct wheel_timer budget;
    int64_t began_ms;
    accept_cb *cb; /* NULL once called */
    void *arg;
    struct stream_id stream; /* of a dead letter */
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
static struct metric letters[] = {
    METRIC(METRIC_COUNTER, "botbridge_ingress_dead_letters_total", "outcome=\"written\"",
           "Records that can never be accepted, by what became of their dead letter."),
    METRIC(METRIC_COUNTER, "botbridge_ingress_dead_letters_total", "outcome=\"lost\"", NULL),
};
enum letter_outcome { LETTER_WRITTEN, LETTER_LOST };

void accept_register_metrics(void)
{
    metric_register(&ack_ms);
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++)
        metric_register(&failures[i]);
    metric_register(&late_total);
    for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++)
        metric_register(&letters[i]);
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

static void lose_letter(const struct stream_id *stream, const char *reason)
{
    metric_add(&letters[LETTER_LOST], 1);
    log_warn("accept", "dead_letter_lost", "stream=%s reason=\"%s\"", stream->text, reason);
}

static enum brg_err produce_letter(struct ingress *in, const struct message *m,
                                   const char *type, const char *why, bus_delivery_cb *report,
                                   void *arg)
{
    enum { OWN_HEADERS = 6, NUMBER_CHARS = 24 };
    struct bus_header headers[ENVELOPE_HEADERS_MAX + OWN_HEADERS];
    char first[NUMBER_CHARS], last[NUMBER_CHARS];
    const struct envelope *e = &in->envelope;
    enum brg_err err = envelope_encode(&in->envelope, m, type, in->crypto);
    if (err)
        return err;
    size_t count = e->header_count;
    for (size_t i = 0; i < count; i++)
        headers[i] = (struct bus_header){e->headers[i].name, e->headers[i].value};
    headers[count++] = (struct bus_header){"bb-reason", BYTES_LIT("unacceptable")};
    snprintf(first, sizeof(first), "%" PRId64, m->received_at_ms);
    snprintf(last, sizeof(last), "%" PRId64, store_now_ms(in->store));
    headers[count++] = (struct bus_header){"bb-attempts", BYTES_LIT("0")};
    headers[count++] = (struct bus_header){"bb-error", bytes_of_str(why)};
    headers[count++] = (struct bus_header){"bb-first", bytes_of_str(first)};
    headers[count++] = (struct bus_header){"bb-last", bytes_of_str(last)};
    if (!m->raw && m->raw_text.len == 0)
        headers[count++] = (struct bus_header){"bb-value", BYTES_LIT("cut")};
    struct bus_record record = {
        .topic = in->topics[BUS_DLQ],
        .key = buf_bytes(&e->key),
        .value = buf_bytes(&e->value),
        .headers = headers,
        .header_count = count,
    };
    return bus_produce(in->producer, &record, report, arg);
}

/* Only what is bounded. */
static void outline(struct message *m)
{
    struct bytes none = bytes_of(NULL, 0);
    m->text = m->parts = m->mentions = m->raw_text = m->response_url = none;
    m->root_id = m->parent_id = m->reply_message_id = m->tenant = none;
    m->sender_ids = (struct person_ids){0};
    m->raw = NULL;
}

static enum brg_err write_letter(struct ingress *in, const struct message *message,
                                 const char *type, const char *why, enum accept_letter letter,
                                 bus_delivery_cb *report, void *arg)
{
    /* Without chat and sender the key is bot and message id, both bounded. */
    struct message m = *message;
    m.chat_type = CHAT_SINGLE;
    m.scope = SCOPE_CHAT;
    m.chat_id = m.sender_id = bytes_of(NULL, 0);
    m.kind.len = utf8_cut(m.kind, LETTER_KIND_MAX_BYTES);
    enum brg_err err = BRG_REJECT;
    if (letter == ACCEPT_WHOLE)
        err = produce_letter(in, &m, type, why, report, arg);
    if (err == BRG_REJECT) {
        outline(&m);
        err = produce_letter(in, &m, type, why, report, arg);
    }
    crash_point("unacceptable.produced");
    if (err)
        lose_letter(&message->stream, err == BRG_REJECT ? "too large" : "producer queue full");
    return err;
}

static void on_letter(enum brg_err err, const char *reason, void *arg)
{
    struct acceptance *a = arg;
    crash_point("unacceptable.reported");
    if (err)
        lose_letter(&a->stream, reason ? reason : "not acknowledged");
    else
        metric_add(&letters[LETTER_WRITTEN], 1);
    if (a->cb)
        tell(a, err, reason);
    free(a);
}

enum brg_err accept_dead_letter(struct ingress *in, const struct message *message,
                                const char *type, const char *why, enum accept_letter letter,
                                int64_t due_ms, accept_cb *cb, void *arg)
{
    struct acceptance *a = BRG_NEW(struct acceptance);
    *a = (struct acceptance){.in = in, .cb = cb, .arg = arg, .stream = message->stream};
    wheel_timer_init(&a->budget, on_budget, a);
    enum brg_err err = write_letter(in, message, type, why, letter, on_letter, a);
    if (err)
        free(a);
    else
        loop_timer_set_at(in->loop, &a->budget, due_ms);
    return err;
}
