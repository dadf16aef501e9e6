#include "base/clock.h"
#include "base/random.h"
#include "log/log.h"
#include "session_internal.h"

/* --- writing the growing text --- */

static bool is_live(const struct session *s)
{
    return s->state == SESSION_READY || s->state == SESSION_RUNNING;
}

/* What the store should hold now; NULL while that is what it holds, or while an earlier owner
 * showed more than we have: shown text does not get shorter before it is final. */
static struct bytes text_to_put(const struct session *s)
{
    struct bytes visible = answer_visible(&s->answer);
    if (visible.len == 0 || visible.len < s->shown.len) {
        bool is_lost = s->must_put && s->shown.len > 0;
        return is_lost ? buf_bytes(&s->shown) : bytes_of(NULL, 0);
    }
    bool is_new = s->must_put || visible.len != s->put_bytes || !s->has_shown;
    return is_new ? visible : bytes_of(NULL, 0);
}

static int64_t flush_interval_ms(const struct session *s)
{
    const struct config *c = s->worker->config;
    bool is_large = s->answer.text.len >= (size_t)c->worker.flush_large_bytes;
    return is_large ? c->worker.flush_large_ms : c->worker.flush_ms;
}

static int64_t renew_interval_ms(const struct session *s)
{
    return s->worker->config->worker.lease_ms / LEASE_RENEW_PARTS;
}

void session_tick_soon(struct session *s, int64_t delay_ms)
{
    loop_timer_set(s->worker->loop, &s->tick, delay_ms);
}

static void on_put(const struct store_reply *reply, void *arg);

static void put(struct session *s, struct bytes text)
{
    struct worker *w = s->worker;
    struct store_stream stream = session_stream(s);
    s->is_put_pending = true;
    s->is_sent_ours = text.ptr && text.ptr == s->answer.text.ptr;
    s->has_shown = s->has_shown || s->is_sent_ours;
    s->sent_bytes = text.len;
    s->call_sent_ms = clock_mono_ms();
    if (text.ptr)
        s->flushed_ms = s->call_sent_ms;
    metric_add(&session_metrics.puts, 1);
    s->pending++;
    store_put(w->store, &stream, s->epoch, text, w->config->worker.lease_ms, on_put, s);
}

/* Writes what is due, else sets the timer to when the next is due: text by the flush interval,
 * the lease by a third of it. */
static void tick(struct session *s)
{
    if (s->is_put_pending)
        return; /* its reply comes here again */
    if (!store_is_up(s->worker->store)) {
        s->is_put_stalled = true;
        return; /* session_on_store_up */
    }
    int64_t now_ms = session_now(s);
    int64_t renew_ms = s->lease_ms + renew_interval_ms(s);
    int64_t flush_ms = s->flushed_ms + flush_interval_ms(s);
    struct bytes text = text_to_put(s);
    if (text.ptr && (now_ms >= flush_ms || s->must_put)) {
        put(s, text);
    } else if (now_ms >= renew_ms || s->must_put) {
        put(s, bytes_of(NULL, 0));
    } else {
        int64_t due_ms = text.ptr && flush_ms < renew_ms ? flush_ms : renew_ms;
        loop_timer_set_at(s->worker->loop, &s->tick, due_ms);
    }
}

static void on_tick(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
    if (is_live(s))
        tick(s);
}

static void on_put_ok(struct session *s)
{
    s->lease_ms = s->call_sent_ms;
    s->failures = 0;
    s->is_put_stalled = false;
    s->must_put = false;
    if (s->is_sent_ours) {
        s->put_bytes = s->sent_bytes;
        buf_free(&s->shown); /* ours is as long: see text_to_put */
    }
    session_tick_soon(s, 0);
    if (s->state == SESSION_READY)
        session_try_start(s);
}

static void on_put(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    if (!session_arrived(s))
        return;
    s->is_put_pending = false;
    if (!is_live(s))
        return; /* what comes after the put says it again */
    if (reply->outcome != STORE_DONE) {
        metric_add(&session_metrics.store_failures, 1);
        s->put_bytes = 0;
        s->is_put_stalled = true;
        session_tick_soon(s, WAIT_BASE_MS +
                                 random_backoff_ms(WAIT_BASE_MS, WAIT_CAP_MS, s->failures));
        if (s->failures < 16)
            s->failures++;
        return;
    }
    switch (reply->verdict) {
    case VERDICT_OK:
        on_put_ok(s);
        break;
    case VERDICT_CLOSED:
        s->lease_ms = s->call_sent_ms;
        session_closed(s, reply->reason);
        break;
    default: /* FENCED; FINAL is a later owner's end */
        session_fenced(s);
        break;
    }
}

/* --- the run --- */

static void on_text(struct bytes text, void *arg)
{
    struct session *s = arg;
    s->is_overflowing = s->is_overflowing || !answer_append(&s->answer, text);
    bool is_first = s->last_text_ms == 0;
    s->last_text_ms = session_now(s);
    if (s->first_text_at_ms == 0) {
        s->first_text_at_ms = clock_wall_ms();
        metric_observe_ms(&session_metrics.first_text_ms, s->last_text_ms - s->arrived_ms);
    }
    if (s->is_overflowing)
        loop_timer_set(s->worker->loop, &s->limit, 0);
    /* Only when the tick is not set for a flush yet: text comes far more often. */
    int64_t flush_ms = s->flushed_ms + flush_interval_ms(s);
    bool is_late = !wheel_is_set(&s->tick) || s->tick.due_ms > flush_ms;
    if (is_first || (is_late && !s->is_put_pending && !s->is_put_stalled))
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

/* Another attempt, if one is allowed: never after text of this one was shown. */
static bool retry(struct session *s, int64_t retry_after_ms)
{
    if (s->has_shown || s->attempts >= (unsigned)s->pipeline->attempts)
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
    session_wait(s, delay_ms);
    return true;
}

static void on_end(enum pipeline_end end, const char *detail, int64_t retry_after_ms, void *arg)
{
    struct session *s = arg;
    s->run = NULL;
    upstreams_leave(&s->worker->upstreams, &s->upstream);
    bool is_whole = end == PIPELINE_DONE && s->answer.text.len > 0;
    if (is_whole) {
        session_end(s, REASON_DONE, "");
        return;
    }
    if (end == PIPELINE_DONE) {
        end = PIPELINE_RETRY;
        detail = "empty answer";
    }
    snprintf(s->error, sizeof(s->error), "%s", detail);
    log_warn("session", "pipeline_failed", "stream=%s pipeline=%s attempt=%u why=\"%s\"",
             s->id.text, s->pipeline->name, s->attempts, detail);
    if (end == PIPELINE_FAILED || !retry(s, retry_after_ms))
        session_end(s, REASON_APOLOGY, "failed");
}

static void set_limit(struct session *s)
{
    const struct config_pipeline *p = s->pipeline;
    int64_t silence_ms = s->last_text_ms == 0 ? s->run_started_ms + p->first_text_timeout_ms
                                              : s->last_text_ms + p->gap_timeout_ms;
    int64_t total_ms = s->run_started_ms + p->total_timeout_ms;
    loop_timer_set_at(s->worker->loop, &s->limit,
                      silence_ms < total_ms ? silence_ms : total_ms);
}

/* Looks again at each fire instead of moving the timer with each text. */
static void on_limit(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
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
    pipeline_ops_of(p->type)->cancel(s->run);
    s->run = NULL;
    if (s->is_overflowing) { /* far beyond what any platform shows */
        upstreams_leave(&s->worker->upstreams, &s->upstream);
        session_end(s, REASON_DONE, "");
        return;
    }
    bool may_pass = !is_over && s->last_text_ms == 0;
    on_end(may_pass ? PIPELINE_RETRY : PIPELINE_INTERRUPTED,
           is_over ? "total timeout" : (may_pass ? "first text timeout" : "gap timeout"), -1,
           s);
}

static void start(struct session *s)
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
    s->run = pipeline_ops_of(s->pipeline->type)
                 ->start(&s->worker->pipelines, s->pipeline, &m, &mine);
    json_free(root);
}

/* Everything that has to hold before the question goes out: a place, and a lease that nobody
 * else can have taken. What is missing comes here again when it is there. */
void session_try_start(struct session *s)
{
    if (wheel_is_set(&s->wait) || s->worker->is_drain_over)
        return; /* a pause before the next attempt; or about to be released */
    if (!s->upstream.upstream) {
        upstreams_enter(&s->worker->upstreams, &s->upstream, bytes_of_str(s->pipeline->name),
                        s->pipeline->concurrency);
        return;
    }
    if (!s->upstream.is_held)
        return;
    if (session_lease_is_firm(s))
        start(s);
    else
        session_tick_soon(s, 0);
}

void session_on_upstream_turn(struct session *s)
{
    session_try_start(s);
}

/* The visible end comes `handover_margin_ms` before the deadline; of a rest that is hardly
 * longer than the margin, half is used. */
static int64_t ceiling_delay_ms(const struct session *s)
{
    int64_t deadline_ms = store_to_mono_ms(s->worker->store, s->deadline_at_ms);
    int64_t left_ms = deadline_ms - session_now(s);
    int64_t margin_ms = s->bot->handover_margin_ms;
    int64_t least_ms = (left_ms < margin_ms ? left_ms : margin_ms) / 2;
    return left_ms - margin_ms > least_ms ? left_ms - margin_ms : least_ms;
}

static void on_ceiling(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
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
    wheel_timer_init(&s->tick, on_tick, s);
    wheel_timer_init(&s->limit, on_limit, s);
    wheel_timer_init(&s->ceiling, on_ceiling, s);
}

void session_prepare(struct session *s)
{
    s->attempts = 0;
    s->put_bytes = 0;
    s->has_shown = false;
    s->flushed_ms = 0;
    session_set_state(s, SESSION_READY);
    loop_timer_set(s->worker->loop, &s->ceiling, ceiling_delay_ms(s));
    session_tick_soon(s, renew_interval_ms(s));
    session_try_start(s);
}
