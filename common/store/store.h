/* Client of the Redis-like store on the loop (the only directory that includes hiredis).
 *
 * One connection, pipelined; hiredis 0.14 has no timeouts, so they are here: a reply that does
 * not come within command_timeout_ms, while no other comes either, ends the connection, and it
 * is made again with jittered back-off (address resolved anew each time, in a helper thread).
 * Every operation's callback is called exactly once, never inside the call that starts it, with
 * STORE_UNAVAILABLE when its outcome is unknown or the store is away. All operations are safe
 * to repeat after an unknown outcome; a callback that repeats at once while the store is away
 * keeps the loop busy, so wait for store_watch or back off. Callbacks may start operations, but
 * not call store_free. Everything runs on the loop's thread.
 *
 * Record of a stream (keys share the hash tag {id}, every key has a TTL):
 *   bb:{id}:m  hash   bot state reason by epoch owner lease_until start_at deadline_at starts
 *                     shown_at owed x was link n:<note>…
 *   bb:{id}:t  string the text to show now
 *   bb:{id}:x  string what only the final answer carries (field x says that there is some)
 * Text and extras of a final stream live 30 minutes, or ttl_ms where that is shorter.
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
    unsigned max_outstanding;     /* above it operations fail at once */
    size_t max_outstanding_bytes; /* of their commands, likewise; hiredis has a copy of them */
};

/* BRG_STOP for a malformed URL; an absent server is no failure. Starts connecting. */
struct store *store_new(struct loop *loop, const struct store_options *options,
                        struct brg_error *error);
/* Pending callbacks come with STORE_UNAVAILABLE before it returns, those of operations that
 * they start as well. */
void store_free(struct store *s);

bool store_is_up(const struct store *s);
/* Told of every change, on the loop; up to STORE_WATCHERS watchers. `is_loss`: what was written
 * is gone, or may be: when coming up, of another server process than the last one (empty
 * restart, failover), never the first time; and while up, within a second or two of it, where
 * the server was emptied (FLUSHALL). Harmless to be told without need. */
enum { STORE_WATCHERS = 8 };
typedef void store_watch_fn(bool is_up, bool is_loss, void *arg);
void store_watch(struct store *s, store_watch_fn *fn, void *arg);

/* Store time now: monotonic clock plus the offset measured at connect and every 10 s; wall
 * clock until first measured. */
int64_t store_now_ms(const struct store *s);
/* By how much it is ahead of the loop's clock. What is kept for long is kept by the loop's, for
 * this changes: when first measured by as much as the clocks differ. */
int64_t store_ahead_ms(const struct store *s);
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
    STORE_REFUSED, /* out of memory, misconfigured, no permission: alarmed here, repeat later;
                    * also an id or size that no repeat will help */
};

enum store_verdict {
    VERDICT_OK,
    VERDICT_GRANTED, /* claim: ours to run */
    VERDICT_HELD,    /* claim: another owner's lease is live until held_until_ms; close: no */
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
    int64_t held_until_ms; /* end of the lease, whoever has it */
    size_t shown_bytes;    /* claim: length of the text shown now */
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
/* Creates if absent (or turns `unknown` into `open`); a repeat keeps the first start, and bot.
 * Reply as store_read. `as` is STREAM_OPEN or STREAM_UNKNOWN. */
void store_open(struct store *s, const struct store_stream *stream, enum stream_state as,
                store_cb *cb, void *arg);
/* The same as STREAM_OPEN by who has its record in hand, but no claim yet. `text` is shown as
 * long as nobody claims it; "" for none any more. */
void store_open_queued(struct store *s, const struct store_stream *stream, struct bytes text,
                       store_cb *cb, void *arg);
/* Makes it final by ingress. VERDICT_OK: it is (a repeat of the same reason is OK too).
 * Otherwise what it already is: VERDICT_FINAL, VERDICT_CLOSED (another reason), or, for
 * REASON_BUSY and REASON_LOST only, VERDICT_HELD: a worker has or had it (its lease may be
 * over: it was durable all the same), or, for REASON_LOST, it is `open`. Reply carries state
 * and text as store_read. */
void store_close(struct store *s, const struct store_stream *stream, enum stream_reason reason,
                 store_cb *cb, void *arg);
/* A poll rendered the final text: notes shown_at once and settles the owed item "shown". */
void store_shown(struct store *s, struct bytes id, store_cb *cb, void *arg);

/* --- worker --- */

/* On a missing record, and on `open` or `unknown` that an ingress made after the store lost its
 * data, each of these but settle and release makes it `run` again: the epoch decides who may
 * write. An epoch above the stored one is accepted (a failover lost the claim). Where no claim
 * is known any more the first to write is the owner, and goes on under the epoch that it has;
 * all that were granted before are fenced. Settle and release answer OK there with the state
 * that they found, and change nothing.
 *
 * `owner` is not empty and unique per attempt to own (a repeat after an unknown outcome uses
 * the same, gets the same epoch and counts no further start). GRANTED, HELD, FINAL, CLOSED.
 * FINAL with something owed and CLOSED grant epoch and lease too, so that the outside effects
 * that are still owed can be fenced; so both are HELD while another owner's lease is live.
 * Except for HELD the reply carries text, extras of a final, and notes. */
void store_claim(struct store *s, const struct store_stream *stream, struct bytes owner,
                 int64_t lease_ms, store_cb *cb, void *arg);
/* Replaces the whole text and renews the lease; `text.ptr == NULL` only renews. OK, FENCED,
 * CLOSED (the lease is renewed, for what follows outside), FINAL (renewed if `epoch` ended it
 * or took over what it owes: reply.epoch is the record's; nothing owed needs no lease). */
void store_put(struct store *s, const struct store_stream *stream, uint64_t epoch,
               struct bytes text, int64_t lease_ms, store_cb *cb, void *arg);
/* Intent or result of an outside effect; must be OK before the effect. OK, FENCED. */
void store_note(struct store *s, const struct store_stream *stream, uint64_t epoch,
                struct bytes field, struct bytes value, store_cb *cb, void *arg);
/* Final text, extras and what is still owed, atomically; with nothing owed the lease is given
 * up. A repeat with the same epoch is OK and only renews the lease. OK, FENCED, CLOSED (the
 * lease is renewed), FINAL (an older epoch finished it, after a failover lost the newer claim).
 */
void store_finish(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  enum stream_reason reason, struct bytes text, struct bytes extras,
                  struct bytes owed, int64_t lease_ms, store_cb *cb, void *arg);
/* Clears one owed item after its acknowledgement; the last one gives up the lease. OK, FENCED.
 */
void store_settle(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  struct bytes item, store_cb *cb, void *arg);
/* Gives the lease up at once, so that another worker goes on; this start is not counted. OK,
 * FENCED. */
void store_release(struct store *s, const struct store_stream *stream, uint64_t epoch,
                   store_cb *cb, void *arg);

const char *stream_state_name(enum stream_state state);
const char *stream_reason_name(enum stream_reason reason);
