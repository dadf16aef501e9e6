/* Idempotent producer; delivery reports arrive as events on the loop.
 *
 * A record is accepted only when its report says so. Reports come by the main queue and an
 * eventfd: no callback from librdkafka's threads. A fatal error (possible after a fenced
 * idempotent producer) makes a new producer; what was in flight is reported as failed. Loop
 * thread only. */
#pragma once

#include "bus/bus.h"
#include "loop/loop.h"

struct bus_producer;

struct bus_producer_options {
    struct bus_options base;
    int64_t delivery_timeout_ms; /* longest wait for a report (librdkafka may be 1 s late) */
    unsigned queue_max_messages;
    unsigned queue_max_kbytes;
    const char *const *topics; /* metadata wanted before is_ready; NULL-terminated, <= 15 */
    bool
        allow_unsafe_durability; /* else ready only with replication >= 3 and min.insync >= 2 */
};

/* BRG_STOP when a setting is refused. An absent cluster is no failure. */
struct bus_producer *bus_producer_new(struct loop *loop,
                                      const struct bus_producer_options *options,
                                      struct brg_error *error);

struct bus_record {
    const char *topic;
    struct bytes key;
    struct bytes value;
    const struct bus_header *headers; /* at most BUS_HEADERS_MAX */
    size_t header_count;
};

/* `err` BRG_OK: acknowledged by all in-sync replicas. BRG_RETRY: not, or unknown (it may be
 * stored). BRG_REJECT: this record can never be (too large). A callback may produce, but not
 * free the producer. */
typedef void bus_delivery_cb(enum brg_err err, const char *reason, void *arg);

/* Copies everything. BRG_OK: the callback will come, exactly once, in a later turn. BRG_RETRY:
 * queue full. BRG_REJECT: too large. */
enum brg_err bus_produce(struct bus_producer *p, const struct bus_record *record,
                         bus_delivery_cb *cb, void *arg) BRG_MUST_CHECK;

/* Metadata of all topics seen, the durability check passed, the queue under 80 %; `why` (may be
 * NULL) gets the reason when not. A cluster that goes away later does not end readiness. */
bool bus_producer_is_ready(const struct bus_producer *p, struct buf *why);
unsigned bus_producer_queued(const struct bus_producer *p);
/* Told once per change of readiness. */
void bus_producer_watch(struct bus_producer *p, void (*fn)(bool is_ready, void *arg),
                        void *arg);

/* Purges what is still queued (each reported as failed, from inside this call) and closes;
 * blocks at most ~1 s. */
void bus_producer_free(struct bus_producer *p);

/* For tests: raises the library's fatal error. */
void bus_producer_break(struct bus_producer *p);
