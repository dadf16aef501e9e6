/* The promises. Each is a sentence of README.md. */
#include "protocol.h"

const char *broken;

void promise(bool holds, const char *sentence)
{
    if (!holds && !broken)
        broken = sentence;
}

static bool is_write(uint8_t script)
{
    return script == SCRIPT_PUT || script == SCRIPT_NOTE || script == SCRIPT_FINISH ||
           script == SCRIPT_SETTLE || script == SCRIPT_RELEASE;
}

static bool is_same_end(const struct view *a, const struct view *b)
{
    return a->state == b->state && a->reason == b->reason && a->by_ingress == b->by_ingress &&
           a->text == b->text;
}

/* What holds of a record however it changes, while the store lives. */
static void judge_record(const struct state *s, const struct view *before,
                         const struct view *after)
{
    if (before->state == STREAM_MISSING)
        return;
    promise(before->epoch == 0 || after->epoch >= before->epoch, "an epoch never goes down");
    promise(after->state >= before->state, "a record never goes back to an earlier state");
    promise(before->state != STREAM_FINAL || is_same_end(before, after),
            "a final is final: it never changes");
    promise(before->state != STREAM_FINAL || (after->owed & ~before->owed) == 0,
            "nothing is owed again that was settled");
    promise((before->notes & ~after->notes & (NOTE_TOLD | NOTE_URL_DONE)) == 0,
            "what was noted stays noted");
    bool is_lost = (s->used & (USED_FLUSH | USED_RESTART)) != 0; /* an end is written again */
    bool is_done = after->state == STREAM_FINAL && (after->reason == REASON_DONE || is_lost);
    promise(is_done || text_pieces(after->text) >= text_pieces(before->text),
            "shown text never goes backwards while the store lives");
}

static void judge_claim(struct ghost *g, const struct call *c, const struct view *before,
                        const struct answer *a)
{
    bool is_nothing_left = a->verdict == VERDICT_FINAL && a->view.owed == 0;
    if (a->verdict == VERDICT_HELD || is_nothing_left)
        return;
    bool is_repeat = before->owner != 0 && before->owner == c->owner;
    promise(is_repeat || !before->is_leased, "a live lease is not given to another");
    bool is_higher = a->view.epoch > g->top || (is_repeat && a->view.epoch == g->top);
    promise(g->top == 0 || is_higher, "every grant has a higher epoch");
    g->top = a->view.epoch;
}

static bool is_before(const struct state *s, int earlier, int later)
{
    for (int i = 0; i < s->log_len; i++) {
        if (s->log[i] - 1 == later)
            return false;
        if (s->log[i] - 1 == earlier)
            return true;
    }
    return false;
}

static void judge_lane(const struct state *s, int stream)
{
    for (int other = 0; other < STREAMS; other++)
        if (other != stream && is_before(s, other, stream))
            promise(s->ghost[other].is_ended,
                    "a later question shows nothing before the earlier one's visible end");
}

static void judge_write(struct state *s, const struct call *c, const struct answer *a)
{
    struct ghost *g = &s->ghost[c->stream];
    if (a->verdict != VERDICT_OK)
        return;
    promise(g->top == 0 || c->epoch >= g->top,
            "a fenced writer's call never succeeds after a newer claim");
    if (c->script == SCRIPT_FINISH || (c->script == SCRIPT_PUT && c->arg))
        judge_lane(s, c->stream);
    bool is_intent = c->script == SCRIPT_NOTE && c->arg == NOTE_URL_INTENT;
    if (is_intent && c->owner != OWNER_GONE)
        session_at(s, c->owner - 1)->intent = c->epoch;
    if (c->script == SCRIPT_NOTE && c->arg == NOTE_URL_DONE)
        g->is_effect_noted = 1;
}

static void execute(struct state *s, const struct call *c, struct answer *a)
{
    struct view before = *store_view(s->record[c->stream]);
    uint32_t record = store_run(s->record[c->stream], c, s->is_clock_back, a);
    const struct view *after = store_view(record);
    promise(!store_fault, store_fault);
    bool is_refusal =
        c->script == SCRIPT_CLOSE && (c->arg == REASON_BUSY || c->arg == REASON_LOST);
    promise(!is_refusal || before.state != STREAM_RUN || after->state == STREAM_RUN,
            "what a worker has is neither refused as busy nor lost");
    judge_record(s, &before, after);
    if (c->script == SCRIPT_CLAIM)
        judge_claim(&s->ghost[c->stream], c, &before, a);
    else if (is_write(c->script))
        judge_write(s, c, a);
    s->record[c->stream] = record;
    if (after->state == STREAM_FINAL)
        s->ghost[c->stream].is_ended = 1;
}

/* A call comes late where its sender gave it up, and has another connection since. */
static uint8_t link_of(const struct state *s, int how)
{
    int late = settings.faults[FAULT_LATE] - s->left[FAULT_LATE];
    return (uint8_t)(1 + late - (how == HOW_LATE));
}

bool judged_call(struct state *s, struct call call, int how, struct answer *answer)
{
    bool has_link = call.script == SCRIPT_CLAIM || is_write(call.script);
    if (has_link && call.link == 0)
        call.link = link_of(s, how);
    if (how == HOW_LATE)
        s->late = call;
    if (how == HOW_LATE || how == HOW_NOT_DONE)
        return false;
    execute(s, &call, answer);
    return how == HOW_PLAIN;
}

void judge_told_live(struct state *s, int stream, uint8_t text, bool is_confirmed)
{
    struct ghost *g = &s->ghost[stream];
    uint8_t pieces = (uint8_t)text_pieces(text);
    promise(!is_confirmed || g->told != TOLD_END || !g->is_confirmed,
            "an end that was told is not taken back");
    promise(!is_confirmed || pieces >= g->shown,
            "shown text never goes backwards while the store lives");
    uint8_t stored = (uint8_t)text_pieces(store_view(s->record[stream])->text);
    uint8_t seen = pieces < stored ? pieces : stored; /* the rest is one ingress's memory */
    if (seen > g->shown)
        g->shown = seen;
    if (g->told == TOLD_NOTHING)
        g->told = TOLD_LIVE;
}

void judge_told_end(struct state *s, int stream, uint8_t reason, uint8_t text,
                    bool is_confirmed)
{
    struct ghost *g = &s->ghost[stream];
    if (g->told == TOLD_END && g->is_confirmed)
        promise(reason == g->end && text == g->end_text, "an end that was told is not changed");
    bool is_whole = text_pieces(text) == settings.pieces[stream] &&
                    (text & (TEXT_APOLOGY | TEXT_NOTICE)) == 0;
    promise(reason != REASON_DONE || is_whole, "an answer that is done is whole");
    bool is_lost = (s->used & (USED_FLUSH | USED_RESTART)) != 0;
    if (!is_lost && (reason == REASON_APOLOGY || reason == REASON_DEADLINE))
        promise(text_pieces(text) >= g->shown, "an apology or notice keeps what was shown");
    g->told = TOLD_END;
    g->end = reason;
    g->end_text = text;
    g->is_confirmed = is_confirmed;
    g->is_ended = 1;
}

void judge_effect(struct state *s, int session)
{
    struct ghost *g = &s->ghost[stream_at(s, session)];
    int16_t epoch = session_at(s, session)->epoch;
    promise(session_at(s, session)->intent == epoch,
            "an outside effect has its intent noted before");
    bool is_lease_true = (s->used & (USED_CLOCK | USED_FLUSH | USED_RESTART)) == 0;
    promise(!is_lease_true || !g->is_effect_noted,
            "an outside effect that is noted as done is not repeated");
    promise(!is_lease_true || epoch >= g->top, "an outside effect needs the lease");
}

/* The record's offset is complete: nobody will look at it again. */
void judge_completed(struct state *s, int session)
{
    int stream = stream_at(s, session);
    const struct view *v = store_view(s->record[stream]);
    const struct ghost *g = &s->ghost[stream];
    promise(g->is_ended, "no offset is complete before the visible end");
    promise((g->letters & OWED_EVENT) != 0, "no offset is complete without the event");
    if ((s->used & (USED_FLUSH | USED_RESTART)) != 0)
        return;
    promise(v->state == STREAM_FINAL, "no offset is complete without an end in the store");
    promise(v->owed == 0, "nothing is owed when an offset is complete");
    bool is_dead = v->reason == REASON_APOLOGY || v->reason == REASON_DEADLINE;
    promise(!is_dead || (g->letters & OWED_DLQ) != 0,
            "no offset of a failed question is complete without a dead letter");
}

static bool is_stream_at_rest(const struct state *s, int stream)
{
    const struct ghost *g = &s->ghost[stream];
    uint8_t owed = store_view(s->record[stream])->owed;
    if ((s->used & (USED_FLUSH | USED_RESTART)) != 0)
        owed &= (uint8_t)~g->letters; /* said by an owner whom the store forgot */
    bool is_durable = false;
    for (int i = 0; i < s->log_len; i++)
        is_durable = is_durable || s->log[i] - 1 == stream;
    return s->publish[stream] == PUBLISH_DONE && g->told == TOLD_END &&
           s->bubble[stream].owed_close == 0 && owed == 0 &&
           (!is_durable || (g->letters & OWED_EVENT) != 0);
}

/* Every bubble has ended, all that was read is done and nothing is owed. */
bool judge_is_goal(const struct state *s)
{
    for (int w = 0; w < WORKERS; w++)
        for (int r = 0; r < RECORDS; r++)
            if (s->session[w][r].state != SESSION_NONE)
                return false;
    for (int stream = 0; stream < settings.messages; stream++)
        if (!is_stream_at_rest(s, stream))
            return false;
    return s->committed == s->log_len;
}
