#include "letters.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "json/json_writer.h"

#include <inttypes.h>

enum { NUMBER_CHARS = 24, KEY_MAX_BYTES = 4096 };

void letters_init(struct letters *l, struct bus_producer *producer, struct crypto *crypto,
                  const char *topic_prefix)
{
    l->producer = producer;
    l->crypto = crypto;
    bus_topic_name(l->dlq, topic_prefix, BUS_DLQ);
    bus_topic_name(l->events, topic_prefix, BUS_EVENTS);
    bus_topic_name(l->late, topic_prefix, BUS_LATE);
}

struct header_list {
    struct bus_header headers[BUS_HEADERS_MAX];
    size_t count;
    size_t max;
};

static void add_header(const char *name, struct bytes value, void *arg)
{
    struct header_list *list = arg;
    if (list->count < list->max)
        list->headers[list->count++] = (struct bus_header){name, value};
}

enum brg_err letters_dead(struct letters *l, const struct bus_message *record,
                          const struct dead_letter *letter, bus_delivery_cb *cb, void *arg)
{
    enum { OWN_HEADERS = 6 };
    char attempts[NUMBER_CHARS], first[NUMBER_CHARS], last[NUMBER_CHARS];
    struct header_list list = {.max = BUS_HEADERS_MAX - OWN_HEADERS};
    struct bus_message_info info;
    bus_message_info(record, &info);
    bus_message_each_header(record, add_header, &list);

    list.max = BUS_HEADERS_MAX;
    snprintf(attempts, sizeof(attempts), "%u", letter->attempts);
    snprintf(first, sizeof(first), "%" PRId64, letter->first_ms);
    snprintf(last, sizeof(last), "%" PRId64, letter->last_ms);
    add_header("bb-reason", bytes_of_str(letter->reason), &list);
    add_header("bb-attempts", bytes_of_str(attempts), &list);
    add_header("bb-error", bytes_of_str(letter->error), &list);
    add_header("bb-first", bytes_of_str(first), &list);
    add_header("bb-last", bytes_of_str(last), &list);
    if (letter->is_outline)
        add_header("bb-value", BYTES_LIT("dropped"), &list);

    struct bytes value = letter->is_outline ? BYTES_LIT("") : info.value;
    struct bus_record out = {l->dlq, info.key, value, list.headers, list.count};
    return bus_produce(l->producer, &out, cb, arg);
}

enum brg_err letters_late(struct letters *l, const struct bus_message *record,
                          bus_delivery_cb *cb, void *arg)
{
    struct header_list list = {.max = BUS_HEADERS_MAX};
    struct bus_message_info info;
    bus_message_info(record, &info);
    bus_message_each_header(record, add_header, &list);
    struct bus_record out = {l->late, info.key, info.value, list.headers, list.count};
    return bus_produce(l->producer, &out, cb, arg);
}

static void write_conversation(struct json_writer *w, const struct message *m,
                               struct bytes conversation)
{
    json_open(w, "conversation", '{');
    json_str(w, "id", conversation);
    json_str(w, "type", bytes_of_str(m->chat_type == CHAT_GROUP ? "group" : "single"));
    json_str(w, "chat_id", m->chat_id);
    json_close(w, '}');
    json_open(w, "sender", '{');
    json_str(w, "id", m->sender_id);
    json_close(w, '}');
}

static void write_time(struct json_writer *w, const char *key, int64_t ms)
{
    if (ms > 0)
        json_i64(w, key, ms);
    else
        json_nul(w, key);
}

static void write_delivery(struct json_writer *w, const struct answer_event *e)
{
    json_open(w, "response_url", '{');
    json_str(w, "sent", bytes_of_str(e->delivered));
    json_str(w, "outcome", bytes_of_str(e->delivery));
    json_i64(w, "code", e->delivery_code);
    json_close(w, '}');
}

static void write_said(struct json_writer *w, const struct answer_event *e)
{
    json_open(w, "reply", '{');
    json_str(w, "outcome", bytes_of_str(e->said));
    json_i64(w, "code", e->said_code);
    if (e->said_messages > 0)
        json_i64(w, "messages", e->said_messages);
    json_close(w, '}');
}

static void write_event(struct buf *value, const struct message *m, struct bytes conversation,
                        const struct answer_event *e, struct bytes text)
{
    struct json_writer w;
    json_begin(&w, value);
    json_open(&w, NULL, '{');
    json_i64(&w, "v", 1);
    json_str(&w, "kind", BYTES_LIT("answer"));
    json_str(&w, "platform", bytes_of_str(platform_name(m->platform)));
    json_str(&w, "bot", m->bot);
    json_str(&w, "message_id", m->message_id);
    json_str(&w, "stream", stream_id_bytes(&m->stream));
    write_conversation(&w, m, conversation);
    json_str(&w, "outcome", bytes_of_str(e->outcome));
    json_str(&w, "pipeline", bytes_of_str(e->pipeline));
    json_str(&w, "text", text);
    json_i64(&w, "text_bytes", (int64_t)e->text.len);
    json_i64(&w, "attempts", e->attempts);
    json_i64(&w, "starts", e->starts);
    json_open(&w, "times", '{');
    write_time(&w, "received_at", m->received_at_ms);
    write_time(&w, "claimed_at", e->claimed_ms);
    write_time(&w, "first_text_at", e->first_text_ms);
    write_time(&w, "ended_at", e->ended_ms);
    json_close(&w, '}');
    if (e->prompt_tokens >= 0) {
        json_open(&w, "usage", '{');
        json_i64(&w, "prompt_tokens", e->prompt_tokens);
        json_i64(&w, "completion_tokens", e->completion_tokens);
        json_close(&w, '}');
    }
    if (e->delivered)
        write_delivery(&w, e);
    if (e->said)
        write_said(&w, e);
    json_close(&w, '}');
}

/* Halves the text until the event fits into a record; text_bytes tells what it was. */
static void write_fitting_event(struct buf *value, const struct message *m,
                                struct bytes conversation, const struct answer_event *e)
{
    struct bytes text = e->is_outline ? BYTES_LIT("") : e->text;
    write_event(value, m, conversation, e, text);
    while (value->overflowed && text.len > 0) {
        buf_reset(value);
        text.len = utf8_cut(text, text.len / 2);
        write_event(value, m, conversation, e, text);
    }
}

enum brg_err letters_answer(struct letters *l, const struct message *message,
                            const struct answer_event *event, bus_delivery_cb *cb, void *arg)
{
    struct buf key, value;
    char time[CLOCK_RFC3339_BYTES], trace[TRACEPARENT_CHARS + 1];
    struct bytes id = stream_id_bytes(&message->stream);
    buf_init(&key, KEY_MAX_BYTES);
    buf_init(&value, ENVELOPE_VALUE_MAX_BYTES);
    message_conversation(&key, message);
    write_fitting_event(&value, message, buf_bytes(&key), event);
    clock_rfc3339(clock_wall_ms(), time);
    traceparent_new(l->crypto, trace);

    struct header_list list = {.max = BUS_HEADERS_MAX};
    add_header("ce_specversion", BYTES_LIT("1.0"), &list);
    add_header("ce_id", id, &list);
    add_header("ce_source", BYTES_LIT("/botbridge/worker"), &list);
    add_header("ce_type", BYTES_LIT(ENVELOPE_TYPE_ANSWER), &list);
    add_header("ce_time", bytes_of_str(time), &list);
    add_header("ce_subject", message->bot, &list);
    add_header("content-type", BYTES_LIT("application/json"), &list);
    add_header("traceparent",
               message->traceparent.len > 0 ? message->traceparent : bytes_of_str(trace),
               &list);
    add_header("bb-stream", id, &list);

    struct bus_record record = {l->events, buf_bytes(&key), buf_bytes(&value), list.headers,
                                list.count};
    enum brg_err err = bus_produce(l->producer, &record, cb, arg);
    buf_free(&key);
    buf_free(&value);
    return err;
}
