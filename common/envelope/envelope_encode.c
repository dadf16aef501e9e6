#include "base/clock.h"
#include "envelope/envelope_names.h"
#include "json/json_writer.h"

enum { KEY_MAX_BYTES = 4096 };

void envelope_init(struct envelope *e)
{
    *e = (struct envelope){.header_count = 0};
    buf_init(&e->key, KEY_MAX_BYTES);
    buf_init(&e->value, ENVELOPE_VALUE_MAX_BYTES);
    buf_init(&e->header_text, ENVELOPE_HEADERS_MAX_BYTES);
}

void envelope_free(struct envelope *e)
{
    buf_free(&e->key);
    buf_free(&e->value);
    buf_free(&e->header_text);
}

static void write_optional(struct json_writer *w, const char *key, struct bytes value)
{
    if (value.len > 0)
        json_str(w, key, value);
}

static void write_conversation(struct json_writer *w, const struct message *m, struct bytes id)
{
    json_open(w, "conversation", '{');
    json_str(w, "id", id);
    json_str(w, "type", bytes_of_str(envelope_chat_types[m->chat_type]));
    if (m->scope != SCOPE_CHAT)
        json_str(w, "scope", bytes_of_str(envelope_scopes[m->scope]));
    write_optional(w, "chat_id", m->chat_id);
    if (m->root_id.len > 0 || m->parent_id.len > 0) {
        json_open(w, "thread", '{');
        write_optional(w, "root_id", m->root_id);
        write_optional(w, "parent_id", m->parent_id);
        json_close(w, '}');
    }
    json_close(w, '}');
}

static void write_people(struct json_writer *w, const struct message *m)
{
    const struct person_ids *ids = &m->sender_ids;
    json_open(w, "sender", '{');
    json_str(w, "id", m->sender_id);
    if (ids->open_id.len > 0 || ids->union_id.len > 0 || ids->user_id.len > 0) {
        json_open(w, "ids", '{');
        write_optional(w, "open_id", ids->open_id);
        write_optional(w, "union_id", ids->union_id);
        write_optional(w, "user_id", ids->user_id);
        json_close(w, '}');
    }
    write_optional(w, "tenant", m->tenant);
    json_close(w, '}');
    if (m->app_id.len > 0 || m->app_tenant.len > 0) {
        json_open(w, "app", '{');
        write_optional(w, "id", m->app_id);
        write_optional(w, "tenant", m->app_tenant);
        json_close(w, '}');
    }
}

static void write_parts(struct json_writer *w, const struct message *m)
{
    json_open(w, "parts", '[');
    if (bytes_eq_str(m->kind, "text")) {
        json_open(w, NULL, '{');
        json_str(w, "type", BYTES_LIT("text"));
        json_str(w, "text", m->text);
        json_close(w, '}');
    }
    json_close(w, ']');
}

static void write_content(struct json_writer *w, const struct message *m)
{
    json_str(w, "text", m->text);
    if (m->parts.len > 0)
        json_raw(w, "parts", m->parts);
    else
        write_parts(w, m);
    if (m->mentions.len > 0)
        json_raw(w, "mentions", m->mentions);
    json_open(w, "reply", '{');
    json_str(w, "mode", bytes_of_str(envelope_reply_modes[m->reply_mode]));
    write_optional(w, "message_id", m->reply_message_id);
    write_optional(w, "response_url", m->response_url);
    json_close(w, '}');
}

static void write_value(struct buf *out, const struct message *m, struct bytes conversation)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_i64(&w, "v", ENVELOPE_VERSION);
    json_str(&w, "platform", bytes_of_str(platform_name(m->platform)));
    json_str(&w, "bot", m->bot);
    json_str(&w, "message_id", m->message_id);
    write_optional(&w, "stream", bytes_of_str(m->stream.text));
    json_str(&w, "kind", m->kind);
    write_conversation(&w, m, conversation);
    write_people(&w, m);
    if (m->sent_at_ms != 0)
        json_i64(&w, "sent_at", m->sent_at_ms);
    json_i64(&w, "received_at", m->received_at_ms);
    json_i64(&w, "deadline_at", m->deadline_at_ms);
    write_content(&w, m);
    if (m->raw) {
        json_raw(&w, "raw", BYTES_LIT(""));
        json_write_value(out, m->raw);
    } else if (m->raw_text.len > 0) {
        json_raw(&w, "raw", m->raw_text);
    }
    json_close(&w, '}');
}

/* The text may still move while headers are added: values are offsets until `place_headers`. */
static void begin_header(struct envelope *e, const char *name)
{
    BRG_CHECK(e->header_count < ENVELOPE_HEADERS_MAX);
    struct envelope_header *h = &e->headers[e->header_count++];
    *h = (struct envelope_header){name, {NULL, e->header_text.len}};
}

static void add_header(struct envelope *e, const char *name, struct bytes value)
{
    begin_header(e, name);
    buf_append(&e->header_text, value);
}

static void add_time(struct envelope *e, const char *name, int64_t ms)
{
    if (ms == 0)
        return;
    begin_header(e, name);
    buf_append_i64(&e->header_text, ms);
}

static void place_headers(struct envelope *e)
{
    size_t end = e->header_text.len;
    for (size_t i = e->header_count; i > 0; i--) {
        struct bytes *value = &e->headers[i - 1].value;
        size_t start = value->len;
        *value = bytes_of(e->header_text.ptr + start, end - start);
        end = start;
    }
}

static void add_headers(struct envelope *e, const struct message *m, const char *type,
                        struct crypto *c)
{
    char time[CLOCK_RFC3339_BYTES];
    char trace[TRACEPARENT_CHARS + 1];
    clock_rfc3339(m->received_at_ms, time);
    traceparent_new(c, trace);
    add_header(e, "ce_specversion", BYTES_LIT("1.0"));
    add_header(e, "ce_id", m->message_id);
    add_header(e, "ce_source", BYTES_LIT("/botbridge/"));
    buf_append_str(&e->header_text, platform_name(m->platform));
    buf_append_char(&e->header_text, '/');
    buf_append(&e->header_text, m->bot);
    add_header(e, "ce_type", bytes_of_str(type));
    add_header(e, "ce_time", bytes_of_str(time));
    add_header(e, "ce_subject", buf_bytes(&e->key));
    add_header(e, "content-type", BYTES_LIT("application/json"));
    add_header(e, "traceparent", m->traceparent.len > 0 ? m->traceparent : bytes_of_str(trace));
    if (m->stream.text[0])
        add_header(e, "bb-stream", stream_id_bytes(&m->stream));
    add_time(e, "bb-start", m->start_at_ms);
    add_time(e, "bb-deadline", m->deadline_at_ms);
    place_headers(e);
}

enum brg_err envelope_encode(struct envelope *e, const struct message *m, const char *type,
                             struct crypto *c)
{
    buf_reset(&e->key);
    buf_reset(&e->value);
    buf_reset(&e->header_text);
    e->header_count = 0;
    message_conversation(&e->key, m);
    write_value(&e->value, m, buf_bytes(&e->key));
    add_headers(e, m, type, c);
    bool fits = !e->key.overflowed && !e->value.overflowed && !e->header_text.overflowed;
    return fits ? BRG_OK : BRG_REJECT;
}
