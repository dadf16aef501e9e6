/* The life of one question: from its record to its last settled item.
 *
 * One session per record, one state, one setter. A record's offset completes only in SETTLED,
 * when the answer's end is in the store and nothing is owed, or when a copy in the late topic
 * has taken the record over. Everything that is written carries
 * the epoch of the claim; a session that is fenced stops all it does and asks again who owns
 * the stream. While the store is away a session goes on in memory and repeats its last call
 * when it is back. Owner: the worker. Loop thread only. README.md has the table of states. */
#pragma once

#include "answer.h"
#include "bus/bus_consumer.h"
#include "config/config.h"
#include "delivery.h"
#include "lanes.h"
#include "pipelines/pipeline.h"
#include "quotas.h"
#include "session/session_chat.h"
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
    FATE_EXPIRED,  /* too old when it was read: nothing is said */
};

/* Items owed after the visible end (a set). What the store is told last stands last: until
 * then a later owner begins again. */
enum {
    OWE_DEAD_LETTER = 1,
    OWE_EVENT = 2,
    OWE_SHOWN = 4,  /* a poll has to render the end, or it goes by response_url */
    OWE_REST = 8,   /* what did not fit into the bubble */
    OWE_LATE = 16,  /* the whole answer: the bubble ended before it */
    OWE_REPLY = 32, /* the end, in a chat */
};

/* What became of the bubble; checked by session_set_bubble. */
enum session_bubble {
    BUBBLE_OPEN,   /* the user sees the text that is put */
    BUBBLE_ENDING, /* its end is being written while the pipeline goes on */
    BUBBLE_ENDED,  /* by a worker */
    BUBBLE_CLOSED, /* by ingress */
    BUBBLE_COUNT,
};

/* Where the record is whose offset completes with this session. */
enum session_home {
    HOME_REQUESTS,
    HOME_MOVING, /* there, while a copy is on its way to the late topic */
    HOME_MOVED,  /* the copy has taken over: its reader completes it */
    HOME_KEPT,   /* there, because the late topic refuses the copy */
    HOME_LATE,   /* it is the copy */
};

/* What the pipeline has made. */
enum session_result {
    RESULT_NONE,
    RESULT_WHOLE,
    RESULT_FAILED,      /* perhaps after some text */
    RESULT_OUT_OF_TIME, /* likewise */
};

/* The one message that may go to response_url; checked by session_post.c. */
enum post_step {
    POST_NONE,    /* none is wanted, or possible */
    POST_WAITING, /* for a poll that renders the end */
    POST_DUE,     /* its body is known and is to be noted in the store */
    POST_NOTED,   /* to be called */
    POST_CALLING,
    POST_ANSWERED, /* the outcome is to be noted */
    POST_OVER,
    POST_STEP_COUNT,
};

enum post_kind {
    POST_WHOLE, /* the answer, after its bubble */
    POST_REST,
    POST_END, /* what the bubble ended with, where no poll saw it */
};

struct session_post {
    enum post_step step;
    enum post_kind kind;
    struct buf body;     /* as posted, and as noted before */
    bool is_repeated;    /* an earlier owner noted it and may have called */
    bool is_note_lost;   /* with the store: the body is to be noted again */
    bool is_body_noting; /* else its outcome is */
    struct delivery *call;
    unsigned failures;
    int64_t asked_ms; /* when the store said what polls have seen */
    int64_t due_ms;   /* end of WAITING, or the next try */
    enum delivery_outcome outcome;
    int64_t code;
};

#define SESSION_OWNER_BYTES 40
#define SESSION_ERROR_BYTES 160

struct session {
    struct worker *worker;
    struct list node;      /* in worker.sessions */
    struct list put_place; /* in worker.put_queue while a put waits for its turn */
    struct lane_place lane;
    struct upstream_place upstream;
    struct quota_share bot_share, pipeline_share, lane_share;
    struct bus_message *record; /* NULL once terminal */
    struct config *config;      /* from its begin; NULL before */
    const struct config_bot *bot;
    const struct config_pipeline *pipeline;
    char *bot_name;
    char *response_url; /* NULL: none, or one that may not be called */

    enum session_state state;
    enum session_fate fate;
    enum session_bubble bubble;
    enum session_home home;
    enum session_result result;
    bool is_revoked;        /* the partition went: nothing new is begun */
    bool is_stalled;        /* what the wait timer repeats found no store, or a full queue */
    bool is_put_stalled;    /* the last put found no store */
    bool has_stream;        /* false: unreadable and without the headers that name one */
    bool is_put_pending;    /* one put at a time */
    bool is_sent_ours;      /* it carries our text, and not an earlier owner's */
    bool must_put;          /* the store lost the text */
    bool has_shown;         /* a text of this attempt was put */
    bool is_letter_pending; /* one letter, note or word to the store at a time */
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
    uint64_t stored_epoch; /* the record's: another one where a write of ours made it again */
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
    struct wheel_timer ceiling; /* the visible end, then the second limit */

    struct pipeline_run *run;
    unsigned attempts;
    struct answer answer;
    size_t queue_told; /* the place in the queue that the store's text tells; 0: none;
                        * SIZE_MAX: to be told in any case */
    size_t queue_sent; /* that of the put under way */
    size_t put_bytes;  /* of the text in the store, by us */
    size_t sent_bytes; /* of the put under way */
    struct buf shown;  /* what an earlier owner showed, while ours is shorter */
    struct buf final;  /* the last text as shown, once it is known */
    struct buf rest;   /* what follows it by response_url */
    struct session_post post;
    struct session_chat *chat; /* NULL: the platform polls */

    enum stream_reason reason;
    unsigned owed;     /* letters to be written */
    unsigned refusals; /* by Kafka, of the letter that is being written */
    unsigned copy_refusals;
    unsigned unsettled; /* written, the store is to be told */
    unsigned settling;  /* of these, what it is being told */
    const char *dead_reason;
    const char *dead_noted; /* as the store has it; "" none */
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
void session_on_store_up(struct session *s, bool is_loss);
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
