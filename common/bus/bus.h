/* What producer and consumer share: connection settings and names (the only directory that
 * includes librdkafka). */
#pragma once

#include "base/buf.h"

struct bus_setting {
    const char *name; /* librdkafka property */
    const char *value;
};

/* Settings from the configuration's kafka section, applied over ours; owned by the caller. */
struct bus_options {
    const char *client_id;
    const struct bus_setting *settings; /* bootstrap.servers among them */
    size_t setting_count;
};

/* Checks every property name and value against librdkafka; error names the property. */
enum brg_err bus_settings_check(const struct bus_setting *settings, size_t count,
                                struct brg_error *error) BRG_MUST_CHECK;

/* `{prefix}.requests` and the other topics of design section 5. */
enum bus_topic { BUS_REQUESTS, BUS_LATE, BUS_EVENTS, BUS_DLQ, BUS_FRAGMENTS, BUS_TOPIC_COUNT };
#define BUS_TOPIC_NAME_BYTES 250 /* Kafka's own limit is 249 characters */
void bus_topic_name(char out[BUS_TOPIC_NAME_BYTES], const char *prefix, enum bus_topic t);

#define BUS_HEADERS_MAX 24
struct bus_header {
    const char *name;
    struct bytes value;
};
