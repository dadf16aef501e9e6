/* From READY to the start: a place at the pipeline's other side, alone where workers died with
 * the question. */
#include "base/crash_point.h"
#include "log/log.h"
#include "session/session_internal.h"

#include <inttypes.h>

/* Starts without an end (a drain takes its start back). Three without a shown text, or these
 * with: who stood beside a question that kills workers mostly had shown something. */
enum { SUSPECT_STARTS = 3, SUSPECT_STARTS_SHOWN = 6 };
#define NOTE_ALONE "alone"

/* The number of the last start that was alone; 0: none was. */
static unsigned noted_start(struct bytes notes)
{
    static const char name[] = NOTE_ALONE "=";
    int64_t start;
    while (notes.len > 0) {
        const char *end = memchr(notes.ptr, '\n', notes.len);
        size_t len = end ? (size_t)(end - notes.ptr) : notes.len;
        struct bytes line = bytes_of(notes.ptr, len);
        bool is_it = bytes_starts_with(line, BYTES_LIT(NOTE_ALONE "="));
        struct bytes value = bytes_of(line.ptr + sizeof(name) - 1, len - sizeof(name) + 1);
        if (is_it && bytes_to_i64(value, &start) && start > 0)
            return (unsigned)start;
        len += end ? 1 : 0;
        notes = bytes_of(notes.ptr + len, notes.len - len);
    }
    return 0;
}

enum suspicion session_suspicion(const struct store_reply *granted, bool has_text)
{
    unsigned alone = noted_start(granted->notes);
    if (alone > 0 && granted->starts > alone)
        return SUSPICION_POISON;
    unsigned limit = has_text ? SUSPECT_STARTS_SHOWN : SUSPECT_STARTS;
    return alone > 0 || granted->starts >= limit ? SUSPICION_ALONE : SUSPICION_NONE;
}

static void ask_for_place(struct session *s)
{
    const struct config_pipeline *p = s->pipeline;
    struct upstream_terms terms = {
        .name = bytes_of_str(p->name),
        .group = bytes_of_str(s->bot_name),
        .limit = p->concurrency,
        .is_shared = p->bot_count > 1,
        .breaker_failures = p->breaker_failures,
        .breaker_open_ms = p->breaker_open_ms,
        .is_alone = s->is_alone,
    };
    loop_timer_set(s->worker->loop, &s->limit, p->first_text_timeout_ms);
    if (config_has_queue_text(s->bot) && !s->is_put_pending)
        session_tick_soon(s, 0);
    upstreams_enter(&s->worker->upstreams, &s->upstream, &terms);
}

/* --- the place in the queue --- */

bool session_tells_queue(const struct session *s)
{
    return s->state == SESSION_READY && s->bubble == BUBBLE_OPEN &&
           upstream_is_waiting(&s->upstream) && config_has_queue_text(s->bot) &&
           s->shown.len == 0 && s->answer.text.len == 0;
}

/* Nobody before it, or running: the text is taken back, and the placeholder is shown again. */
struct bytes session_queue_text(struct session *s, int64_t *due_ms)
{
    struct buf *out = &s->worker->queue_text;
    size_t ahead = session_tells_queue(s) ? upstream_ahead(&s->upstream) : 0;
    bool is_news = ahead != s->queue_told || (s->must_put && ahead > 0);
    s->queue_sent = ahead;
    if (!is_news || s->bubble != BUBBLE_OPEN)
        return bytes_of(NULL, 0);
    *due_ms = ahead > 0 ? s->flushed_ms + QUEUE_TEXT_MS : 0;
    buf_reset(out);
    if (ahead > 0)
        config_write_queue_text(s->bot, ahead, out);
    return ahead > 0 ? buf_bytes(out) : BYTES_LIT("");
}

/* --- the place --- */

/* A full pipeline is waited for until the visible end, a failing one not longer than for the
 * first text. */
void session_on_place_limit(struct session *s)
{
    if (upstream_is_held(&s->upstream) || upstream_is_sound(&s->upstream)) {
        loop_timer_set(s->worker->loop, &s->limit, s->pipeline->first_text_timeout_ms);
        return;
    }
    if (s->error[0] == '\0')
        snprintf(s->error, sizeof(s->error), "the pipeline's breaker is open");
    session_end(s, REASON_APOLOGY, "failed");
}

static void on_noted(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point("alone.answered");
    if (!session_arrived(s))
        return;
    s->is_note_pending = false;
    if (s->state != SESSION_READY)
        return;
    if (reply->outcome != STORE_DONE) {
        metric_add(&session_metrics.store_failures, 1);
        session_stall(s);
    } else if (reply->verdict == VERDICT_OK) {
        s->is_alone_noted = true;
        session_try_start(s);
    } else {
        session_fenced(s);
    }
}

/* Before the start, so that whoever finds this worker dead knows that nothing else ran. */
static void note_alone(struct session *s)
{
    char start[16];
    struct store_stream stream = session_stream(s);
    if (s->is_note_pending)
        return;
    log_warn("session", "alone", "stream=%s starts=%u", s->id.text, s->starts);
    metric_add(&session_metrics.alone, 1);
    snprintf(start, sizeof(start), "%u", s->starts);
    s->is_note_pending = true;
    s->pending++;
    store_note(s->worker->store, &stream, s->epoch, BYTES_LIT(NOTE_ALONE), bytes_of_str(start),
               on_noted, s);
    crash_point("alone.sent");
}

/* Everything that has to hold before the question goes out: a place, and a lease that nobody
 * else can have taken. What is missing comes here again when it is there. */
void session_try_start(struct session *s)
{
    if (wheel_is_set(&s->wait) || s->worker->is_drain_over)
        return; /* a pause before the next attempt; or about to be released */
    if (!s->upstream.upstream) {
        ask_for_place(s);
        return;
    }
    if (!upstream_is_held(&s->upstream))
        return;
    if (!session_lease_is_firm(s))
        session_tick_soon(s, 0);
    else if (s->is_alone && !s->is_alone_noted)
        note_alone(s);
    else
        session_start(s);
}

void session_on_upstream_turn(struct session *s)
{
    session_try_start(s);
}
