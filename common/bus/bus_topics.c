#include "bus/bus_topics.h"

#include "base/clock.h"
#include "bus/bus_keeper.h"

enum {
    CREATE_MS = 20000,
    LEADERS_MS = 60000,
    LOOK_MS = 2000,
    LOOK_PAUSE_MS = 50,
    ERRSTR_BYTES = 192
};

struct topic_names {
    char text[BUS_TOPIC_COUNT][BUS_TOPIC_NAME_BYTES];
    const char *list[BUS_TOPIC_COUNT + 1]; /* ends with NULL */
};

static void names_init(struct topic_names *names, const char *prefix)
{
    for (int t = 0; t < BUS_TOPIC_COUNT; t++) {
        bus_topic_name(names->text[t], prefix, (enum bus_topic)t);
        names->list[t] = names->text[t];
    }
    names->list[BUS_TOPIC_COUNT] = NULL;
}

static rd_kafka_t *client_new(const struct bus_options *options, struct brg_error *error)
{
    rd_kafka_conf_t *conf = bus_conf_new(options, NULL, error);
    return conf ? bus_handle_new(RD_KAFKA_PRODUCER, conf, error) : NULL;
}

static void set_config(rd_kafka_NewTopic_t *topic, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(topic, name, text);
}

static rd_kafka_NewTopic_t *topic_new(const char *name, enum bus_topic t,
                                      const struct bus_topics_plan *plan,
                                      struct brg_error *error)
{
    char errstr[ERRSTR_BYTES];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, plan->partitions, plan->replication, errstr, sizeof errstr);
    if (!topic) {
        brg_fail(error, BRG_STOP, "topic %s: %s", name, errstr);
        return NULL;
    }
    bool is_record = t == BUS_EVENTS || t == BUS_DLQ;
    set_config(topic, "retention.ms",
               is_record ? plan->events_retention_ms : plan->requests_retention_ms);
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
    rd_kafka_NewTopic_set_config(topic, "unclean.leader.election.enable", "false");
    set_config(topic, "min.insync.replicas", plan->replication >= 3 ? 2 : 1);
    return topic;
}

static enum brg_err report_result(const rd_kafka_topic_result_t *r, struct buf *report,
                                  const struct bus_topics_plan *plan, struct brg_error *error)
{
    const char *name = rd_kafka_topic_result_name(r);
    switch (rd_kafka_topic_result_error(r)) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        buf_printf(report, "%s created, partitions=%d replication=%d\n", name, plan->partitions,
                   plan->replication);
        return BRG_OK;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        buf_printf(report, "%s exists\n", name);
        return BRG_OK;
    default: {
        const char *text = rd_kafka_topic_result_error_string(r);
        if (!text)
            text = rd_kafka_err2str(rd_kafka_topic_result_error(r));
        buf_printf(report, "%s failed: %s\n", name, text);
        return brg_fail(error, BRG_RETRY, "topic %s: %s", name, text);
    }
    }
}

static enum brg_err report_event(rd_kafka_event_t *event, struct buf *report,
                                 const struct bus_topics_plan *plan, struct brg_error *error)
{
    if (!event)
        return brg_fail(error, BRG_RETRY, "Kafka does not answer");
    if (rd_kafka_event_error(event))
        return brg_fail(error, BRG_RETRY, "Kafka cannot create topics: %s",
                        rd_kafka_event_error_string(event));
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    enum brg_err worst = BRG_OK;
    for (size_t i = 0; i < count; i++) {
        enum brg_err err = report_result(results[i], report, plan, error);
        worst = err != BRG_OK ? err : worst;
    }
    return worst;
}

static enum brg_err request_topics(rd_kafka_t *rk, rd_kafka_NewTopic_t **topics,
                                   const struct bus_topics_plan *plan, struct buf *report,
                                   struct brg_error *error)
{
    char errstr[ERRSTR_BYTES];
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, errstr, sizeof errstr);
    rd_kafka_AdminOptions_set_operation_timeout(options, CREATE_MS / 2, errstr, sizeof errstr);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, topics, BUS_TOPIC_COUNT, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CREATE_MS);
    enum brg_err err = report_event(event, report, plan, error);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return err;
}

static enum brg_err create_all(rd_kafka_t *rk, const struct topic_names *names,
                               const struct bus_topics_plan *plan, struct buf *report,
                               struct brg_error *error)
{
    rd_kafka_NewTopic_t *topics[BUS_TOPIC_COUNT] = {0};
    int count = 0;
    for (; count < BUS_TOPIC_COUNT; count++) {
        topics[count] = topic_new(names->list[count], (enum bus_topic)count, plan, error);
        if (!topics[count])
            break;
    }
    enum brg_err err =
        count == BUS_TOPIC_COUNT ? request_topics(rk, topics, plan, report, error) : BRG_STOP;
    rd_kafka_NewTopic_destroy_array(topics, (size_t)count);
    return err;
}

/* A topic is answered for before all its partitions have leaders, and just after its creation
 * not every broker knows it. */
static enum brg_err await_topics(rd_kafka_t *rk, const struct topic_names *names,
                                 struct brg_error *error)
{
    int64_t end = clock_mono_ms() + LEADERS_MS;
    rd_kafka_topic_t *handles[BUS_TOPIC_COUNT];
    for (int t = 0; t < BUS_TOPIC_COUNT; t++)
        handles[t] = rd_kafka_topic_new(rk, names->list[t], NULL);
    struct bus_keeper_report look;
    for (;;) {
        bus_durability_look(rk, names->list, true, LOOK_MS, &look);
        if (look.verdict == BUS_KEEPER_FINE || clock_mono_ms() >= end)
            break;
        rd_kafka_poll(rk, LOOK_PAUSE_MS); /* waits, and serves the client meanwhile */
    }
    for (int t = 0; t < BUS_TOPIC_COUNT; t++)
        if (handles[t])
            rd_kafka_topic_destroy(handles[t]);
    if (look.verdict == BUS_KEEPER_FINE)
        return BRG_OK;
    return brg_fail(error, BRG_RETRY, "the topics are created but not ready after %d s: %s",
                    LEADERS_MS / 1000, look.why);
}

enum brg_err bus_topics_create(const struct bus_options *options, const char *prefix,
                               const struct bus_topics_plan *plan, struct buf *report,
                               struct brg_error *error)
{
    struct topic_names names;
    names_init(&names, prefix);
    rd_kafka_t *rk = client_new(options, error);
    if (!rk)
        return BRG_STOP;
    enum brg_err err = create_all(rk, &names, plan, report, error);
    if (err == BRG_OK)
        err = await_topics(rk, &names, error);
    rd_kafka_destroy(rk);
    return err;
}
