#include "bus/bus_keeper.h"

#include <stdarg.h>

enum { REPLICATION_MIN = 3, INSYNC_MIN = 2, ERRSTR_BYTES = 128 };

static bool say(struct bus_keeper_report *report, enum bus_keeper_verdict verdict,
                const char *fmt, ...) BRG_PRINTF(3, 4);

/* Always false, so that a failed step is one line. */
static bool say(struct bus_keeper_report *report, enum bus_keeper_verdict verdict,
                const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report->verdict = verdict;
    vsnprintf(report->why, sizeof report->why, fmt, args);
    va_end(args);
    return false;
}

static const struct rd_kafka_metadata_topic *find_topic(const struct rd_kafka_metadata *md,
                                                        const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, name) == 0)
            return &md->topics[i];
    return NULL;
}

static bool is_topic_fine(const struct rd_kafka_metadata *md, const char *name, bool is_unsafe,
                          struct bus_keeper_report *report)
{
    const struct rd_kafka_metadata_topic *t = find_topic(md, name);
    if (!t)
        return say(report, BUS_KEEPER_UNKNOWN, "topic %s: no metadata yet", name);
    if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return say(report, BUS_KEEPER_REFUSED, "topic %s does not exist", name);
    if (t->err || t->partition_cnt == 0)
        return say(report, BUS_KEEPER_UNKNOWN, "topic %s: %s", name, rd_kafka_err2str(t->err));
    for (int i = 0; i < t->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *p = &t->partitions[i];
        if (p->leader < 0)
            return say(report, BUS_KEEPER_UNKNOWN, "topic %s: partition %d has no leader", name,
                       (int)p->id);
        if (!is_unsafe && p->replica_cnt < REPLICATION_MIN)
            return say(report, BUS_KEEPER_REFUSED,
                       "topic %s: replication %d, %d needed (or allow_unsafe_durability)", name,
                       p->replica_cnt, REPLICATION_MIN);
    }
    return true;
}

static bool is_metadata_fine(rd_kafka_t *rk, const char *const *topics, bool is_unsafe,
                             int timeout_ms, struct bus_keeper_report *report)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, NULL, &md, timeout_ms);
    if (err)
        return say(report, BUS_KEEPER_UNKNOWN, "Kafka does not answer: %s",
                   rd_kafka_err2str(err));
    bool is_fine = true;
    for (; *topics && is_fine; topics++)
        is_fine = is_topic_fine(md, *topics, is_unsafe, report);
    rd_kafka_metadata_destroy(md);
    return is_fine;
}

static bool is_insync_fine(const rd_kafka_ConfigResource_t *resource,
                           struct bus_keeper_report *report)
{
    const char *name = rd_kafka_ConfigResource_name(resource);
    if (rd_kafka_ConfigResource_error(resource))
        return say(report, BUS_KEEPER_REFUSED, "topic %s: min.insync.replicas unknown: %s",
                   name, rd_kafka_ConfigResource_error_string(resource));
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "min.insync.replicas") != 0)
            continue;
        int64_t value = 0;
        if (bytes_to_i64(bytes_of_str(rd_kafka_ConfigEntry_value(entries[i])), &value) &&
            value >= INSYNC_MIN)
            return true;
        return say(report, BUS_KEEPER_REFUSED,
                   "topic %s: min.insync.replicas %d, %d needed (or allow_unsafe_durability)",
                   name, (int)value, INSYNC_MIN);
    }
    return say(report, BUS_KEEPER_REFUSED, "topic %s: min.insync.replicas not told", name);
}

static bool is_result_fine(rd_kafka_event_t *event, struct bus_keeper_report *report)
{
    if (!event)
        return say(report, BUS_KEEPER_UNKNOWN, "Kafka does not tell the topics' settings");
    if (rd_kafka_event_error(event))
        return say(report, BUS_KEEPER_UNKNOWN, "Kafka does not tell the topics' settings: %s",
                   rd_kafka_event_error_string(event));
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    bool is_fine = true;
    for (size_t i = 0; i < count && is_fine; i++)
        is_fine = is_insync_fine(resources[i], report);
    return is_fine;
}

static bool are_settings_fine(rd_kafka_t *rk, const char *const *topics, int timeout_ms,
                              struct bus_keeper_report *report)
{
    char errstr[ERRSTR_BYTES];
    size_t count = 0;
    rd_kafka_ConfigResource_t *resources[BUS_KEEPER_TOPICS_MAX];
    for (; topics[count]; count++) {
        BRG_CHECK(count < BUS_KEEPER_TOPICS_MAX);
        resources[count] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[count]);
    }
    if (count == 0)
        return true;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, errstr, sizeof errstr);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DescribeConfigs(rk, resources, count, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    bool is_fine = is_result_fine(event, report);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    return is_fine;
}

void bus_durability_look(rd_kafka_t *rk, const char *const *topics,
                         bool allow_unsafe_durability, int timeout_ms,
                         struct bus_keeper_report *report)
{
    if (!is_metadata_fine(rk, topics, allow_unsafe_durability, timeout_ms, report))
        return;
    if (!allow_unsafe_durability && !are_settings_fine(rk, topics, timeout_ms, report))
        return;
    *report = (struct bus_keeper_report){.verdict = BUS_KEEPER_FINE};
}
