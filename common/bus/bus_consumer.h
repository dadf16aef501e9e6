/* Consumer group member with many records of one partition in flight.
 *
 * A thread of its own owns librdkafka's consumer, the rebalances, the trackers (bus/offsets.h)
 * and the commits: calls that may block. Records and completions pass between it and the loop
 * by two bounded queues. Partition queues are split (no pause): a partition whose window is
 * full is not read while the others are. Committed is only the contiguous frontier of completed
 * offsets.
 *
 * Functions here are for the loop's thread. */
#pragma once

#include "bus/bus.h"
#include "loop/loop.h"

struct bus_consumer;

struct bus_consumer_options {
    struct bus_options base;
    const char *group;
    const char *const *topics; /* NULL-terminated; the first names it in metrics */
    const char *instance_id;   /* static membership; NULL: dynamic */
    unsigned window_records;   /* per partition, 16384 */
    size_t window_bytes;       /* per partition */
    size_t total_bytes;        /* over all partitions: records not complete, or not freed */
};

/* A record handed to the loop, which owns it until bus_message_free; the views live as long. A
 * copy of its own: it pins no fetch buffer and outlives partition and consumer. */
struct bus_message;

struct bus_message_info {
    const char *topic;
    int32_t partition;
    uint32_t generation; /* of this process's ownership of the partition */
    int64_t offset;
    int64_t timestamp_ms;
    struct bytes key;
    struct bytes value;
};
void bus_message_info(const struct bus_message *m, struct bus_message_info *info);
struct bytes bus_message_header(const struct bus_message *m,
                                const char *name); /* last one, or empty */
/* Visits all headers (for a verbatim copy). */
void bus_message_each_header(const struct bus_message *m,
                             void (*fn)(const char *name, struct bytes value, void *arg),
                             void *arg);
void bus_message_free(struct bus_message *m);

struct bus_consumer_callbacks {
    void (*on_message)(struct bus_message *m, void *arg);
    /* The partition is no longer ours: records not begun are to be forgotten, completions of
     * this and older generations are ignored from now on. */
    void (*on_revoke)(const char *topic, int32_t partition, uint32_t generation, void *arg);
    /* Subscription is live (first assignment seen, possibly empty). */
    void (*on_joined)(void *arg);
    /* The consumer is dead for good (another process has our instance_id, or the library gave
     * up): end the process with BRG_EXIT_AGAIN. May be NULL. */
    void (*on_fatal)(const char *reason, void *arg);
    void *arg;
};

/* BRG_STOP when a setting is refused. */
struct bus_consumer *bus_consumer_new(struct loop *loop,
                                      const struct bus_consumer_options *options,
                                      const struct bus_consumer_callbacks *callbacks,
                                      struct brg_error *error);

/* This record's work is done and nothing is owed: the frontier may pass it. Does not free it.
 */
void bus_consumer_complete(struct bus_consumer *c, const struct bus_message *m);
/* Stops handing out records (drain); completions and commits go on. */
void bus_consumer_stop_reading(struct bus_consumer *c);
bool bus_consumer_is_joined(const struct bus_consumer *c);

/* Oldest incomplete record's age over all partitions, 0 when none: the head-of-line alarm. */
int64_t bus_consumer_frontier_age_ms(const struct bus_consumer *c);

/* Commits the frontier, leaves the group, ends the thread: at most `timeout_ms`, then the
 * thread is left to itself. No callback comes from here or later. Messages may be freed
 * afterwards. */
void bus_consumer_free(struct bus_consumer *c, int64_t timeout_ms);
