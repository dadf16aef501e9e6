/* WeCom's end of one bot's callback URL: seals callbacks, delivers them as the platform does
 * and opens what comes back.
 *
 * A callback is delivered up to three times, 5 s apart and byte for byte the same, while it is
 * answered late, with another status than 200, or not at all. One loop, its thread only. */
#pragma once

#include "loop/loop.h"
#include "platform/wecom.h"

#include <stdint.h>

enum {
    WECOM_DELIVERIES_MAX = 3,
    WECOM_ANSWER_MS = 5000,
    WECOM_CHECK_MS = 1000, /* the console waits this long for the URL check */
};

struct wecom_link;
struct wecom_call;

struct wecom_link_options {
    const char *url;        /* http or https, without the query */
    struct wecom_keys keys; /* taken over */
    bool keep_alive;        /* else a new connection for each delivery, as the platform does */
};

struct wecom_link *wecom_link_new(struct loop *loop, const struct wecom_link_options *options);
void wecom_link_free(
    struct wecom_link *link); /* after its calls have ended or were cancelled */

enum wecom_outcome {
    WECOM_ANSWERED,
    WECOM_BROKEN_RULE, /* answered, but not as WeCom wants it */
    WECOM_UNANSWERED,  /* all deliveries failed */
};

struct wecom_answer {
    enum wecom_outcome outcome;
    const char *reason; /* "" when answered */
    struct bytes text;  /* the plaintext; a view, gone after the callback */
    unsigned deliveries;
};

struct wecom_call_callbacks {
    /* A delivery failed and the next one follows; NULL allowed. */
    void (*on_repeat)(const char *reason, unsigned deliveries, void *arg);
    void (*on_answer)(const struct wecom_answer *answer,
                      void *arg); /* once; the call is gone */
};

/* Begins the plaintext of the next call: the caller writes JSON into the buffer that comes back
 * and starts the call at once. */
struct buf *wecom_link_begin(struct wecom_link *link);
struct wecom_call *wecom_call_start(struct wecom_link *link,
                                    const struct wecom_call_callbacks *callbacks, void *arg);
/* The console's check when an administrator saves the URL: delivered once, answered within 1 s
 * with nothing but the decrypted echo. */
struct wecom_call *wecom_check_start(struct wecom_link *link,
                                     const struct wecom_call_callbacks *callbacks, void *arg);
void wecom_call_cancel(struct wecom_call *call); /* no callback comes any more */

/* For what the platform makes up: message ids, nonces. */
struct crypto *wecom_link_crypto(struct wecom_link *link);
