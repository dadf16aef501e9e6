/* What a user is shown for a stream: a function of its record, the bot's configuration and the
 * time, so that every ingress answers alike. No I/O. */
#pragma once

#include "config/config.h"
#include "store/store.h"

/* A stream as the store or the memory knows it. `text` is a view. */
struct record {
    enum stream_state state;
    enum stream_reason reason;
    bool by_ingress;
    struct bytes text;
    int64_t start_at_ms, deadline_at_ms; /* store time */
};

/* No stream ends later than `latest_ms`, which is its whole time from now on, whatever its
 * record says: that may come from a process that did not know the store's clock. */
struct record record_of(const struct store_reply *reply, int64_t latest_ms);
/* The same without a text that only tells a place in the queue. */
struct record record_of_answer(const struct record *r, const struct config_bot *bot);

/* How long before the receipt a WeCom stream's clock started: when the platform called, as far
 * as that can be believed. The URL's timestamp counts from 0 to 60 s back, beyond that as the
 * nearer end (design section 4, Time). Compared by the wall clock, which is the platform's; the
 * result is subtracted from store time, so that a store whose clock is off changes nothing. */
#define START_BEFORE_RECEIPT_MAX_MS 60000
int64_t start_before_receipt_ms(int64_t url_timestamp_s, int64_t wall_now_ms);

/* Why ingress has to end this stream now; REASON_NONE when it has not. */
enum stream_reason render_due(const struct record *r, int64_t now_ms, int64_t unknown_ms);

struct rendering {
    bool finish;
    struct bytes content; /* never empty, at most WECOM_CONTENT_MAX_BYTES */
};

/* The answer to a poll. What ingress ended as `stopped` could never be accepted: an apology,
 * for asking again would not help. `scratch` holds the content where it is put together. */
struct rendering render(const struct record *r, const struct config_bot *bot,
                        struct buf *scratch);
