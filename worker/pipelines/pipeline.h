/* A pipeline run: one question in, growing text out. One file per type behind one small vtable.
 *
 * The session owns the run. Callbacks come on the loop, never from inside start or cancel;
 * after on_end, or cancel, none comes. Time limits, retries and flushing are the session's
 * business: a run only speaks its protocol. Cancelling from inside a callback is not allowed.
 */
#pragma once

#include "base/bytes.h"
#include "config/config.h"
#include "envelope/envelope.h"
#include "fetch/fetch.h"
#include "loop/loop.h"

struct pipeline_run; /* each type's own */

/* Why a run ended; answers retry or not. */
enum pipeline_end {
    PIPELINE_DONE,        /* the answer is whole */
    PIPELINE_RETRY,       /* failed in a way that may pass: connect, 408, 429, 5xx */
    PIPELINE_FAILED,      /* will fail again: 4xx, junk */
    PIPELINE_INTERRUPTED, /* broke off after text was given */
};

struct pipeline_sink {
    void (*on_text)(struct bytes text,
                    void *arg); /* append; any split, also inside characters */
    void (*on_replace)(struct bytes text, void *arg); /* the whole text is now this */
    /* Tokens counted by the other side, at most once before on_end; NULL when not wanted. */
    void (*on_usage)(int64_t prompt_tokens, int64_t completion_tokens, void *arg);
    /* `detail` for log and dead letter, never the answer's text; retry_after_ms -1 when not
     * said. */
    void (*on_end)(enum pipeline_end end, const char *detail, int64_t retry_after_ms,
                   void *arg);
    void *arg;
};

struct pipeline_limits {
    size_t event_bytes;    /* of a line and of an event in a stream */
    size_t response_bytes; /* of all that comes for one answer */
    size_t lingering;      /* more are closed at once */
};

/* Shared by all runs of a process. `lingering` holds transfers whose answer is whole but whose
 * connection is given a moment to end by itself, so that it can be used again. */
struct pipeline_context {
    struct loop *loop;
    struct fetch_pool *fetch;
    struct list lingering;
    size_t lingering_count;
    struct pipeline_limits limits;
};

void pipeline_context_init(struct pipeline_context *c, struct loop *loop,
                           struct fetch_pool *fetch, const struct pipeline_limits *limits);
/* Cancels what lingers; before the pool is freed. */
void pipeline_context_clear(struct pipeline_context *c);

struct pipeline_ops {
    /* `config` and `message`, and what they point to, are read before start returns, not later.
     */
    struct pipeline_run *(*start)(struct pipeline_context *context,
                                  const struct config_pipeline *config,
                                  const struct message *message,
                                  const struct pipeline_sink *sink);
    void (*cancel)(struct pipeline_run *run); /* frees it; not after on_end */
};

extern const struct pipeline_ops pipeline_echo;
extern const struct pipeline_ops pipeline_openai;

const struct pipeline_ops *pipeline_ops_of(enum pipeline_type type);
