/* The worker's sessions. Each function mirrors the one of worker/session*.c that its comment
 * names; a call and what its answer leads to are one step, because nothing outside sees the
 * time between them. What the session does with response_url follows section 7 of the design:
 * note(intent), call, note(done). */
#include "protocol.h"

#include <string.h>

static struct call call_of(struct state *s, int session, enum script script, uint8_t arg)
{
    return (struct call){
        .script = (uint8_t)script,
        .stream = (uint8_t)stream_at(s, session),
        .arg = arg,
        .epoch = session_at(s, session)->epoch,
    };
}

static bool has(const struct session *se, uint8_t flag)
{
    return (se->flags & flag) != 0;
}

static void set(struct session *se, uint8_t flag)
{
    se->flags |= flag;
}

static void clear(struct session *se, unsigned flags)
{
    se->flags &= (uint8_t)~flags;
}

/* session_drop */
void worker_drop(struct state *s, int session)
{
    world_disown(s, session);
    memset(session_at(s, session), 0, sizeof(struct session));
}

/* session_settled, finals_add, bus_consumer_complete */
static void settled(struct state *s, int session)
{
    struct session *se = session_at(s, session);
    if (se->final != 0 && !has(se, IS_CLOSED))
        s->kept[session / RECORDS][stream_at(s, session)] = (struct kept_final){
            .epoch = se->epoch, .text = se->final, .reason = se->reason, .is_kept = 1};
    if (!has(se, IS_STALE)) {
        judge_completed(s, session);
        s->done |= (uint8_t)(1U << (session % RECORDS));
    }
    worker_drop(s, session);
}

/* wait_for_owner */
static void wait_for_owner(struct state *s, int session)
{
    struct session *se = session_at(s, session);
    se->state = SESSION_WAITING;
    if (has(se, IS_REVOKED))
        worker_drop(s, session);
}

static void forget_owner(struct state *s, int session)
{
    world_disown(s, session);
    clear(session_at(s, session), HAS_OWNER);
}

/* session_fenced */
static void fenced(struct state *s, int session)
{
    struct session *se = session_at(s, session);
    forget_owner(s, session);
    se->epoch = 0;
    se->made = se->have = se->put = se->shown = se->final = 0;
    se->owed = se->unsettled = se->url = 0;
    clear(se, MUST_PUT | IS_CLOSED | IS_FIRM);
    wait_for_owner(s, session);
}

/* session_enter_settling: the lane is free */
static void enter_settling(struct session *se)
{
    se->made = se->have = se->put = se->shown = 0;
    se->state = SESSION_SETTLING;
    set(se, IS_OUT);
}

/* session_closed */
static void closed(struct state *s, int session, uint8_t reason)
{
    struct session *se = session_at(s, session);
    bool has_response_url = stream_at(s, session) == 0;
    if (!has(se, IS_CLOSED)) {
        set(se, IS_CLOSED);
        se->reason = reason;
        se->owed = OWED_EVENT;
        if (reason == REASON_DEADLINE || reason == REASON_LOST)
            se->owed |= OWED_DLQ;
        se->final = 0;
    }
    if (!has_response_url)
        se->url = URL_DONE;
    enter_settling(se);
}

/* compose (session_end.c) */
static uint8_t compose(const struct session *se, int worker)
{
    uint8_t text = text_of(worker, se->have);
    if (se->reason == REASON_DONE)
        return text;
    if (text_pieces(text) < text_pieces(se->shown))
        text = se->shown & (TEXT_PIECES | TEXT_WRITER);
    return text | (se->reason == REASON_DEADLINE ? TEXT_NOTICE : TEXT_APOLOGY);
}

/* session_finish, on_finished */
void worker_finish(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    struct call c = call_of(s, session, SCRIPT_FINISH, se->reason);
    struct answer a;
    c.text = se->final;
    c.owed = se->owed;
    if (!judged_call(s, c, how, &a))
        return;
    if (a.verdict == VERDICT_OK) {
        set(se, IS_FIRM);
        if (!settings.is_put_due_after_end)
            clear(se, MUST_PUT);
        if (settings.is_settle_before_letter)
            se->unsettled = se->owed;
        enter_settling(se);
    } else if (a.verdict == VERDICT_CLOSED) {
        set(se, IS_FIRM);
        closed(s, session, (uint8_t)a.view.reason);
    } else {
        fenced(s, session);
    }
}

/* session_end */
void worker_end(struct state *s, int session, int reason, int how)
{
    struct session *se = session_at(s, session);
    if (reason == REASON_DONE) {
        uint8_t all = settings.pieces[stream_at(s, session)];
        se->have = (uint8_t)(se->have + all - se->made);
        se->made = all;
    }
    se->reason = (uint8_t)reason;
    se->owed = OWED_EVENT;
    if (reason != REASON_DONE)
        se->owed |= OWED_DLQ;
    se->final = compose(se, session / RECORDS);
    se->state = SESSION_FINISHING;
    worker_finish(s, session, how);
}

/* take_up */
static void take_up(struct state *s, int session, const struct answer *a)
{
    struct session *se = session_at(s, session);
    if (se->final != 0) { /* only a seeded bug claims with an end in hand */
        se->state = SESSION_FINISHING;
        return;
    }
    se->shown = a->view.text;
    se->state = SESSION_RUNNING;
    if (s->bubble[stream_at(s, session)].phase == PHASE_DEADLINE) {
        worker_end(s, session, REASON_DEADLINE, HOW_PLAIN);
        return;
    }
    se->put = se->made = 0; /* session_prepare */
}

/* take_closed */
static void take_closed(struct state *s, int session, const struct answer *a)
{
    if ((a->view.notes & NOTE_TOLD) != 0)
        settled(s, session);
    else
        closed(s, session, (uint8_t)a->view.reason);
}

/* on_claimed after take_grant */
static void granted(struct state *s, int session, const struct answer *a)
{
    struct session *se = session_at(s, session);
    /* is_answered */
    bool is_answered = a->verdict == VERDICT_GRANTED && a->view.notes != 0;
    if (a->verdict == VERDICT_FINAL && a->view.owed == 0) {
        se->final = 0; /* the end is another's */
        settled(s, session);
    } else if (has(se, IS_REVOKED)) {
        se->state = SESSION_RELEASING;
    } else if (a->verdict == VERDICT_FINAL) { /* take_owed */
        se->owed = a->view.owed;
        se->final = a->view.text;
        enter_settling(se);
    } else if (a->verdict == VERDICT_CLOSED || is_answered) {
        take_closed(s, session, a);
    } else {
        take_up(s, session, a);
    }
}

/* session_claim, on_claimed */
void worker_claim(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    struct answer a;
    if (!has(se, HAS_OWNER))
        world_disown(s, session);
    set(se, HAS_OWNER);
    struct call c = call_of(s, session, SCRIPT_CLAIM, 0);
    c.owner = (uint8_t)(session + 1);
    c.epoch = 0;
    if (!judged_call(s, c, how, &a)) {
        se->state = SESSION_WAITING;
        if (has(se, IS_REVOKED))
            worker_drop(s, session);
        return;
    }
    if (a.verdict == VERDICT_HELD) {
        forget_owner(s, session);
        wait_for_owner(s, session);
        return;
    }
    if (a.view.epoch != 0) { /* take_grant */
        if (se->epoch != a.view.epoch && se->url == URL_INTENDED)
            se->url = URL_NOT; /* an intent is the epoch's own */
        se->epoch = a.view.epoch;
        if ((a.view.notes & NOTE_URL_DONE) != 0)
            se->url = URL_DONE;
        set(se, IS_FIRM);
        if (a.view.reason != REASON_NONE)
            se->reason = (uint8_t)a.view.reason;
    }
    granted(s, session, &a);
}

/* text_to_put */
static uint8_t text_to_put(const struct session *se, int worker)
{
    bool is_shorter = !settings.is_takeover_eager && se->have < text_pieces(se->shown);
    if (se->have == 0 || is_shorter)
        return has(se, MUST_PUT) ? se->shown : 0;
    bool is_new = has(se, MUST_PUT) || se->have != se->put;
    return is_new ? text_of(worker, se->have) : 0;
}

/* put, on_put, on_put_ok; the pipeline has come to `pieces` before */
void worker_put(struct state *s, int session, int pieces, int how)
{
    struct session *se = session_at(s, session);
    struct answer a;
    if (pieces > 0) {
        se->have = (uint8_t)(se->have + pieces - se->made);
        se->made = (uint8_t)pieces;
    }
    uint8_t text = text_to_put(se, session / RECORDS);
    bool is_ours = text != 0 && text == text_of(session / RECORDS, se->have);
    promise(!is_ours || se->have == se->made, "an answer holds the text of one run only");
    struct call c = call_of(s, session, SCRIPT_PUT, text != 0);
    c.text = text;
    if (!judged_call(s, c, how, &a)) {
        se->put = 0;
    } else if (a.verdict == VERDICT_OK) {
        set(se, IS_FIRM);
        clear(se, MUST_PUT);
        if (is_ours) {
            se->put = se->have;
            se->shown = 0;
        }
    } else if (a.verdict == VERDICT_CLOSED) {
        set(se, IS_FIRM);
        closed(s, session, (uint8_t)a.view.reason);
    } else {
        fenced(s, session);
    }
}

/* session_release, on_released */
void worker_release(struct state *s, int session, int how)
{
    struct answer a;
    judged_call(s, call_of(s, session, SCRIPT_RELEASE, 0), how, &a);
    worker_drop(s, session);
}

/* --- what is owed --- */

/* write_end_again: finish is the next step, or this one's call */
static void to_end_again(struct session *se)
{
    clear(se, MUST_PUT);
    se->state = SESSION_FINISHING;
}

/* session_renew, take_renewal */
static void renew(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    struct answer a;
    if (!judged_call(s, call_of(s, session, SCRIPT_PUT, 0), how, &a))
        return;
    bool is_ours = a.view.epoch == se->epoch && !has(se, IS_CLOSED);
    if (a.verdict == VERDICT_FENCED || (a.verdict == VERDICT_FINAL && !is_ours)) {
        fenced(s, session);
        return;
    }
    set(se, IS_FIRM);
    if (has(se, IS_CLOSED) || a.verdict == VERDICT_FINAL)
        return;
    if (a.verdict == VERDICT_CLOSED)
        closed(s, session, (uint8_t)a.view.reason);
    else if (se->final != 0)
        to_end_again(se);
}

/* settle_in_store, on_settled */
static void settle_in_store(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    uint8_t item = (se->unsettled & OWED_DLQ) != 0 ? OWED_DLQ : OWED_EVENT;
    struct answer a;
    if (!judged_call(s, call_of(s, session, SCRIPT_SETTLE, item), how, &a))
        return;
    if (a.verdict != VERDICT_OK) {
        fenced(s, session);
        return;
    }
    se->unsettled &= (uint8_t)~item;
    if (a.view.state != STREAM_FINAL && se->final != 0)
        to_end_again(se);
}

static void note_url(struct state *s, int session, uint8_t note, uint8_t then, int how)
{
    struct session *se = session_at(s, session);
    struct answer a;
    struct call c = call_of(s, session, SCRIPT_NOTE, note);
    c.owner = (uint8_t)(session + 1);
    if (!judged_call(s, c, how, &a))
        return;
    if (a.verdict == VERDICT_OK)
        se->url = then;
    else
        fenced(s, session);
}

/* One more step of response_url. */
static void deliver(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    bool is_before = settings.is_effect_before_note;
    if (se->url == URL_CALLED) {
        note_url(s, session, NOTE_URL_DONE, URL_DONE, how);
    } else if (se->url == URL_NOT && !is_before) {
        note_url(s, session, NOTE_URL_INTENT, URL_INTENDED, how);
    } else if (!has(se, IS_FIRM)) {
        renew(s, session, how);
    } else {
        judge_effect(s, session);
        se->url = URL_CALLED;
        note_url(s, session, NOTE_URL_DONE, URL_DONE, how);
    }
}

/* note_told, on_told: two calls, whatever becomes of them */
static void note_told(struct state *s, int session, int how)
{
    struct answer a;
    judged_call(s, call_of(s, session, SCRIPT_NOTE, NOTE_TOLD), how, &a);
    judged_call(s, call_of(s, session, SCRIPT_RELEASE, 0), how == HOW_LATE ? HOW_PLAIN : how,
                &a);
    settled(s, session);
}

/* produce, on_delivered, letter_done, and the store told of it (settle_in_store) */
static void produce(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    uint8_t item = (se->owed & OWED_DLQ) != 0 ? OWED_DLQ : OWED_EVENT;
    s->ghost[stream_at(s, session)].letters |= item;
    se->owed &= (uint8_t)~item;
    if (has(se, IS_CLOSED))
        return;
    se->unsettled |= item;
    settle_in_store(s, session, how);
}

/* session_settle */
void worker_settle(struct state *s, int session, int how)
{
    struct session *se = session_at(s, session);
    bool is_closed = has(se, IS_CLOSED);
    if (has(se, MUST_PUT) && !is_closed && se->final != 0) {
        if (settings.is_end_dropped && has(se, IS_REVOKED)) {
            se->state = SESSION_RELEASING;
            return;
        }
        to_end_again(se);
        if (settings.is_put_due_after_end)
            worker_claim(s, session, how);
        else
            worker_finish(s, session, how);
    } else if (se->unsettled != 0) {
        settle_in_store(s, session, how);
    } else if (is_closed && se->url != URL_DONE) {
        deliver(s, session, how);
    } else if (se->owed == 0 && is_closed) {
        note_told(s, session, how);
    } else if (se->owed == 0) {
        settled(s, session);
    } else if (!has(se, IS_FIRM)) {
        renew(s, session, how);
    } else {
        produce(s, session, how);
    }
}

/* A session enters the lane when its record is read; those of an earlier assignment did before.
 */
bool worker_has_turn(const struct state *s, int session)
{
    const struct session *row = s->session[session / RECORDS];
    int mine = session % RECORDS;
    for (int r = 0; r < RECORDS; r++) {
        bool is_in_lane = row[r].state != SESSION_NONE && !has(&row[r], IS_OUT);
        bool is_older = has(&row[r], IS_STALE) && !has(&row[mine], IS_STALE);
        bool is_as_old = has(&row[r], IS_STALE) == has(&row[mine], IS_STALE);
        if (r != mine && is_in_lane && (is_older || (is_as_old && r < mine)))
            return settings.is_lane_ignored;
    }
    return true;
}
