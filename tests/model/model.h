/* State of the model: one store, one ingress, two workers, two messages of one lane, Kafka's
 * log and the faults that are left. README.md tells who does what.
 *
 * A state is plain bytes without pointers and without padding that differs: it is copied,
 * hashed and compared as memory, so begin every new one from a zeroed or an existing one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { WORKERS = 2, STREAMS = 2, RECORDS = 3, PUBLISHES = 3 };

enum script {
    SCRIPT_NONE,
    SCRIPT_OPEN,
    SCRIPT_CLOSE,
    SCRIPT_SHOWN,
    SCRIPT_CLAIM,
    SCRIPT_PUT,
    SCRIPT_NOTE,
    SCRIPT_FINISH,
    SCRIPT_SETTLE,
    SCRIPT_RELEASE,
    SCRIPT_COUNT,
};

enum note { NOTE_TOLD = 1, NOTE_URL_INTENT = 2, NOTE_URL_DONE = 4 };
enum owed { OWED_DLQ = 1, OWED_EVENT = 2 };

/* One call of a script. `arg` is the state that open makes, the reason of close and finish, the
 * note, the item of settle, or whether put has a text. */
struct call {
    uint8_t script, stream, arg, owed;
    int16_t epoch; /* as in struct state */
    uint8_t text;
    uint8_t owner; /* of claim and note: session + 1, or OWNER_GONE */
    uint8_t link;  /* of claim and an owner's writes: number of the connection, from 1 */
    uint8_t padding;
};
enum { OWNER_GONE = RECORDS * WORKERS + 1 };

/* A text in a byte: who wrote it, how many pieces, what stands below it. 0 is no text. */
enum { TEXT_PIECES = 7, TEXT_WRITER = 8, TEXT_APOLOGY = 16, TEXT_NOTICE = 32 };
static inline uint8_t text_of(int worker, int pieces)
{
    return (uint8_t)(pieces == 0 ? 0 : pieces | (worker * TEXT_WRITER));
}
static inline int text_pieces(uint8_t text)
{
    return text & TEXT_PIECES;
}

enum session_state {
    SESSION_NONE,
    SESSION_QUEUED,
    SESSION_WAITING,
    SESSION_RUNNING,
    SESSION_FINISHING,
    SESSION_SETTLING,
    SESSION_RELEASING,
};

enum session_flag {
    IS_STALE = 1,   /* the partition went to another worker: its completion does not count */
    IS_REVOKED = 2, /* and it knows */
    IS_CLOSED = 4,
    MUST_PUT = 8,
    IS_FIRM = 16, /* by its own monotonic clock the lease is confirmed */
    HAS_OWNER = 32,
    IS_OUT = 64, /* its place in the lane is given up: the user saw the end */
};

/* `struct session` of the worker, of which only what a call to the store depends on. */
struct session {
    uint8_t state, flags;
    int16_t epoch;
    int16_t intent; /* of the observer: the epoch under which its intent was accepted */
    uint8_t put;    /* pieces of ours in the store, as far as it knows */
    uint8_t padding;
    uint8_t made;  /* pieces that this pipeline run gave */
    uint8_t have;  /* pieces that the answer holds: the same, unless something was spliced */
    uint8_t shown; /* text of an earlier owner, while ours is shorter */
    uint8_t final;
    uint8_t reason;
    uint8_t owed, unsettled;
    uint8_t url; /* enum url */
};

/* How far the response_url of a closed stream has come. */
enum url { URL_NOT, URL_INTENDED, URL_CALLED, URL_DONE };

struct kept_final {
    int16_t epoch;
    uint8_t text, reason;
    uint8_t is_due, is_kept;
};

enum told { TOLD_NOTHING, TOLD_LIVE, TOLD_END };

/* What an observer who sees everything remembers of a stream. */
struct ghost {
    int16_t top;  /* highest epoch granted since the store last lost its data */
    uint8_t told; /* enum told */
    uint8_t end;  /* reason told with the end, its text, and whether the store agreed */
    uint8_t end_text;
    uint8_t is_confirmed;
    uint8_t shown;    /* pieces shown, since the store last lost its data */
    uint8_t is_ended; /* the user saw the end, or the store holds it */
    uint8_t letters;  /* enum owed: what reached Kafka */
    uint8_t is_effect_noted;
};

enum known { KNOWN_NOT, KNOWN_UNKNOWN, KNOWN_LIVE, KNOWN_FINAL };

/* ingress/recall.c, and the refresh that is under way */
struct bubble {
    uint8_t known; /* enum known */
    uint8_t text, reason, is_by_ingress;
    uint8_t poll;       /* enum poll */
    uint8_t owed_close; /* a reason, or 0 */
    uint8_t padding;
    uint8_t is_unknown_over; /* time: unknown_ms passed since it was made */
    uint8_t phase;           /* time: enum phase */
};
enum poll { POLL_IDLE, POLL_OPENING_UNKNOWN, POLL_OPENING, POLL_LOST, POLL_DEADLINE };
/* The worker's visible end and the deadline are one: who of them comes first is open anyhow. */
enum phase { PHASE_LIVE, PHASE_DEADLINE };

enum publish { PUBLISH_IDLE, PUBLISH_CLOSING, PUBLISH_DONE };

enum fault {
    FAULT_ANY, /* all together */
    FAULT_CRASH,
    FAULT_STALL,
    FAULT_LOSS,
    FAULT_UNKNOWN,
    FAULT_LATE,
    FAULT_CLOCK,
    FAULT_MOVE,
    FAULT_DRAIN,
    FAULT_INGRESS,
    FAULT_BUSY,
    FAULT_PIPELINE,
    FAULT_REPEAT,
    FAULT_COUNT,
};

/* What happened that limits what may be expected. */
enum used {
    USED_FLUSH = 1,
    USED_RESTART = 2,
    USED_CLOCK = 4,
    USED_CRASH = 8,
    USED_DEADLINE = 16
};

struct state {
    uint32_t record[STREAMS]; /* see store_model.h; 0 is missing */
    struct session session[WORKERS][RECORDS];
    struct kept_final kept[WORKERS][STREAMS];
    struct ghost ghost[STREAMS];
    struct bubble bubble[STREAMS];
    struct call late; /* sent, given up by its sender, and still to reach the store */
    uint8_t publish[PUBLISHES];
    uint8_t landing[PUBLISHES]; /* told as busy, and may reach the log all the same */
    uint8_t log[RECORDS];       /* stream + 1 */
    uint8_t log_len, committed, read, done;
    uint8_t assigned;
    uint8_t is_clock_back;
    uint8_t used;   /* enum used */
    uint8_t untold; /* workers, as a set, that do not know yet that the store was emptied */

    uint8_t left[FAULT_COUNT];
};

enum { HOW_PLAIN, HOW_REPLY_LOST, HOW_NOT_DONE, HOW_LATE };

enum kind {
    /* ingress */
    DO_PUBLISH,
    DO_LAND,
    DO_POLL,
    DO_OWED_CLOSE,
    /* worker: a = session */
    DO_OPEN,
    DO_CLAIM,
    DO_PUT, /* arg = pieces, 0: none */
    DO_END, /* arg = reason */
    DO_FINISH,
    DO_SETTLE,
    DO_RELEASE,
    DO_REWRITE,
    DO_NOTICE,
    DO_TELL_LOSS,
    /* time */
    DO_EXPIRE,
    DO_PHASE,
    DO_UNKNOWN_OVER,
    DO_LATE,
    /* faults */
    DO_CRASH,
    DO_STALL,
    DO_MOVE,
    DO_DRAIN,
    DO_LOSS,
    DO_CLOCK_FORWARD,
    DO_CLOCK_BACK,
    DO_INGRESS_CRASH,
    KIND_COUNT,
};

struct action {
    uint8_t kind;
    uint8_t who; /* session, stream, publish or worker */
    uint8_t arg;
    uint8_t how;
};

/* What the explorer is told to do; set once before the first step. */
struct settings {
    uint8_t pieces[STREAMS]; /* of an answer */
    uint8_t messages;        /* 1 or 2 */
    bool has_deadlines;
    uint8_t faults[FAULT_COUNT];
    bool is_effect_before_note; /* seeded bugs of the actors */
    bool is_takeover_eager;
    bool is_settle_before_letter;
    bool is_lane_ignored;
    bool is_put_due_after_end;
    bool is_end_dropped;
    bool is_flush_out;       /* the store is lost by restarts only */
    bool is_back_after_loss; /* not promised: a clock that goes back while the data goes too */
};
extern struct settings settings;

static inline int session_of(int worker, int record)
{
    return worker * RECORDS + record;
}
static inline struct session *session_at(struct state *s, int session)
{
    return &s->session[session / RECORDS][session % RECORDS];
}
static inline int stream_at(const struct state *s, int session)
{
    return s->log[session % RECORDS] - 1;
}
