#include "intake.h"

#include "log/log.h"
#include "worker.h"

#include <inttypes.h>

static void on_message(struct bus_message *m, void *arg)
{
    struct worker *w = arg;
    if (w->is_draining)
        bus_message_free(m); /* read before the drain; its offset stays */
    else
        session_new(w, m);
}

static bool is_of(const struct session *s, const char *topic, int32_t partition,
                  uint32_t generation)
{
    struct bus_message_info info;
    bus_message_info(s->record, &info);
    return info.partition == partition && info.generation <= generation &&
           strcmp(info.topic, topic) == 0;
}

/* Nothing is begun meanwhile, so that only the session at hand can go away. */
static void on_revoke(const char *topic, int32_t partition, uint32_t generation, void *arg)
{
    struct worker *w = arg;
    size_t capacity = w->lanes.capacity;
    lanes_set_capacity(&w->lanes, 0);
    size_t count = 0;
    struct list *node = w->sessions.prev;
    while (node != &w->sessions) {
        struct session *s = LIST_ENTRY(node, struct session, node);
        node = node->prev;
        if (!is_of(s, topic, partition, generation))
            continue;
        count++;
        session_on_revoke(s);
    }
    lanes_set_capacity(&w->lanes, capacity);
    log_info("intake", "revoked", "topic=%s partition=%d generation=%" PRIu32 " sessions=%zu",
             topic, (int)partition, generation, count);
}

static void on_joined(void *arg)
{
    worker_say_ready(arg);
}

/* Running answers go on under their leases; the supervisor starts us again. */
static void on_fatal(const char *reason, void *arg)
{
    struct worker *w = arg;
    log_error("intake", "consumer_dead", "why=\"%s\"", reason ? reason : "");
    w->exit_code = BRG_EXIT_AGAIN;
    worker_drain(w);
}

enum brg_err intake_start(struct worker *w, struct brg_error *error)
{
    const struct config *c = w->config;
    const char *const topics[] = {w->requests_topic, w->late_topic, NULL};
    char default_group[BUS_TOPIC_NAME_BYTES];
    struct bus_setting *settings = worker_kafka_settings(c);
    snprintf(default_group, sizeof(default_group), "%.200s.worker", c->kafka.topic_prefix);
    struct bus_consumer_options options = {
        .base = {"botbridge-worker", settings, c->kafka.setting_count},
        .group = c->worker.group[0] != '\0' ? c->worker.group : default_group,
        .topics = topics,
        .instance_id = c->worker.slot[0] != '\0' ? c->worker.slot : NULL,
        .window_records = (unsigned)c->worker.window_records,
        .window_bytes = (size_t)c->worker.window_bytes,
        .total_bytes = (size_t)c->worker.total_bytes,
    };
    struct bus_consumer_callbacks callbacks = {on_message, on_revoke, on_joined, on_fatal, w};
    w->consumer = bus_consumer_new(w->loop, &options, &callbacks, error);
    free(settings);
    return w->consumer ? BRG_OK : BRG_STOP;
}
