/* A store client on a loop of its own, driven call by call: each function starts the operation,
 * runs the loop until the answer is there and hands it back. Answers stay readable for the next
 * seven calls. */
#pragma once

#include "store/store.h"
#include "support_redis.h"

struct rig {
    struct loop *loop;
    struct store *store;
    struct loop_turn *turn;
    struct wheel_timer patience;
    bool (*is_done)(void *arg);
    void *is_done_arg;
    bool is_out_of_patience;
};

/* Waits until it is up, unless `url` is not served (then rig_new_away). */
struct rig *rig_new(const char *url);
struct rig *rig_new_away(const char *url, unsigned max_outstanding);
void rig_free(struct rig *rig);

enum { RIG_COMMAND_MS = 1000, RIG_CONNECT_MS = 400, RIG_OUTSTANDING = 10000 };

/* Runs the loop until `is_done` says so at the end of a turn; false when that takes over
 * `limit_ms`. */
bool rig_run(struct rig *rig, bool (*is_done)(void *arg), void *arg, int64_t limit_ms);
bool rig_run_until_up(struct rig *rig, bool is_up);

/* What a watcher was told. */
struct heard {
    unsigned ups, downs, losses;
};
void hear(bool is_up, bool is_loss, void *arg); /* a store_watch_fn on a struct heard */

/* For rig_run, on a struct heard; `never` on anything: the limit is the time to run. */
bool is_up_again(void *arg);
bool is_loss_told(void *arg);
bool never(void *arg);

/* One answer, and how often it came. */
struct rig_answer {
    unsigned calls;
    struct store_reply reply;
    struct buf copy;
};
void answer_take(const struct store_reply *reply, void *arg); /* a store_cb */
bool answer_is_there(void *arg);
void rig_answer_free(struct rig_answer *a);

#define B(text) BYTES_LIT(text)

struct store_reply rig_read(struct rig *rig, const struct store_stream *stream);
struct store_reply rig_open(struct rig *rig, const struct store_stream *stream,
                            enum stream_state as);
struct store_reply rig_open_queued(struct rig *rig, const struct store_stream *stream,
                                   const char *text);
struct store_reply rig_close(struct rig *rig, const struct store_stream *stream,
                             enum stream_reason reason);
struct store_reply rig_shown(struct rig *rig, const struct store_stream *stream);
struct store_reply rig_claim(struct rig *rig, const struct store_stream *stream,
                             const char *owner, int64_t lease_ms);
struct store_reply rig_put(struct rig *rig, const struct store_stream *stream, uint64_t epoch,
                           const char *text, int64_t lease_ms);
struct store_reply rig_note(struct rig *rig, const struct store_stream *stream, uint64_t epoch,
                            const char *field, const char *value);
struct store_reply rig_finish(struct rig *rig, const struct store_stream *stream,
                              uint64_t epoch, enum stream_reason reason, const char *text,
                              const char *extras, const char *owed, int64_t lease_ms);
struct store_reply rig_settle(struct rig *rig, const struct store_stream *stream,
                              uint64_t epoch, const char *item);
struct store_reply rig_release(struct rig *rig, const struct store_stream *stream,
                               uint64_t epoch);
