/* One worker process: what all sessions share, and its life from start to drain.
 *
 * Owns everything below; a session borrows. Loop thread only. */
#pragma once

#include "bosshi/bosshi_api.h"
#include "bus/bus_producer.h"
#include "config/config.h"
#include "fetch/fetch.h"
#include "finals.h"
#include "http/http_admin.h"
#include "intake.h"
#include "lanes.h"
#include "letters.h"
#include "pipelines/pipeline.h"
#include "quotas.h"
#include "session/session.h"
#include "store/store.h"
#include "upstreams.h"

struct worker {
    struct loop *loop;
    struct config *config; /* the latest; sessions keep the one they began with */
    char *config_path;     /* for reloading */
    struct crypto *crypto;
    struct store *store;
    struct fetch_pool *fetch;
    struct bosshi_api *bosshi;
    struct bus_producer *producer;
    struct intake intake;
    struct http_admin *admin;
    struct pipeline_context pipelines;
    struct letters letters;
    struct lanes lanes;
    struct upstreams upstreams;
    struct quotas bot_quotas, pipeline_quotas, lane_quotas;
    struct finals finals;
    struct list sessions;  /* in the order of arrival */
    struct buf queue_text; /* scratch of one call */
    struct list put_queue; /* sessions whose put is due but not sent */
    size_t puts_in_flight, max_puts_in_flight;
    size_t in_state[SESSION_STATE_COUNT];
    uint64_t process_id; /* random: makes owners unique */
    uint64_t claims;     /* and this their attempts */
    char requests_topic[BUS_TOPIC_NAME_BYTES];
    char late_topic[BUS_TOPIC_NAME_BYTES];
    char events_topic[BUS_TOPIC_NAME_BYTES];
    char dlq_topic[BUS_TOPIC_NAME_BYTES];
    struct wheel_timer ready_timer; /* then `ready` is said without Kafka */
    struct wheel_timer drain_timer, leave_timer;
    bool is_ready_said;
    bool is_draining;
    bool is_drain_over; /* what runs was released; owed items have a last moment */
    bool is_grace_over; /* that too is over */
    enum brg_exit exit_code;
    bool is_closing; /* being freed: outcomes change nothing any more */
};

/* Takes over `config`. NULL with a reason: BRG_STOP, BRG_RETRY (an address in use). */
struct worker *worker_new(struct loop *loop, struct config *config, const char *config_path,
                          struct brg_error *error);
/* Bots and pipelines from the file again; a bad file keeps what there is. */
void worker_reload(struct worker *w);
/* `ready …`, once. */
void worker_say_ready(struct worker *w);
/* The configuration's Kafka settings as the bus takes them: an array to be freed, its strings
 * borrowed. */
struct bus_setting *worker_kafka_settings(const struct config *c);
/* Leaves the group, lets running answers end within drain_ms, releases the rest, then stops the
 * loop. */
void worker_drain(struct worker *w);
/* What is left is dropped: its leases end by themselves. */
void worker_free(struct worker *w);
