/* The calls for an answer's messages, and what their outcomes mean. */
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_chat_parts.h"

#include <inttypes.h>

enum {
    CHAT_RETRY_BASE_MS = 500,
    CHAT_RETRY_CAP_MS = 10000,
    CHAT_WAIT_MAX_MS = 300000, /* a longer wait asked for is looked at again */
    CODE_UUID_IN_USE = 230049, /* the same message is being sent, or was */
    IN_USE_TRIES = 3,
    LIMIT_LEAST = 100, /* as of the settings: what is no longer is refused for something else */
    CONTENT_FRAME_BYTES = 4096,
};

/* A call is an outside effect: not before its time, not without a firm lease, and not faster
 * than its chat takes it. False: it comes here again. */
bool chat_may_call(struct session *s)
{
    struct session_chat *c = s->chat;
    int64_t now_ms = session_now(s);
    if (now_ms < c->due_ms) {
        chat_wait(s, c->due_ms);
        return false;
    }
    if (!session_lease_is_firm(s)) {
        if (chat_is_final(s))
            session_renew(s);
        else
            session_tick_soon(s, 0);
        return false;
    }
    if (!c->has_slot)
        c->slot_ms = bosshi_pace(s->worker->bosshi, chat_app(s), bytes_of_str(c->chat_id));
    c->has_slot = now_ms < c->slot_ms;
    if (c->has_slot)
        chat_wait(s, c->slot_ms);
    return !c->has_slot;
}

void chat_end(struct session *s, enum bosshi_outcome outcome, int64_t code)
{
    s->chat->outcome = outcome;
    s->chat->code = code;
    /* While it grows nothing is noted: a next owner finds out for itself. */
    chat_set_step(s,
                  chat_is_final(s) || s->state == SESSION_FINISHING ? CHAT_ENDING : CHAT_OVER);
}

static void keep_error(struct session *s, const struct bosshi_result *r)
{
    log_warn("session", "chat", "stream=%s outcome=%s why=\"%.*s\"", s->id.text,
             bosshi_outcome_name(r->outcome), (int)r->log_bytes, r->detail);
    snprintf(s->chat->error, sizeof(s->chat->error), "%s", r->detail);
}

/* False: it was tried often enough. The stream's own time is always given to it. */
static bool try_later(struct session *s, const struct bosshi_result *r)
{
    struct session_chat *c = s->chat;
    bool is_over = chat_is_final(s) && c->failures + 1 >= (unsigned)chat_app(s)->api_attempts &&
                   store_now_ms(s->worker->store) >= s->deadline_at_ms;
    int64_t asked_ms =
        r->retry_after_ms < CHAT_WAIT_MAX_MS ? r->retry_after_ms : CHAT_WAIT_MAX_MS;
    int64_t pause_ms = random_backoff_ms(CHAT_RETRY_BASE_MS, CHAT_RETRY_CAP_MS, c->failures);
    if (is_over)
        return false;
    if (asked_ms > 0) /* spread over a little more: others wait for the same moment */
        pause_ms = asked_ms + pause_ms / 4;
    c->due_ms = session_now(s) + pause_ms;
    if (c->failures < 16)
        c->failures++;
    return true;
}

static bool is_for_later(enum bosshi_outcome outcome)
{
    return outcome == BOSSHI_CALL_RETRY || outcome == BOSSHI_CALL_REFRESH ||
           outcome == BOSSHI_CALL_UNKNOWN;
}

/* The card is in the chat; what it shows is known only if this was the first try. */
static void take_card(struct session *s, struct bytes id)
{
    struct session_chat *c = s->chat;
    c->has_card = true;
    buf_reset(&c->card_id);
    if (id.len <= CHAT_ID_MAX_BYTES && !memchr(id.ptr ? id.ptr : "", '\n', id.len))
        buf_append(&c->card_id, id);
    buf_reset(&c->on_card);
    if (!c->is_repeated)
        buf_append(&c->on_card, buf_bytes(&c->sending));
    chat_set_step(s, CHAT_SENT);
}

void chat_take_said(struct session *s)
{
    struct session_chat *c = s->chat;
    c->said_parts++;
    c->said_bytes = c->next_bytes;
    c->noted_ms = 0;
    if (c->said_bytes < chat_whole(s).len)
        chat_set_step(s, CHAT_SENT);
    else if (c->is_unsure)
        chat_end(s, BOSSHI_CALL_UNKNOWN, c->unsure_code);
    else
        chat_end(s, BOSSHI_CALL_DONE, 0);
}

void chat_describe_unsure(struct session *s)
{
    struct session_chat *c = s->chat;
    snprintf(c->error, sizeof(c->error), "message %u: unknown whether taken, code %" PRId64,
             c->said_parts, c->unsure_code);
}

void chat_take_unsure(struct session *s, int64_t code)
{
    struct session_chat *c = s->chat;
    log_warn("session", "chat_unsure", "stream=%s message=%u code=%" PRId64, s->id.text,
             c->said_parts + 1, code);
    if (c->is_part) {
        c->is_unsure = true;
        c->unsure_code = code;
        chat_take_said(s);
        chat_describe_unsure(s);
    } else {
        take_card(s, BYTES_LIT(""));
    }
    c->failures = 0;
    c->is_repeated = false;
}

static void take_sent(struct session *s, const struct bosshi_result *r)
{
    struct session_chat *c = s->chat;
    if (!c->is_text)
        bosshi_card_taken(s->worker->bosshi, chat_app(s));
    else if (c->is_refused)
        bosshi_card_refused(s->worker->bosshi, chat_app(s), c->is_known_code);
    c->is_refused = false;
    if (c->is_part)
        chat_take_said(s);
    else
        take_card(s, r->message_id);
    c->is_repeated = false;
    if (c->step == CHAT_SENT && !c->is_part)
        c->noted_ms = 0;
}

/* Neither the platform's bound nor its unit is known: half of what was refused is tried, as
 * often as that makes sense. False: it does not. */
static bool shorten(struct session *s)
{
    struct bosshi_limit limit = chat_limit(s);
    size_t refused = bosshi_count(buf_bytes(&s->chat->sending), limit.unit);
    if (refused <= LIMIT_LEAST)
        return false;
    s->chat->limit = refused / 2 > LIMIT_LEAST ? refused / 2 : LIMIT_LEAST;
    s->chat->failures = 0;
    return true;
}

/* Less is sent from the same place on, as another message. Never of a card that may be in the
 * chat: its repeat may have more text than what was taken, and be refused for that. A part's
 * repeat is the same to the byte. */
static void take_too_long(struct session *s, const struct bosshi_result *r)
{
    struct session_chat *c = s->chat;
    if (!c->is_part && c->is_repeated) {
        chat_take_unsure(s, r->code);
    } else if (shorten(s)) {
        chat_set_step(s, CHAT_IDLE);
    } else if (!c->is_text) {
        chat_use_text(s);
        chat_set_step(s, CHAT_IDLE);
    } else {
        chat_end(s, BOSSHI_CALL_STOP, r->code);
    }
}

static void on_sent(struct session *s, const struct bosshi_result *r)
{
    struct session_chat *c = s->chat;
    bool is_in_use =
        r->code == CODE_UUID_IN_USE && c->is_repeated && c->failures >= IN_USE_TRIES;
    if (r->outcome == BOSSHI_CALL_DONE || is_in_use) {
        c->failures = 0;
        take_sent(s, r);
        return;
    }
    keep_error(s, r);
    bool is_refused = r->outcome == BOSSHI_CALL_NO_CARD || r->outcome == BOSSHI_CALL_STOP;
    if (r->outcome == BOSSHI_CALL_TOO_LONG) {
        take_too_long(s, r);
    } else if (is_refused && c->is_part && c->is_repeated && !r->is_known) {
        chat_take_unsure(s, r->code);
    } else if (r->outcome == BOSSHI_CALL_NO_CARD && !c->is_text) {
        chat_use_text(s);
        /* A repeat may be refused only because the first was taken. */
        c->is_refused =
            chat_app(s)->stream == BOSSHI_STREAM_AUTO && !c->has_card && !c->is_repeated;
        c->is_known_code = r->is_known;
        c->noted_ms = 0;
        chat_set_step(s, CHAT_IDLE);
    } else if (is_for_later(r->outcome) && try_later(s, r)) {
        c->is_repeated = c->is_repeated || r->outcome == BOSSHI_CALL_UNKNOWN;
        chat_set_step(s, CHAT_NOTED);
    } else {
        chat_end(s, r->outcome, r->code);
    }
}

static void on_updated(struct session *s, const struct bosshi_result *r)
{
    struct session_chat *c = s->chat;
    bool is_done = r->outcome == BOSSHI_CALL_DONE;
    c->updates += is_done || r->outcome == BOSSHI_CALL_UNKNOWN;
    bool is_shorter = r->outcome == BOSSHI_CALL_TOO_LONG && shorten(s);
    if (!is_shorter) /* else the card surely shows what it did */
        buf_reset(&c->on_card);
    if (is_done) {
        c->failures = 0;
        buf_append(&c->on_card, buf_bytes(&c->sending));
    } else {
        keep_error(s, r);
    }
    bool is_frozen = r->outcome == BOSSHI_CALL_NO_CARD ||
                     (r->outcome == BOSSHI_CALL_TOO_LONG && !is_shorter);
    if (is_frozen)
        c->is_frozen = true; /* the answer comes in a message of its own */
    if (is_done || is_shorter || is_frozen || (is_for_later(r->outcome) && try_later(s, r)))
        chat_set_step(s, CHAT_IDLE);
    else
        chat_end(s, r->outcome, r->code);
}

static void on_call(const struct bosshi_result *result, void *arg)
{
    struct session *s = arg;
    struct session_chat *c = s->chat;
    bool is_update = c->step == CHAT_UPDATING;
    crash_point_of("chat.answered", is_update ? "update" : c->is_part ? NOTE_PART : NOTE_CARD);
    c->call = NULL;
    c->updated_ms = session_now(s);
    bosshi_pace_over(s->worker->bosshi, chat_app(s), bytes_of_str(c->chat_id));
    if (is_update)
        on_updated(s, result);
    else
        on_sent(s, result);
    chat_go_on(s);
}

static void write_content(const struct session *s, bool is_card, struct bytes text,
                          struct buf *out)
{
    buf_init(out, 6 * text.len + CONTENT_FRAME_BYTES + 6 * strlen(chat_app(s)->card_header));
    if (is_card)
        bosshi_write_card(out, bytes_of_str(chat_app(s)->card_header), text);
    else
        bosshi_write_text(out, text);
}

void chat_send(struct session *s)
{
    struct session_chat *c = s->chat;
    char uuid[BOSSHI_UUID_MAX + 1];
    struct buf content;
    int len = snprintf(uuid, sizeof(uuid), "%s-%c%u", s->id.text, c->is_text ? 't' : 'c',
                       c->said_parts);
    if (c->limit > 0) /* what was refused was another message */
        snprintf(uuid + len, sizeof(uuid) - (size_t)len, ".%zu", c->limit);
    write_content(s, !c->is_text, buf_bytes(&c->sending), &content);
    struct bosshi_outgoing message = {
        .is_card = !c->is_text,
        .content = buf_bytes(&content),
        .receive_id_type = c->receive_id_type,
        .receive_id = bytes_of_str(c->receive_id),
        .reply_to = bytes_of_str(c->reply_to),
        .uuid = bytes_of_str(uuid),
    };
    chat_set_step(s, CHAT_SENDING);
    c->call = bosshi_send(s->worker->bosshi, chat_app(s), bytes_of_str(c->tenant), &message,
                          on_call, s);
    crash_point_of("chat.sent", c->is_part ? NOTE_PART : NOTE_CARD);
    buf_free(&content);
    if (chat_is_final(s))
        session_linger(s, INT64_MAX);
}

void chat_update(struct session *s)
{
    struct session_chat *c = s->chat;
    struct buf content;
    write_content(s, true, buf_bytes(&c->sending), &content);
    chat_set_step(s, CHAT_UPDATING);
    c->call = bosshi_update(s->worker->bosshi, chat_app(s), bytes_of_str(c->tenant),
                            buf_bytes(&c->card_id), buf_bytes(&content), on_call, s);
    crash_point_of("chat.sent", "update");
    buf_free(&content);
    if (chat_is_final(s))
        session_linger(s, INT64_MAX);
}
