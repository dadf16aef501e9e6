/* What the files of the store share: the connection's state, operations under way. Internal.
 *
 * An operation is in exactly one list: `sent` (its replies are due, in order), `failed` (its
 * callback is due, in a later turn) or `spare` (unused). hiredis is told nothing of them: its
 * replies are matched with the head of `sent`, so that a connection can be let go at any moment
 * and whatever hiredis still calls for it is ignored. */
#pragma once

#include "store/scripts.h"
#include "store/store.h"
#include "store/store_resolve.h"
#include "store/store_url.h"

struct op;
struct redisAsyncContext;
struct redisReply;

typedef void op_reply_fn(struct store *s, struct op *op, const struct redisReply *reply);

struct op {
    struct list node;
    op_reply_fn *on_reply; /* takes each reply; gives the operation back with the last */
    store_cb *cb;          /* NULL: the connection's own */
    void *arg;
    enum store_outcome outcome; /* for `failed` */
    unsigned replies_due;
    int64_t started_ms;
    int64_t deadline_ms;
    const struct store_script *script;
    bool is_resent;           /* as EVAL, after NOSCRIPT */
    size_t head_bytes;        /* of `kept`: EVALSHA and SHA, before the arguments */
    unsigned words;           /* of the whole command */
    size_t held_bytes;        /* counted in the store's */
    size_t id_bytes;          /* read: at the beginning of `kept` */
    bool has_extras;          /* read */
    struct buf kept;          /* script: the command; read: id, bot, and text before extras */
    struct store_reply found; /* read: what has come so far */
};

enum conn_state {
    CONN_DOWN,       /* `timer` ends the back-off */
    CONN_RESOLVING,  /* `resolve` is under way */
    CONN_CONNECTING, /* `timer` limits it */
    CONN_GREETING, /* AUTH, SELECT, TIME, INFO, SCRIPT LOAD are sent; `timer` watches replies */
    CONN_UP,       /* operations are taken; `timer` watches the oldest reply due */
};

enum { STORE_RUN_ID_BYTES = 64, STORE_MARK_BYTES = 24, STORE_FAILURE_BYTES = 128 };

struct store_watcher {
    store_watch_fn *fn;
    void *arg;
};

struct store {
    struct loop *loop;
    struct store_url url;
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    unsigned max_outstanding;
    size_t max_held_bytes;

    enum conn_state state;
    struct redisAsyncContext *ac; /* from CONN_CONNECTING on */
    struct loop_fd *fd;
    unsigned events;       /* watched on `fd` */
    bool has_output;       /* hiredis holds bytes that were not written */
    bool is_head_overdue;  /* and nothing was read since that was seen */
    int64_t heard_ms;      /* last reply */
    int64_t read_ms;       /* last look at the socket, by the clock */
    bool is_login_refused; /* try again slowly */
    bool is_freeing;
    unsigned attempts; /* since the last time it was up */
    unsigned link;     /* number of the connection, from 1 */
    struct resolve *resolve;
    struct loop_wake *wake; /* `resolve` has ended */
    struct loop_turn *turn;
    struct wheel_timer timer;       /* what for depends on `state` */
    struct wheel_timer kick;        /* set while the end of the turn has something to do */
    struct wheel_timer clock_timer; /* next measurement of the clock */
    struct wheel_timer mark_timer;  /* next look at the mark */

    char run_id[STORE_RUN_ID_BYTES]; /* of the last server that was up; empty: it hides it */
    char greeted_run_id[STORE_RUN_ID_BYTES]; /* what INFO told in this greeting */
    bool had_run;
    char mark[STORE_MARK_BYTES]; /* as last seen; empty: not yet */
    bool is_mark_other;          /* than when it was up the last time */
    bool is_time_known;
    int64_t time_offset_us; /* store time less monotonic time */
    int64_t time_asked_us;

    struct list sent;
    struct list failed;
    struct list spare;
    size_t spare_count;
    unsigned outstanding; /* operations of callers that were not answered yet */
    size_t held_bytes;    /* of their commands */
    struct buf command;   /* scratch of the connection's own commands */
    struct store_watcher watchers[STORE_WATCHERS];
    unsigned watcher_count;
};

/* --- store_op.c: life of an operation --- */

struct op *op_new(struct store *s, op_reply_fn *on_reply, store_cb *cb, void *arg);
/* May it be sent, with a command of `bytes`? Otherwise it is failed here. */
bool op_admit(struct store *s, struct op *op, size_t bytes);
/* The callback comes in a later turn. */
void op_fail(struct store *s, struct op *op, enum store_outcome outcome);
/* Calls back and gives the operation back; it is in no list. */
void op_answer(struct store *s, struct op *op, const struct store_reply *reply);
void op_release(struct store *s, struct op *op);
void op_deliver_failed(struct store *s);
void op_register_metrics(const struct store *s);
/* What an error reply means for the operation that got it: answers it, and lets the connection
 * go where another server has to be found. */
void op_refuse(struct store *s, struct op *op, const char *name, struct bytes error);
void op_log_refused(const char *name, struct bytes code, struct bytes error);

/* --- store_conn.c: the connection's states --- */

void conn_start(struct store *s);
void conn_stop(struct store *s); /* all operations are in `failed` afterwards */
void conn_kick(struct store *s);
/* Hands bytes of one command to hiredis; they are written at the end of the turn. */
void conn_append(struct store *s, struct bytes command);
/* The commands of `op` were appended. */
void conn_sent(struct store *s, struct op *op, unsigned replies_due);
/* A command of the connection's own. */
void conn_command(struct store *s, op_reply_fn *on_reply, const struct bytes *words,
                  unsigned count);
void conn_drop(struct store *s, const char *reason);
void conn_is_up(struct store *s, bool is_loss);
void conn_tell_loss(struct store *s); /* while up */
void conn_register_metrics(void);

/* --- store_greet.c: first commands, and the clock --- */

void greet_start(struct store *s);
void greet_measure_clock(struct store *s);

/* --- store_mark.c: whether the data is still the same --- */

void mark_ask(struct store *s);

/* --- store_script.c: EVALSHA --- */

/* A command of `script` on the keys of `id`; `count` arguments follow by script_arg…. */
struct op *script_new(struct store *s, const struct store_script *script, struct bytes id,
                      unsigned count, store_cb *cb, void *arg);
void script_arg(struct op *op, struct bytes value);
void script_arg_i64(struct op *op, int64_t value);
void script_arg_u64(struct op *op, uint64_t value);
void script_send(struct store *s, struct op *op);

/* --- store_reply.c: bytes of the protocol --- */

enum error_class {
    ERROR_AWAY,      /* the same server may serve later */
    ERROR_ELSEWHERE, /* the primary is elsewhere by now */
    ERROR_LOGIN,     /* not, or wrongly, logged in */
    ERROR_NOSCRIPT,  /* the script's text is wanted */
    ERROR_REFUSED,   /* an operator has to look */
};
/* `code` is the word that says so: the first, or that of the command which failed in a script.
 */
enum error_class reply_classify(struct bytes error, struct bytes *code);
bool reply_is_error(const struct redisReply *reply);
/* Its bytes; none for nil and everything that has no bytes. */
struct bytes reply_bytes(const struct redisReply *reply);
struct bytes reply_element(const struct redisReply *reply, size_t at);
/* What a script answered; false when it is not what our scripts answer. */
bool reply_parse(const struct redisReply *reply, struct store_reply *out);
/* The fields that store_read asks for; state MISSING when there is no record. */
bool reply_parse_read(const struct redisReply *reply, struct store_reply *out,
                      bool *has_extras);

void resp_words(struct buf *out, unsigned count);
void resp_word(struct buf *out, struct bytes word);
