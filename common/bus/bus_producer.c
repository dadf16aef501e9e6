#include "bus/bus_producer.h"

#include "base/clock.h"
#include "bus/bus_keeper.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <librdkafka/rdkafka.h>
#include <unistd.h>

enum {
    FULL_PERCENT = 80,
    FULL_AGAIN_PERCENT = 60, /* so that readiness does not flap around one mark */
    REPORTS_PER_TURN = 2000,
    PURGE_MS = 300,
    CLOSE_MS = 700,
    RECREATE_MS = 1000, /* between two tries after a fatal error */
};

static struct metric acknowledged = METRIC(METRIC_COUNTER, "botbridge_bus_produced_total",
                                           "outcome=\"ok\"", "Records by delivery report");
static struct metric failed = METRIC(METRIC_COUNTER, "botbridge_bus_produced_total",
                                     "outcome=\"retry\"", "Records by delivery report");
static struct metric rejected = METRIC(METRIC_COUNTER, "botbridge_bus_produced_total",
                                       "outcome=\"reject\"", "Records by delivery report");
static struct metric delivery = METRIC(METRIC_HISTOGRAM, "botbridge_bus_delivery_ms", NULL,
                                       "From produce to the delivery report");
static struct metric queued = METRIC(METRIC_GAUGE, "botbridge_bus_producer_queue_messages",
                                     NULL, "Records without a delivery report");
static struct metric queue_limit =
    METRIC(METRIC_GAUGE, "botbridge_bus_producer_queue_messages_limit", NULL,
           "Bound of the above (queue_messages)");
static struct metric queued_bytes =
    METRIC(METRIC_GAUGE, "botbridge_bus_producer_queue_bytes", NULL, "Bytes of their values");
static struct metric bytes_limit =
    METRIC(METRIC_GAUGE, "botbridge_bus_producer_queue_bytes_limit", NULL,
           "Bound of the above (queue_kbytes)");
static struct metric queue_full = METRIC(METRIC_COUNTER, "botbridge_bus_queue_full_total", NULL,
                                         "Records refused because the queue was full");
static struct metric recreated = METRIC(METRIC_COUNTER, "botbridge_bus_producer_fatal_total",
                                        NULL, "Producers replaced after a fatal error");
static struct metric retries = METRIC(METRIC_GAUGE, "botbridge_bus_producer_retries", NULL,
                                      "Produce requests repeated, of the present producer");
static struct metric round_trip = METRIC(METRIC_GAUGE, "botbridge_bus_broker_rtt_p99_us", NULL,
                                         "Slowest broker's round trip, p99 of 5 s");

static struct metric *const all_metrics[] = {
    &acknowledged, &failed,      &rejected,   &delivery,  &queued,  &queue_limit,
    &queued_bytes, &bytes_limit, &queue_full, &recreated, &retries, &round_trip,
};

struct delivery {
    struct list node;             /* in p->flying */
    struct delivery *next_unused; /* in p->unused */
    bus_delivery_cb *cb;
    void *arg;
    size_t bytes;
    int64_t since_ms;
};

struct bus_producer {
    struct loop *loop;
    rd_kafka_conf_t *conf; /* template of every instance */
    char **topics;
    bool allow_unsafe_durability;
    unsigned limit;

    /* The present instance; NULL between a fatal error and a successful replacement. The keeper
     * owns rk. */
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct bus_keeper *keeper;

    int event_fd;
    struct loop_fd *event_watch;
    struct loop_wake *wake;
    struct wheel_timer recreate_timer;
    struct list flying;
    struct delivery *unused;
    unsigned count; /* of flying */
    size_t bytes;   /* of their values */
    bool is_fatal;
    bool is_full;
    bool is_ready;
    struct bus_keeper_report report;
    void (*watch)(bool is_ready, void *arg);
    void *watch_arg;
};

static void update_ready(struct bus_producer *p)
{
    unsigned mark = p->limit / 100 * (p->is_full ? FULL_AGAIN_PERCENT : FULL_PERCENT);
    p->is_full = p->count >= (mark > 0 ? mark : 1);
    metric_set(&queued, p->count);
    metric_set(&queued_bytes, (int64_t)p->bytes);
    bool is_ready = p->report.verdict == BUS_KEEPER_FINE && !p->is_full && p->rk;
    if (is_ready == p->is_ready)
        return;
    p->is_ready = is_ready;
    if (is_ready)
        log_info("bus", "producer_ready", "queued=%u", p->count);
    else
        log_warn("bus", "producer_not_ready", "queued=%u reason=\"%s\"", p->count,
                 p->report.why);
    if (p->watch)
        p->watch(is_ready, p->watch_arg);
}

static struct delivery *delivery_take(struct bus_producer *p, size_t bytes, bus_delivery_cb *cb,
                                      void *arg)
{
    struct delivery *d = p->unused;
    if (d)
        p->unused = d->next_unused;
    else
        d = BRG_NEW(struct delivery);
    d->cb = cb;
    d->arg = arg;
    d->since_ms = loop_now_ms(p->loop);
    list_init(&d->node);
    d->bytes = bytes;
    list_push_back(&p->flying, &d->node);
    p->count++;
    p->bytes += bytes;
    return d;
}

static void delivery_put(struct bus_producer *p, struct delivery *d)
{
    list_remove(&d->node);
    d->next_unused = p->unused;
    p->unused = d;
    p->count--;
    p->bytes -= d->bytes;
}

/* The one place where a report reaches its owner. */
static void report_one(struct bus_producer *p, struct delivery *d, enum brg_err err,
                       const char *reason)
{
    bus_delivery_cb *cb = d->cb;
    void *arg = d->arg;
    metric_add(err == BRG_OK ? &acknowledged : err == BRG_RETRY ? &failed : &rejected, 1);
    metric_observe_ms(&delivery, loop_now_ms(p->loop) - d->since_ms);
    delivery_put(p, d);
    cb(err, reason, arg);
}

static enum brg_err verdict_of(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return BRG_OK;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: /* larger than a segment of the topic */
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return BRG_REJECT;
    default:
        return BRG_RETRY;
    }
}

static size_t on_reports(struct bus_producer *p, rd_kafka_event_t *event)
{
    size_t count = 0;
    for (;;) {
        const rd_kafka_message_t *m = rd_kafka_event_message_next(event);
        if (!m)
            return count;
        count++;
        report_one(p, m->_private, verdict_of(m->err), m->err ? rd_kafka_err2str(m->err) : "");
    }
}

static void on_error(struct bus_producer *p, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);
    if (rd_kafka_event_error_is_fatal(event) || err == RD_KAFKA_RESP_ERR__FATAL) {
        log_error("bus", "producer_fatal", "code=%s text=\"%s\"", rd_kafka_err2name(err), text);
        p->is_fatal = true;
    } else if (!bus_is_connection_error(err)) {
        log_warn("bus", "producer_error", "code=%s text=\"%s\"", rd_kafka_err2name(err), text);
    }
}

static void on_stats(rd_kafka_event_t *event)
{
    const char *json = rd_kafka_event_stats(event);
    metric_set(&retries, bus_stats_scan(json, "\"txretries\":").sum);
    const char *rtt = strstr(json, "\"rtt\":");
    int64_t worst = 0;
    for (; rtt; rtt = strstr(rtt + 1, "\"rtt\":")) {
        const char *p99 = strstr(rtt, "\"p99\":");
        long long value = p99 ? strtoll(p99 + sizeof "\"p99\":" - 1, NULL, 10) : 0;
        worst = value > worst ? value : worst;
    }
    metric_set(&round_trip, worst);
}

static size_t on_event(struct bus_producer *p, rd_kafka_event_t *event)
{
    size_t reports = 0;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        reports = on_reports(p, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        on_error(p, event);
        break;
    case RD_KAFKA_EVENT_STATS:
        on_stats(event);
        break;
    default:
        break;
    }
    rd_kafka_event_destroy(event);
    return reports;
}

/* True when the queue was emptied. */
static bool drain(struct bus_producer *p, size_t limit)
{
    for (size_t done = 0; done < limit;) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(p->queue, 0);
        if (!event)
            return true;
        done += on_event(p, event);
    }
    return false;
}

static enum brg_err start_instance(struct bus_producer *p, struct brg_error *error)
{
    struct bus_keeper_options options = {
        .topics = (const char *const *)p->topics,
        .allow_unsafe_durability = p->allow_unsafe_durability,
        .wake = p->wake,
    };
    p->keeper = bus_keeper_start(rd_kafka_conf_dup(p->conf), &options, error);
    if (!p->keeper)
        return BRG_STOP;
    p->rk = bus_keeper_instance(p->keeper);
    p->queue = rd_kafka_queue_get_main(p->rk);
    bus_eventfd_attach(p->queue, p->event_fd);
    /* What came between the birth of the queue and its attachment made no signal. */
    bus_eventfd_signal(p->event_fd);
    return BRG_OK;
}

/* The configuration made an instance before: failure here is lack of resources. */
static void open_instance(struct bus_producer *p)
{
    struct brg_error error = {0};
    if (start_instance(p, &error) == BRG_OK)
        return;
    log_error("bus", "producer_not_created", "reason=\"%s\"", error.text);
    loop_timer_set(p->loop, &p->recreate_timer, RECREATE_MS);
}

static void on_recreate(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    open_instance(arg);
    update_ready(arg);
}

static void close_instance(struct bus_producer *p, int64_t wait_ms)
{
    if (!p->rk)
        return;
    bus_eventfd_attach(p->queue, -1);
    rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
    p->rk = NULL;
    bus_keeper_end(p->keeper, wait_ms);
    p->keeper = NULL;
}

static void report_rest(struct bus_producer *p, struct list *rest, const char *reason)
{
    while (!list_is_empty(rest))
        report_one(p, LIST_ENTRY(rest->next, struct delivery, node), BRG_RETRY, reason);
}

/* The new instance is there before the owners are told: their callbacks may produce again. */
static void replace_instance(struct bus_producer *p)
{
    struct list rest;
    list_init(&rest);
    while (!list_is_empty(&p->flying))
        list_push_back(&rest, list_pop_front(&p->flying));
    close_instance(p, 0);
    p->is_fatal = false;
    metric_add(&recreated, 1);
    p->report = (struct bus_keeper_report){.why = "producer replaced after a fatal error"};
    open_instance(p);
    report_rest(p, &rest, "producer replaced after a fatal error");
}

static void on_readable(struct loop_fd *fd, unsigned events, void *arg)
{
    (void)fd;
    (void)events;
    struct bus_producer *p = arg;
    bus_eventfd_clear(p->event_fd);
    if (!p->rk)
        return;
    bool is_empty = drain(p, REPORTS_PER_TURN);
    if (!is_empty)
        bus_eventfd_signal(p->event_fd);
    else if (p->is_fatal)
        replace_instance(p);
    update_ready(p);
}

/* A look that reached nobody changes nothing once the topics were seen. */
static void on_report(void *arg)
{
    struct bus_producer *p = arg;
    if (!p->keeper)
        return;
    struct bus_keeper_report report;
    bus_keeper_read(p->keeper, &report);
    if (report.verdict == BUS_KEEPER_UNKNOWN && p->report.verdict == BUS_KEEPER_FINE)
        return;
    if (report.verdict == BUS_KEEPER_REFUSED)
        log_warn("bus", "topics_refused", "reason=\"%s\"", report.why);
    p->report = report;
    update_ready(p);
}

static rd_kafka_conf_t *producer_conf(const struct bus_producer_options *o,
                                      struct brg_error *error)
{
    char timeout[24];
    char messages[24];
    char kbytes[24];
    snprintf(timeout, sizeof timeout, "%lld", (long long)o->delivery_timeout_ms);
    snprintf(messages, sizeof messages, "%u", o->queue_max_messages);
    snprintf(kbytes, sizeof kbytes, "%u", o->queue_max_kbytes);
    const struct bus_setting ours[] = {
        {"enable.idempotence", "true"},
        {"linger.ms", "1"},
        /* Kafka judges a batch by its size as a whole: a small record must not be refused with
         * the one beside it. A record above this goes alone. */
        {"batch.size", "65536"},
        {"delivery.timeout.ms", timeout},
        {"queue.buffering.max.messages", messages},
        {"queue.buffering.max.kbytes", kbytes},
        {"partitioner", "murmur2_random"},
        {"compression.type", "none"},
        {"statistics.interval.ms", "5000"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf = bus_conf_new(&o->base, ours, error);
    if (conf)
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
                                           RD_KAFKA_EVENT_STATS);
    return conf;
}

static char **copy_topics(const char *const *topics)
{
    size_t count = 0;
    while (topics && topics[count])
        count++;
    char **copy = brg_calloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = brg_strdup(topics[i]);
    return copy;
}

static void free_producer(struct bus_producer *p)
{
    loop_timer_cancel(p->loop, &p->recreate_timer);
    loop_fd_free(p->event_watch);
    close(p->event_fd);
    loop_wake_free(p->wake);
    rd_kafka_conf_destroy(p->conf);
    for (size_t i = 0; p->topics[i]; i++)
        free(p->topics[i]);
    free(p->topics);
    while (p->unused) {
        struct delivery *d = p->unused;
        p->unused = d->next_unused;
        free(d);
    }
    free(p);
}

struct bus_producer *bus_producer_new(struct loop *loop,
                                      const struct bus_producer_options *options,
                                      struct brg_error *error)
{
    rd_kafka_conf_t *conf = producer_conf(options, error);
    if (!conf)
        return NULL;
    for (size_t i = 0; i < sizeof all_metrics / sizeof all_metrics[0]; i++)
        metric_register(all_metrics[i]);
    struct bus_producer *p = BRG_NEW(struct bus_producer);
    p->loop = loop;
    p->conf = conf;
    p->topics = copy_topics(options->topics);
    p->allow_unsafe_durability = options->allow_unsafe_durability;
    p->limit = (unsigned)bus_conf_number(conf, "queue.buffering.max.messages");
    snprintf(p->report.why, sizeof p->report.why, "Kafka has not answered yet");
    list_init(&p->flying);
    p->event_fd = bus_eventfd_new();
    p->event_watch = loop_fd_new(loop, p->event_fd, on_readable, p);
    loop_fd_watch(p->event_watch, LOOP_READ);
    p->wake = loop_wake_new(loop, on_report, p);
    wheel_timer_init(&p->recreate_timer, on_recreate, p);
    metric_set(&queue_limit, p->limit);
    metric_set(&bytes_limit, bus_conf_number(conf, "queue.buffering.max.kbytes") * 1024);
    if (options->allow_unsafe_durability)
        log_warn("bus", "unsafe_durability", "acknowledged records may be lost with a broker");
    if (start_instance(p, error) == BRG_OK)
        return p;
    free_producer(p);
    return NULL;
}

static size_t fill_arguments(rd_kafka_vu_t *args, const struct bus_record *r, void *opaque)
{
    size_t n = 0;
    args[n].vtype = RD_KAFKA_VTYPE_TOPIC;
    args[n++].u.cstr = r->topic;
    args[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    args[n++].u.i = RD_KAFKA_MSG_F_COPY;
    args[n].vtype = RD_KAFKA_VTYPE_KEY;
    args[n].u.mem.ptr = (void *)r->key.ptr;
    args[n++].u.mem.size = r->key.len;
    args[n].vtype = RD_KAFKA_VTYPE_VALUE;
    args[n].u.mem.ptr = (void *)r->value.ptr;
    args[n++].u.mem.size = r->value.len;
    args[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
    args[n++].u.ptr = opaque;
    for (size_t i = 0; i < r->header_count; i++) {
        args[n].vtype = RD_KAFKA_VTYPE_HEADER;
        args[n].u.header.name = r->headers[i].name;
        args[n].u.header.val = r->headers[i].value.ptr;
        args[n++].u.header.size = (ssize_t)r->headers[i].value.len;
    }
    return n;
}

enum brg_err bus_produce(struct bus_producer *p, const struct bus_record *record,
                         bus_delivery_cb *cb, void *arg)
{
    enum { FIXED_ARGUMENTS = 5 };
    rd_kafka_vu_t args[FIXED_ARGUMENTS + BUS_HEADERS_MAX];
    BRG_CHECK(record->header_count <= BUS_HEADERS_MAX);
    if (!p->rk || p->is_fatal)
        return BRG_RETRY;
    struct delivery *d = delivery_take(p, record->value.len, cb, arg);
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, args, fill_arguments(args, record, d));
    update_ready(p);
    if (!error)
        return BRG_OK;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    delivery_put(p, d);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        metric_add(&queue_full, 1);
    else
        log_warn("bus", "produce_refused", "topic=%s bytes=%zu reason=\"%s\"", record->topic,
                 record->value.len, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return verdict_of(code) == BRG_REJECT ? BRG_REJECT : BRG_RETRY;
}

bool bus_producer_is_ready(const struct bus_producer *p, struct buf *why)
{
    if (!p->is_ready && why)
        buf_append_str(why, p->is_full ? "the producer's queue is nearly full" : p->report.why);
    return p->is_ready;
}

unsigned bus_producer_queued(const struct bus_producer *p)
{
    return p->count;
}

void bus_producer_watch(struct bus_producer *p, void (*fn)(bool is_ready, void *arg), void *arg)
{
    p->watch = fn;
    p->watch_arg = arg;
}

void bus_producer_break(struct bus_producer *p)
{
    if (p->rk)
        rd_kafka_test_fatal_error(p->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                  "test");
}

void bus_producer_free(struct bus_producer *p)
{
    if (!p)
        return;
    p->watch = NULL;
    if (p->rk && p->count > 0) {
        log_error("bus", "purged", "records=%u", p->count);
        rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    int64_t end = clock_mono_ms() + PURGE_MS;
    while (p->rk && p->count > 0 && clock_mono_ms() < end) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(p->queue, (int)(end - clock_mono_ms()));
        if (event)
            on_event(p, event);
    }
    close_instance(p, CLOSE_MS);
    report_rest(p, &p->flying, "producer closed");
    free_producer(p);
}
