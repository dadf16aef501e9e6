/* Which call a path is, and how the answer to it looks. */
#include "bsim_platform.h"

#include "base/random.h"

static bool matches(struct bytes path, const char *template, struct bytes *message_id)
{
    static const char hole[] = "{message_id}";
    const char *at = strstr(template, hole);
    if (!at)
        return bytes_eq_str(path, template);
    struct bytes head = bytes_of(template, (size_t)(at - template));
    struct bytes tail = bytes_of_str(at + sizeof hole - 1);
    if (path.len <= head.len + tail.len || !bytes_starts_with(path, head))
        return false;
    size_t id_len = path.len - head.len - tail.len;
    if (!bytes_eq(bytes_of(path.ptr + head.len + id_len, tail.len), tail) ||
        memchr(path.ptr + head.len, '/', id_len))
        return false;
    *message_id = bytes_of(path.ptr + head.len, id_len);
    return true;
}

enum bsim_call bsim_route(const struct bsim_platform *p, struct bytes path,
                          struct bytes *message_id)
{
    const struct bsim_settings *s = &p->settings;
    *message_id = BYTES_LIT("");
    if (matches(path, s->token_path, message_id))
        return BSIM_TOKEN;
    if (matches(path, s->send_path, message_id))
        return BSIM_SEND;
    if (matches(path, s->update_path, message_id))
        return BSIM_UPDATE;
    return s->reply && matches(path, s->reply_path, message_id) ? BSIM_REPLY : BSIM_NO_CALL;
}

static void write_token(struct json_writer *w, const struct bsim_result *r)
{
    json_str(w, "tenant_access_token", bytes_of_str(r->token));
    json_i64(w, "expire", r->expire_s);
}

static void write_message(struct json_writer *w, const struct bsim_message *m)
{
    char ms[24];
    snprintf(ms, sizeof ms, "%lld", (long long)m->wall_ms);
    json_str(w, "message_id", bytes_of_str(m->id));
    json_str(w, "msg_type", bytes_of_str(m->msg_type));
    json_str(w, "chat_id", bytes_of_str(m->chat->id));
    json_str(w, "create_time", bytes_of_str(ms));
    if (*m->reply_to) {
        json_str(w, "root_id", bytes_of_str(m->reply_to));
        json_str(w, "parent_id", bytes_of_str(m->reply_to));
    }
}

void bsim_result_write(const struct bsim_platform *p, const struct bsim_result *result,
                       enum bsim_call call, struct buf *out)
{
    struct json_writer w;
    char trace[BSIM_ID_BYTES];
    int64_t shape = call == BSIM_TOKEN ? p->settings.token_shape : p->settings.message_shape;
    bsim_make_id(trace, false);
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_i64(&w, "code", result->code);
    json_str(&w, "traceId", bytes_of_str(trace));
    json_boolean(&w, "success", result->code == 0);
    json_str(&w, "msg", bytes_of_str(result->verdict.msg));
    if (result->code == 0) {
        if (shape == BSIM_SHAPE_DATA)
            json_open(&w, "data", '{');
        if (call == BSIM_TOKEN)
            write_token(&w, result);
        else if (result->about)
            write_message(&w, result->about);
        if (shape == BSIM_SHAPE_DATA)
            json_close(&w, '}');
    }
    json_close(&w, '}');
}
