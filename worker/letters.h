/* What the worker says to Kafka about a question: dead letters, answer events, and the record
 * itself once more where its answer outlives the bubble.
 *
 * A dead letter is the request verbatim, key and headers too, plus bb-reason, bb-attempts,
 * bb-error, bb-first and bb-last. An event is a CloudEvent of its own with the final text and
 * its timings. Both are done when `cb` says BRG_OK, and not before. What Kafka refuses for good
 * (BRG_REJECT, at once or by `cb`) it may take as an outline: a dead letter without the
 * request's value, which a header bb-value=dropped says; an event without the text, whose
 * length it still tells. Loop thread only. */
#pragma once

#include "bus/bus_consumer.h"
#include "bus/bus_producer.h"
#include "crypto/crypto.h"
#include "envelope/envelope.h"
#include "store/store.h"

struct letters {
    struct bus_producer *producer;
    struct crypto *crypto;
    char dlq[BUS_TOPIC_NAME_BYTES];
    char events[BUS_TOPIC_NAME_BYTES];
    char late[BUS_TOPIC_NAME_BYTES];
};

void letters_init(struct letters *l, struct bus_producer *producer, struct crypto *crypto,
                  const char *topic_prefix);

struct dead_letter {
    const char *reason; /* unreadable, unknown_bot, expired, deadline, failed, undelivered */
    const char *error;  /* for a person; no text of the answer; "" none */
    unsigned attempts;
    int64_t first_ms, last_ms; /* wall clock */
    bool is_outline;
};

/* BRG_RETRY: the producer's queue is full. Unless BRG_OK, `cb` will not come. */
enum brg_err letters_dead(struct letters *l, const struct bus_message *record,
                          const struct dead_letter *letter, bus_delivery_cb *cb,
                          void *arg) BRG_MUST_CHECK;

/* The record verbatim, key and headers too, into the late topic. */
enum brg_err letters_late(struct letters *l, const struct bus_message *record,
                          bus_delivery_cb *cb, void *arg) BRG_MUST_CHECK;

struct answer_event {
    const char *outcome; /* done, apology, deadline, closed, late */
    const char *pipeline;
    struct bytes text;
    bool is_outline;
    unsigned attempts, starts;
    int64_t claimed_ms, first_text_ms, ended_ms; /* wall clock, 0: never */
    int64_t prompt_tokens, completion_tokens;    /* -1: not said */
    const char *delivered; /* by response_url: whole, rest, end; or NULL */
    const char *delivery;  /* and its outcome */
    int64_t delivery_code;
    const char *said; /* in a chat: the last call's outcome, or NULL */
    int64_t said_code;
    unsigned said_messages; /* of the end, 0 where an earlier owner said it */
};

enum brg_err letters_answer(struct letters *l, const struct message *message,
                            const struct answer_event *event, bus_delivery_cb *cb,
                            void *arg) BRG_MUST_CHECK;
