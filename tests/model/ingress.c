/* The ingress. Functions mirror those of ingress/{publish,refresh,recall,render}.c that their
 * comments name. Publishing 0 and 1 are the two messages, 2 is the platform's repeat of the
 * first. A poll is answered before the next one of the same bubble comes. */
#include "protocol.h"

#include <string.h>

static int stream_of(int publish)
{
    return publish == 2 ? 0 : publish;
}

static bool call(struct state *s, int stream, enum script script, uint8_t arg, int how,
                 struct answer *a)
{
    struct call c = {.script = (uint8_t)script, .stream = (uint8_t)stream, .arg = arg};
    bool was_missing = s->record[stream] == 0;
    bool is_answered = judged_call(s, c, how, a);
    if (was_missing && s->record[stream] != 0)
        s->bubble[stream].is_unknown_over = 0;
    return is_answered;
}

/* What an answer is rendered from: `struct record` of render.h. */
struct seen {
    uint8_t known; /* KNOWN_NOT: the store has no record */
    uint8_t text, reason, is_by_ingress;
    bool is_confirmed; /* the store said so, and not only the memory */
};

/* record_of */
static struct seen seen_of(const struct view *v)
{
    static const uint8_t known[] = {KNOWN_NOT, KNOWN_UNKNOWN, KNOWN_LIVE, KNOWN_LIVE,
                                    KNOWN_FINAL};
    return (struct seen){
        .known = known[v->state],
        .text = v->text,
        .reason = (uint8_t)v->reason,
        .is_by_ingress = v->by_ingress,
        .is_confirmed = true,
    };
}

static struct seen recalled(const struct bubble *b)
{
    return (struct seen){b->known, b->text, b->reason, b->is_by_ingress, false};
}

/* take_over (recall.c) */
static void recall_note(struct bubble *b, const struct seen *r)
{
    bool is_final = r->known == KNOWN_FINAL;
    if (b->known == KNOWN_FINAL && !is_final)
        return;
    if (r->text != 0 && (is_final || text_pieces(r->text) > text_pieces(b->text)))
        b->text = r->text;
    if (r->known == KNOWN_UNKNOWN && b->known != KNOWN_NOT)
        return;
    b->known = r->known;
    b->reason = r->reason;
    b->is_by_ingress = r->is_by_ingress;
}

/* render_due */
static uint8_t due(const struct bubble *b, const struct seen *r)
{
    if (r->known == KNOWN_UNKNOWN && (b->is_unknown_over || b->phase == PHASE_DEADLINE))
        return REASON_LOST;
    return r->known == KNOWN_LIVE && b->phase == PHASE_DEADLINE ? REASON_DEADLINE : REASON_NONE;
}

/* answer, render */
static void answer(struct state *s, int stream, const struct seen *r)
{
    struct bubble *b = &s->bubble[stream];
    recall_note(b, r);
    b->poll = POLL_IDLE;
    if (r->known != KNOWN_FINAL) {
        judge_told_live(s, stream, r->text, r->is_confirmed);
        return;
    }
    bool is_text_kept = !r->is_by_ingress || r->reason == REASON_DEADLINE;
    judge_told_end(s, stream, r->reason, is_text_kept ? r->text : 0, r->is_confirmed);
}

/* answer_from_memory (refresh.c), and what publish.c says without the store */
static void answer_from_memory(struct state *s, int stream)
{
    struct bubble *b = &s->bubble[stream];
    struct seen r = recalled(b);
    if (r.known == KNOWN_NOT)
        r.known = KNOWN_UNKNOWN;
    uint8_t reason = due(b, &r);
    if (reason != REASON_NONE) {
        b->owed_close = reason;
        r.known = KNOWN_FINAL;
        r.reason = reason;
        r.is_by_ingress = 1;
    }
    answer(s, stream, &r);
}

/* decide, merge */
static void decide(struct state *s, int stream, struct seen *r)
{
    struct bubble *b = &s->bubble[stream];
    r->is_confirmed = r->text != 0 || b->text == 0;
    if (r->text == 0)
        r->text = b->text;
    uint8_t reason = due(b, r);
    if (reason == REASON_NONE) {
        answer(s, stream, r);
        return;
    }
    b->poll = reason == REASON_LOST ? POLL_LOST : POLL_DEADLINE;
    if (s->ghost[stream].told == TOLD_NOTHING)
        s->ghost[stream].told = TOLD_LIVE; /* whoever waits is answered by what follows */
}

/* on_missing */
static void on_missing(struct state *s, int stream, struct seen *r)
{
    struct bubble *b = &s->bubble[stream];
    struct seen known = recalled(b);
    if (known.known == KNOWN_FINAL)
        answer(s, stream, &known);
    else if (known.known == KNOWN_LIVE)
        b->poll = POLL_OPENING;
    else if (r->known == KNOWN_NOT)
        b->poll = POLL_OPENING_UNKNOWN;
    else
        decide(s, stream, r);
}

/* take */
static void take(struct state *s, int stream, const struct view *v)
{
    struct seen r = seen_of(v);
    if (r.known == KNOWN_NOT || r.known == KNOWN_UNKNOWN) {
        on_missing(s, stream, &r);
        return;
    }
    if (r.known == KNOWN_FINAL && !r.is_by_ingress && !v->is_shown) {
        struct answer noted;
        call(s, stream, SCRIPT_SHOWN, 0, HOW_PLAIN, &noted);
    }
    decide(s, stream, &r);
}

/* read_record, open_record, close_record and their callbacks */
void ingress_poll(struct state *s, int stream, int how)
{
    struct bubble *b = &s->bubble[stream];
    struct answer a = {0};
    bool is_answered = how == HOW_PLAIN;
    if (b->poll == POLL_IDLE && is_answered) {
        struct view v = *store_view(s->record[stream]);
        take(s, stream, &v);
        return;
    }
    if (b->poll == POLL_OPENING_UNKNOWN || b->poll == POLL_OPENING) {
        uint8_t as = b->poll == POLL_OPENING ? STREAM_OPEN : STREAM_UNKNOWN;
        is_answered = call(s, stream, SCRIPT_OPEN, as, how, &a);
    } else if (b->poll != POLL_IDLE) {
        uint8_t reason = b->poll == POLL_LOST ? REASON_LOST : REASON_DEADLINE;
        is_answered = call(s, stream, SCRIPT_CLOSE, reason, how, &a);
    }
    if (!is_answered) {
        answer_from_memory(s, stream);
        return;
    }
    struct seen r = seen_of(&a.view);
    decide(s, stream, &r);
}

/* --- publish.c --- */

/* on_accepted, say_busy */
static void produce(struct state *s, int publish, bool is_acknowledged)
{
    int stream = stream_of(publish);
    if (!is_acknowledged) {
        s->publish[publish] = PUBLISH_CLOSING;
        s->landing[publish] = 1;
        return;
    }
    world_append(s, stream);
    struct seen r = recalled(&s->bubble[stream]);
    answer(s, stream, &r);
}

/* publish_start, on_opened */
static void open_and_produce(struct state *s, int publish, bool is_acknowledged, int how)
{
    int stream = stream_of(publish);
    struct bubble *b = &s->bubble[stream];
    struct answer a;
    struct seen opened = {.known = KNOWN_LIVE};
    recall_note(b, &opened); /* set_times */
    bool is_answered = call(s, stream, SCRIPT_OPEN, STREAM_OPEN, how, &a);
    if (is_answered) {
        struct seen r = seen_of(&a.view);
        recall_note(b, &r);
    }
    s->publish[publish] = PUBLISH_DONE;
    if (is_answered && (a.view.state == STREAM_RUN || a.view.state == STREAM_FINAL))
        take(s, stream, &a.view);
    else if (b->known == KNOWN_FINAL) /* is_over_in_memory */
        answer_from_memory(s, stream);
    else
        produce(s, publish, is_acknowledged);
}

/* on_closed, answer_busy_without_store */
static void publish_close(struct state *s, int publish, int how)
{
    int stream = stream_of(publish);
    struct answer a;
    s->publish[publish] = PUBLISH_DONE;
    if (call(s, stream, SCRIPT_CLOSE, REASON_BUSY, how, &a)) {
        take(s, stream, &a.view);
        return;
    }
    s->bubble[stream].owed_close = REASON_BUSY;
    if (s->bubble[stream].known == KNOWN_FINAL) {
        answer_from_memory(s, stream);
        return;
    }
    struct seen busy = {.known = KNOWN_FINAL, .reason = REASON_BUSY, .is_by_ingress = 1};
    answer(s, stream, &busy);
}

void ingress_publish(struct state *s, int publish, bool is_acknowledged, int how)
{
    if (s->publish[publish] == PUBLISH_IDLE)
        open_and_produce(s, publish, is_acknowledged, how);
    else
        publish_close(s, publish, how);
}

/* Its memory is gone, and a callback that it had not answered comes again: the platform repeats
 * it, unless another answer ended the question. What it was producing may reach the log all the
 * same. */
void ingress_crash(struct state *s)
{
    for (int i = 0; i < STREAMS; i++) {
        struct bubble *b = &s->bubble[i];
        *b = (struct bubble){.is_unknown_over = b->is_unknown_over, .phase = b->phase};
    }
    for (int p = 0; p < PUBLISHES; p++) {
        bool is_over = p == 2 || s->ghost[stream_of(p)].told == TOLD_END;
        if (s->publish[p] == PUBLISH_CLOSING)
            s->publish[p] = is_over ? PUBLISH_DONE : PUBLISH_IDLE;
    }
}
