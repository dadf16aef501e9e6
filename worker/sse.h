/* Incremental parser of Server-Sent Events (WHATWG HTML 9.2.6): the same events for any split
 * of the bytes.
 *
 * One deviation: some servers leave out the last blank line, or even the last line break. So
 * the end of input dispatches data lines whose blank line is missing, or else the one that is
 * open, marked as such: it may be cut. Lines and events are bounded. */
#pragma once

#include "base/buf.h"

struct sse_event {
    struct bytes name; /* "message" when the stream names none */
    struct bytes data;
    bool is_open; /* the input ended in its only data line */
};
typedef void sse_event_fn(const struct sse_event *event, void *arg);

struct sse {
    struct buf line, data, name;
    bool after_cr;   /* a LF that follows belongs to the line end before it */
    bool is_started; /* past a byte order mark */
    bool has_data;
    bool is_stopped;
    sse_event_fn *on_event;
    void *arg;
};

/* `max_bytes`: of one line, and of one event. */
void sse_init(struct sse *s, size_t max_bytes, sse_event_fn *on_event, void *arg);
void sse_free(struct sse *s);
/* BRG_REJECT when a bound is passed; the parser is then dead. The event callback may call
 * sse_stop to have the rest of the input ignored. */
enum brg_err sse_feed(struct sse *s, struct bytes input) BRG_MUST_CHECK;
/* The input is whole. */
enum brg_err sse_end(struct sse *s) BRG_MUST_CHECK;
void sse_stop(struct sse *s);
