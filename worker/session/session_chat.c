#include "session/session_chat_parts.h"

#define BIT(step) (1u << (step))
#define LATE_GAP "\n\n"

/* The platform knows a uuid for an hour (dossier 6.3). */
enum { UUID_GOOD_MS = 55 * 60 * 1000 };

void chat_set_step(struct session *s, enum chat_step step)
{
    static const unsigned may_follow[CHAT_STEP_COUNT] = {
        [CHAT_IDLE] = BIT(CHAT_DUE) | BIT(CHAT_NOTED) | BIT(CHAT_UPDATING) | BIT(CHAT_SENT) |
                      BIT(CHAT_ENDING) | BIT(CHAT_OVER),
        [CHAT_DUE] = BIT(CHAT_NOTED),
        [CHAT_NOTED] = BIT(CHAT_SENDING) | BIT(CHAT_SENT) | BIT(CHAT_ENDING) | BIT(CHAT_OVER),
        [CHAT_SENDING] = BIT(CHAT_NOTED) | BIT(CHAT_SENT) | BIT(CHAT_IDLE) | BIT(CHAT_ENDING) |
                         BIT(CHAT_OVER),
        [CHAT_SENT] = BIT(CHAT_IDLE),
        [CHAT_UPDATING] = BIT(CHAT_IDLE) | BIT(CHAT_SENT) | BIT(CHAT_ENDING) | BIT(CHAT_OVER),
        [CHAT_ENDING] = BIT(CHAT_OVER),
        [CHAT_OVER] = 0,
    };
    BRG_CHECK((may_follow[s->chat->step] & BIT(step)) != 0);
    s->chat->step = step;
}

const struct config_bosshi *chat_app(const struct session *s)
{
    return &s->bot->bosshi;
}

bool chat_is_final(const struct session *s)
{
    return s->state == SESSION_SETTLING;
}

void chat_wait(struct session *s, int64_t due_ms)
{
    if (chat_is_final(s))
        session_linger(s, due_ms);
    else
        loop_timer_set_at(s->worker->loop, &s->chat->timer, due_ms);
}

/* Whatever comes next, where the session's state lets it. */
void chat_go_on(struct session *s)
{
    if (chat_is_final(s))
        session_settle(s);
    else
        session_chat_grow(s);
}

/* --- what it is made of --- */

static void on_timer(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    session_chat_grow(arg);
}

static void set_receiver(struct session *s, const struct message *m)
{
    struct session_chat *c = s->chat;
    enum bosshi_id type = chat_app(s)->receive_id_type;
    struct bytes id = type == BOSSHI_OPEN_ID    ? m->sender_ids.open_id
                      : type == BOSSHI_UNION_ID ? m->sender_ids.union_id
                      : type == BOSSHI_USER_ID  ? m->sender_ids.user_id
                                                : m->chat_id;
    /* A group has no other name, and an id may be missing for want of a permission. */
    if (m->chat_type == CHAT_GROUP || id.len == 0) {
        type = BOSSHI_CHAT_ID;
        id = m->chat_id;
    }
    c->receive_id_type = type;
    c->receive_id = bytes_dup(id);
    c->chat_id = bytes_dup(m->chat_id.len > 0 ? m->chat_id : id);
    c->reply_to = bytes_dup(m->reply_message_id);
    c->tenant = bytes_dup(m->tenant);
}

/* Too old to be answered at all, or old enough for a word about that: what kept it, the
 * platform or a worker that was not there, is all one to the user. */
static void judge_age(struct session *s, const struct message *m)
{
    const struct config_bosshi *app = chat_app(s);
    int64_t now_ms = store_now_ms(s->worker->store);
    int64_t since_ms = m->sent_at_ms > 0 ? m->sent_at_ms : m->received_at_ms;
    s->chat->useful_until_ms = since_ms + app->max_age_ms;
    s->chat->is_late = app->late_text[0] != '\0' && now_ms - since_ms > app->late_after_ms;
    if (now_ms > s->chat->useful_until_ms && s->fate == FATE_ANSWER)
        s->fate = FATE_EXPIRED;
}

void session_chat_wind_clock(struct session *s)
{
    if (!s->chat)
        return;
    int64_t until_ms = store_now_ms(s->worker->store) + s->bot->stream_deadline_ms;
    int64_t useful_ms = s->chat->useful_until_ms;
    s->deadline_at_ms = until_ms < useful_ms ? until_ms : useful_ms;
}

static void reset(struct session *s)
{
    struct session_chat *c = s->chat;
    bool is_card = chat_app(s)->stream == BOSSHI_STREAM_CARD;
    bool is_auto = chat_app(s)->stream == BOSSHI_STREAM_AUTO;
    c->is_text = !is_card && !(is_auto && !bosshi_has_no_cards(s->worker->bosshi, chat_app(s)));
    c->step = CHAT_IDLE;
    c->is_part = c->is_refused = c->has_card = c->is_frozen = false;
    c->is_repeated = c->has_slot = c->is_judged = false;
    c->stale_notes += c->is_note_pending;
    c->is_note_pending = c->is_unsure = false;
    c->said_parts = c->failures = c->updates = 0;
    c->limit = c->said_bytes = c->next_bytes = 0;
    c->noted_ms = c->due_ms = c->updated_ms = 0;
    c->outcome = BOSSHI_CALL_DONE;
    c->code = 0;
    c->error[0] = '\0';
    buf_reset(&c->card_id);
    buf_reset(&c->on_card);
    buf_reset(&c->whole);
}

void session_chat_init(struct session *s)
{
    struct message m;
    struct json *root = NULL;
    if (s->bot->platform != PLATFORM_BOSSHI)
        return;
    struct session_chat *c = BRG_NEW(struct session_chat);
    s->chat = c;
    buf_init(&c->card_id, CHAT_ID_MAX_BYTES);
    buf_init(&c->on_card, session_chat_max_bytes(s));
    buf_init(&c->sending, 2 * session_chat_max_bytes(s));
    buf_init(&c->whole, 2 * session_chat_max_bytes(s));
    wheel_timer_init(&c->timer, on_timer, s);
    BRG_CHECK(session_message(s, &m, &root)); /* it was read when it came */
    set_receiver(s, &m);
    judge_age(s, &m);
    json_free(root);
    reset(s);
}

void session_chat_stop(struct session *s)
{
    struct session_chat *c = s->chat;
    if (!c)
        return;
    loop_timer_cancel(s->worker->loop, &c->timer);
    if (!c->call)
        return;
    bosshi_cancel(c->call);
    c->call = NULL;
    c->is_repeated = true;
    chat_set_step(s, c->step == CHAT_SENDING ? CHAT_NOTED : CHAT_IDLE);
}

void session_chat_clear(struct session *s)
{
    session_chat_stop(s);
    if (s->chat)
        reset(s);
}

void session_chat_free(struct session *s)
{
    struct session_chat *c = s->chat;
    if (!c)
        return;
    session_chat_stop(s);
    buf_free(&c->card_id);
    buf_free(&c->on_card);
    buf_free(&c->sending);
    buf_free(&c->whole);
    free(c->receive_id);
    free(c->reply_to);
    free(c->tenant);
    free(c->chat_id);
    free(c);
    s->chat = NULL;
}

/* --- texts --- */

struct bosshi_limit chat_limit(const struct session *s)
{
    const struct config_bosshi *app = chat_app(s);
    size_t configured = (size_t)(s->chat->is_text ? app->text_limit : app->card_limit);
    size_t count = s->chat->limit > 0 ? s->chat->limit : configured;
    return (struct bosshi_limit){count, app->text_limit_unit};
}

void chat_use_text(struct session *s)
{
    s->chat->is_text = true;
    s->chat->limit = 0;
}

static void append_late(const struct session *s, struct buf *out)
{
    if (!s->chat->is_late)
        return;
    buf_append_str(out, chat_app(s)->late_text);
    buf_append_str(out, LATE_GAP);
}

/* For the answer in a growing card. */
static struct bosshi_limit growing_limit(const struct session *s)
{
    struct bosshi_limit limit = chat_limit(s);
    if (s->chat->is_late) {
        size_t late = strlen(chat_app(s)->late_text) + sizeof(LATE_GAP) - 1;
        limit.count = limit.count > late ? limit.count - late : 0;
    }
    return limit;
}

struct bytes session_chat_visible(const struct session *s)
{
    struct bytes text = buf_bytes(&s->answer.text);
    return bytes_of(text.ptr, s->chat->is_text ? 0 : bosshi_growing(text, growing_limit(s)));
}

/* An earlier owner had another limit, where the one here was shortened. */
static struct bytes shown_that_fits(const struct session *s)
{
    struct bytes text = buf_bytes(&s->shown);
    if (bosshi_fit(text, growing_limit(s)) < text.len)
        text.len = bosshi_growing(text, growing_limit(s));
    return text;
}

/* What the growing card is to show: no more than the store has, so that a later owner never has
 * less. Nothing: what it shows is well. */
static void write_growing(struct session *s, struct buf *out)
{
    struct bytes visible = session_chat_visible(s);
    struct bytes text = bytes_of_str(s->bot->placeholder);
    if (s->put_bytes > 0)
        text = bytes_of(visible.ptr, s->put_bytes < visible.len ? s->put_bytes : visible.len);
    else if (s->shown.len > 0)
        text = shown_that_fits(s);
    else if (s->has_shown)
        text.len = 0; /* the store has lost it, or is away */
    buf_reset(out);
    if (text.len == 0)
        return;
    append_late(s, out);
    buf_append(out, text);
}

struct bytes chat_whole(struct session *s)
{
    struct session_chat *c = s->chat;
    if (!c->is_late)
        return buf_bytes(&s->final);
    if (c->whole.len == 0) {
        append_late(s, &c->whole);
        buf_append(&c->whole, buf_bytes(&s->final));
    }
    return buf_bytes(&c->whole);
}

/* The next part of the final text. The first of a card has all that a growing one showed. */
static void write_part(struct session *s, struct buf *out)
{
    struct session_chat *c = s->chat;
    struct bytes whole = chat_whole(s);
    size_t least = c->is_text ? 0 : bosshi_growing(whole, chat_limit(s));
    buf_reset(out);
    c->next_bytes = bosshi_part(whole, c->said_bytes, least, chat_limit(s), out);
}

/* --- what is next --- */

static void begin_send(struct session *s, bool is_part)
{
    struct session_chat *c = s->chat;
    c->is_part = is_part;
    c->is_repeated = false;
    c->noted_ms = 0;
    chat_set_step(s, CHAT_DUE);
    chat_note(s);
}

static bool is_on_card(const struct session_chat *c)
{
    return c->on_card.len > 0 && bytes_eq(buf_bytes(&c->on_card), buf_bytes(&c->sending));
}

/* With a shortened limit it might be less than the card shows: that stays until the end, which
 * says the rest elsewhere. */
static bool is_perhaps_less(const struct session_chat *c)
{
    bool goes_on =
        c->on_card.len > 0 && bytes_starts_with(buf_bytes(&c->sending), buf_bytes(&c->on_card));
    return c->has_card && c->limit > 0 && !goes_on;
}

/* Platforms are said to drop edits of a message that was edited often, without a word: growing
 * takes at most updates_max of them, ever more apart, and the last one finds room. */
static int64_t update_interval_ms(const struct session *s)
{
    enum { STEPS = 5 };
    const struct config_bosshi *app = chat_app(s);
    int64_t of_a_step = (app->updates_max + STEPS - 1) / STEPS;
    if (chat_is_final(s) || app->updates_max == 0)
        return app->update_interval_ms;
    return app->update_interval_ms << (s->chat->updates / of_a_step);
}

static bool may_grow(const struct session *s)
{
    int64_t most = chat_app(s)->updates_max;
    return most == 0 || s->chat->updates < most;
}

static void replace_card(struct session *s)
{
    struct session_chat *c = s->chat;
    int64_t due_ms = c->updated_ms + update_interval_ms(s);
    if (c->updated_ms > 0 && session_now(s) < due_ms)
        chat_wait(s, due_ms);
    else if (chat_may_call(s))
        chat_update(s);
}

static void grow(struct session *s)
{
    struct session_chat *c = s->chat;
    if (c->is_text)
        return;
    write_growing(s, &c->sending);
    bool is_still = c->is_frozen || (c->has_card && c->card_id.len == 0) || is_on_card(c);
    if (c->sending.len == 0 || is_still || is_perhaps_less(c))
        return;
    if (!c->has_card)
        begin_send(s, false);
    else if (may_grow(s))
        replace_card(s);
}

/* The final text: into the card, or where there is none that takes it into messages of its own.
 */
static void say(struct session *s)
{
    struct session_chat *c = s->chat;
    bool is_first = c->said_parts == 0;
    bool takes_card = !c->is_frozen && (!c->has_card || c->card_id.len > 0);
    bool is_card = is_first && !c->is_text && takes_card;
    if (chat_whole(s).len == 0) {
        snprintf(c->error, sizeof(c->error), "the store has the answer no more");
        chat_end(s, BOSSHI_CALL_STOP, 0);
        chat_note(s);
        return;
    }
    if (is_first && !is_card && !c->is_text)
        chat_use_text(s);
    write_part(s, &c->sending);
    if (!is_card || !c->has_card) {
        begin_send(s, !is_card);
    } else if (is_on_card(c)) {
        chat_take_said(s);
        chat_note(s);
    } else {
        replace_card(s);
    }
}

static void deliver(struct session *s)
{
    struct session_chat *c = s->chat;
    int64_t age_ms = store_now_ms(s->worker->store) - c->noted_ms;
    if (chat_is_final(s))
        write_part(s, &c->sending);
    else
        write_growing(s, &c->sending);
    if (c->is_repeated && age_ms > UUID_GOOD_MS) {
        chat_take_unsure(s, 0);
        chat_go_on(s);
        return;
    }
    if (c->sending.len > 0 && chat_may_call(s))
        chat_send(s);
}

static void act(struct session *s)
{
    struct session_chat *c = s->chat;
    switch (c->step) {
    case CHAT_IDLE:
        if (chat_is_final(s))
            say(s);
        else
            grow(s);
        break;
    case CHAT_DUE:
    case CHAT_SENT:
    case CHAT_ENDING:
        if (!c->is_note_pending)
            chat_note(s);
        break;
    case CHAT_NOTED:
        deliver(s);
        break;
    default:
        if (chat_is_final(s))
            session_linger(s, INT64_MAX);
        break;
    }
}

void session_chat_grow(struct session *s)
{
    if (s->chat && session_is_live(s) && s->bubble == BUBBLE_OPEN)
        act(s);
}

void session_chat_wake(struct session *s)
{
    if (s->chat)
        loop_timer_set(s->worker->loop, &s->chat->timer, 0);
}

/* What the user did not get is a dead letter, whatever else there is. */
static void judge(struct session *s)
{
    struct session_chat *c = s->chat;
    bool is_said = c->outcome == BOSSHI_CALL_DONE;
    bool is_known = c->is_judged || (s->owed & OWE_DEAD_LETTER) != 0;
    c->is_judged = true;
    if (is_known || is_said)
        return;
    s->owed |= OWE_DEAD_LETTER;
    s->dead_reason = "undelivered";
    snprintf(s->error, sizeof(s->error), "%s", c->error);
}

bool session_chat_goes_on(struct session *s)
{
    if (!s->chat || (s->owed & OWE_REPLY) == 0)
        return false;
    if (s->chat->step != CHAT_OVER) {
        act(s);
        return true;
    }
    judge(s);
    session_leave_lane(s);
    return false;
}

bool session_chat_has_begun(const struct session *s)
{
    const struct session_chat *c = s->chat;
    return c->has_card || c->said_parts > 0 || c->step == CHAT_NOTED;
}

void session_chat_describe(const struct session *s, struct answer_event *event)
{
    const struct session_chat *c = s->chat;
    if (!c || c->step != CHAT_OVER)
        return;
    event->said = bosshi_outcome_name(c->outcome);
    event->said_code = c->code;
    event->said_messages = c->said_parts;
}
