/* Creating the topics (operator's command and tests) and the embedded broker (first steps). */
#pragma once

#include "bus/bus.h"

struct bus_topics_plan {
    int partitions;                /* 12 */
    int replication;               /* 3; 1 needs allow_unsafe_durability */
    int64_t requests_retention_ms; /* requests and late: <= 24 h, they hold bearer URLs */
    int64_t events_retention_ms;   /* events and dlq */
};

/* Creates what is missing and reports a line per topic into `report`. With replication >= 3
 * the topics get min.insync.replicas 2. Returns when every topic has its leaders; blocks
 * for up to 80 s where the cluster is slow. */
enum brg_err bus_topics_create(const struct bus_options *options, const char *prefix,
                               const struct bus_topics_plan *plan, struct buf *report,
                               struct brg_error *error) BRG_MUST_CHECK;

/* librdkafka's mock cluster in this process, on loopback ports of its own. Not durable: for
 * first steps without a JVM, never for tests that Kafka itself can serve. */
struct bus_embedded;
struct bus_embedded *bus_embedded_start(int brokers, struct brg_error *error);
const char *bus_embedded_servers(const struct bus_embedded *e); /* bootstrap.servers */
/* Makes a topic (the mock has no CreateTopics request). */
enum brg_err bus_embedded_topic(struct bus_embedded *e, const char *topic,
                                int partitions) BRG_MUST_CHECK;
void bus_embedded_stop(struct bus_embedded *e);
