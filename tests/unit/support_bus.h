/* A producer with its counts, for tests of both ends of the bus. */
#pragma once

#include "bus/bus_producer.h"
#include "support_kafka.h"

enum {
    BUS_PATIENCE_MS = 30000,
    BUS_DELIVERY_MS = 3000,
    BUS_RECORDS_MAX = 4096,
};

struct outbox {
    struct loop *loop;
    struct bus_producer *producer;
    bool is_ready;
    size_t sent;
    size_t ok;
    size_t retry;
    size_t reject;
    size_t reports;
};

void outbox_open(struct outbox *o, struct loop *loop, const struct bus_options *base,
                 const char *topic, bool allow_unsafe);
/* With the headers bb-stream=first, empty, bb-stream=last. */
enum brg_err outbox_send(struct outbox *o, const char *topic, const char *key,
                         struct bytes value);
/* Keys and values key-0, key-1, … */
void outbox_send_numbered(struct outbox *o, const char *topic, size_t count);

/* Records by a producer of its own, all acknowledged. */
void topic_fill(struct loop *loop, const struct bus_options *base, const char *topic,
                size_t count);

/* For promises that something does not happen. */
void run_for(struct loop *loop, int64_t ms);
