/* Inside common/bus only: how our librdkafka instances are configured, and small helpers that
 * producer and consumer share. Secrets never reach an error text or a log line. */
#pragma once

#include "bus/bus.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <time.h>

/* Ours, then `ours` (ends with a NULL name), then the user's. NULL and `error` when refused;
 * the caller owns the result until rd_kafka_new takes it. */
rd_kafka_conf_t *bus_conf_new(const struct bus_options *options, const struct bus_setting *ours,
                              struct brg_error *error);

/* librdkafka's log callback, into our log; called from its threads. */
void bus_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);

/* One connection's trouble: the library logs it itself. */
bool bus_is_connection_error(rd_kafka_resp_err_t err);

/* Effective numeric value of a property. */
int64_t bus_conf_number(const rd_kafka_conf_t *conf, const char *name);

/* Takes `conf` whatever happens; NULL and BRG_STOP when the library refuses. */
rd_kafka_t *bus_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                           struct brg_error *error);

/* A thread with all signals blocked: they belong to the loop. */
void bus_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

/* For pthread_cond_timedwait on a condition that uses the monotonic clock. */
struct timespec bus_deadline_after(int64_t ms);
void bus_cond_init(pthread_cond_t *cond);

/* Non-blocking eventfd: the library hangs on a blocking one that nobody reads. */
int bus_eventfd_new(void);
void bus_eventfd_signal(int fd);
void bus_eventfd_clear(int fd);
/* Lets `queue` signal `fd` when it becomes non-empty; fd -1 ends that. */
void bus_eventfd_attach(rd_kafka_queue_t *queue, int fd);

/* Sum and largest of all numbers `"name":N` in librdkafka's statistics; negative ones mean
 * "unknown" there and are skipped. A scan, because the document may have hundreds of kilobytes
 * and only a few members matter. `name` with quotes and colon. */
struct bus_stat {
    int64_t sum;
    int64_t max;
};
struct bus_stat bus_stats_scan(const char *json, const char *name);
