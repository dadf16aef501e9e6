/* Inside common/bus only: making the records that the loop gets. */
#pragma once

#include "bus/bus_consumer.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

/* Memory held by records that were not freed yet. Lives until the last of them is freed, which
 * may be after the consumer: counted references. */
struct bus_ledger {
    _Atomic size_t bytes;
    _Atomic unsigned references;
};

struct bus_ledger *bus_ledger_new(void);
void bus_ledger_release(struct bus_ledger *ledger);

/* Which ownership of which partition a record came by. */
struct bus_origin {
    uint32_t slot; /* in the reader's table */
    uint32_t generation;
};

struct bus_message *bus_message_new(const rd_kafka_message_t *from, struct bus_origin origin,
                                    struct bus_ledger *ledger);
struct bus_origin bus_message_origin(const struct bus_message *m);
size_t bus_message_bytes(const struct bus_message *m); /* of memory */
