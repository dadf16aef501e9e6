#include "envelope/envelope_names.h"

const char *const envelope_platforms[] = {
    [PLATFORM_WECOM] = "wecom", [PLATFORM_BOSSHI] = "bosshi", NULL};
const char *const envelope_chat_types[] = {
    [CHAT_SINGLE] = "single", [CHAT_GROUP] = "group", NULL};
const char *const envelope_scopes[] = {
    [SCOPE_CHAT] = "chat", [SCOPE_CHAT_USER] = "chat_user", [SCOPE_THREAD] = "thread", NULL};
const char *const envelope_reply_modes[] = {[REPLY_STREAM] = "stream",
                                            [REPLY_SYNC] = "sync",
                                            [REPLY_API] = "api",
                                            [REPLY_NONE] = "none",
                                            NULL};

const char *platform_name(enum platform p)
{
    return envelope_platforms[p];
}

/* The separator never comes out of an id: neither does '%', which would imitate an escape. */
static void append_id(struct buf *out, struct bytes id)
{
    size_t start = 0;
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        if (c > ' ' && c != ':' && c != '%' && c != 0x7F)
            continue;
        buf_append(out, bytes_of(id.ptr + start, i - start));
        buf_printf(out, "%%%02X", c);
        start = i + 1;
    }
    buf_append(out, bytes_of(id.ptr + start, id.len - start));
}

static void append_part(struct buf *out, const char *tag, struct bytes id)
{
    buf_append_str(out, tag);
    append_id(out, id);
}

static bool is_by_chat(const struct message *m)
{
    bool wants_chat = m->chat_type == CHAT_GROUP || m->sender_id.len == 0;
    return wants_chat && m->chat_id.len > 0;
}

void message_conversation(struct buf *out, const struct message *m)
{
    bool is_chat = is_by_chat(m);
    append_id(out, m->bot);
    if (is_chat)
        append_part(out, ":c:", m->chat_id);
    else if (m->sender_id.len > 0)
        append_part(out, ":u:", m->sender_id);
    else
        append_part(out, ":m:", m->message_id);
    struct bytes thread = m->root_id.len > 0 ? m->root_id : m->reply_message_id;
    if (m->scope == SCOPE_CHAT_USER && is_chat && m->sender_id.len > 0)
        append_part(out, ":u:", m->sender_id);
    else if (m->scope == SCOPE_THREAD && thread.len > 0)
        append_part(out, ":t:", thread);
}

void message_lane(struct buf *out, const struct message *m)
{
    message_conversation(out, m);
    if (m->scope != SCOPE_CHAT_USER && is_by_chat(m) && m->sender_id.len > 0)
        append_part(out, ":u:", m->sender_id);
}
