/* The life of one question: from its record to its last settled item.
 *
 * One session per record, one state, one setter. A record's offset completes only in SETTLED:
 * when the answer's end is in the store and nothing is owed. Everything that is written carries
 * the epoch of the claim; a session that is fenced stops all it does and asks again who owns
 * the stream. While the store is away a session goes on in memory and repeats its last call
 * when it is back. Owner: the worker. Loop thread only. README.md has the table of states. */
#pragma once

#include "answer.h"
#include "bus/bus_consumer.h"
#include "config/config.h"
#include "lanes.h"
#include "pipelines/pipeline.h"
#include "quotas.h"
#include "store/store.h"
#include "upstreams.h"

struct worker;

enum session_state {
    SESSION_QUEUED,    /* not begun: in its lane, or its turn was given back */
    SESSION_WAITING,   /* its turn, not ours: held by another, bot unknown, store away */
    SESSION_CLAIMING,  /* claim under way */
    SESSION_READY,     /* ours; waits for its pipeline: a place, a pause, or a firm lease */
    SESSION_RUNNING,   /* ours; the pipeline runs */
    SESSION_FINISHING, /* its last text is to be written */
    SESSION_SETTLING,  /* the user saw the end; letters are owed */
    SESSION_RELEASING, /* given up for another worker; the release is under way */
    SESSION_SETTLED,   /* done: its offset is complete */
    SESSION_DROPPED,   /* not done here: its offset stays */
    SESSION_STATE_COUNT,
};

/* What is to become of the record. */
enum session_fate {
    FATE_ANSWER,
    FATE_UNREADABLE,
    FATE_UNKNOWN_BOT,
    FATE_OVERLOAD, /* its bot or pipeline has too much in hand */
    FATE_POISON,   /* workers died with it, at last one that ran nothing else */
};

/* Items owed after the visible end (a set). */
enum { OWE_DEAD_LETTER = 1, OWE_EVENT = 2 };

#define SESSION_OWNER_BYTES 40
#define SESSION_ERROR_BYTES 160

struct session {
    struct worker *worker;
    struct list node;      /* in worker.sessions */
    struct list put_place; /* in worker.put_queue while a put waits for its turn */
    struct lane_place lane;
    struct upstream_place upstream;
    struct quota_share bot_share, pipeline_share;
    struct bus_message *record; /* NULL once terminal */
    struct config *config;      /* from its begin; NULL before */
    const struct config_bot *bot;
    const struct config_pipeline *pipeline;
    char *bot_name;

    enum session_state state;
    enum session_fate fate;
    bool is_revoked;        /* the partition went: nothing new is begun */
    bool is_stalled;        /* what the wait timer repeats found no store, or a full queue */
    bool is_put_stalled;    /* the last put found no store */
    bool is_closed;         /* ingress ended the stream */
    bool has_stream;        /* false: unreadable and without the headers that name one */
    bool is_put_pending;    /* one put at a time */
    bool is_sent_ours;      /* it carries our text, and not an earlier owner's */
    bool must_put;          /* the store lost the text */
    bool has_shown;         /* a text of this attempt was put */
    bool is_letter_pending; /* one letter, or its settling, at a time */
    bool is_overflowing;    /* the answer is larger than is collected */
    bool is_alone;          /* may have killed workers: runs while nothing else does */
    bool is_alone_noted;    /* the store knows that this start is alone */
    bool is_note_pending;
    bool is_silence_seen; /* by the limit's timer, which looks once more */
    unsigned pending;     /* callbacks to come: the memory stays until they came */

    /* the stream in the store; times are store time */
    struct stream_id id;
    int64_t start_at_ms, deadline_at_ms;
    char owner[SESSION_OWNER_BYTES]; /* "": the next claim makes a new one */
    uint64_t epoch;
    unsigned starts;

    /* monotonic */
    int64_t arrived_ms;
    int64_t call_sent_ms; /* of the claim or put under way */
    int64_t lease_ms;     /* when the last call that renewed the lease was sent */
    int64_t flushed_ms;   /* last text put */
    int64_t run_started_ms;
    int64_t last_text_ms; /* 0: none yet in this attempt */
    unsigned failures;    /* of the store or of Kafka in a row, for the back-off */

    struct wheel_timer wait;    /* repeats what could not be done, ends a pause */
    struct wheel_timer tick;    /* writes text, renews the lease */
    struct wheel_timer limit;   /* first text, between texts, total */
    struct wheel_timer ceiling; /* the visible end */

    struct pipeline_run *run;
    unsigned attempts;
    struct answer answer;
    size_t queue_told; /* the place in the queue that the store's text tells; 0: none */
    size_t queue_sent; /* that of the put under way */
    size_t put_bytes;  /* of the text in the store, by us */
    size_t sent_bytes; /* of the put under way */
    struct buf shown;  /* what an earlier owner showed, while ours is shorter */
    struct buf final;  /* the last text as shown, once it is known */

    enum stream_reason reason;
    unsigned owed;      /* letters to be written */
    unsigned unsettled; /* written, the store is to be told */
    unsigned settling;  /* of these, what it is being told */
    const char *dead_reason;
    char error[SESSION_ERROR_BYTES];
    /* wall clock, for letters */
    int64_t claimed_at_ms, first_text_at_ms, ended_at_ms;
    int64_t prompt_tokens, completion_tokens;
};

/* Takes over the record and stands in its lane. */
void session_new(struct worker *w, struct bus_message *record);

/* What happens to it. */
void session_on_turn(struct session *s);          /* of the lane */
void session_on_upstream_turn(struct session *s); /* of the pipeline's other side */
void session_on_store_up(struct session *s, bool is_new_run);
void session_on_reload(struct session *s);
void session_on_revoke(struct session *s);
void session_on_drain(struct session *s);      /* not begun: dropped */
void session_on_drain_over(struct session *s); /* running: released */
void session_on_grace_over(struct session *s); /* whatever it does: released */

/* Ends it here whatever its state is, without a further call; its memory goes when all
 * callbacks came. */
void session_drop(struct session *s);

const char *session_state_name(enum session_state state);
void session_metrics_register(void);
