#include "base/clock.h"
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_internal.h"

#include <inttypes.h>

static bool find_bot(struct session *s)
{
    const struct config_bot *bot = config_bot(s->worker->config, bytes_of_str(s->bot_name));
    if (!bot)
        return false;
    s->config = config_ref(s->worker->config);
    s->bot = bot;
    s->pipeline = &s->config->pipelines[bot->pipeline_index];
    return true;
}

/* Of what may be said at an answer's end; not every platform has all of it. */
static size_t longest_tail(const struct config_bot *bot)
{
    const char *const tails[] = {bot->notice_text, bot->apology_text, bot->busy_text,
                                 bot->more_text, bot->cut_text};
    size_t longest = 0;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        size_t len = bytes_of_str(tails[i]).len;
        longest = len > longest ? len : longest;
    }
    return longest;
}

/* A bubble takes so much and no more; in a chat a long answer goes on in further messages. */
static void set_limits(struct session *s)
{
    size_t most = s->bot->platform == PLATFORM_WECOM ? WECOM_CONTENT_MAX_BYTES
                                                     : session_chat_max_bytes(s);
    answer_init(&s->answer, session_answer_max_bytes(s), most, longest_tail(s->bot));
    s->shown.max = s->final.max = s->rest.max = most;
}

/* False: waits for a reload, which may be under way. */
static bool is_bot_settled(struct session *s)
{
    if (s->fate == FATE_UNREADABLE && !s->bot && find_bot(s))
        set_limits(s); /* its bubble ends with the bot's own words */
    if (s->fate == FATE_UNREADABLE || s->fate == FATE_UNKNOWN_BOT || s->bot)
        return true;
    if (find_bot(s)) {
        set_limits(s);
        session_chat_init(s);
        session_check_url(s);
        if (s->fate == FATE_ANSWER && s->home != HOME_LATE && !session_take_pipeline_share(s))
            session_mark_shed(s);
        return true;
    }
    if (s->fate == FATE_OVERLOAD)
        return true;
    int64_t left_ms = s->arrived_ms + UNKNOWN_BOT_MS - session_now(s);
    if (left_ms <= 0) {
        s->fate = FATE_UNKNOWN_BOT;
        snprintf(s->error, sizeof(s->error), "no bot of this name is configured");
        return true;
    }
    log_warn("session", "unknown_bot", "stream=%s bot=%s left_ms=%" PRId64, s->id.text,
             s->bot_name, left_ms);
    if (s->state != SESSION_WAITING)
        session_set_state(s, SESSION_WAITING);
    session_wait(s, left_ms);
    return false;
}

void session_begin(struct session *s)
{
    if (s->is_revoked || s->worker->is_draining) {
        session_drop(s);
        return;
    }
    if (!is_bot_settled(s))
        return;
    if (s->has_stream) {
        session_claim(s);
        return;
    }
    s->dead_reason = "unreadable";
    s->owed = OWE_DEAD_LETTER;
    session_enter_settling(s);
}

/* A shed one began before it. */
void session_on_turn(struct session *s)
{
    if (s->state == SESSION_QUEUED)
        session_begin(s);
}

static void on_claimed(const struct store_reply *reply, void *arg);

/* No bubble ends later than its whole time from now on: what says otherwise comes from an
 * ingress that did not know the store's clock. */
static void bound_deadline(struct session *s)
{
    struct store *store = s->worker->store;
    if (!s->bot || s->bot->platform != PLATFORM_WECOM || !store_is_up(store))
        return;
    int64_t latest_ms = store_now_ms(store) + s->bot->stream_deadline_ms;
    if (s->deadline_at_ms > latest_ms)
        s->deadline_at_ms = latest_ms;
}

void session_claim(struct session *s)
{
    struct worker *w = s->worker;
    if (s->owner[0] == '\0')
        snprintf(s->owner, sizeof(s->owner), "%016" PRIx64 "-%" PRIu64, w->process_id,
                 ++w->claims);
    session_set_state(s, SESSION_CLAIMING);
    s->call_sent_ms = clock_mono_ms();
    session_chat_wind_clock(s); /* which a record that is there knows better */
    bound_deadline(s);
    struct store_stream stream = session_stream(s);
    s->pending++;
    store_claim(w->store, &stream, bytes_of_str(s->owner), w->config->worker.lease_ms,
                on_claimed, s);
    crash_point("claim.sent");
}

/* Not ours now: asks again at the lease's end, or a little before, since the owner may release
 * it. */
static void wait_for_owner(struct session *s, int64_t held_until_ms)
{
    session_set_state(s, SESSION_WAITING);
    if (s->is_revoked || s->worker->is_draining || s->home == HOME_MOVED) {
        session_drop(s);
        return;
    }
    int64_t ask_ms = HELD_ASK_MS / 2 + (int64_t)random_below(HELD_ASK_MS / 2);
    int64_t left_ms = store_to_mono_ms(s->worker->store, held_until_ms) - session_now(s);
    /* A lease ends within the millisecond it names; ours is measured with some error. */
    int64_t end_ms = left_ms > 0 ? left_ms + 5 : 5;
    /* A copy is mostly held by whoever made it, for long. */
    session_wait(s, end_ms < ask_ms || s->home == HOME_LATE ? end_ms : ask_ms);
}

/* Another one has the stream: what we know and made is worth nothing. */
static void forget(struct session *s)
{
    answer_clear(&s->answer);
    buf_reset(&s->shown);
    buf_reset(&s->final);
    buf_reset(&s->rest);
    session_post_clear(s);
    session_chat_clear(s);
    s->owner[0] = '\0';
    s->epoch = 0;
    s->owed = s->unsettled = 0;
    s->dead_noted = "";
    s->queue_told = 0;
    s->must_put = s->is_overflowing = false;
    s->result = RESULT_NONE;
    if (s->bubble != BUBBLE_OPEN)
        session_set_bubble(s, BUBBLE_OPEN);
}

void session_fenced(struct session *s)
{
    log_warn("session", "fenced", "stream=%s epoch=%" PRIu64 " state=%s", s->id.text, s->epoch,
             session_state_name(s->state));
    metric_add(&session_metrics.fenced, 1);
    session_stop_run(s);
    forget(s);
    wait_for_owner(s, 0);
}

/* --- what the claim said --- */

static void take_grant(struct session *s, const struct store_reply *reply)
{
    s->epoch = s->stored_epoch = reply->epoch;
    s->lease_ms = s->call_sent_ms;
    s->starts = reply->starts;
    s->failures = 0;
    if (reply->reason != REASON_NONE)
        s->reason = reply->reason;
    if (reply->start_at_ms > 0)
        s->start_at_ms = reply->start_at_ms;
    if (reply->deadline_at_ms > 0)
        s->deadline_at_ms = reply->deadline_at_ms;
    bound_deadline(s);
    if (s->claimed_at_ms == 0)
        s->claimed_at_ms = clock_wall_ms();
    s->dead_noted = session_dead_noted(reply->notes);
}

const char *session_dead_reason(const struct session *s)
{
    if (s->fate == FATE_UNREADABLE)
        return "unreadable";
    if (s->fate == FATE_UNKNOWN_BOT)
        return "unknown_bot";
    if (s->fate == FATE_EXPIRED)
        return "expired";
    if (s->fate == FATE_OVERLOAD)
        return "overload";
    if (s->reason == REASON_DEADLINE)
        return "deadline";
    return s->fate == FATE_POISON ? "poison" : "failed";
}

/* True: it has to run alone. */
static bool suspect(struct session *s, const struct store_reply *reply)
{
    s->is_alone_noted = false;
    if (s->fate != FATE_ANSWER)
        return false;
    enum suspicion suspicion = session_suspicion(reply, s->shown.len > 0);
    if (suspicion != SUSPICION_POISON)
        return suspicion == SUSPICION_ALONE;
    s->fate = FATE_POISON;
    snprintf(s->error, sizeof(s->error), "a worker died while it ran nothing else");
    log_error("session", "poison", "stream=%s bot=%s starts=%u", s->id.text, s->bot_name,
              s->starts);
    metric_add(&session_metrics.poison, 1);
    return false;
}

/* A copy counts once it is to run: until then whoever has its stream counts it. */
static void count_copy(struct session *s)
{
    if (s->home == HOME_LATE && s->post.step == POST_NONE && session_may_outlive(s) &&
        !session_take_late_share(s)) {
        session_mark_shed(s);
        session_count_shed(s);
    }
}

/* What an earlier owner saw, or else what is seen now. */
static void take_dead(struct session *s, const char *reason)
{
    s->dead_reason = s->dead_noted[0] != '\0' ? s->dead_noted : reason;
}

/* The bubble was ended before its answer was there: it is made now, or again. */
static void take_late(struct session *s, const struct store_reply *reply)
{
    s->is_alone = suspect(s, reply);
    count_copy(s);
    if (session_may_outlive(s)) {
        session_prepare(s);
        return;
    }
    take_dead(s, s->fate == FATE_ANSWER ? "expired" : session_dead_reason(s));
    s->owed |= OWE_DEAD_LETTER;
    session_enter_settling(s);
}

/* The rest was promised, and can be sent no more. */
static void give_up_rest(struct session *s)
{
    bool is_to_be_sent = s->post.step == POST_NONE && (s->owed & OWE_REST) != 0;
    if (!is_to_be_sent || session_has_url(s) || (s->owed & OWE_DEAD_LETTER) != 0)
        return;
    s->owed |= OWE_DEAD_LETTER;
    s->dead_reason = "undelivered";
}

/* Another owner, or we before a restart, ended the answer but not what it owes. */
static void take_owed(struct session *s, const struct store_reply *reply)
{
    unsigned owed = session_items_of(reply->owed);
    crash_point("claim.owed");
    session_set_bubble(s, BUBBLE_ENDED);
    s->owed = owed;
    take_dead(s, session_dead_reason(s));
    if (s->error[0] == '\0') /* what it saw is not in the store */
        snprintf(s->error, sizeof(s->error), "ended by an earlier owner");
    buf_reset(&s->final);
    buf_append(&s->final, reply->text);
    buf_reset(&s->rest);
    buf_append(&s->rest, reply->extras);
    session_post_resume(s, reply->notes);
    session_chat_resume(s, reply->notes);
    if ((owed & OWE_REPLY) != 0 && !s->chat)
        s->owed |= OWE_DEAD_LETTER; /* the bot is gone, and with it whom to call */
    if (s->post.step == POST_NONE && (owed & OWE_LATE) != 0) {
        take_late(s, reply);
        return;
    }
    if (s->dead_noted[0] != '\0')
        s->owed |= OWE_DEAD_LETTER; /* since the end was written */
    give_up_rest(s);
    bool is_waited_for = s->post.step == POST_NONE && (owed & (OWE_SHOWN | OWE_REST)) != 0;
    if (is_waited_for && session_has_url(s))
        session_post_wait(s);
    session_enter_settling(s);
}

static bool is_told(const struct store_reply *reply)
{
    return session_note_of(reply->notes, "told").len > 0;
}

static void take_closed(struct session *s, const struct store_reply *reply)
{
    crash_point("claim.closed");
    if (is_told(reply)) {
        session_settled(s);
        return;
    }
    s->is_alone = suspect(s, reply);
    session_post_resume(s, reply->notes);
    count_copy(s);
    session_closed(s, reply->reason);
}

static void take_up(struct session *s, const struct store_reply *reply)
{
    crash_point("claim.granted");
    if (reply->starts > 1) {
        log_info("session", "takeover", "stream=%s starts=%u shown_bytes=%zu", s->id.text,
                 reply->starts, reply->shown_bytes);
        metric_add(&session_metrics.takeovers, 1);
    }
    bool is_place = s->bot && config_is_queue_text(s->bot, reply->text);
    s->queue_told = is_place ? SIZE_MAX : 0;
    buf_reset(&s->shown);
    if (!is_place)
        buf_append(&s->shown, reply->text);
    session_chat_resume(s, reply->notes);
    s->is_alone = suspect(s, reply);
    if (s->deadline_at_ms <= store_now_ms(s->worker->store)) /* nobody was there in its time */
        session_chat_wind_clock(s);
    bool is_over = s->fate == FATE_ANSWER && !session_may_outlive(s) &&
                   s->deadline_at_ms <= store_now_ms(s->worker->store);
    if (s->fate == FATE_EXPIRED || is_over)
        session_end(s, REASON_DEADLINE, "expired");
    else if (s->fate != FATE_ANSWER)
        session_end(s, REASON_APOLOGY, session_dead_reason(s));
    else
        session_prepare(s);
}

/* The store lost the end of a bubble, but not that its answer went, or was to go, by
 * response_url, or that all was said about a stream that ingress had closed. */
static bool is_answered(const struct store_reply *reply)
{
    return reply->verdict == VERDICT_GRANTED &&
           (session_note_of(reply->notes, "url").len > 0 ||
            session_note_of(reply->notes, "reply").len > 0 || is_told(reply));
}

/* Its visible end has come: whoever settles it, or makes a late answer for as long as that
 * takes, holds up no lane of a second reader of the record. */
static void pass_lane_on(struct session *s, const struct store_reply *held)
{
    bool is_said =
        held->state == STREAM_FINAL && (session_items_of(held->owed) & OWE_REPLY) == 0;
    if (!is_said)
        return;
    session_leave_lane(s);
    session_move_held(s);
}

/* A copy is shed behind its claim. */
static void look_again(struct session *s)
{
    bool is_shed = s->fate == FATE_OVERLOAD && s->home != HOME_LATE;
    if (is_shed && !session_readmit(s))
        session_count_shed(s);
}

static bool is_before_its_turn(const struct session *s)
{
    return s->fate == FATE_ANSWER && s->lane.lane && !lanes_has_turn(&s->lane);
}

static void on_given_back(const struct store_reply *reply, void *arg)
{
    (void)reply; /* not confirmed: the next claim has the same owner's name */
    crash_point("release.answered");
    (void)session_arrived(arg);
}

/* The next claim comes with the lane's turn. */
static void give_back(struct session *s)
{
    struct store_stream stream = session_stream(s);
    session_set_state(s, SESSION_QUEUED);
    s->pending++;
    store_release(s->worker->store, &stream, s->epoch, on_given_back, s);
    crash_point("release.sent");
}

static void take_claim(struct session *s, const struct store_reply *reply)
{
    look_again(s);
    if (reply->verdict == VERDICT_FINAL)
        take_owed(s, reply);
    else if (reply->verdict == VERDICT_CLOSED || is_answered(reply))
        take_closed(s, reply);
    else if (is_before_its_turn(s))
        give_back(s);
    else
        take_up(s, reply);
}

static void on_claimed(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    if (!session_arrived(s) || s->state != SESSION_CLAIMING)
        return;
    crash_point("claim.answered");
    if (reply->outcome != STORE_DONE) {
        session_set_state(s, SESSION_WAITING);
        metric_add(&session_metrics.store_failures, 1);
        if (s->is_revoked || s->worker->is_draining)
            session_drop(s); /* a lease that we may have got ends by itself */
        else
            session_stall(s);
        return;
    }
    if (reply->verdict == VERDICT_HELD) {
        crash_point("claim.held");
        forget(s);
        pass_lane_on(s, reply);
        wait_for_owner(s, reply->held_until_ms);
        return;
    }
    if (reply->epoch > 0)
        take_grant(s, reply);
    bool is_nothing_left = reply->verdict == VERDICT_FINAL && reply->owed.len == 0;
    bool is_unwanted = s->is_revoked || s->worker->is_draining;
    if (is_nothing_left)
        session_settled(s);
    else if (is_unwanted)
        session_release(s);
    else
        take_claim(s, reply);
}
