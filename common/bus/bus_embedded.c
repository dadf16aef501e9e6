#include "bus/bus_conf.h"
#include "bus/bus_topics.h"

#include <librdkafka/rdkafka_mock.h>

enum { REPLICATION = 3 };

struct bus_embedded {
    rd_kafka_t *host; /* the mock cluster lives inside an instance */
    rd_kafka_mock_cluster_t *cluster;
    int brokers;
};

struct bus_embedded *bus_embedded_start(int brokers, struct brg_error *error)
{
    /* The host connects nowhere, which librdkafka would remark on. */
    static const struct bus_setting quiet = {"log_level", "4"};
    struct bus_options options = {
        .client_id = "botbridge-broker", .settings = &quiet, .setting_count = 1};
    rd_kafka_conf_t *conf = bus_conf_new(&options, NULL, error);
    if (!conf)
        return NULL;
    rd_kafka_t *host = bus_handle_new(RD_KAFKA_PRODUCER, conf, error);
    if (!host)
        return NULL;
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, brokers);
    if (!cluster) {
        rd_kafka_destroy(host);
        brg_fail(error, BRG_RETRY, "the embedded broker found no port to listen on");
        return NULL;
    }
    struct bus_embedded *e = BRG_NEW(struct bus_embedded);
    *e = (struct bus_embedded){.host = host, .cluster = cluster, .brokers = brokers};
    return e;
}

const char *bus_embedded_servers(const struct bus_embedded *e)
{
    return rd_kafka_mock_cluster_bootstraps(e->cluster);
}

enum brg_err bus_embedded_topic(struct bus_embedded *e, const char *topic, int partitions)
{
    int replication = e->brokers < REPLICATION ? e->brokers : REPLICATION;
    return rd_kafka_mock_topic_create(e->cluster, topic, partitions, replication) ? BRG_REJECT
                                                                                  : BRG_OK;
}

void bus_embedded_stop(struct bus_embedded *e)
{
    if (!e)
        return;
    rd_kafka_mock_cluster_destroy(e->cluster);
    rd_kafka_destroy(e->host);
    free(e);
}
