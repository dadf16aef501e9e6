#include "base/clock.h"
#include "base/crash_point.h"
#include "log/log.h"
#include "session/session_internal.h"

#include <inttypes.h>

/* The user saw the end: the lane is free. */
void session_enter_settling(struct session *s)
{
    if (s->state != SESSION_SETTLING)
        session_set_state(s, SESSION_SETTLING);
    if (!s->chat || (s->owed & OWE_REPLY) == 0) /* else it has to be said first */
        session_leave_lane(s);
    session_settle(s);
}

/* The store lost the end, or may have: it is written once more under the same epoch, together
 * with what is still owed. What is unsettled stays so, for a store that lost nothing. A claim
 * would meet our own lease: only a claim names its owner, so a record that one of our writes
 * made again has a lease and no owner. */
static void write_end_again(struct session *s)
{
    s->must_put = false;
    s->dead_noted = "";
    session_post_on_loss(s);
    loop_timer_cancel(s->worker->loop, &s->wait);
    session_set_bubble(s, BUBBLE_ENDING);
    session_set_state(s, SESSION_FINISHING);
    session_finish(s);
}

/* A text that was too old to be read, when the end was an earlier owner's, is nobody's to
 * write.
 */
static bool has_end(const struct session *s)
{
    return s->has_stream && s->bubble == BUBBLE_ENDED && s->final.len > 0;
}

bool session_settling_heard(struct session *s, const struct store_reply *reply)
{
    if (!session_arrived(s))
        return false;
    s->is_letter_pending = false;
    if (s->state != SESSION_SETTLING)
        return false;
    if (reply->outcome == STORE_DONE)
        return true;
    metric_add(&session_metrics.store_failures, 1);
    session_stall(s);
    return false;
}

static void on_settled(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point_of("settle.answered", session_item_name(s->settling));
    if (!session_settling_heard(s, reply))
        return;
    if (reply->verdict != VERDICT_OK) {
        session_fenced(s);
    } else {
        s->unsettled &= ~s->settling;
        s->must_put = s->must_put || reply->state != STREAM_FINAL; /* the store lost the end */
        session_settle(s);
    }
}

const char *session_item_name(unsigned item)
{
    switch (item) {
    case OWE_DEAD_LETTER:
        return "dlq";
    case OWE_EVENT:
        return "event";
    case OWE_SHOWN:
        return "shown";
    case OWE_REST:
        return "rest";
    case OWE_LATE:
        return "late";
    case OWE_REPLY:
        return "reply";
    default:
        return NULL;
    }
}

unsigned session_items_of(struct bytes owed)
{
    unsigned set = 0;
    while (owed.len > 0) {
        const char *comma = memchr(owed.ptr, ',', owed.len);
        size_t len = comma ? (size_t)(comma - owed.ptr) : owed.len;
        struct bytes item = bytes_of(owed.ptr, len);
        for (unsigned bit = 1; session_item_name(bit); bit <<= 1)
            set |= bytes_eq_str(item, session_item_name(bit)) ? bit : 0;
        len += comma ? 1 : 0;
        owed = bytes_of(owed.ptr + len, owed.len - len);
    }
    return set;
}

/* It is done; the store is told, so that no later owner does it again. */
static void settle_in_store(struct session *s)
{
    unsigned item = s->unsettled & ~(s->unsettled - 1); /* the lowest */
    struct store_stream stream = session_stream(s);
    s->is_letter_pending = true;
    s->settling = item;
    s->pending++;
    store_settle(s->worker->store, &stream, s->epoch, bytes_of_str(session_item_name(item)),
                 on_settled, s);
    crash_point_of("settle.sent", session_item_name(item));
    if (item == OWE_DEAD_LETTER && has_end(s))
        session_note_dead(s);
}

static void letter_done(struct session *s, unsigned item)
{
    s->refusals = 0;
    s->owed &= ~item;
    if (s->has_stream &&
        s->bubble != BUBBLE_CLOSED) /* a closed stream is noted once, when all is said */
        s->unsettled |= item;
    session_settle(s);
}

static bool is_outline(const struct session *s)
{
    return s->refusals >= REFUSALS_MAX;
}

/* Neither the partition waits for a letter that can never be written, nor is it forgotten in
 * silence. */
static void lose_letter(struct session *s, unsigned item, const char *why)
{
    const struct letters *l = &s->worker->letters;
    struct bus_message_info info;
    bus_message_info(s->record, &info);
    log_error("session", "letter_lost",
              "stream=%s item=%s reason=%s topic=%s record=%s/%d/%" PRId64 " why=\"%s\"",
              s->id.text, session_item_name(item), item == OWE_EVENT ? "" : s->dead_reason,
              item == OWE_EVENT ? l->events : l->dlq, info.topic, (int)info.partition,
              info.offset, why);
    metric_add(&session_metrics.letters_lost, 1);
    letter_done(s, item);
}

/* `is_final`: by ourselves, whatever lies beside it. */
static void refuse_letter(struct session *s, unsigned item, bool is_final, const char *why)
{
    bool was_outline = is_outline(s);
    s->refusals = !is_final ? s->refusals + 1 : was_outline ? 2 * REFUSALS_MAX : REFUSALS_MAX;
    log_warn("session", "letter_refused", "stream=%s item=%s outline=%d why=\"%s\"", s->id.text,
             session_item_name(item), was_outline, why);
    metric_add(&session_metrics.letter_failures, 1);
    if (s->refusals >= 2 * REFUSALS_MAX)
        lose_letter(s, item, why);
    else
        session_stall(s);
}

static void on_delivered(struct session *s, unsigned item, enum brg_err err, const char *reason)
{
    crash_point_of("letter.reported", session_item_name(item));
    if (!session_arrived(s))
        return;
    s->is_letter_pending = false;
    if (s->state != SESSION_SETTLING)
        return;
    if (err == BRG_OK) {
        metric_add(item == OWE_EVENT ? &session_metrics.events : &session_metrics.dead_letters,
                   1);
        letter_done(s, item);
        return;
    }
    if (err == BRG_REJECT) {
        refuse_letter(s, item, false, reason ? reason : "");
        return;
    }
    log_warn("session", "letter_failed", "stream=%s item=%s why=\"%s\"", s->id.text,
             session_item_name(item), reason ? reason : "");
    metric_add(&session_metrics.letter_failures, 1);
    session_stall(s);
}

static void on_dead_letter(enum brg_err err, const char *reason, void *arg)
{
    on_delivered(arg, OWE_DEAD_LETTER, err, reason);
}

static void on_event(enum brg_err err, const char *reason, void *arg)
{
    on_delivered(arg, OWE_EVENT, err, reason);
}

/* Nothing failed where a question was only too old. */
static const char *dead_error(const struct session *s)
{
    bool is_old = s->error[0] == '\0' && strcmp(s->dead_reason, "expired") == 0;
    return is_old ? "not begun while an answer was of use" : s->error;
}

static enum brg_err produce_dead_letter(struct session *s)
{
    struct dead_letter letter = {
        .reason = s->dead_reason,
        .error = dead_error(s),
        .attempts = s->attempts,
        .first_ms = s->claimed_at_ms > 0 ? s->claimed_at_ms : clock_wall_ms(),
        .last_ms = s->ended_at_ms > 0 ? s->ended_at_ms : clock_wall_ms(),
        .is_outline = is_outline(s),
    };
    return letters_dead(&s->worker->letters, s->record, &letter, on_dead_letter, s);
}

static const char *outcome_of(const struct session *s)
{
    if (s->bubble == BUBBLE_CLOSED)
        return "closed";
    bool is_late = (s->owed & OWE_LATE) != 0 && s->result == RESULT_WHOLE;
    return is_late ? "late" : stream_reason_name(s->reason);
}

/* The whole answer where there is one, whatever of it was shown. */
static struct bytes text_of(const struct session *s)
{
    bool is_whole = s->result == RESULT_WHOLE && s->answer.text.len > 0;
    bool is_unseen = s->bubble == BUBBLE_CLOSED || (s->owed & OWE_LATE) != 0;
    bool is_answer = is_whole || (is_unseen && s->answer.text.len > 0);
    return buf_bytes(is_answer ? &s->answer.text : &s->final);
}

static enum brg_err produce_event(struct session *s)
{
    struct message m;
    struct json *root = NULL;
    if (!session_message(s, &m, &root)) {
        json_free(root);
        return BRG_REJECT;
    }
    struct answer_event event = {
        .outcome = outcome_of(s),
        .pipeline = s->pipeline ? s->pipeline->name : "",
        .text = text_of(s),
        .is_outline = is_outline(s),
        .attempts = s->attempts,
        .starts = s->starts,
        .claimed_ms = s->claimed_at_ms,
        .first_text_ms = s->first_text_at_ms,
        .ended_ms = s->ended_at_ms,
        .prompt_tokens = s->prompt_tokens,
        .completion_tokens = s->completion_tokens,
    };
    if (s->post.step == POST_OVER) {
        static const char *const kinds[] = {
            [POST_WHOLE] = "whole", [POST_REST] = "rest", [POST_END] = "end"};
        event.delivered = kinds[s->post.kind];
        event.delivery = delivery_outcome_name(s->post.outcome);
        event.delivery_code = s->post.code;
    }
    session_chat_describe(s, &event);
    enum brg_err err = letters_answer(&s->worker->letters, &m, &event, on_event, s);
    json_free(root);
    return err;
}

static void produce(struct session *s, unsigned item)
{
    if (item == OWE_DEAD_LETTER)
        session_note_dead(s);
    s->is_letter_pending = true;
    s->pending++;
    enum brg_err err = item == OWE_DEAD_LETTER ? produce_dead_letter(s) : produce_event(s);
    crash_point_of("letter.produced", session_item_name(item));
    if (err == BRG_OK)
        return;
    s->pending--;
    s->is_letter_pending = false;
    if (err == BRG_RETRY)
        session_stall(s);
    else
        refuse_letter(s, item, true, "no record can hold it");
}

static void on_told(const struct store_reply *reply, void *arg)
{
    (void)reply; /* not noted: a later reader of this record says it once more */
    struct session *s = arg;
    crash_point_of("told.answered", "release");
    if (session_arrived(s) && s->state == SESSION_SETTLING)
        session_settled(s);
}

static void on_untold(const struct store_reply *reply, void *arg)
{
    (void)reply;
    crash_point_of("told.answered", "note");
    session_arrived(arg);
}

/* All is said about a stream that ingress had closed: noted, so that it is said once, and the
 * lease given up for whoever reads a repeat. */
static void note_told(struct session *s)
{
    struct store_stream stream = session_stream(s);
    s->pending += 2;
    store_note(s->worker->store, &stream, s->epoch, BYTES_LIT("told"), BYTES_LIT("1"),
               on_untold, s);
    crash_point_of("told.sent", "note");
    store_release(s->worker->store, &stream, s->epoch, on_told, s);
    crash_point_of("told.sent", "release");
}

/* --- the lease, meanwhile --- */

static void take_renewal(struct session *s, const struct store_reply *reply)
{
    bool is_closed = s->bubble == BUBBLE_CLOSED;
    bool is_ours = reply->verdict == VERDICT_FINAL && reply->epoch == s->epoch && !is_closed;
    if (reply->verdict == VERDICT_FENCED || (reply->verdict == VERDICT_FINAL && !is_ours)) {
        session_fenced(s);
        return;
    }
    s->lease_ms = s->call_sent_ms;
    if (is_ours) {
        s->owed &= session_items_of(reply->owed) | ~(unsigned)OWE_SHOWN;
        session_settle(s);
    } else if (reply->verdict == VERDICT_CLOSED && !is_closed) {
        session_closed(s, reply->reason);
    } else if (has_end(s) && !is_closed) {
        write_end_again(s);
    } else {
        session_settle(s);
    }
}

static void on_renewed(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point("renew.answered");
    if (session_settling_heard(s, reply))
        take_renewal(s, reply);
}

void session_renew(struct session *s)
{
    struct worker *w = s->worker;
    if (!s->has_stream || s->is_letter_pending)
        return;
    struct store_stream stream = session_stream(s);
    s->is_letter_pending = true;
    s->call_sent_ms = clock_mono_ms();
    s->pending++;
    store_put(w->store, &stream, s->epoch, bytes_of(NULL, 0), w->config->worker.lease_ms,
              on_renewed, s);
    crash_point("renew.sent");
}

void session_linger(struct session *s, int64_t due_ms)
{
    int64_t now_ms = session_now(s);
    int64_t renew_ms = s->lease_ms + session_renew_interval_ms(s);
    if (now_ms >= renew_ms)
        session_renew(s);
    else
        session_wait(s, (due_ms < renew_ms ? due_ms : renew_ms) - now_ms);
}

/* Marks of what was done for the user: the last to go, because with them a later owner has
 * nothing to do any more. */
static void settle_marks(struct session *s)
{
    s->unsettled = s->owed;
    s->owed = 0;
    settle_in_store(s);
}

/* The next thing owed, one at a time. Letters and calls are outside effects: only under a firm
 * lease. */
void session_settle(struct session *s)
{
    const unsigned letters = OWE_DEAD_LETTER | OWE_EVENT;
    bool is_closed = s->bubble == BUBBLE_CLOSED;
    if (s->is_letter_pending)
        return;
    if (s->must_put && has_end(s)) {
        write_end_again(s);
        return;
    }
    if (s->must_put) {
        s->must_put = false; /* the end is not ours to write */
        session_post_on_loss(s);
    }
    if (s->unsettled != 0)
        settle_in_store(s);
    else if (session_post_goes_on(s) || session_chat_goes_on(s))
        return;
    else if ((s->owed & letters) != 0 && s->has_stream && !session_lease_is_firm(s))
        session_renew(s);
    else if ((s->owed & letters) != 0)
        produce(s, (s->owed & OWE_DEAD_LETTER) != 0 ? OWE_DEAD_LETTER : OWE_EVENT);
    else if (s->owed != 0 && !is_closed && s->has_stream)
        settle_marks(s);
    else if (is_closed && s->has_stream)
        note_told(s);
    else
        session_settled(s);
}
