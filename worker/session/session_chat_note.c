/* What the store is told of an answer's messages, and how a later owner reads it. */
#include "base/crash_point.h"
#include "session/session_chat_parts.h"

#include <inttypes.h>

#define NO_ID "-"
#define LATE "late"
#define PROMPT "prompt"

enum { NOTE_MAX_BYTES = 128, FORM_BYTES = 24 };

static const char *field_of(const struct session_chat *c)
{
    switch (c->step) {
    case CHAT_DUE:
        return c->is_part ? NOTE_PART : NOTE_CARD;
    case CHAT_SENT:
        return c->said_parts > 0 ? NOTE_SAID : NOTE_CARD_ID;
    default:
        return NOTE_REPLY;
    }
}

/* t or c, and the limit that was shortened: which tells a later owner where the noted part
 * ends, and its uuid. */
static void write_form(const struct session_chat *c, char form[FORM_BYTES])
{
    int len = snprintf(form, FORM_BYTES, "%c", c->is_text ? 't' : 'c');
    if (c->limit > 0)
        snprintf(form + len, FORM_BYTES - (size_t)len, "%zu", c->limit);
}

static void write_note(struct session *s, const char *field, struct buf *out)
{
    const struct session_chat *c = s->chat;
    char form[FORM_BYTES];
    write_form(c, form);
    const char *late = c->is_late ? LATE : PROMPT;
    if (strcmp(field, NOTE_CARD) == 0)
        buf_printf(out, "%" PRId64 " %s c%zu", c->noted_ms, late, c->is_text ? 0 : c->limit);
    else if (strcmp(field, NOTE_PART) == 0)
        buf_printf(out, "%u %zu %s %s %" PRId64, c->said_parts, c->said_bytes, form, late,
                   c->noted_ms);
    else if (strcmp(field, NOTE_SAID) == 0 && c->is_unsure)
        buf_printf(out, "%u %zu %s %s %" PRId64, c->said_parts, c->said_bytes, form, late,
                   c->unsure_code);
    else if (strcmp(field, NOTE_SAID) == 0)
        buf_printf(out, "%u %zu %s %s", c->said_parts, c->said_bytes, form, late);
    else if (strcmp(field, NOTE_REPLY) == 0)
        buf_printf(out, "%s %" PRId64, bosshi_outcome_name(c->outcome), c->code);
    else if (c->card_id.len > 0)
        buf_append(out, buf_bytes(&c->card_id));
    else
        buf_append_str(out, NO_ID);
}

static void after_note(struct session *s)
{
    struct session_chat *c = s->chat;
    chat_set_step(s, c->step == CHAT_DUE      ? CHAT_NOTED
                     : c->step == CHAT_ENDING ? CHAT_OVER
                                              : CHAT_IDLE);
    chat_go_on(s);
}

static void on_noted(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    if (!session_arrived(s))
        return;
    struct session_chat *c = s->chat;
    if (c->stale_notes > 0) { /* answers come in the order of the calls */
        c->stale_notes--;
        return;
    }
    crash_point_of("chat.noted", field_of(c));
    c->is_note_pending = false;
    bool is_ok = reply->outcome == STORE_DONE && reply->verdict == VERDICT_OK;
    bool has_say = session_is_live(s) || chat_is_final(s);
    if (is_ok) {
        after_note(s);
    } else if (!has_say) {
        return; /* the end is being written, which tells the same */
    } else if (reply->outcome == STORE_DONE) {
        session_fenced(s);
    } else {
        metric_add(&session_metrics.store_failures, 1);
        if (chat_is_final(s))
            session_stall(s);
        else
            chat_wait(s, session_now(s) + WAIT_BASE_MS);
    }
}

static void send_note(struct session *s, const char *field, store_cb *cb)
{
    struct store_stream stream = session_stream(s);
    struct buf value;
    buf_init(&value, CHAT_ID_MAX_BYTES + NOTE_MAX_BYTES);
    write_note(s, field, &value);
    s->pending++;
    store_note(s->worker->store, &stream, s->epoch, bytes_of_str(field), buf_bytes(&value), cb,
               s);
    buf_free(&value);
}

void chat_note(struct session *s)
{
    struct session_chat *c = s->chat;
    if (c->step == CHAT_DUE && c->noted_ms == 0)
        c->noted_ms = store_now_ms(s->worker->store);
    c->is_note_pending = true;
    const char *field = field_of(c);
    send_note(s, field, on_noted);
    crash_point_of("chat.note", field);
}

static void on_renoted(const struct store_reply *reply, void *arg)
{
    (void)reply; /* lost once more: the uuid is the same whoever sends */
    session_arrived(arg);
}

void session_chat_on_loss(struct session *s)
{
    struct session_chat *c = s->chat;
    bool is_ours = session_is_live(s) || chat_is_final(s) || s->state == SESSION_FINISHING;
    if (!c || !is_ours)
        return;
    if (c->has_card) {
        send_note(s, NOTE_CARD, on_renoted);
        send_note(s, NOTE_CARD_ID, on_renoted);
    }
    if (c->said_parts > 0)
        send_note(s, NOTE_SAID, on_renoted);
    if (c->step == CHAT_OVER && chat_is_final(s))
        send_note(s, NOTE_REPLY, on_renoted);
}

/* --- where an earlier owner was --- */

static size_t words_of(struct bytes note, struct bytes *words, size_t max)
{
    size_t count = 0;
    while (note.len > 0 && count < max) {
        const char *blank = memchr(note.ptr, ' ', note.len);
        size_t len = blank ? (size_t)(blank - note.ptr) : note.len;
        words[count++] = bytes_of(note.ptr, len);
        len += blank ? 1 : 0;
        note = bytes_of(note.ptr + len, note.len - len);
    }
    return count;
}

/* What `part` and `said` tell. */
struct place {
    uint64_t parts, bytes;
    struct bytes form;
    bool is_late;
    struct bytes more; /* time of the one, code of the other, or empty */
};

static bool read_place(struct bytes note, struct place *p)
{
    struct bytes words[5] = {{0}};
    if (words_of(note, words, 5) < 4)
        return false;
    p->form = words[2];
    p->is_late = bytes_eq_str(words[3], LATE);
    p->more = words[4];
    return bytes_to_u64(words[0], &p->parts) && bytes_to_u64(words[1], &p->bytes);
}

static void take_form(struct session_chat *c, struct bytes form)
{
    uint64_t limit = 0;
    c->is_text = form.len > 0 && form.ptr[0] == 't';
    if (form.len > 1 && bytes_to_u64(bytes_of(form.ptr + 1, form.len - 1), &limit))
        c->limit = (size_t)limit;
    else
        c->limit = 0;
}

static void take_place(struct session *s, const struct place *p)
{
    struct session_chat *c = s->chat;
    c->said_parts = (unsigned)p->parts;
    c->said_bytes = (size_t)p->bytes;
    take_form(c, p->form);
    c->is_late = p->is_late;
}

static bool resume_said(struct session *s, struct bytes note)
{
    struct session_chat *c = s->chat;
    struct place said;
    if (!read_place(note, &said))
        return false;
    take_place(s, &said);
    c->is_unsure = said.more.len > 0 && bytes_to_i64(said.more, &c->unsure_code);
    if (c->is_unsure)
        chat_describe_unsure(s);
    return true;
}

static void resume_send(struct session *s, bool is_part, struct bytes note)
{
    struct session_chat *c = s->chat;
    struct bytes at = {0};
    if (words_of(note, &at, 1) == 0 || !bytes_to_i64(at, &c->noted_ms))
        c->noted_ms = store_now_ms(s->worker->store);
    c->is_part = is_part;
    c->is_repeated = true;
    chat_set_step(s, CHAT_NOTED);
}

static void resume_outcome(struct session *s, struct bytes note)
{
    struct session_chat *c = s->chat;
    struct bytes words[2] = {{0}};
    (void)words_of(note, words, 2);
    c->outcome = BOSSHI_CALL_UNKNOWN;
    for (int i = 0; i < BOSSHI_OUTCOME_COUNT; i++)
        if (bytes_eq_str(words[0], bosshi_outcome_name((enum bosshi_outcome)i)))
            c->outcome = (enum bosshi_outcome)i;
    if (!bytes_to_i64(words[1], &c->code))
        c->code = 0;
    snprintf(c->error, sizeof(c->error), "chat: %s, code %" PRId64,
             bosshi_outcome_name(c->outcome), c->code);
    /* The event follows the dead letter: without it, that is written too. */
    c->is_judged = (s->owed & (OWE_EVENT | OWE_DEAD_LETTER)) == 0;
    chat_set_step(s, CHAT_OVER);
}

static bool resume_part(struct session *s, struct bytes note)
{
    struct place part;
    if (!read_place(note, &part) || part.parts < s->chat->said_parts)
        return false;
    take_place(s, &part);
    resume_send(s, true, part.more);
    return true;
}

static void resume_card(struct session *s, struct bytes note, struct bytes id)
{
    struct session_chat *c = s->chat;
    struct bytes words[3] = {{0}};
    if (words_of(note, words, 3) >= 2)
        c->is_late = bytes_eq_str(words[1], LATE);
    if (note.len > 0)
        take_form(c, words[2].len > 0 ? words[2] : BYTES_LIT("c"));
    c->has_card = id.len > 0;
    if (c->has_card && !bytes_eq_str(id, NO_ID))
        buf_append(&c->card_id, id);
    if (c->has_card)
        c->is_text = false;
}

void session_chat_resume(struct session *s, struct bytes notes)
{
    struct session_chat *c = s->chat;
    if (!c || c->step != CHAT_IDLE)
        return;
    struct bytes card = session_note_of(notes, NOTE_CARD);
    struct bytes reply = session_note_of(notes, NOTE_REPLY);
    resume_card(s, card, session_note_of(notes, NOTE_CARD_ID));
    bool has_said = resume_said(s, session_note_of(notes, NOTE_SAID));
    if (reply.len > 0)
        resume_outcome(s, reply);
    else if (resume_part(s, session_note_of(notes, NOTE_PART)) || has_said)
        return;
    else if (card.len > 0 && !c->has_card)
        resume_send(s, false, card);
}
