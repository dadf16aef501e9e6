/* A whole worker in the test's process, between a private redis-server, Apache Kafka, an LLM
 * whose every step the test decides and the platform's response_url; and a second owner's hand
 * in the store. */
#pragma once

#include "http/http_server.h"
#include "support_kafka.h"
#include "support_peer.h"
#include "support_store.h"
#include "worker.h"

enum { STAGE_CALLS = 32, STAGE_LETTERS = 32, STAGE_LEASE_MS = 1000 };

/* A question that arrived at the LLM. */
struct stage_call {
    struct http_request *req; /* NULL once it is over or its connection went */
    struct buf body;
};

/* A record of {prefix}.dlq or {prefix}.events. */
struct stage_letter {
    bool is_dead;
    char reason[32];   /* dead letters */
    char attempts[16]; /* dead letters */
    struct buf value;
};

struct stage {
    struct loop *loop;
    struct test_redis *redis;
    struct kafka *kafka;
    char prefix[32];
    struct worker *worker;
    int drain_ms; /* of the next worker */
    /* further ones of it: ",\"a\":1" or "" */
    const char *worker_settings, *pipeline_settings;
    const char *bots;  /* of the next worker; NULL: one on WeCom, "helpdesk" */
    struct rig *other; /* its loop turns only inside its calls */
    struct crypto *crypto;
    struct bus_producer *producer;
    struct bus_consumer *reader; /* of dead letters and events */
    bool is_reading;
    struct http_server *llm;
    struct stage_call calls[STAGE_CALLS];
    size_t call_count;
    int64_t probed_ms;
    size_t call_retry_after_s; /* of the next refusals; 0 none */
    struct http_server *platform;
    struct buf posted;       /* the last body */
    size_t post_count;       /* calls to response_url */
    const char *post_answer; /* NULL: none comes */
    struct stage_letter letters[STAGE_LETTERS];
    size_t letter_count;
    size_t delivered, asked;
};

/* One question: what the record says, and its stream. */
struct stage_question {
    const char *message_id, *user, *text;
    int64_t deadline_ms; /* from now; 0: 60 s */
    int64_t age_ms;      /* how long ago it began */
    bool has_url;        /* a response_url */
    struct stream_id id; /* filled by stage_ask */
    struct store_stream stream;
};

/* For cmocka: a group with Kafka and a directory for configurations, and a stage for each test.
 */
int stage_group_begin(void **state);
int stage_group_end(void **state);
int stage_set_up(void **state);
int stage_tear_down(void **state);

struct stage *stage_open(void);
void stage_close(struct stage *s);
/* The worker goes, as on SIGTERM or at once, and comes back. */
void stage_stop_worker(struct stage *s, bool is_drained);
void stage_start_worker(struct stage *s);
/* Both at once, with further settings. */
void stage_restart_worker(struct stage *s, const char *worker, const char *pipeline);

/* Produces the record and waits for Kafka. */
void stage_ask(struct stage *s, struct stage_question *q);
/* The same, of a platform of the test's: fills what `q` knows into `m` and produces that. */
void stage_ask_as(struct stage *s, struct stage_question *q, struct message *m);
void stage_produce(struct stage *s, struct bytes value, const struct bus_header *headers,
                   size_t header_count);

/* The LLM. */
void stage_await_calls(struct stage *s, size_t count);
void stage_say(struct stage *s, size_t call, const char *text);
void stage_done(struct stage *s, size_t call);
void stage_refuse(struct stage *s, size_t call, int status);
void stage_await_hang_up(struct stage *s, size_t call);

/* The platform. */
void stage_await_posts(struct stage *s, size_t count);

/* The store. */
struct store_reply stage_read(struct stage *s, const struct stage_question *q);
void stage_await_text(struct stage *s, const struct stage_question *q, const char *text);
void stage_await_final(struct stage *s, const struct stage_question *q,
                       enum stream_reason reason, const char *text);
/* Final, and nothing is owed any more. */
void stage_await_settled(struct stage *s, const struct stage_question *q);
/* A field of the stream's hash (free). */
char *stage_field(struct stage *s, const struct stage_question *q, const char *field);
void stage_set_field(struct stage *s, const struct stage_question *q, const char *field,
                     const char *value);

/* Kafka. */
void stage_await_letters(struct stage *s, size_t count);
/* Its event, of another topic, may be read before it. */
const struct stage_letter *stage_await_dead_letter(struct stage *s,
                                                   const struct stage_question *q);
const struct stage_letter *stage_letter_of(const struct stage *s, bool is_dead,
                                           const struct stage_question *q);
/* Every record that was asked is complete: no session is left. */
void stage_await_idle(struct stage *s);
/* Turns the loop for a while: only where something must not happen. */
void stage_linger(struct stage *s, int64_t ms);
