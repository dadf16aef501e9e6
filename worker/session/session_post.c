/* The message to response_url, at most one per question: noted in the store before the call and
 * after it. Who finds the first note without the second calls once more, and takes a refusal
 * for the proof that the first call arrived. */
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_internal.h"

#include <inttypes.h>

#define BIT(step) (1u << (step))
#define NOTE_BODY "url"         /* what is, or was, to be sent */
#define NOTE_OUTCOME "url_done" /* outcome and code */

static void set_step(struct session *s, enum post_step step)
{
    static const unsigned may_follow[POST_STEP_COUNT] = {
        [POST_NONE] = BIT(POST_WAITING) | BIT(POST_DUE) | BIT(POST_NOTED) | BIT(POST_OVER),
        [POST_WAITING] = BIT(POST_NONE) | BIT(POST_DUE),
        [POST_DUE] = BIT(POST_NOTED) | BIT(POST_OVER),
        [POST_NOTED] = BIT(POST_CALLING) | BIT(POST_ANSWERED),
        [POST_CALLING] = BIT(POST_NOTED) | BIT(POST_ANSWERED),
        [POST_ANSWERED] = BIT(POST_OVER),
        [POST_OVER] = BIT(POST_ANSWERED), /* its note was lost */
    };
    BRG_CHECK((may_follow[s->post.step] & BIT(step)) != 0);
    s->post.step = step;
}

void session_post_init(struct session *s)
{
    buf_init(&s->post.body, DELIVERY_BODY_MAX_BYTES);
}

/* Whether a call that is stopped has arrived is unknown: as after a crash, it is noted. */
void session_post_stop(struct session *s)
{
    if (!s->post.call)
        return;
    delivery_cancel(s->post.call);
    s->post.call = NULL;
    s->post.is_repeated = true;
    set_step(s, POST_NOTED);
}

void session_post_on_loss(struct session *s)
{
    if (s->post.step == POST_OVER)
        set_step(s, POST_ANSWERED);
    s->post.is_note_lost = s->post.step == POST_NOTED || s->post.step == POST_CALLING ||
                           s->post.step == POST_ANSWERED;
}

void session_post_clear(struct session *s)
{
    session_post_stop(s);
    buf_free(&s->post.body);
    s->post = (struct session_post){0};
    session_post_init(s);
}

/* --- what is sent --- */

static void set_body(struct session *s, enum post_kind kind, struct bytes content)
{
    s->post.kind = kind;
    s->post.due_ms = 0;
    buf_reset(&s->post.body);
    delivery_write(&s->post.body, content);
    set_step(s, POST_DUE);
}

static void set_composed(struct session *s, enum post_kind kind, const char *tail)
{
    struct buf content;
    buf_init(&content, WECOM_CONTENT_MAX_BYTES);
    (void)answer_compose(&s->answer, bytes_of_str(tail), bytes_of_str(s->bot->cut_text),
                         &content);
    set_body(s, kind, buf_bytes(&content));
    buf_free(&content);
}

void session_post_whole(struct session *s)
{
    if (s->answer.text.len == 0 || !session_has_url(s))
        return;
    set_composed(s, POST_WHOLE,
                 s->result == RESULT_WHOLE         ? ""
                 : s->result == RESULT_OUT_OF_TIME ? s->bot->notice_text
                                                   : s->bot->apology_text);
}

void session_post_wait(struct session *s)
{
    int64_t now_ms = session_now(s);
    s->post.kind = (s->owed & OWE_REST) != 0 ? POST_REST : POST_END;
    s->post.asked_ms = now_ms;
    s->post.due_ms = now_ms + s->worker->config->worker.shown_wait_ms;
    set_step(s, POST_WAITING);
}

/* --- notes --- */

struct bytes session_note_of(struct bytes notes, const char *field)
{
    struct bytes name = bytes_of_str(field);
    while (notes.len > 0) {
        const char *end = memchr(notes.ptr, '\n', notes.len);
        size_t len = end ? (size_t)(end - notes.ptr) : notes.len;
        struct bytes line = bytes_of(notes.ptr, len);
        if (len > name.len && bytes_starts_with(line, name) && line.ptr[name.len] == '=')
            return bytes_of(line.ptr + name.len + 1, len - name.len - 1);
        len += end ? 1 : 0;
        notes = bytes_of(notes.ptr + len, notes.len - len);
    }
    return bytes_of("", 0);
}

static void read_outcome(struct session *s, struct bytes note)
{
    const char *space = memchr(note.ptr, ' ', note.len);
    size_t len = space ? (size_t)(space - note.ptr) : note.len;
    struct bytes code = bytes_of(note.ptr + len, note.len - len);
    if (!delivery_outcome_from(bytes_of(note.ptr, len), &s->post.outcome))
        s->post.outcome = DELIVERY_UNKNOWN;
    if (code.len < 2 || !bytes_to_i64(bytes_of(code.ptr + 1, code.len - 1), &s->post.code))
        s->post.code = 0;
}

void session_post_resume(struct session *s, struct bytes notes)
{
    struct bytes body = session_note_of(notes, NOTE_BODY);
    struct bytes outcome = session_note_of(notes, NOTE_OUTCOME);
    if (body.len == 0 || s->post.step != POST_NONE)
        return;
    buf_append(&s->post.body, body);
    s->post.is_repeated = true;
    s->post.kind = (s->owed & OWE_REST) != 0    ? POST_REST
                   : (s->owed & OWE_SHOWN) != 0 ? POST_END
                                                : POST_WHOLE;
    if (s->post.kind == POST_WHOLE && s->answer.text.len == 0) {
        delivery_read(body, &s->answer.text); /* for the event */
        s->result = RESULT_WHOLE;
    }
    if (outcome.len > 0)
        read_outcome(s, outcome);
    set_step(s, outcome.len > 0 ? POST_OVER : POST_NOTED);
}

/* An outcome that was noted while the body got lost is noted again behind it. */
static void take_note(struct session *s)
{
    if (s->post.step == POST_DUE)
        set_step(s, POST_NOTED);
    else if (!s->post.is_body_noting && !s->post.is_note_lost)
        set_step(s, POST_OVER);
    if (s->post.is_body_noting)
        s->post.is_note_lost = false;
}

static void on_noted(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point_of("note.answered", s->post.is_body_noting ? NOTE_BODY : NOTE_OUTCOME);
    if (!session_settling_heard(s, reply))
        return;
    if (reply->verdict != VERDICT_OK) {
        session_fenced(s);
    } else {
        take_note(s);
        session_settle(s);
    }
}

static void note(struct session *s, struct bytes field, struct bytes value)
{
    struct store_stream stream = session_stream(s);
    session_note_dead(s);
    s->is_letter_pending = true;
    s->pending++;
    store_note(s->worker->store, &stream, s->epoch, field, value, on_noted, s);
    crash_point_of("note.sent", field.ptr);
}

static void note_body(struct session *s)
{
    s->post.is_body_noting = true;
    note(s, BYTES_LIT(NOTE_BODY), buf_bytes(&s->post.body));
}

static void note_outcome(struct session *s)
{
    char value[64];
    s->post.is_body_noting = false;
    snprintf(value, sizeof(value), "%s %" PRId64, delivery_outcome_name(s->post.outcome),
             s->post.code);
    note(s, BYTES_LIT(NOTE_OUTCOME), bytes_of_str(value));
}

/* --- the call --- */

/* What was not sent, or not taken, has reached nobody; a refusal of a repeat says that the
 * first call did. */
static void judge(struct session *s)
{
    const struct session_post *r = &s->post;
    bool is_lost =
        r->outcome == DELIVERY_UNSENT || (r->outcome == DELIVERY_REFUSED && !r->is_repeated);
    log_info("session", "response_url", "stream=%s outcome=%s code=%" PRId64, s->id.text,
             delivery_outcome_name(r->outcome), r->code);
    if (!is_lost || r->kind == POST_END || (s->owed & OWE_DEAD_LETTER) != 0)
        return;
    s->owed |= OWE_DEAD_LETTER;
    s->dead_reason = "undelivered";
    snprintf(s->error, sizeof(s->error), "response_url: %s, code %" PRId64,
             delivery_outcome_name(r->outcome), r->code);
}

static void end_call(struct session *s, enum delivery_outcome outcome, int64_t code)
{
    s->post.outcome = outcome;
    s->post.code = code;
    set_step(s, POST_ANSWERED);
    judge(s);
}

static void on_answer(enum delivery_outcome outcome, int64_t code, const char *detail,
                      void *arg)
{
    struct session *s = arg;
    crash_point("call.answered");
    s->post.call = NULL;
    if (outcome == DELIVERY_UNSENT) {
        log_warn("session", "response_url_unsent", "stream=%s why=\"%s\"", s->id.text, detail);
        s->post.due_ms =
            session_now(s) +
            random_backoff_ms(POST_RETRY_BASE_MS, POST_RETRY_CAP_MS, s->post.failures);
        if (s->post.failures < 16)
            s->post.failures++;
        set_step(s, POST_NOTED);
    } else {
        end_call(s, outcome, code);
    }
    if (s->state == SESSION_SETTLING)
        session_settle(s);
}

static void call(struct session *s)
{
    if (!session_has_url(s)) {
        end_call(s, DELIVERY_UNSENT, 0); /* its hour is over */
        session_settle(s);
    } else if (session_now(s) < s->post.due_ms && s->worker->is_draining) {
        session_release(s); /* a next owner can wait as well */
    } else if (session_now(s) < s->post.due_ms) {
        session_move(s); /* who is away may stay so for as long as the message is of use */
        session_linger(s, s->post.due_ms);
    } else if (!session_lease_is_firm(s)) {
        session_renew(s);
    } else {
        set_step(s, POST_CALLING);
        s->post.call =
            delivery_start(s->worker->fetch, s->config, bytes_of_str(s->response_url),
                           buf_bytes(&s->post.body), on_answer, s);
        crash_point("call.sent");
        session_linger(s, INT64_MAX);
    }
}

/* The end as the bubble has it, or more of it, where the rest can follow no more. */
static void send_end(struct session *s)
{
    if (s->result == RESULT_WHOLE && s->answer.text.len > 0)
        set_composed(s, POST_END, "");
    else
        set_body(s, POST_END, buf_bytes(&s->final));
}

static void wait_for_poll(struct session *s)
{
    struct session_post *r = &s->post;
    int64_t now_ms = session_now(s);
    int64_t ask_ms = r->asked_ms + SHOWN_ASK_MS;
    if (ask_ms > r->due_ms)
        ask_ms = r->due_ms;
    bool is_shown = (s->owed & OWE_SHOWN) == 0;
    if (is_shown && r->kind == POST_END)
        set_step(s, POST_NONE);
    else if (is_shown)
        set_body(s, POST_REST, buf_bytes(&s->rest));
    else if (r->asked_ms >= r->due_ms)
        send_end(s);
    else if (now_ms < ask_ms) {
        session_wait(s, ask_ms - now_ms);
        return;
    } else {
        r->asked_ms = now_ms;
        session_renew(s);
        return;
    }
    session_settle(s);
}

bool session_post_goes_on(struct session *s)
{
    if (s->post.is_note_lost && s->post.step != POST_CALLING) {
        note_body(s);
        return true;
    }
    switch (s->post.step) {
    case POST_WAITING:
        wait_for_poll(s);
        return true;
    case POST_DUE:
        note_body(s);
        return true;
    case POST_NOTED:
        call(s);
        return true;
    case POST_CALLING:
        session_linger(s, INT64_MAX);
        return true;
    case POST_ANSWERED:
        note_outcome(s);
        return true;
    default:
        return false;
    }
}
