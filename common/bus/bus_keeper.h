/* Inside common/bus only: the helper thread of one producer instance.
 *
 * It does what blocks: asks for the topics' metadata and their min.insync.replicas until the
 * answer is good, then again every 30 s, and destroys the instance at the end. The loop reads
 * the last report after each wake.
 *
 * A good answer counts only when the idempotent producer has its id, or the first records would
 * wait for it: a broker that has just started makes one ask again half a second later. The
 * library tells only by a log line that it must ask again, so that line is watched for. */
#pragma once

#include "bus/bus_conf.h"
#include "loop/loop.h"

struct bus_keeper;

enum { BUS_KEEPER_TOPICS_MAX = 15 };

enum bus_keeper_verdict {
    BUS_KEEPER_UNKNOWN, /* no answer, or one that will change by itself (no leader yet) */
    BUS_KEEPER_REFUSED, /* a topic is missing or not durable enough */
    BUS_KEEPER_FINE,
};

struct bus_keeper_report {
    enum bus_keeper_verdict verdict;
    char why[BRG_ERROR_TEXT_BYTES];
};

struct bus_keeper_options {
    const char *const *topics; /* NULL-terminated; copied */
    bool allow_unsafe_durability;
    struct loop_wake *wake; /* sent when a report is new; not after bus_keeper_end */
};

/* Makes the instance; takes `conf`. NULL and BRG_STOP when the library refuses. */
struct bus_keeper *bus_keeper_start(rd_kafka_conf_t *conf,
                                    const struct bus_keeper_options *options,
                                    struct brg_error *error);
rd_kafka_t *bus_keeper_instance(const struct bus_keeper *k);
void bus_keeper_read(struct bus_keeper *k, struct bus_keeper_report *report);
/* The thread destroys the instance. Waits for that at most `wait_ms`, then leaves it to itself.
 */
void bus_keeper_end(struct bus_keeper *k, int64_t wait_ms);

/* One look, blocking up to about `timeout_ms`: also the operator's check. */
void bus_durability_look(rd_kafka_t *rk, const char *const *topics,
                         bool allow_unsafe_durability, int timeout_ms,
                         struct bus_keeper_report *report);
