/* Inside common/bus only: committing the frontiers. Reader thread only. */
#pragma once

#include "bus/bus_reader.h"

void bus_commit_metrics(void);

/* Every 500 ms, when a frontier moved and no commit is outstanding; does not block. */
void bus_commit_if_due(struct bus_reader *r);
/* How long the reader may sleep; at most 500 ms, because completions are not signalled while
 * nothing waits for them (and the consumer queue wants a poll every second). */
int64_t bus_commit_wait_ms(const struct bus_reader *r);
/* librdkafka's offset_commit_cb. A failed commit leaves the partition dirty: it is tried again,
 * and what is never committed is read again and recognised. */
void bus_commit_on_result(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                          rd_kafka_topic_partition_list_t *list, void *opaque);

/* The frontiers of the listed partitions, waited for, but not long: a revocation holds up the
 * whole group. */
void bus_commit_now(struct bus_reader *r, const rd_kafka_topic_partition_list_t *list);
