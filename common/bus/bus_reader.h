/* Inside common/bus only: the consumer's own thread. It owns librdkafka's consumer, the
 * partitions and the commits, and may block; the loop only talks to its channel. */
#pragma once

#include "bus/bus_channel.h"
#include "bus/bus_conf.h"
#include "bus/bus_parts.h"
#include "metrics/metrics.h"

enum { BUS_READER_GAUGES = 9 };

struct bus_reader {
    rd_kafka_t *rk;
    rd_kafka_queue_t
        *queue; /* consumer queue: rebalances, commit results, errors, statistics */
    struct bus_channel channel;
    struct bus_parts parts;
    struct bus_ledger *ledger;
    size_t total_bytes;
    char *labels; /* of the gauges: the first topic */
    struct metric gauges[BUS_READER_GAUGES];
    size_t next_part; /* where the next pass begins, so that all partitions get their turn */
    struct bus_items batch;
    struct bus_dones dones;
    int64_t commit_due_ms;
    int64_t commit_out_ms; /* when the outstanding commit was sent; 0: none */
    bool is_joined;
    bool is_dead; /* by a fatal error: nothing can be committed any more */

    _Atomic bool is_ending;
    _Atomic bool is_draining; /* no more records are read */
    _Atomic int64_t oldest_ms;

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    bool is_gone; /* the consumer is closed and destroyed */
    bool is_left; /* nobody joins: the thread frees the reader */
};

/* Starts the thread on a configured, subscribed consumer; the thread frees or is joined. */
void bus_reader_start(struct bus_reader *r);
/* True when it ended in time (the reader is freed); else it is left to itself. */
bool bus_reader_end(struct bus_reader *r, int64_t timeout_ms);

/* librdkafka callbacks, all called in the thread; opaque is the reader. */
void bus_reader_configure(rd_kafka_conf_t *conf, struct bus_reader *r);
/* Before a thread was started. */
void bus_reader_free(struct bus_reader *r);
/* On the loop. Hide comes before the end. */
void bus_reader_show_metrics(struct bus_reader *r, const char *topic);
void bus_reader_hide_metrics(struct bus_reader *r);
