#include "worker.h"

#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "worker_metrics.h"

enum {
    READY_WITHOUT_KAFKA_MS = 10000,
    /* Owed letters after the drain; then whatever is left is released. */
    GRACE_MS = 3000,
    LEAVE_MS = 5000,
    /* The loop still carries answers when it leaves the group for a drain: past this the
     * consumer's thread leaves by itself. */
    DRAIN_LEAVE_MS = 300,
    DELIVERY_TIMEOUT_MS = 30000,
};

/* --- readiness --- */

static bool is_ready(void *arg, struct buf *why)
{
    struct worker *w = arg;
    if (w->is_draining) {
        buf_append_str(why, "draining");
        return false;
    }
    if (!intake_is_joined(&w->intake)) {
        buf_append_str(why, "consumer group not joined");
        return false;
    }
    return bus_producer_is_ready(w->producer, why);
}

void worker_say_ready(struct worker *w)
{
    if (w->is_ready_said)
        return;
    w->is_ready_said = true;
    loop_timer_cancel(w->loop, &w->ready_timer);
    log_ready("admin=%u", http_admin_port(w->admin));
}

/* Supervisors may start us before Kafka: the process serves then, /readyz says what is
 * missing. */
static void on_ready_timer(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    log_warn("worker", "kafka_absent", "why=\"not joined after %d s, going on\"",
             READY_WITHOUT_KAFKA_MS / 1000);
    worker_say_ready(arg);
}

/* --- what sessions are told --- */

static void on_lane_turn(struct lane_place *place, void *arg)
{
    (void)arg;
    session_on_turn(LIST_ENTRY(place, struct session, lane));
}

static void on_upstream_turn(struct upstream_place *place, void *arg)
{
    (void)arg;
    session_on_upstream_turn(LIST_ENTRY(place, struct session, upstream));
}

/* `tell` may end the session it is given, and no other: lanes give no turns meanwhile. */
static void tell_sessions(struct worker *w, void (*tell)(struct session *s))
{
    struct list *node = w->sessions.prev;
    while (node != &w->sessions) {
        struct session *s = LIST_ENTRY(node, struct session, node);
        node = node->prev;
        tell(s);
    }
}

static void tell_store_up(struct session *s)
{
    session_on_store_up(s, false);
}

static void tell_store_loss(struct session *s)
{
    session_on_store_up(s, true);
}

static void on_store(bool is_up, bool is_loss, void *arg)
{
    struct worker *w = arg;
    if (!is_up || w->is_closing)
        return;
    tell_sessions(w, is_loss ? tell_store_loss : tell_store_up);
    finals_expire(&w->finals, loop_now_ms(w->loop));
    if (is_loss)
        finals_write(&w->finals, w->store, w->config->worker.lease_ms);
}

/* --- creation --- */

struct bus_setting *worker_kafka_settings(const struct config *c)
{
    struct bus_setting *settings = brg_calloc(c->kafka.setting_count + 1, sizeof(*settings));
    for (size_t i = 0; i < c->kafka.setting_count; i++)
        settings[i] =
            (struct bus_setting){c->kafka.settings[i].name, c->kafka.settings[i].value};
    return settings;
}

static enum brg_err start_store(struct worker *w, struct brg_error *error)
{
    struct store_options options = {
        .url = w->config->store.url,
        .connect_timeout_ms = w->config->store.connect_timeout_ms,
        .command_timeout_ms = w->config->store.command_timeout_ms,
        .max_outstanding = (unsigned)w->config->store.max_outstanding,
        .max_outstanding_bytes = (size_t)w->config->store.max_outstanding_bytes,
    };
    w->store = store_new(w->loop, &options, error);
    if (!w->store)
        return BRG_STOP;
    store_watch(w->store, on_store, w);
    return BRG_OK;
}

static enum brg_err start_producer(struct worker *w, struct brg_error *error)
{
    const struct config *c = w->config;
    const char *const topics[] = {w->events_topic, w->dlq_topic, w->late_topic, NULL};
    struct bus_setting *settings = worker_kafka_settings(c);
    struct bus_producer_options options = {
        .base = {"botbridge-worker", settings, c->kafka.setting_count},
        .delivery_timeout_ms = DELIVERY_TIMEOUT_MS,
        .queue_max_messages = (unsigned)c->worker.queue_messages,
        .queue_max_kbytes = (unsigned)c->worker.queue_kbytes,
        .topics = topics,
        .allow_unsafe_durability = c->kafka.allow_unsafe_durability,
    };
    w->producer = bus_producer_new(w->loop, &options, error);
    free(settings);
    if (!w->producer)
        return BRG_STOP;
    letters_init(&w->letters, w->producer, w->crypto, c->kafka.topic_prefix);
    return BRG_OK;
}

static enum brg_err start_parts(struct worker *w, struct brg_error *error)
{
    const struct config *c = w->config;
    struct fetch_options fetch = {.max_idle_connections = (unsigned)c->worker.idle_connections};
    struct pipeline_limits limits = {
        .event_bytes = (size_t)c->worker.event_max_bytes,
        .response_bytes = (size_t)c->worker.response_max_bytes,
        .lingering = (size_t)c->worker.idle_connections,
    };
    w->crypto = crypto_new();
    w->fetch = fetch_pool_new(w->loop, &fetch);
    w->bosshi = bosshi_api_new(w->loop, w->fetch);
    bosshi_api_limit(w->bosshi, (size_t)c->worker.bosshi_chats,
                     (size_t)c->worker.bosshi_tokens);
    pipeline_context_init(&w->pipelines, w->loop, w->fetch, &limits);
    bus_topic_name(w->requests_topic, c->kafka.topic_prefix, BUS_REQUESTS);
    bus_topic_name(w->late_topic, c->kafka.topic_prefix, BUS_LATE);
    bus_topic_name(w->events_topic, c->kafka.topic_prefix, BUS_EVENTS);
    bus_topic_name(w->dlq_topic, c->kafka.topic_prefix, BUS_DLQ);
    w->admin = http_admin_new(w->loop, c->worker.admin, is_ready, w, error);
    if (!w->admin || start_store(w, error) != BRG_OK || start_producer(w, error) != BRG_OK)
        return BRG_STOP;
    return intake_start(w, error);
}

static void on_drain_timer(struct wheel_timer *timer, void *arg);
static void on_leave_timer(struct wheel_timer *timer, void *arg);

struct worker *worker_new(struct loop *loop, struct config *config, const char *config_path,
                          struct brg_error *error)
{
    struct worker *w = BRG_NEW(struct worker);
    w->loop = loop;
    w->config = config;
    w->config_path = brg_strdup(config_path);
    w->process_id = random_u64();
    list_init(&w->sessions);
    list_init(&w->put_queue);
    buf_init(&w->queue_text, WECOM_CONTENT_MAX_BYTES);
    lanes_init(&w->lanes, (size_t)config->worker.max_sessions, on_lane_turn, w);
    lanes_set_shared(&w->lanes, config->bot_count > 1);
    upstreams_init(&w->upstreams, loop, config->worker.alone_ms, on_upstream_turn, w);
    quotas_init(&w->bot_quotas, (size_t)config->worker.bot_max_records,
                (size_t)config->worker.bot_max_bytes);
    quotas_init(&w->pipeline_quotas, (size_t)config->worker.pipeline_max_records,
                (size_t)config->worker.pipeline_max_bytes);
    quotas_init(&w->lane_quotas, (size_t)config->worker.lane_max_records,
                (size_t)config->worker.lane_max_bytes);
    finals_init(&w->finals, (size_t)config->worker.finals_entries,
                (size_t)config->worker.finals_bytes);
    w->max_puts_in_flight = (size_t)config->worker.puts_in_flight;
    wheel_timer_init(&w->ready_timer, on_ready_timer, w);
    wheel_timer_init(&w->drain_timer, on_drain_timer, w);
    wheel_timer_init(&w->leave_timer, on_leave_timer, w);
    worker_metrics_register(w);
    if (start_parts(w, error) != BRG_OK) {
        worker_free(w);
        return NULL;
    }
    loop_timer_set(loop, &w->ready_timer, READY_WITHOUT_KAFKA_MS);
    return w;
}

/* --- reload --- */

void worker_reload(struct worker *w)
{
    if (!config_reload(&w->config, w->config_path))
        return;
    lanes_set_shared(&w->lanes, w->config->bot_count > 1);
    if (!w->is_draining)
        lanes_set_capacity(&w->lanes, (size_t)w->config->worker.max_sessions);
    tell_sessions(w, session_on_reload);
}

/* --- drain and end --- */

/* First the running answers' time is over, then that of the owed letters. */
static void on_drain_timer(struct wheel_timer *timer, void *arg)
{
    struct worker *w = arg;
    (void)timer;
    if (!w->is_drain_over) {
        w->is_drain_over = true;
        log_info("worker", "drain_over", "running=%zu",
                 w->in_state[SESSION_READY] + w->in_state[SESSION_RUNNING]);
        tell_sessions(w, session_on_drain_over);
        loop_timer_set(w->loop, &w->drain_timer, GRACE_MS);
        return;
    }
    if (w->is_grace_over) {
        loop_stop(w->loop);
        return;
    }
    w->is_grace_over = true;
    tell_sessions(w, session_on_grace_over);
    loop_timer_set(w->loop, &w->drain_timer, GRACE_MS);
}

/* Leaving at once, not at the end: the next owner reads on while the answers here run out under
 * their leases. What ends from now on it finds final when it claims. */
static void on_leave_timer(struct wheel_timer *timer, void *arg)
{
    struct worker *w = arg;
    (void)timer;
    intake_leave(&w->intake, DRAIN_LEAVE_MS);
    crash_point("group.left");
}

void worker_drain(struct worker *w)
{
    if (w->is_draining)
        return;
    w->is_draining = true;
    log_info("worker", "draining", "queued=%zu running=%zu", w->in_state[SESSION_QUEUED],
             w->in_state[SESSION_READY] + w->in_state[SESSION_RUNNING]);
    intake_stop_reading(&w->intake);
    lanes_set_capacity(&w->lanes, 0);
    loop_timer_set(w->loop, &w->leave_timer, 0);
    loop_timer_set(w->loop, &w->drain_timer, w->config->worker.drain_ms);
    tell_sessions(w, session_on_drain);
    if (list_is_empty(&w->sessions))
        loop_stop(w->loop);
}

static void drop_rest(struct worker *w)
{
    lanes_set_capacity(&w->lanes, 0);
    tell_sessions(w, session_drop);
}

/* Callbacks still owed come while the parts are freed, so the sessions' memory goes then. */
void worker_free(struct worker *w)
{
    if (!w)
        return;
    w->is_closing = true;
    loop_timer_cancel(w->loop, &w->ready_timer);
    loop_timer_cancel(w->loop, &w->drain_timer);
    loop_timer_cancel(w->loop, &w->leave_timer);
    drop_rest(w);
    intake_leave(&w->intake, LEAVE_MS);
    if (w->producer)
        bus_producer_free(w->producer);
    store_free(w->store);
    if (w->fetch) {
        pipeline_context_clear(&w->pipelines);
        bosshi_api_free(w->bosshi);
        fetch_pool_free(w->fetch);
    }
    if (w->admin)
        http_admin_free(w->admin);
    worker_metrics_unregister(w);
    finals_free(&w->finals);
    buf_free(&w->queue_text);
    lanes_free(&w->lanes);
    upstreams_free(&w->upstreams);
    quotas_free(&w->bot_quotas);
    quotas_free(&w->pipeline_quotas);
    quotas_free(&w->lane_quotas);
    if (w->crypto)
        crypto_free(w->crypto);
    config_unref(w->config);
    free(w->config_path);
    free(w);
}
