#include "base/clock.h"
#include "base/crash_point.h"
#include "base/random.h"
#include "session/session_internal.h"

/* What the store should hold now; NULL while that is what it holds, or while an earlier owner
 * showed more than we have: shown text does not get shorter before it is final. */
static struct bytes text_to_put(const struct session *s)
{
    if (s->bubble != BUBBLE_OPEN)
        return bytes_of(NULL, 0);
    struct bytes visible = s->chat ? session_chat_visible(s) : answer_visible(&s->answer);
    if (visible.len == 0 || visible.len < s->shown.len) {
        bool is_lost = s->must_put && s->shown.len > 0;
        return is_lost ? buf_bytes(&s->shown) : bytes_of(NULL, 0);
    }
    bool is_new = s->must_put || visible.len != s->put_bytes || !s->has_shown;
    return is_new ? visible : bytes_of(NULL, 0);
}

int64_t session_flush_interval_ms(const struct session *s)
{
    const struct config *c = s->worker->config;
    if (s->chat) /* its text is shown by updates, which are not more frequent */
        return s->bot->bosshi.update_interval_ms;
    bool is_large = s->answer.text.len >= (size_t)c->worker.flush_large_bytes;
    return is_large ? c->worker.flush_large_ms : c->worker.flush_ms;
}

int64_t session_renew_interval_ms(const struct session *s)
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
    list_remove(&s->put_place);
    w->puts_in_flight++;
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
    crash_point_of("put.sent", text.ptr ? "text" : "lease");
}

/* A put is due. Few are under way at once over all sessions: a store that is slower than what
 * is asked of it gets each text later and more of it at a time, and no call grows old in a
 * queue. */
static void put_in_turn(struct session *s, struct bytes text)
{
    struct worker *w = s->worker;
    if (w->puts_in_flight < w->max_puts_in_flight)
        put(s, text);
    else if (list_is_empty(&s->put_place))
        list_push_back(&w->put_queue, &s->put_place);
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
    if (s->bubble == BUBBLE_ENDING) {
        s->is_put_pending = true;
        session_finish(s);
        return;
    }
    if (s->bubble != BUBBLE_OPEN)
        session_move(s);
    int64_t now_ms = session_now(s);
    int64_t renew_ms = s->lease_ms + session_renew_interval_ms(s);
    int64_t flush_ms = s->flushed_ms + session_flush_interval_ms(s);
    struct bytes text = text_to_put(s);
    s->queue_sent = s->queue_told;
    if (!text.ptr)
        text = session_queue_text(s, &flush_ms);
    if (text.ptr && (now_ms >= flush_ms || s->must_put)) {
        put_in_turn(s, text);
    } else if (now_ms >= renew_ms || s->must_put) {
        put_in_turn(s, bytes_of(NULL, 0));
    } else {
        if (!text.ptr && session_tells_queue(s))
            flush_ms = now_ms + QUEUE_TEXT_MS;
        bool is_flush = text.ptr || session_tells_queue(s);
        int64_t due_ms = is_flush && flush_ms < renew_ms ? flush_ms : renew_ms;
        loop_timer_set_at(s->worker->loop, &s->tick, due_ms);
    }
}

void session_on_tick(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct session *s = arg;
    if (session_is_live(s))
        tick(s);
}

/* The store lost this record, with all others or alone. What is written down in it besides the
 * text that was just put is gone. */
static void take_loss(struct session *s, const struct store_reply *reply)
{
    s->stored_epoch = reply->epoch;
    s->must_put = s->sent_bytes == 0;
    session_chat_on_loss(s);
}

static void on_put_ok(struct session *s, const struct store_reply *reply)
{
    s->lease_ms = s->call_sent_ms;
    s->failures = 0;
    s->is_put_stalled = false;
    s->must_put = false;
    s->queue_told = s->is_sent_ours ? 0 : s->queue_sent;
    if (s->is_sent_ours) {
        s->put_bytes = s->sent_bytes;
        buf_free(&s->shown); /* ours is as long: see text_to_put */
    }
    if (reply->verdict == VERDICT_OK && reply->epoch != s->stored_epoch)
        take_loss(s, reply);
    session_chat_grow(s);
    session_tick_soon(s, 0);
    if (s->state == SESSION_READY)
        session_try_start(s);
}

static void take_verdict(struct session *s, const struct store_reply *reply)
{
    bool is_our_end = s->bubble == BUBBLE_ENDED && reply->epoch == s->epoch;
    if (reply->verdict == VERDICT_OK && s->bubble == BUBBLE_ENDED) {
        session_set_bubble(s, BUBBLE_ENDING); /* the store lost the end */
        on_put_ok(s, reply);
    } else if (reply->verdict == VERDICT_CLOSED && s->bubble != BUBBLE_CLOSED) {
        s->lease_ms = s->call_sent_ms;
        session_closed(s, reply->reason);
    } else if (reply->verdict == VERDICT_OK || reply->verdict == VERDICT_CLOSED ||
               (reply->verdict == VERDICT_FINAL && is_our_end)) {
        on_put_ok(s, reply);
    } else { /* FENCED; FINAL is another owner's end */
        session_fenced(s);
    }
}

static void take_put_reply(struct session *s, const struct store_reply *reply)
{
    s->is_put_pending = false;
    if (!session_is_live(s))
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
    take_verdict(s, reply);
}

/* The text is looked up when its turn comes, not when it was queued. */
static void on_put(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    struct worker *w = s->worker;
    crash_point_of("put.answered", s->sent_bytes > 0 ? "text" : "lease");
    w->puts_in_flight--;
    if (session_arrived(s))
        take_put_reply(s, reply);
    while (w->puts_in_flight < w->max_puts_in_flight && !list_is_empty(&w->put_queue))
        tick(LIST_ENTRY(list_pop_front(&w->put_queue), struct session, put_place));
}
