/* Between the files of the session; nobody else includes this.
 *
 * Every function here may end the session, so each is the last thing its caller does with it.
 */
#pragma once

#include "metrics/metrics.h"
#include "session/session.h"
#include "worker.h"

enum {
    /* Effects outside need a lease confirmed within this part of it. */
    LEASE_FIRM_PERCENT = 80,
    LEASE_RENEW_PARTS = 3,
    /* After a takeover records come at once, those that are long over as well: by then their
     * claims have told, one after the other in a lane, and they are not in hand any more. */
    SHED_LOOK_MS = 500,
    WAIT_BASE_MS = 200,
    WAIT_CAP_MS = 2000,
    QUEUE_TEXT_MS = 2000, /* between two of them */
    /* How often a held stream is asked for again before its lease ends: a release is then
     * noticed within a second. */
    HELD_ASK_MS = 900,
    UNKNOWN_BOT_MS = 60000,
    RETRY_BASE_MS = 500,
    RETRY_CAP_MS = 10000,
    SECOND_LOOK_MS = 100,
    /* WeCom polls about once a second. */
    SHOWN_ASK_MS = 1500,
    POST_RETRY_BASE_MS = 1000,
    POST_RETRY_CAP_MS = 30000,
    /* A broker refuses a batch for its size, and with a large record the small ones beside it:
     * what it refuses is sent again, after a random wait that parts it from them. */
    REFUSALS_MAX = 3,
};

/* session.c */
void session_set_state(struct session *s, enum session_state state);
struct store_stream session_stream(const struct session *s);
int64_t session_now(const struct session *s);
static inline bool session_is_live(const struct session *s)
{
    return s->state == SESSION_READY || s->state == SESSION_RUNNING;
}
bool session_lease_is_firm(const struct session *s);
/* Bounds of an answer's text: what is collected of it, and of one in a chat, which is said
 * whole, with what may be said at its end. */
size_t session_answer_max_bytes(const struct session *s);
size_t session_chat_max_bytes(const struct session *s);
/* Fills `m` from the record; `*root` is to be freed. False: unreadable. */
bool session_message(struct session *s, struct message *m, struct json **root);
/* Of one that waits in its lane: its place, and its record again where it may be lost. */
void session_tell_queued(struct session *s);
/* Tries again after a back-off, or when the store is up. */
void session_stall(struct session *s);
void session_wait(struct session *s, int64_t delay_ms);
/* Does what the state calls for, after a wait. */
void session_resume(struct session *s);
void session_settled(struct session *s);
void session_release(struct session *s);
/* First line of every callback of store and bus: false, the session is gone. */
bool session_arrived(struct session *s);
/* Stops pipeline, timers and calls; the claim stays. */
void session_stop_run(struct session *s);

/* session_claim.c */
void session_begin(struct session *s);
void session_claim(struct session *s);
const char *session_dead_reason(const struct session *s);
/* A newer epoch owns the stream: forget ours and ask again. */
void session_fenced(struct session *s);

/* session_flush.c */
void session_on_tick(struct wheel_timer *timer, void *arg);
void session_tick_soon(struct session *s, int64_t delay_ms);
int64_t session_flush_interval_ms(const struct session *s);
int64_t session_renew_interval_ms(const struct session *s);

/* session_admit.c */
void session_admit(struct session *s, const struct message *m); /* into its lane, or shed */
void session_leave_lane(struct session *s); /* the next one has its turn; safe to repeat */
bool session_take_pipeline_share(struct session *s); /* false: over the cap */
bool session_take_late_share(struct session *s);     /* of a copy that is to run; likewise */
void session_mark_shed(struct session *s);
void session_count_shed(const struct session *s); /* once that stands */
/* Looks once more, after the claim. What was begun before, by whatever owner, is answered to
 * the end. False: it stays shed. */
bool session_readmit(struct session *s);

/* session_place.c */
void session_try_start(struct session *s);
/* Whether workers died with it; called with what the claim granted. */
enum suspicion { SUSPICION_NONE, SUSPICION_ALONE, SUSPICION_POISON };
enum suspicion session_suspicion(const struct store_reply *granted, bool has_text);
/* No place after the first text's time. */
void session_on_place_limit(struct session *s);
/* What the text tells of the place in the queue, as far as it is news; NULL: nothing. It may be
 * put at *due_ms. */
struct bytes session_queue_text(struct session *s, int64_t *due_ms);
bool session_tells_queue(const struct session *s); /* while it waits */

/* session_run.c */
void session_prepare(struct session *s); /* after a grant: limits, then READY */
void session_start(struct session *s);
void session_init_timers(struct session *s);

/* session_end.c */
void session_end(struct session *s, enum stream_reason reason, const char *dead_reason);
void session_closed(struct session *s, enum stream_reason reason);
/* Writes the end; in BUBBLE_ENDING the pipeline goes on meanwhile. */
void session_finish(struct session *s);
/* The bubble ends with a notice, the pipeline goes on. */
void session_begin_late(struct session *s);

/* session_late.c: what comes after the bubble */
void session_set_bubble(struct session *s, enum session_bubble bubble);
/* The address, once the bot is known; one that may not be called is forgotten. */
void session_check_url(struct session *s);
bool session_has_url(const struct session *s); /* and it is still of use */
/* May the pipeline go on, or begin, without a bubble? */
bool session_may_outlive(const struct session *s);
int64_t session_second_limit_ms(const struct session *s); /* monotonic */
/* Copies the record to the late topic and completes it; safe at any time. */
void session_move(struct session *s);
/* The same for a second record of a stream whose owner has said the end: what is still owed may
 * take as long as a late answer. */
void session_move_held(struct session *s);

/* session_post.c: the message to response_url */
void session_post_init(struct session *s);
void session_post_clear(struct session *s); /* stops a call, forgets all */
void session_post_stop(struct session *s);  /* stops a call */
/* The store lost its notes: as long as they are missing, a later owner would send it again. */
void session_post_on_loss(struct session *s);
void session_post_whole(struct session *s); /* the answer, with what is said at its end */
void session_post_wait(struct session *s);  /* for a poll, before end or rest */
/* Goes on where an earlier owner was. */
void session_post_resume(struct session *s, struct bytes notes);
/* The next step. False: nothing is to be done, or all is. */
bool session_post_goes_on(struct session *s);
/* Value of the note `field`, or empty. */
struct bytes session_note_of(struct bytes notes, const char *field);

/* session_chat.c: the messages in a chat; all are safe where the platform polls, but
 * session_chat_visible */
void session_chat_init(struct session *s); /* once the bot is known */
/* The answer has its whole time from now on, as far as it is of use then. */
void session_chat_wind_clock(struct session *s);
void session_chat_stop(struct session *s);  /* a call, whose outcome stays unknown */
void session_chat_clear(struct session *s); /* stops a call, forgets all */
void session_chat_free(struct session *s);
/* Something of it is in the chat, or may be: it is not left without an end. */
bool session_chat_has_begun(const struct session *s);
/* What of the growing text may be shown. */
struct bytes session_chat_visible(const struct session *s);
/* The next step of the growing card: at once, or in a turn of its own. */
void session_chat_grow(struct session *s);
void session_chat_wake(struct session *s);
/* The next step of the end. False: nothing is to be done, or all is. */
bool session_chat_goes_on(struct session *s);
void session_chat_describe(const struct session *s, struct answer_event *event);
/* session_chat_note.c: goes on where an earlier owner was */
void session_chat_resume(struct session *s, struct bytes notes);
void session_chat_on_loss(struct session *s); /* the store lost its notes */

/* session_dead.c */
/* Notes why a dead letter is owed, or that none is any more; in front of the call after which a
 * later owner finds it so. */
void session_note_dead(struct session *s);
const char *session_dead_noted(struct bytes notes); /* "" none */

/* session_settle.c */
const char *session_item_name(unsigned item); /* in the store; NULL past the last */
unsigned session_items_of(struct bytes owed); /* the set in the store's list */
void session_enter_settling(struct session *s);
/* The store answered what a settling session asked, one call at a time. False: the rest is
 * done, or repeated later. */
bool session_settling_heard(struct session *s, const struct store_reply *reply);
void session_settle(struct session *s);
void session_renew(struct session *s); /* the lease, and what is known of polls */
/* Waits until `due_ms`, or until the lease wants to be renewed. */
void session_linger(struct session *s, int64_t due_ms);

/* Counted here, registered by session_metrics_register. */
struct session_metrics {
    struct metric done, apology, deadline, closed;
    struct metric dead_letters, events, retries, fenced, takeovers, releases;
    struct metric puts, store_failures, letter_failures, letters_lost;
    struct metric shed, alone, poison, cut;
    struct metric moved, url_refused;
    struct metric first_text_ms, answer_ms;
};
extern struct session_metrics session_metrics;
