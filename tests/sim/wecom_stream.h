/* One message of a WeCom user and the stream that answers it: the message, then a refresh about
 * every second until an answer says finish:true. Every answer is held to the platform's rules.
 */
#pragma once

#include "wecom_link.h"

struct wecom_stream;

enum { WECOM_QUESTION_MAX_BYTES = 64 * 1024 };

struct wecom_ask {
    const char *user;
    const char *chat_id;      /* NULL: a single chat */
    const char *response_url; /* NULL: none is sent */
    struct bytes question;    /* <= WECOM_QUESTION_MAX_BYTES; copied */
    int64_t poll_ms;          /* between refreshes, ±10 % */
    int64_t limit_ms;         /* from the message to finish:true */
    int64_t due_us;           /* when the message should have left (monotonic) */
    bool is_message_only;     /* the first answer ends it */
};

/* One answer that keeps the rules. */
struct wecom_shown {
    bool is_first; /* the message's own; all others are refreshes' */
    bool is_finished;
    struct bytes content; /* the whole text so far; a view, gone after the callback */
    int64_t latency_us;   /* since the message or the refresh was due */
};

enum wecom_end {
    WECOM_END_FINISHED,
    WECOM_END_BROKEN_RULE,
    WECOM_END_UNANSWERED,
};

struct wecom_stream_callbacks {
    void (*on_shown)(const struct wecom_shown *shown, void *arg);
    void (*on_repeat)(const char *reason, unsigned deliveries, void *arg);
    /* Exactly once, last; the stream is gone. `reason` is "" when finished. */
    void (*on_end)(enum wecom_end end, const char *reason, void *arg);
};

struct wecom_stream *wecom_stream_start(struct loop *loop, struct wecom_link *link,
                                        const struct wecom_ask *ask,
                                        const struct wecom_stream_callbacks *callbacks,
                                        void *arg);
void wecom_stream_cancel(struct wecom_stream *stream); /* no callback comes any more */
