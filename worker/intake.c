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
    size_t capacity = w->lanes.turns.capacity;
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
    struct worker *w = arg;
    if (intake_is_joined(&w->intake))
        worker_say_ready(w);
}

/* Running answers go on under their leases; the supervisor starts us again. */
static void on_fatal(const char *reason, void *arg)
{
    struct worker *w = arg;
    log_error("intake", "consumer_dead", "why=\"%s\"", reason ? reason : "");
    w->exit_code = BRG_EXIT_AGAIN;
    worker_drain(w);
}

enum { GROUP_BYTES = 300 };

static struct bus_consumer *join(struct worker *w, const struct bus_setting *settings,
                                 const char *group, const char *topic, struct brg_error *error)
{
    const struct config *c = w->config;
    const char *const topics[] = {topic, NULL};
    struct bus_consumer_options options = {
        .base = {"botbridge-worker", settings, c->kafka.setting_count},
        .group = group,
        .topics = topics,
        .instance_id = c->worker.slot[0] != '\0' ? c->worker.slot : NULL,
        .window_records = (unsigned)c->worker.window_records,
        .window_bytes = (size_t)c->worker.window_bytes,
        .total_bytes = (size_t)c->worker.total_bytes,
    };
    struct bus_consumer_callbacks callbacks = {on_message, on_revoke, on_joined, on_fatal, w};
    return bus_consumer_new(w->loop, &options, &callbacks, error);
}

enum brg_err intake_start(struct worker *w, struct brg_error *error)
{
    const struct config *c = w->config;
    char group[GROUP_BYTES], late_group[GROUP_BYTES + sizeof(".late")];
    struct bus_setting *settings = worker_kafka_settings(c);
    if (c->worker.group[0] != '\0')
        snprintf(group, sizeof(group), "%s", c->worker.group);
    else
        snprintf(group, sizeof(group), "%.200s.worker", c->kafka.topic_prefix);
    snprintf(late_group, sizeof(late_group), "%s.late", group);
    w->intake.requests = join(w, settings, group, w->requests_topic, error);
    if (w->intake.requests)
        w->intake.late = join(w, settings, late_group, w->late_topic, error);
    free(settings);
    return w->intake.late ? BRG_OK : BRG_STOP;
}

bool intake_is_joined(const struct intake *in)
{
    return in->requests && bus_consumer_is_joined(in->requests) && in->late &&
           bus_consumer_is_joined(in->late);
}

void intake_stop_reading(struct intake *in)
{
    bus_consumer_stop_reading(in->requests);
    bus_consumer_stop_reading(in->late);
}

void intake_leave(struct intake *in, int64_t timeout_ms)
{
    bus_consumer_free(in->requests, timeout_ms);
    bus_consumer_free(in->late, timeout_ms);
    *in = (struct intake){0};
}

bool intake_is_late(const struct worker *w, const struct bus_message *record)
{
    struct bus_message_info info;
    bus_message_info(record, &info);
    return strcmp(info.topic, w->late_topic) == 0;
}

void intake_complete(struct worker *w, const struct bus_message *record)
{
    struct bus_consumer *c = intake_is_late(w, record) ? w->intake.late : w->intake.requests;
    if (c)
        bus_consumer_complete(c, record);
}

int64_t intake_frontier_age_ms(const struct intake *in)
{
    int64_t requests_ms = in->requests ? bus_consumer_frontier_age_ms(in->requests) : 0;
    int64_t late_ms = in->late ? bus_consumer_frontier_age_ms(in->late) : 0;
    return requests_ms > late_ms ? requests_ms : late_ms;
}
