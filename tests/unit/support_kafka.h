/* Apache Kafka for a test program, by tests/kafka.sh, and blocking helpers around a loop. */
#pragma once

#include "bus/bus_topics.h"
#include "loop/loop.h"

#include <sys/types.h>

struct kafka {
    char dir[64];
    char servers[256]; /* bootstrap.servers */
    pid_t pid;         /* of the first node */
    pid_t guard;       /* ends the nodes when the test program dies, however it dies */
    int guard_fd;
    struct bus_setting setting;
    struct bus_options options; /* with bootstrap.servers, for producer and consumer */
};

/* False when there is no java (said loudly): the caller skips. Any other failure aborts. */
bool kafka_start(struct kafka *k, int nodes);
void kafka_stop(struct kafka *k);
/* SIGSTOP and SIGCONT to the first node. */
void kafka_freeze(struct kafka *k);
void kafka_thaw(struct kafka *k);
/* All five topics with replication 1, or 3 when the cluster has as many nodes. */
void kafka_topics(struct kafka *k, const char *prefix, int partitions, int replication);

/* Turns the loop until *flag is true; false after `timeout_ms`. */
bool run_until(struct loop *loop, const bool *flag, int64_t timeout_ms);
/* Turns the loop until *count is at least `want`. */
bool run_until_count(struct loop *loop, const size_t *count, size_t want, int64_t timeout_ms);
