/* Client of the Redis-like store on the loop (the only directory that includes hiredis).
 *
 * One connection, pipelined; hiredis 0.14 has no timeouts, so they are here: a reply that does
 * not come within command_timeout_ms ends the connection, and it is made again with jittered
 * back-off (address resolved anew each time, in a helper thread). Every operation's callback is
 * called exactly once, with STORE_UNAVAILABLE when its outcome is unknown or the store is away.
 * All operations are safe to repeat after an unknown outcome. Everything runs on the loop's
 * thread.
 *
 * Record of a stream (keys share the hash tag {id}, every key has a TTL):
 *   bb:{id}:m  hash   bot state reason by epoch owner lease_until start_at deadline_at starts
 *                     shown_at owed n:<note>…
 *   bb:{id}:t  string the text to show now
 *   bb:{id}:x  string what only the final answer carries
 *
 * Times in the record are store time (Redis TIME), in milliseconds. */
#pragma once

#include "base/buf.h"
#include "envelope/identity.h"
#include "loop/loop.h"

struct store;

struct store_options {
    const char *url; /* redis://[user:password@]host:port[/db] */
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    unsigned max_outstanding; /* above it operations fail at once */
};

/* BRG_STOP for a malformed URL; an absent server is no failure. Starts connecting. */
struct store *store_new(struct loop *loop, const struct store_options *options,
                        struct brg_error *error);
void store_free(struct store *s); /* pending callbacks come with STORE_UNAVAILABLE */

bool store_is_up(const struct store *s);
/* Told of every change, on the loop. `is_new_run` when coming up: another server process (empty
 * restart, failover) than the last one: what was written may be gone. */
typedef void store_watch_fn(bool is_up, bool is_new_run, void *arg);
void store_watch(struct store *s, store_watch_fn *fn, void *arg);

/* Store time now: monotonic clock plus the offset measured at connect and every 10 s; wall
 * clock until first measured. */
int64_t store_now_ms(const struct store *s);
/* Store time as monotonic time of this process, for timers. */
int64_t store_to_mono_ms(const struct store *s, int64_t store_ms);

enum stream_state { STREAM_MISSING, STREAM_UNKNOWN, STREAM_OPEN, STREAM_RUN, STREAM_FINAL };

/* Why a stream is final. */
enum stream_reason {
    REASON_NONE,
    REASON_DONE,
    REASON_APOLOGY,
    REASON_BUSY,
    REASON_DEADLINE,
    REASON_LOST,
    REASON_SYNC,
    REASON_STOPPED,
};

enum store_outcome {
    STORE_DONE,        /* the verdict says what happened */
    STORE_UNAVAILABLE, /* away, loading, failing over, timed out: repeat later */
    STORE_REFUSED, /* out of memory, misconfigured, no permission: alarmed here, repeat later */
};

enum store_verdict {
    VERDICT_OK,
    VERDICT_GRANTED, /* claim: ours to run */
    VERDICT_HELD,    /* claim: another owner's lease is live until held_until_ms */
    VERDICT_FINAL,   /* a worker finished it; `reason`, `owed` */
    VERDICT_CLOSED,  /* ingress told the user it is over; `reason` */
    VERDICT_FENCED,  /* a newer epoch owns the stream */
};

/* Views live during the callback. Members an operation does not speak of are zero. */
struct store_reply {
    enum store_outcome outcome;
    enum store_verdict verdict;
    enum stream_state state;
    enum stream_reason reason;
    bool by_ingress; /* who made it final */
    struct bytes bot;
    struct bytes text;
    struct bytes extras;
    int64_t start_at_ms, deadline_at_ms; /* store time */
    int64_t shown_at_ms;                 /* 0: no poll rendered the final text yet */
    uint64_t epoch;
    int64_t held_until_ms;
    size_t shown_bytes; /* claim: length of the text shown now */
    unsigned starts;
    struct bytes owed;  /* comma-separated */
    struct bytes notes; /* "field=value\n"… */
};
typedef void store_cb(const struct store_reply *reply, void *arg);

/* What a record is made from where an operation finds it missing. Times are store time. */
struct store_stream {
    struct bytes id; /* 1..64 of [A-Za-z0-9_-] */
    struct bytes bot;
    int64_t start_at_ms;
    int64_t deadline_at_ms;
    int64_t ttl_ms;
};

/* --- ingress --- */

/* Plain reads, no script, one round trip: state (STREAM_MISSING when there is none), bot,
 * reason, times, text; extras of a final that has some. */
void store_read(struct store *s, struct bytes id, store_cb *cb, void *arg);
/* Creates if absent (or turns `unknown` into `open`); a repeat keeps the first start. Reply as
 * store_read. `as` is STREAM_OPEN or STREAM_UNKNOWN. */
void store_open(struct store *s, const struct store_stream *stream, enum stream_state as,
                store_cb *cb, void *arg);
/* Makes it final by ingress. VERDICT_OK: it is (a repeat of the same reason is OK too).
 * Otherwise what it already is: VERDICT_FINAL, VERDICT_CLOSED (another reason), or, for
 * REASON_BUSY and REASON_LOST only, VERDICT_HELD: a worker has it. Reply carries state and text
 * as store_read. */
void store_close(struct store *s, const struct store_stream *stream, enum stream_reason reason,
                 store_cb *cb, void *arg);
/* A poll rendered the final text: notes shown_at once and settles the owed item "shown". */
void store_shown(struct store *s, struct bytes id, store_cb *cb, void *arg);

/* --- worker --- */

/* `owner` is unique per attempt to own (a repeat after an unknown outcome uses the same and
 * gets the same epoch). GRANTED, HELD, FINAL, CLOSED. FINAL with something owed and CLOSED
 * grant epoch and lease too, so that the outside effects that are still owed can be fenced. */
void store_claim(struct store *s, const struct store_stream *stream, struct bytes owner,
                 int64_t lease_ms, store_cb *cb, void *arg);
/* Replaces the whole text and renews the lease; `text.ptr == NULL` only renews. OK, FENCED,
 * CLOSED, FINAL. */
void store_put(struct store *s, const struct store_stream *stream, uint64_t epoch,
               struct bytes text, int64_t lease_ms, store_cb *cb, void *arg);
/* Intent or result of an outside effect; must be OK before the effect. OK, FENCED. */
void store_note(struct store *s, const struct store_stream *stream, uint64_t epoch,
                struct bytes field, struct bytes value, store_cb *cb, void *arg);
/* Final text, extras and what is still owed, atomically. A repeat with the same epoch is OK.
 * OK, FENCED, CLOSED. */
void store_finish(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  enum stream_reason reason, struct bytes text, struct bytes extras,
                  struct bytes owed, int64_t lease_ms, store_cb *cb, void *arg);
/* Clears one owed item after its acknowledgement; the last one gives up the lease. OK, FENCED.
 */
void store_settle(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  struct bytes item, store_cb *cb, void *arg);
/* Gives the lease up at once, so that another worker goes on. OK, FENCED. */
void store_release(struct store *s, const struct store_stream *stream, uint64_t epoch,
                   store_cb *cb, void *arg);

const char *stream_state_name(enum stream_state state);
const char *stream_reason_name(enum stream_reason reason);
