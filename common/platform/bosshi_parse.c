#include "platform/bosshi.h"

#include "json/json_writer.h"

static int64_t time_of(const struct json *object, const char *key)
{
    /* A time is a number in a string; a number is taken as well. 9999-12-31 is what a record
     * can hold. */
    const int64_t max = INT64_C(253402300799999);
    int64_t ms = 0;
    const struct json *value = json_get(object, key);
    if (json_type(value) == JSON_INT)
        ms = json_int(value, 0);
    else if (!bytes_to_i64(json_string(value), &ms))
        ms = 0;
    return ms > 0 && ms <= max ? ms : 0;
}

bool bosshi_parse_event(const struct json *root, struct bosshi_event *out)
{
    const struct json *header = json_get(root, "header"), *event = json_get(root, "event");
    if (header)
        *out = (struct bosshi_event){
            .id = json_get_string(header, "event_id"),
            .type = json_get_string(header, "event_type"),
            .app_id = json_get_string(header, "app_id"),
            .tenant = json_get_string(header, "tenant_key"),
            .created_ms = time_of(header, "create_time"),
        };
    else
        *out = (struct bosshi_event){
            .id = json_get_string(root, "uuid"),
            .type = json_get_string(event, "type"),
            .app_id = json_get_string(event, "app_id"),
            .tenant = json_get_string(event, "tenant_key"),
        };
    return out->id.len > 0 && out->id.len <= BOSSHI_EVENT_ID_MAX_BYTES;
}

/* Less "_v<digits>" at its end. */
static struct bytes without_version(struct bytes type)
{
    size_t len = type.len;
    while (len > 0 && type.ptr[len - 1] >= '0' && type.ptr[len - 1] <= '9')
        len--;
    bool is_version = len < type.len && len >= 2 && memcmp(type.ptr + len - 2, "_v", 2) == 0;
    return bytes_of(type.ptr, is_version ? len - 2 : type.len);
}

bool bosshi_is_wanted(struct bytes type, char *const *wanted)
{
    struct bytes name = without_version(type);
    for (; wanted && *wanted; wanted++)
        if (bytes_eq(name, without_version(bytes_of_str(*wanted))))
            return true;
    return false;
}

static struct bosshi_ids ids_of(const struct json *j)
{
    return (struct bosshi_ids){
        .open_id = json_get_string(j, "open_id"),
        .union_id = json_get_string(j, "union_id"),
        .user_id = json_get_string(j, "user_id"),
    };
}

const char *bosshi_parse_message(const struct json *root, struct bosshi_message *out)
{
    const struct json *sender = json_at(root, "/event/sender");
    const struct json *message = json_at(root, "/event/message");
    struct bytes sender_type = json_get_string(sender, "sender_type");
    *out = (struct bosshi_message){
        .id = json_get_string(message, "message_id"),
        .root_id = json_get_string(message, "root_id"),
        .parent_id = json_get_string(message, "parent_id"),
        .chat_id = json_get_string(message, "chat_id"),
        .type = json_get_string(message, "message_type"),
        .content = json_get_string(message, "content"),
        .is_group = !bytes_eq_str(json_get_string(message, "chat_type"), "p2p"),
        .is_by_user = sender_type.len == 0 || bytes_eq_str(sender_type, "user"),
        .sender = ids_of(json_get(sender, "sender_id")),
        .sender_tenant = json_get_string(sender, "tenant_key"),
        .created_ms = time_of(message, "create_time"),
        .mentions = json_get(message, "mentions"),
    };
    if (json_type(message) != JSON_OBJECT)
        return "no message";
    if (out->chat_id.len == 0)
        return "no chat_id";
    if (out->type.len == 0)
        return "no message_type";
    if (json_type(json_get(message, "content")) != JSON_STRING)
        return "no content";
    return NULL;
}

struct raw {
    struct buf *out;
    bool is_top; /* the members of the root are being written */
    bool has_member;
};

static void write_object(struct buf *out, const struct json *object, bool is_top);

static void write_member(struct bytes key, const struct json *value, void *arg)
{
    struct raw *raw = arg;
    bool has_tokens = bytes_eq_str(key, "header") || bytes_eq_str(key, "event");
    if (bytes_eq_str(key, "token"))
        return;
    if (raw->has_member)
        buf_append_char(raw->out, ',');
    raw->has_member = true;
    buf_append_char(raw->out, '"');
    json_escape(raw->out, key);
    buf_append_str(raw->out, "\":");
    if (raw->is_top && has_tokens)
        write_object(raw->out, value, false);
    else
        json_write_value(raw->out, value);
}

static void write_object(struct buf *out, const struct json *object, bool is_top)
{
    struct raw raw = {.out = out, .is_top = is_top};
    if (json_type(object) != JSON_OBJECT) {
        json_write_value(out, object);
        return;
    }
    buf_append_char(out, '{');
    json_each(object, write_member, &raw);
    buf_append_char(out, '}');
}

void bosshi_write_raw(struct buf *out, const struct json *root)
{
    write_object(out, root, true);
}
