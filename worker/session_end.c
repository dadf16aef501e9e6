#include "base/clock.h"
#include "log/log.h"
#include "session_internal.h"

/* Shown where no bot is known, so that none of its texts is. */
#define APOLOGY_WITHOUT_BOT "抱歉,回答时出现问题,请稍后再试。"

static void count_end(struct session *s, enum stream_reason reason)
{
    struct session_metrics *m = &session_metrics;
    metric_add(s->is_closed                ? &m->closed
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
    bool is_shorter = answer_visible(&s->answer).len < s->shown.len;
    if (s->reason != REASON_DONE && is_shorter &&
        !answer_replace(&s->answer, buf_bytes(&s->shown)))
        answer_clear(&s->answer);
    buf_reset(&s->final);
    answer_compose(&s->answer, tail_of(s), &s->final);
}

void session_end(struct session *s, enum stream_reason reason, const char *dead_reason)
{
    session_stop_run(s);
    s->reason = reason;
    s->dead_reason = dead_reason;
    s->owed = s->fate == FATE_ANSWER ? OWE_EVENT : 0;
    if (reason != REASON_DONE)
        s->owed |= OWE_DEAD_LETTER;
    s->ended_at_ms = clock_wall_ms();
    compose(s);
    session_set_state(s, SESSION_FINISHING);
    session_finish(s);
}

static struct bytes owed_text(unsigned owed)
{
    static const char *const texts[] = {"", "dlq", "event", "dlq,event"};
    return bytes_of_str(texts[owed & (OWE_DEAD_LETTER | OWE_EVENT)]);
}

static void on_finished(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    if (!session_arrived(s) || s->state != SESSION_FINISHING)
        return;
    if (reply->outcome != STORE_DONE) {
        metric_add(&session_metrics.store_failures, 1);
        session_stall(s);
        return;
    }
    switch (reply->verdict) {
    case VERDICT_OK:
        s->lease_ms = s->call_sent_ms;
        s->failures = 0;
        count_end(s, s->reason);
        session_enter_settling(s);
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
    if (!store_is_up(w->store)) {
        session_stall(s);
        return;
    }
    struct store_stream stream = session_stream(s);
    s->call_sent_ms = clock_mono_ms();
    s->pending++;
    store_finish(w->store, &stream, s->epoch, s->reason, buf_bytes(&s->final), BYTES_LIT(""),
                 owed_text(s->owed), w->config->worker.lease_ms, on_finished, s);
}

/* Ingress told the user that it is over. What was not answered becomes a dead letter, but the
 * busy text asked the user to come again. */
void session_closed(struct session *s, enum stream_reason reason)
{
    session_stop_run(s);
    if (!s->is_closed) {
        s->is_closed = true;
        s->reason = reason;
        s->owed = s->fate == FATE_ANSWER ? OWE_EVENT : OWE_DEAD_LETTER;
        if (reason == REASON_DEADLINE || reason == REASON_LOST)
            s->owed |= OWE_DEAD_LETTER;
        s->dead_reason = s->fate != FATE_ANSWER ? session_dead_reason(s)
                         : s->attempts == 0     ? "expired"
                                                : "deadline";
        s->ended_at_ms = clock_wall_ms();
        buf_reset(&s->final);
        count_end(s, reason);
    }
    session_enter_settling(s);
}
