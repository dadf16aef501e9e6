#include "base/clock.h"
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_internal.h"

static void set_limit(struct session *s)
{
    const struct config_pipeline *p = s->pipeline;
    int64_t silence_ms = s->last_text_ms == 0 ? s->run_started_ms + p->first_text_timeout_ms
                                              : s->last_text_ms + p->gap_timeout_ms;
    int64_t total_ms = s->run_started_ms + p->total_timeout_ms;
    s->is_silence_seen = false;
    loop_timer_set_at(s->worker->loop, &s->limit,
                      silence_ms < total_ms ? silence_ms : total_ms);
}

static void on_text(struct bytes text, void *arg)
{
    struct session *s = arg;
    crash_point("text.taken");
    s->is_overflowing = s->is_overflowing || !answer_append(&s->answer, text);
    bool is_first = s->last_text_ms == 0;
    if (is_first)
        upstreams_report(&s->worker->upstreams, &s->upstream, true);
    s->last_text_ms = session_now(s);
    if (is_first)
        set_limit(s); /* which was that of the first text */
    if (s->first_text_at_ms == 0) {
        s->first_text_at_ms = clock_wall_ms();
        metric_observe_ms(&session_metrics.first_text_ms, s->last_text_ms - s->arrived_ms);
    }
    if (s->is_overflowing)
        loop_timer_set(s->worker->loop, &s->limit, 0);
    if (s->bubble != BUBBLE_OPEN)
        return;
    /* Only when the tick is not set for a flush yet: text comes far more often. */
    int64_t flush_ms = s->flushed_ms + session_flush_interval_ms(s);
    bool is_late = !wheel_is_set(&s->tick) || s->tick.due_ms > flush_ms;
    bool is_under_way = s->is_put_pending || s->is_put_stalled || !list_is_empty(&s->put_place);
    if (is_first || (is_late && !is_under_way))
        loop_timer_set_at(s->worker->loop, &s->tick,
                          flush_ms > s->last_text_ms ? flush_ms : s->last_text_ms);
}

static void on_replace(struct bytes text, void *arg)
{
    struct session *s = arg;
    s->is_overflowing = s->is_overflowing || !answer_replace(&s->answer, text);
    s->put_bytes = 0;
    on_text(bytes_of("", 0), s);
}

static void on_usage(int64_t prompt_tokens, int64_t completion_tokens, void *arg)
{
    struct session *s = arg;
    s->prompt_tokens = prompt_tokens;
    s->completion_tokens = completion_tokens;
}

/* Another attempt, if one is allowed: never after text of this one was shown, unless the bubble
 * is over and the answer goes by response_url as a whole. */
static bool retry(struct session *s, int64_t retry_after_ms)
{
    bool is_fixed = s->has_shown && s->bubble == BUBBLE_OPEN;
    if (is_fixed || s->attempts >= (unsigned)s->pipeline->attempts)
        return false;
    int64_t delay_ms = random_backoff_ms(RETRY_BASE_MS, RETRY_CAP_MS, s->attempts - 1);
    if (retry_after_ms > delay_ms)
        delay_ms = retry_after_ms;
    if (session_now(s) + delay_ms >= s->ceiling.due_ms)
        return false;
    metric_add(&session_metrics.retries, 1);
    answer_clear(&s->answer);
    session_set_state(s, SESSION_READY);
    loop_timer_cancel(s->worker->loop, &s->limit);
    /* From now, and not from when this turn began: Retry-After is the other side's word. */
    loop_timer_set_at(s->worker->loop, &s->wait, clock_mono_ms() + delay_ms);
    return true;
}

/* A break in mid-answer tells nothing about the next question. */
static void leave_upstream(struct session *s, enum pipeline_end end)
{
    struct upstreams *u = &s->worker->upstreams;
    if (end != PIPELINE_INTERRUPTED)
        upstreams_report(u, &s->upstream, end != PIPELINE_RETRY);
    upstreams_leave(u, &s->upstream);
}

static void on_end(enum pipeline_end end, const char *detail, int64_t retry_after_ms, void *arg)
{
    struct session *s = arg;
    crash_point("run.ended");
    s->run = NULL;
    bool is_whole = end == PIPELINE_DONE && !answer_is_blank(&s->answer);
    if (end == PIPELINE_DONE && !is_whole) {
        end = PIPELINE_RETRY;
        detail = "empty answer";
    }
    leave_upstream(s, end);
    if (is_whole) {
        session_end(s, REASON_DONE, "");
        return;
    }
    snprintf(s->error, sizeof(s->error), "%s", detail);
    log_warn("session", "pipeline_failed", "stream=%s pipeline=%s attempt=%u why=\"%s\"",
             s->id.text, s->pipeline->name, s->attempts, detail);
    if (end == PIPELINE_FAILED || !retry(s, retry_after_ms))
        session_end(s, REASON_APOLOGY, "failed");
}

/* Looks again at each fire instead of moving the timer with each text. Timers come before what
 * lies in the sockets: after a stall of this process the text may be there, so silence counts
 * when it is seen twice. */
static void on_limit(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
    if (s->state == SESSION_READY) {
        session_on_place_limit(s);
        return;
    }
    if (s->state != SESSION_RUNNING)
        return;
    const struct config_pipeline *p = s->pipeline;
    int64_t now_ms = session_now(s);
    bool is_silent = s->last_text_ms == 0
                         ? now_ms - s->run_started_ms >= p->first_text_timeout_ms
                         : now_ms - s->last_text_ms >= p->gap_timeout_ms;
    bool is_over = now_ms - s->run_started_ms >= p->total_timeout_ms;
    if (!is_silent && !is_over && !s->is_overflowing) {
        set_limit(s);
        return;
    }
    if (is_silent && !is_over && !s->is_silence_seen) {
        s->is_silence_seen = true;
        loop_timer_set(s->worker->loop, &s->limit, SECOND_LOOK_MS);
        return;
    }
    pipeline_ops_of(p->type)->cancel(s->run);
    s->run = NULL;
    if (s->is_overflowing) {
        metric_add(&session_metrics.cut, 1);
        upstreams_leave(&s->worker->upstreams, &s->upstream);
        session_end(s, REASON_DONE, "");
        return;
    }
    bool may_pass = !is_over && s->last_text_ms == 0;
    on_end(may_pass ? PIPELINE_RETRY : PIPELINE_INTERRUPTED,
           is_over ? "total timeout" : (may_pass ? "first text timeout" : "gap timeout"), -1,
           s);
}

void session_start(struct session *s)
{
    static const struct pipeline_sink sink = {on_text, on_replace, on_usage, on_end, NULL};
    struct pipeline_sink mine = sink;
    struct message m;
    struct json *root = NULL;
    BRG_CHECK(session_message(s, &m, &root));
    mine.arg = s;
    session_set_state(s, SESSION_RUNNING);
    s->attempts++;
    s->run_started_ms = session_now(s);
    s->last_text_ms = 0;
    set_limit(s);
    if (s->queue_told > 0 && !s->is_put_pending)
        session_tick_soon(s, 0);
    s->run = pipeline_ops_of(s->pipeline->type)
                 ->start(&s->worker->pipelines, s->pipeline, &m, &mine);
    crash_point("run.started");
    json_free(root);
}

/* The visible end comes `handover_margin_ms` before the deadline; of a rest that is hardly
 * longer than the margin, half is used. */
static int64_t ceiling_delay_ms(const struct session *s)
{
    int64_t deadline_ms = store_to_mono_ms(s->worker->store, s->deadline_at_ms);
    int64_t left_ms = deadline_ms - session_now(s);
    int64_t margin_ms = s->bot->handover_margin_ms;
    int64_t least_ms = (left_ms < margin_ms ? left_ms : margin_ms) / 2;
    int64_t delay_ms = left_ms - margin_ms > least_ms ? left_ms - margin_ms : least_ms;
    return delay_ms > 0 ? delay_ms : 0;
}

static void on_ceiling(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
    if (s->bubble == BUBBLE_OPEN && session_may_outlive(s)) {
        session_begin_late(s);
        return;
    }
    snprintf(s->error, sizeof(s->error), "%s",
             s->attempts == 0 ? "not begun by the deadline" : "not ended by the deadline");
    session_end(s, REASON_DEADLINE, "deadline");
}

static void on_wait(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    session_resume(arg);
}

void session_init_timers(struct session *s)
{
    wheel_timer_init(&s->wait, on_wait, s);
    wheel_timer_init(&s->tick, session_on_tick, s);
    wheel_timer_init(&s->limit, on_limit, s);
    wheel_timer_init(&s->ceiling, on_ceiling, s);
}

/* Without a bubble nobody waits for it: it is no lane's business any more. */
void session_prepare(struct session *s)
{
    s->attempts = 0;
    s->put_bytes = 0;
    s->has_shown = false;
    s->flushed_ms = 0;
    session_set_state(s, SESSION_READY);
    if (s->bubble == BUBBLE_OPEN) {
        loop_timer_set(s->worker->loop, &s->ceiling, ceiling_delay_ms(s));
        session_tick_soon(s, session_renew_interval_ms(s));
    } else {
        session_leave_lane(s);
        loop_timer_set_at(s->worker->loop, &s->ceiling, session_second_limit_ms(s));
        session_tick_soon(s, 0);
    }
    session_chat_wake(s);
    session_try_start(s);
}
