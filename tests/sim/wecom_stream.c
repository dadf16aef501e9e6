#include "wecom_stream.h"

#include "base/clock.h"
#include "base/random.h"
#include "json/json_writer.h"
#include "wecom_rules.h"

enum { MSGID_BYTES = 16, REASON_BYTES = 512 };

struct wecom_stream {
    struct loop *loop;
    struct wecom_link *link;
    struct wecom_call *call; /* NULL while waiting for the next refresh */
    struct wheel_timer timer;
    char *user, *chat_id, *response_url;
    int64_t poll_ms;
    int64_t due_us; /* of the message or refresh on its way */
    int64_t limit_ms;
    int64_t deadline_ms; /* the platform polls no longer */
    bool is_message_only;
    char stream_id[WECOM_STREAM_ID_MAX];
    size_t stream_id_len; /* 0 until the first answer */
    struct wecom_stream_callbacks callbacks;
    void *arg;
};

static void stream_free(struct wecom_stream *s)
{
    loop_timer_cancel(s->loop, &s->timer);
    free(s->user);
    free(s->chat_id);
    free(s->response_url);
    free(s);
}

static void end_stream(struct wecom_stream *s, enum wecom_end end, const char *reason)
{
    struct wecom_stream_callbacks callbacks = s->callbacks;
    void *arg = s->arg;
    stream_free(s);
    callbacks.on_end(end, reason, arg);
}

/* The members that messages and refreshes share. */
static void write_head(struct wecom_stream *s, struct json_writer *w, const char *msgtype)
{
    uint8_t id[MSGID_BYTES];
    char hex[2 * MSGID_BYTES];
    crypto_random(wecom_link_crypto(s->link), id, sizeof(id));
    crypto_hex(id, sizeof(id), hex);
    json_begin(w, wecom_link_begin(s->link));
    json_open(w, NULL, '{');
    json_str(w, "msgid", bytes_of(hex, sizeof(hex)));
    json_str(w, "aibotid", BYTES_LIT("aibSIMULATED"));
    if (s->chat_id)
        json_str(w, "chatid", bytes_of_str(s->chat_id));
    json_str(w, "chattype", bytes_of_str(s->chat_id ? "group" : "single"));
    json_open(w, "from", '{');
    json_str(w, "userid", bytes_of_str(s->user));
    json_close(w, '}');
    json_str(w, "msgtype", bytes_of_str(msgtype));
}

static void on_repeat(const char *reason, unsigned deliveries, void *arg)
{
    struct wecom_stream *s = arg;
    if (s->callbacks.on_repeat)
        s->callbacks.on_repeat(reason, deliveries, s->arg);
}

/* Refreshes keep their rhythm whatever an answer took, but never overlap. */
static void schedule_refresh(struct wecom_stream *s)
{
    int64_t interval_us = s->poll_ms * (900 + (int64_t)random_below(201));
    int64_t now_ms = loop_now_ms(s->loop);
    int64_t due_ms = (s->due_us + interval_us) / 1000;
    if (due_ms < now_ms)
        due_ms = now_ms;
    if (due_ms > s->deadline_ms)
        due_ms = s->deadline_ms;
    s->due_us = due_ms * 1000;
    loop_timer_set_at(s->loop, &s->timer, due_ms);
}

static void show(struct wecom_stream *s, const struct wecom_reply *reply, bool is_first)
{
    struct wecom_shown shown = {
        .is_first = is_first,
        .is_finished = reply->is_finished,
        .content = reply->content,
        .latency_us = clock_mono_us() - s->due_us,
    };
    s->callbacks.on_shown(&shown, s->arg);
}

static void end_badly(struct wecom_stream *s, enum wecom_end end, const char *reason)
{
    char text[REASON_BYTES];
    const char *asked = s->stream_id_len ? "refresh" : "message";
    (void)snprintf(text, sizeof(text), "%s: %s", asked, reason);
    end_stream(s, end, text);
}

static void on_answer(const struct wecom_answer *answer, void *arg)
{
    struct wecom_stream *s = arg;
    struct wecom_reply reply;
    struct brg_error error = {0};
    bool is_first = s->stream_id_len == 0;
    s->call = NULL;
    if (answer->outcome != WECOM_ANSWERED) {
        end_badly(s,
                  answer->outcome == WECOM_UNANSWERED ? WECOM_END_UNANSWERED
                                                      : WECOM_END_BROKEN_RULE,
                  answer->reason);
        return;
    }
    struct bytes known = bytes_of(s->stream_id, s->stream_id_len);
    if (wecom_reply_judge(answer->text, known, &reply, &error) != BRG_OK) {
        end_badly(s, WECOM_END_BROKEN_RULE, error.text);
        return;
    }
    memcpy(s->stream_id, reply.stream_id.ptr, reply.stream_id.len);
    s->stream_id_len = reply.stream_id.len;
    bool is_over = reply.is_finished || s->is_message_only;
    show(s, &reply, is_first);
    json_free(reply.root);
    if (is_over)
        end_stream(s, WECOM_END_FINISHED, "");
    else
        schedule_refresh(s);
}

static const struct wecom_call_callbacks call_callbacks = {on_repeat, on_answer};

static void refresh(struct wecom_stream *s)
{
    struct json_writer w;
    write_head(s, &w, "stream");
    json_open(&w, "stream", '{');
    json_str(&w, "id", bytes_of(s->stream_id, s->stream_id_len));
    json_close(&w, '}');
    json_close(&w, '}');
    s->call = wecom_call_start(s->link, &call_callbacks, s);
}

static void on_refresh_due(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct wecom_stream *s = arg;
    char reason[REASON_BYTES];
    if (loop_now_ms(s->loop) < s->deadline_ms) {
        refresh(s);
        return;
    }
    (void)snprintf(reason, sizeof(reason),
                   "no finish:true within %lld s of the message: the bubble stays open",
                   (long long)(s->limit_ms / 1000));
    end_stream(s, WECOM_END_BROKEN_RULE, reason);
}

static void send_message(struct wecom_stream *s, struct bytes question)
{
    struct json_writer w;
    write_head(s, &w, "text");
    if (s->response_url)
        json_str(&w, "response_url", bytes_of_str(s->response_url));
    json_open(&w, "text", '{');
    json_str(&w, "content", question);
    json_close(&w, '}');
    json_close(&w, '}');
    s->call = wecom_call_start(s->link, &call_callbacks, s);
}

struct wecom_stream *wecom_stream_start(struct loop *loop, struct wecom_link *link,
                                        const struct wecom_ask *ask,
                                        const struct wecom_stream_callbacks *callbacks,
                                        void *arg)
{
    struct wecom_stream *s = BRG_NEW(struct wecom_stream);
    s->loop = loop;
    s->link = link;
    s->user = brg_strdup(ask->user);
    s->chat_id = ask->chat_id ? brg_strdup(ask->chat_id) : NULL;
    s->response_url = ask->response_url ? brg_strdup(ask->response_url) : NULL;
    s->poll_ms = ask->poll_ms;
    s->due_us = ask->due_us;
    s->limit_ms = ask->limit_ms;
    s->deadline_ms = loop_now_ms(loop) + ask->limit_ms;
    s->is_message_only = ask->is_message_only;
    s->callbacks = *callbacks;
    s->arg = arg;
    wheel_timer_init(&s->timer, on_refresh_due, s);
    send_message(s, ask->question);
    return s;
}

void wecom_stream_cancel(struct wecom_stream *s)
{
    if (!s)
        return;
    wecom_call_cancel(s->call);
    stream_free(s);
}
