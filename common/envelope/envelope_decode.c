#include "envelope/envelope_names.h"

/* 9999-12-31T23:59:59.999Z: what RFC 3339 can still print, and far from overflow. */
#define TIME_MAX_MS INT64_C(253402300799999)

static bool is_time(int64_t ms)
{
    return ms >= 0 && ms <= TIME_MAX_MS;
}

static int64_t header_time(struct bytes text)
{
    int64_t ms = 0;
    return bytes_to_i64(text, &ms) && is_time(ms) ? ms : 0;
}

/* From "/botbridge/{platform}/{bot}". */
static struct bytes source_bot(struct bytes source)
{
    static const struct bytes none = {0};
    const struct bytes head = BYTES_LIT("/botbridge/");
    if (!bytes_starts_with(source, head))
        return none;
    struct bytes rest = bytes_of(source.ptr + head.len, source.len - head.len);
    const char *slash = memchr(rest.ptr, '/', rest.len);
    if (!slash)
        return none;
    size_t skip = (size_t)(slash - rest.ptr) + 1;
    return bytes_of(rest.ptr + skip, rest.len - skip);
}

void envelope_read_hint(envelope_header_fn *header, void *arg, struct envelope_hint *hint)
{
    *hint = (struct envelope_hint){.start_at_ms = header_time(header("bb-start", arg))};
    hint->deadline_at_ms = header_time(header("bb-deadline", arg));
    hint->traceparent = header("traceparent", arg);
    hint->bot = source_bot(header("ce_source", arg));
    if (!stream_id_parse(header("bb-stream", arg), &hint->stream))
        hint->stream.text[0] = 0;
}

static enum brg_err bad(struct brg_error *error, const char *member)
{
    return brg_fail(error, BRG_REJECT, "%s is missing or malformed", member);
}

static bool get_needed(const struct json *object, const char *key, struct bytes *out)
{
    *out = json_get_string(object, key);
    return out->len > 0;
}

/* False when present but not a time; absent gives `otherwise`. */
static bool get_time(const struct json *root, const char *key, int64_t otherwise, int64_t *out)
{
    const struct json *member = json_get(root, key);
    *out = member ? json_int(member, -1) : otherwise;
    return is_time(*out);
}

/* Index of the member's text in `names`, or -1. */
static int get_word(const struct json *object, const char *key, const char *const *names)
{
    struct bytes word = json_get_string(object, key);
    for (int i = 0; names[i]; i++) {
        if (bytes_eq_str(word, names[i]))
            return i;
    }
    return -1;
}

static enum brg_err read_identity(const struct json *root, const struct envelope_hint *hint,
                                  struct message *m, struct brg_error *error)
{
    if (json_get_int(root, "v", 0) != ENVELOPE_VERSION)
        return brg_fail(error, BRG_REJECT, "v is not %d", ENVELOPE_VERSION);
    int platform = get_word(root, "platform", envelope_platforms);
    if (platform < 0)
        return bad(error, "platform");
    m->platform = (enum platform)platform;
    if (!get_needed(root, "bot", &m->bot))
        return bad(error, "bot");
    if (!get_needed(root, "message_id", &m->message_id))
        return bad(error, "message_id");
    if (!get_needed(root, "kind", &m->kind))
        return bad(error, "kind");
    m->stream = hint->stream;
    const struct json *stream = json_get(root, "stream");
    if (stream && !stream_id_parse(json_string(stream), &m->stream))
        return bad(error, "stream");
    return m->stream.text[0] ? BRG_OK : bad(error, "stream");
}

static enum brg_err read_people(const struct json *root, struct message *m,
                                struct brg_error *error)
{
    const struct json *conversation = json_get(root, "conversation");
    int type = get_word(conversation, "type", envelope_chat_types);
    if (type < 0)
        return bad(error, "conversation.type");
    m->chat_type = (enum chat_type)type;
    int scope = json_get(conversation, "scope")
                    ? get_word(conversation, "scope", envelope_scopes)
                    : SCOPE_CHAT;
    if (scope < 0)
        return bad(error, "conversation.scope");
    m->scope = (enum conversation_scope)scope;
    m->chat_id = json_get_string(conversation, "chat_id");
    m->root_id = json_string(json_at(conversation, "/thread/root_id"));
    m->parent_id = json_string(json_at(conversation, "/thread/parent_id"));
    m->sender_id = json_string(json_at(root, "/sender/id"));
    m->sender_ids = (struct person_ids){
        .open_id = json_string(json_at(root, "/sender/ids/open_id")),
        .union_id = json_string(json_at(root, "/sender/ids/union_id")),
        .user_id = json_string(json_at(root, "/sender/ids/user_id")),
    };
    m->tenant = json_string(json_at(root, "/sender/tenant"));
    m->app_id = json_string(json_at(root, "/app/id"));
    m->app_tenant = json_string(json_at(root, "/app/tenant"));
    return BRG_OK;
}

static enum brg_err read_times(const struct json *root, const struct envelope_hint *hint,
                               struct message *m, struct brg_error *error)
{
    if (!get_time(root, "sent_at", 0, &m->sent_at_ms))
        return bad(error, "sent_at");
    if (!get_time(root, "received_at", -1, &m->received_at_ms))
        return bad(error, "received_at");
    if (!get_time(root, "deadline_at", hint->deadline_at_ms, &m->deadline_at_ms))
        return bad(error, "deadline_at");
    m->start_at_ms = hint->start_at_ms != 0 ? hint->start_at_ms : m->received_at_ms;
    return BRG_OK;
}

static enum brg_err read_content(const struct json *root, struct message *m,
                                 struct brg_error *error)
{
    const struct json *text = json_get(root, "text");
    if (text && json_type(text) != JSON_STRING)
        return bad(error, "text");
    m->text = json_string(text);
    const struct json *reply = json_get(root, "reply");
    int mode = get_word(reply, "mode", envelope_reply_modes);
    if (mode < 0)
        return bad(error, "reply.mode");
    m->reply_mode = (enum reply_mode)mode;
    m->reply_message_id = json_get_string(reply, "message_id");
    m->response_url = json_get_string(reply, "response_url");
    m->raw = json_get(root, "raw");
    return BRG_OK;
}

static enum brg_err read_message(const struct json *root, const struct envelope_hint *hint,
                                 struct message *m, struct brg_error *error)
{
    if (json_type(root) != JSON_OBJECT)
        return brg_fail(error, BRG_REJECT, "the value is not a JSON object");
    if (read_identity(root, hint, m, error) != BRG_OK)
        return BRG_REJECT;
    if (read_people(root, m, error) != BRG_OK)
        return BRG_REJECT;
    if (read_times(root, hint, m, error) != BRG_OK)
        return BRG_REJECT;
    return read_content(root, m, error);
}

enum brg_err envelope_decode(struct bytes value, const struct envelope_hint *hint,
                             struct message *m, struct json **root, struct brg_error *error)
{
    struct brg_error detail = {0};
    *m = (struct message){.traceparent = hint->traceparent};
    *root = json_parse(value, JSON_RECORD, &detail);
    if (!*root)
        return brg_fail(error, BRG_REJECT, "the value is not JSON: %s", detail.text);
    if (read_message(*root, hint, m, error) == BRG_OK)
        return BRG_OK;
    json_free(*root);
    *root = NULL;
    *m = (struct message){.traceparent = hint->traceparent};
    return BRG_REJECT;
}
