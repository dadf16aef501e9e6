#include "base/clock.h"
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_internal.h"

/* Shown where no bot is known, so that none of its texts is. */
#define APOLOGY_WITHOUT_BOT "抱歉,回答时出现问题,请稍后再试。"

static void count_end(struct session *s, enum stream_reason reason)
{
    struct session_metrics *m = &session_metrics;
    metric_add(s->bubble == BUBBLE_CLOSED  ? &m->closed
               : reason == REASON_DONE     ? &m->done
               : reason == REASON_DEADLINE ? &m->deadline
                                           : &m->apology,
               1);
    metric_observe_ms(&m->answer_ms, session_now(s) - s->arrived_ms);
}

/* --- the last text --- */

static struct bytes tail_of(const struct session *s)
{
    if (s->reason == REASON_DONE)
        return BYTES_LIT("");
    if (!s->bot)
        return BYTES_LIT(APOLOGY_WITHOUT_BOT);
    if (s->fate == FATE_OVERLOAD)
        return bytes_of_str(s->bot->busy_text);
    return bytes_of_str(s->reason == REASON_DEADLINE ? s->bot->notice_text
                                                     : s->bot->apology_text);
}

/* Where the answer is not whole, the end keeps what was shown: an earlier owner's text while it
 * is longer than ours. */
static void compose(struct session *s)
{
    struct answer from = s->answer;
    bool is_shorter = answer_visible(&s->answer).len < s->shown.len;
    bool has_more = s->reason == REASON_DONE && answer_has_rest(&s->answer);
    bool is_followed = has_more && s->response_url;
    const char *over = !s->bot ? "" : is_followed ? s->bot->more_text : s->bot->cut_text;
    if (s->reason != REASON_DONE && is_shorter)
        from.text = s->shown;
    buf_reset(&s->final);
    buf_reset(&s->rest);
    size_t kept = answer_compose(&from, tail_of(s), bytes_of_str(over), &s->final);
    if (is_followed)
        answer_compose_rest(&s->answer, kept, bytes_of_str(s->bot->cut_text), &s->rest);
}

/* What of the end has to be said in the chat, or may have to go by response_url. */
static unsigned owed_to_user(const struct session *s)
{
    if (s->chat)
        return s->fate == FATE_EXPIRED && !session_chat_has_begun(s) ? 0 : OWE_REPLY;
    if (s->fate != FATE_ANSWER || !s->response_url)
        return 0;
    return s->rest.len > 0 ? OWE_SHOWN | OWE_REST : OWE_SHOWN;
}

/* The bubble is over, or about to be: what there is goes by response_url. */
static void end_without_bubble(struct session *s)
{
    s->owed |= OWE_EVENT;
    session_post_whole(s);
    bool is_lost = s->result == RESULT_WHOLE && s->post.step == POST_NONE;
    if (is_lost)
        s->dead_reason = "undelivered";
    if (is_lost || s->result != RESULT_WHOLE)
        s->owed |= OWE_DEAD_LETTER;
    if (s->bubble != BUBBLE_ENDING) {
        session_enter_settling(s);
        return;
    }
    session_set_state(s, SESSION_FINISHING);
    session_finish(s);
}

void session_end(struct session *s, enum stream_reason reason, const char *dead_reason)
{
    session_stop_run(s);
    s->result = reason == REASON_DONE       ? RESULT_WHOLE
                : reason == REASON_DEADLINE ? RESULT_OUT_OF_TIME
                                            : RESULT_FAILED;
    s->dead_reason = dead_reason;
    s->ended_at_ms = clock_wall_ms();
    if (s->bubble != BUBBLE_OPEN) {
        end_without_bubble(s);
        return;
    }
    s->reason = reason;
    compose(s);
    s->owed = s->fate == FATE_ANSWER ? OWE_EVENT : 0;
    s->owed |= owed_to_user(s);
    if (reason != REASON_DONE)
        s->owed |= OWE_DEAD_LETTER;
    session_set_state(s, SESSION_FINISHING);
    session_finish(s);
}

void session_begin_late(struct session *s)
{
    s->reason = REASON_DEADLINE;
    compose(s);
    s->owed = OWE_LATE | OWE_EVENT;
    session_set_bubble(s, BUBBLE_ENDING);
    loop_timer_set_at(s->worker->loop, &s->ceiling, session_second_limit_ms(s));
    session_tick_soon(s, 0);
}

/* --- writing it --- */

#define OWED_MAX_BYTES 64

static struct bytes owed_text(unsigned owed, char out[OWED_MAX_BYTES])
{
    size_t len = 0;
    out[0] = '\0';
    for (unsigned item = 1; session_item_name(item); item <<= 1) {
        if ((owed & item) == 0)
            continue;
        int written = snprintf(out + len, OWED_MAX_BYTES - len, "%s%s", len > 0 ? "," : "",
                               session_item_name(item));
        len += (size_t)written;
    }
    return bytes_of(out, len);
}

static bool is_live_end(const struct session *s)
{
    return session_is_live(s) && s->bubble == BUBBLE_ENDING;
}

static void on_unfinished(struct session *s)
{
    metric_add(&session_metrics.store_failures, 1);
    if (!is_live_end(s)) {
        session_stall(s);
        return;
    }
    s->is_put_stalled = true;
    session_tick_soon(s,
                      WAIT_BASE_MS + random_backoff_ms(WAIT_BASE_MS, WAIT_CAP_MS, s->failures));
    if (s->failures < 16)
        s->failures++;
}

/* The end is in the store. A pipeline that goes on does so without lane and offset. */
static void on_visible_end(struct session *s)
{
    bool is_live = session_is_live(s);
    s->lease_ms = s->call_sent_ms;
    s->failures = 0;
    s->must_put = s->is_put_stalled = false;
    count_end(s, s->reason);
    session_set_bubble(s, BUBBLE_ENDED);
    if (!is_live) {
        if ((s->owed & (OWE_SHOWN | OWE_REST)) != 0 && s->post.step == POST_NONE)
            session_post_wait(s);
        session_enter_settling(s);
        return;
    }
    session_tick_soon(s, 0);
    session_leave_lane(s);
}

static void on_finished(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point("finish.answered");
    if (!session_arrived(s))
        return;
    if (session_is_live(s))
        s->is_put_pending = false;
    if (s->state != SESSION_FINISHING && !is_live_end(s))
        return;
    if (reply->outcome != STORE_DONE) {
        on_unfinished(s);
        return;
    }
    switch (reply->verdict) {
    case VERDICT_OK:
        on_visible_end(s);
        break;
    case VERDICT_CLOSED:
        s->lease_ms = s->call_sent_ms;
        session_closed(s, reply->reason);
        break;
    default:
        session_fenced(s);
        break;
    }
}

void session_finish(struct session *s)
{
    struct worker *w = s->worker;
    char owed[OWED_MAX_BYTES];
    if (!session_is_live(s) && !store_is_up(w->store)) {
        session_stall(s);
        return;
    }
    struct store_stream stream = session_stream(s);
    session_note_dead(s);
    s->call_sent_ms = clock_mono_ms();
    s->pending++;
    store_finish(w->store, &stream, s->epoch, s->reason, buf_bytes(&s->final),
                 buf_bytes(&s->rest), owed_text(s->owed, owed), w->config->worker.lease_ms,
                 on_finished, s);
    crash_point("finish.sent");
}

/* --- ended by ingress --- */

/* What was not answered becomes a dead letter, but the busy text asked the user to come again.
 */
static void settle_closed(struct session *s)
{
    bool is_promised = s->reason == REASON_DEADLINE || s->reason == REASON_LOST;
    bool is_failed = s->result == RESULT_FAILED || s->result == RESULT_OUT_OF_TIME;
    s->owed = s->fate == FATE_ANSWER ? OWE_EVENT : OWE_DEAD_LETTER;
    if (s->result == RESULT_NONE)
        s->dead_reason = s->fate != FATE_ANSWER ? session_dead_reason(s)
                         : s->attempts == 0     ? "expired"
                                                : "deadline";
    if (is_failed || (s->result == RESULT_NONE && is_promised))
        s->owed |= OWE_DEAD_LETTER;
    if (s->dead_noted[0] != '\0' && (s->result == RESULT_NONE || s->post.is_repeated)) {
        s->owed |= OWE_DEAD_LETTER; /* an earlier owner knew why */
        s->dead_reason = s->dead_noted;
    }
    s->ended_at_ms = clock_wall_ms();
    if (s->post.step == POST_WAITING)
        session_post_clear(s); /* no poll comes any more */
    if (s->result != RESULT_NONE && s->post.step == POST_NONE)
        end_without_bubble(s);
    else
        session_enter_settling(s);
}

/* Ingress told the user that it is over. With a response_url the answer goes on, or begins. */
void session_closed(struct session *s, enum stream_reason reason)
{
    if (s->bubble != BUBBLE_CLOSED) {
        session_set_bubble(s, BUBBLE_CLOSED);
        s->reason = reason;
        s->owed = s->unsettled = 0;
        buf_reset(&s->final);
        buf_reset(&s->rest);
        count_end(s, reason);
    }
    bool has_end = s->state == SESSION_FINISHING || s->state == SESSION_SETTLING;
    bool may_run = !has_end && s->result == RESULT_NONE && s->post.step == POST_NONE &&
                   reason != REASON_STOPPED && session_may_outlive(s);
    if (may_run && s->state == SESSION_CLAIMING) {
        session_prepare(s);
    } else if (may_run) {
        loop_timer_set_at(s->worker->loop, &s->ceiling, session_second_limit_ms(s));
        session_tick_soon(s, 0);
        session_leave_lane(s);
    } else {
        if (session_is_live(s))
            session_stop_run(s);
        settle_closed(s);
    }
}
