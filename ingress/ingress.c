#include "ingress.h"

#include "accept.h"
#include "admission.h"
#include "bosshi_callback.h"
#include "bosshi_event.h"
#include "events.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "owed.h"
#include "publish.h"
#include "recall.h"
#include "refresh.h"
#include "server.h"
#include "wecom_callback.h"

#include <signal.h>

#define SCRATCH_MAX_BYTES                                                            \
    (1024 * 1024)               /* a body of 256 KiB, an escaped text of 20 KB: less \
                                 */
#define ANNOUNCE_AFTER_MS 10000 /* with Kafka away, polls and verification work still */
#define ACCEPT_MORE_MS 2000     /* balancers need time to see that we are unready */
#define FINISH_MS 5000          /* every request has its own, shorter limit */
#define FLUSH_MS 1500           /* the sum stays under 10 s */
#define LOOK_AGAIN_MS 20

static struct metric gauges[] = {
    METRIC(METRIC_GAUGE, "botbridge_ingress_held_polls", NULL,
           "Polls that wait for the store to come back."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_held_polls_limit", NULL,
           "Their bound (ingress.max_connections)."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_memory_entries", NULL,
           "Streams remembered for when the store is away."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_memory_entries_limit", NULL, "Their bound."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_memory_bytes", NULL, "Bytes they take."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_memory_bytes_limit", NULL, "Their bound."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_owed_opens", NULL,
           "Streams opened that the store does not know yet."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_owed_opens_limit", NULL, "Their bound."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_owed_closes", NULL,
           "Ends told to users that the store does not know yet."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_owed_closes_limit", NULL, "Their bound."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_rate_users", NULL,
           "Users whose questions per minute are counted."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_rate_users_limit", NULL, "Their bound."),
    METRIC(METRIC_GAUGE, "botbridge_ingress_store_up", NULL, "1 while the store answers."),
};

static void on_scrape(void *arg)
{
    const struct ingress *in = arg;
    const int64_t values[] = {
        (int64_t)in->held_count,
        in->config->ingress.max_connections,
        (int64_t)recall_entries(in->recall),
        (int64_t)recall_entries_limit(in->recall),
        (int64_t)recall_bytes(in->recall),
        (int64_t)recall_bytes_limit(in->recall),
        (int64_t)owed_count(in->owed_opens),
        (int64_t)owed_limit(in->owed_opens),
        (int64_t)owed_count(in->owed_closes),
        (int64_t)owed_limit(in->owed_closes),
        (int64_t)admission_users(in->admission),
        (int64_t)admission_users_limit(in->admission),
        store_is_up(in->store),
    };
    for (size_t i = 0; i < sizeof(gauges) / sizeof(*gauges); i++)
        metric_set(&gauges[i], values[i]);
}

static void register_metrics(struct ingress *in)
{
    wecom_callback_register_metrics();
    bosshi_callback_register_metrics();
    bosshi_event_register_metrics();
    publish_register_metrics();
    refresh_register_metrics();
    events_register_metrics();
    accept_register_metrics();
    for (size_t i = 0; i < sizeof(gauges) / sizeof(*gauges); i++)
        metric_register(&gauges[i]);
    metrics_on_scrape(on_scrape, in);
}

static bool is_ready(void *arg, struct buf *why)
{
    const struct ingress *in = arg;
    if (in->phase > INGRESS_SERVING) {
        buf_append_str(why, "draining");
        return false;
    }
    return bus_producer_is_ready(in->producer, why);
}

static void set_phase(struct ingress *in, enum ingress_phase phase, int64_t timer_ms)
{
    in->phase = phase;
    in->phase_since_ms = loop_now_ms(in->loop);
    loop_timer_set(in->loop, &in->timer, timer_ms);
}

static void announce(struct ingress *in)
{
    in->phase = INGRESS_SERVING;
    loop_timer_cancel(in->loop, &in->timer);
    log_ready("listen=%u admin=%u", http_server_port(in->server), http_admin_port(in->admin));
}

static void announce_anyway(struct ingress *in)
{
    struct buf why;
    buf_init(&why, BRG_ERROR_TEXT_BYTES);
    if (!bus_producer_is_ready(in->producer, &why))
        log_warn("ingress", "not_ready", "reason=\"" BYTES_FMT "\"",
                 BYTES_ARG(buf_bytes(&why)));
    buf_free(&why);
    announce(in);
}

static void on_producer(bool ready, void *arg)
{
    struct ingress *in = arg;
    if (ready && in->phase == INGRESS_STARTING)
        announce(in);
}

static void on_store(bool is_up, bool is_loss, void *arg)
{
    struct ingress *in = arg;
    (void)is_loss; /* a record that is gone is made again when it is polled */
    if (!is_up)
        return;
    owed_store_up(in->owed_opens);
    owed_store_up(in->owed_closes);
    refresh_store_up(in);
}

static size_t unwritten(const struct ingress *in)
{
    return owed_count(in->owed_opens) + owed_count(in->owed_closes);
}

/* What the drain has still to wait for: looked at every LOOK_AGAIN_MS, because it ends by
 * events in four modules and takes seconds at most. */
static void drain(struct ingress *in)
{
    int64_t spent_ms = loop_now_ms(in->loop) - in->phase_since_ms;
    if (in->phase == INGRESS_ACCEPTING) {
        http_server_quiesce(in->server);
        set_phase(in, INGRESS_FINISHING, LOOK_AGAIN_MS);
        return;
    }
    bool is_finished = http_server_open_requests(in->server) == 0;
    bool is_flushed = bus_producer_queued(in->producer) == 0 &&
                      (unwritten(in) == 0 || !store_is_up(in->store));
    if (in->phase == INGRESS_FINISHING && (is_finished || spent_ms >= FINISH_MS)) {
        set_phase(in, INGRESS_FLUSHING, LOOK_AGAIN_MS);
    } else if (in->phase == INGRESS_FLUSHING &&
               ((is_flushed && is_finished) || spent_ms >= FLUSH_MS)) {
        in->phase = INGRESS_ENDED;
        log_info("ingress", "drained", "unanswered=%zu unacknowledged=%u unwritten=%zu",
                 http_server_open_requests(in->server), bus_producer_queued(in->producer),
                 unwritten(in));
        loop_stop(in->loop);
    } else {
        loop_timer_set(in->loop, &in->timer, LOOK_AGAIN_MS);
    }
}

static void on_timer(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct ingress *in = arg;
    if (in->phase == INGRESS_STARTING)
        announce_anyway(in);
    else
        drain(in);
}

static void on_terminate(int signum, void *arg)
{
    struct ingress *in = arg;
    if (in->phase >= INGRESS_ACCEPTING) {
        log_warn("ingress", "ended", "reason=\"second signal\" open_requests=%zu",
                 http_server_open_requests(in->server));
        _Exit(BRG_EXIT_AGAIN);
    }
    log_info("ingress", "draining", "signal=%d", signum);
    set_phase(in, INGRESS_ACCEPTING, ACCEPT_MORE_MS);
}

static void on_reload(int signum, void *arg)
{
    (void)signum;
    struct ingress *in = arg;
    config_reload(&in->config, in->config_path);
}

static bool start_store(struct ingress *in, struct brg_error *error)
{
    const struct config *c = in->config;
    struct store_options options = {
        .url = c->store.url,
        .connect_timeout_ms = c->store.connect_timeout_ms,
        .command_timeout_ms = c->store.command_timeout_ms,
        .max_outstanding = (unsigned)c->store.max_outstanding,
        .max_outstanding_bytes = (size_t)c->store.max_outstanding_bytes,
    };
    in->store = store_new(in->loop, &options, error);
    if (!in->store)
        return false;
    in->owed_opens = owed_new(in->loop, in->store, OWED_OPENS, (size_t)c->ingress.owed_opens);
    in->owed_closes =
        owed_new(in->loop, in->store, OWED_CLOSES, (size_t)c->ingress.owed_closes);
    store_watch(in->store, on_store, in);
    return true;
}

static bool start_producer(struct ingress *in, struct brg_error *error)
{
    const struct config *c = in->config;
    for (int t = 0; t < BUS_TOPIC_COUNT; t++)
        bus_topic_name(in->topics[t], c->kafka.topic_prefix, (enum bus_topic)t);
    const char *const topics[] = {in->topics[BUS_REQUESTS], in->topics[BUS_EVENTS],
                                  in->topics[BUS_DLQ], NULL};
    struct bus_setting *settings = brg_calloc(c->kafka.setting_count + 1, sizeof(*settings));
    for (size_t i = 0; i < c->kafka.setting_count; i++) {
        settings[i].name = c->kafka.settings[i].name;
        settings[i].value = c->kafka.settings[i].value;
    }
    struct bus_producer_options options = {
        .base = {.client_id = "botbridge-ingress",
                 .settings = settings,
                 .setting_count = c->kafka.setting_count},
        .delivery_timeout_ms = c->ingress.publish_budget_ms,
        .queue_max_messages = (unsigned)c->ingress.queue_messages,
        .queue_max_kbytes = (unsigned)c->ingress.queue_kbytes,
        .topics = topics,
        .allow_unsafe_durability = c->kafka.allow_unsafe_durability,
    };
    in->producer = bus_producer_new(in->loop, &options, error);
    free(settings);
    if (in->producer)
        bus_producer_watch(in->producer, on_producer, in);
    return in->producer != NULL;
}

static bool start_listeners(struct ingress *in, struct brg_error *error)
{
    in->server = server_new(in, error);
    if (!in->server)
        return false;
    in->admin = http_admin_new(in->loop, in->config->ingress.admin, is_ready, in, error);
    return in->admin != NULL;
}

static struct ingress *allocate(struct config *config, const char *path)
{
    struct ingress *in = BRG_NEW(struct ingress);
    in->config = config;
    in->config_path = path;
    in->loop = loop_new();
    in->crypto = crypto_new();
    in->recall = recall_new((size_t)config->ingress.memory_entries,
                            (size_t)config->ingress.memory_bytes);
    in->admission = admission_new((size_t)config->ingress.rate_users);
    list_init(&in->held);
    buf_init(&in->opened, SCRATCH_MAX_BYTES);
    buf_init(&in->sealing, SCRATCH_MAX_BYTES);
    buf_init(&in->rendered, SCRATCH_MAX_BYTES);
    envelope_init(&in->envelope);
    wheel_timer_init(&in->timer, on_timer, in);
    return in;
}

struct ingress *ingress_start(struct config *config, const char *path, struct brg_error *error)
{
    struct ingress *in = allocate(config, path);
    /* From before there is anything to end; they are told once the loop runs. */
    loop_on_signal(in->loop, SIGTERM, on_terminate, in);
    loop_on_signal(in->loop, SIGINT, on_terminate, in);
    loop_on_signal(in->loop, SIGHUP, on_reload, in);
    if (!start_store(in, error) || !start_producer(in, error) || !start_listeners(in, error)) {
        ingress_free(in);
        return NULL;
    }
    register_metrics(in);
    set_phase(in, INGRESS_STARTING, ANNOUNCE_AFTER_MS);
    if (bus_producer_is_ready(in->producer, NULL))
        announce(in);
    return in;
}

void ingress_run(struct ingress *in)
{
    loop_run(in->loop);
}

/* The order matters: whoever may still call back goes before what is called. */
void ingress_free(struct ingress *in)
{
    in->phase = INGRESS_ENDED;
    loop_timer_cancel(in->loop, &in->timer);
    if (in->admin)
        http_admin_free(in->admin);
    if (in->server)
        http_server_free(in->server);
    if (in->store)
        refresh_store_up(in); /* held polls end with the store */
    if (in->producer)
        bus_producer_free(in->producer);
    if (in->store)
        store_free(in->store);
    if (in->owed_opens)
        owed_free(in->owed_opens);
    if (in->owed_closes)
        owed_free(in->owed_closes);
    admission_free(in->admission);
    recall_free(in->recall);
    envelope_free(&in->envelope);
    buf_free(&in->rendered);
    buf_free(&in->sealing);
    buf_free(&in->opened);
    crypto_free(in->crypto);
    config_unref(in->config);
    loop_free(in->loop);
    free(in);
}
