/* One record made durable within a budget: what "accepted" rests on, for every platform.
 *
 * The budget is counted by a timer of its own, not by librdkafka's clock: exactly one of report
 * and timer answers, and a report after it is only counted. Loop thread. */
#pragma once

#include "envelope/envelope.h"
#include "ingress.h"

/* BRG_OK: acknowledged. BRG_RETRY: not, not in time, or unknown; the record may be in Kafka all
 * the same. BRG_REJECT: it never can be. */
typedef void accept_cb(enum brg_err err, const char *reason, void *arg);

/* Encodes `message` as CloudEvents `type` and produces it to `topic`. On BRG_OK the callback
 * comes exactly once, in a later turn, at `due_ms` (loop time) at the latest; else it never
 * comes and `error` says why: queue full (BRG_RETRY), too large (BRG_REJECT). */
enum brg_err accept_record(struct ingress *in, enum bus_topic topic,
                           const struct message *message, const char *type, int64_t due_ms,
                           accept_cb *cb, void *arg, struct brg_error *error) BRG_MUST_CHECK;

enum accept_letter {
    ACCEPT_WHOLE,   /* text and raw, unless only the rest fits */
    ACCEPT_OUTLINE, /* without them: a broker refused the size */
};
/* What of a record that can never be accepted goes to {prefix}.dlq, with bb-reason
 * `unacceptable` and why in bb-error, under the key bot + message id; with bb-value `cut` where
 * the platform's object is not in it. The callback comes as with accept_record, and its BRG_OK
 * means that the letter is acknowledged. Anything but BRG_OK: it never comes. */
enum brg_err accept_dead_letter(struct ingress *in, const struct message *message,
                                const char *type, const char *why, enum accept_letter letter,
                                int64_t due_ms, accept_cb *cb, void *arg) BRG_MUST_CHECK;

void accept_register_metrics(void);
