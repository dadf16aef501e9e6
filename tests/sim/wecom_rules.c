#include "wecom_rules.h"

#include "base/utf8.h"

static bool is_id(struct bytes id)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (size_t i = 0; i < id.len; i++) {
        if (!memchr(alphabet, id.ptr[i], sizeof(alphabet) - 1))
            return false;
    }
    return id.len >= 1 && id.len <= WECOM_STREAM_ID_MAX;
}

static enum brg_err judge_type(const struct json *root, struct brg_error *error)
{
    const struct json *type = json_get(root, "msgtype");
    if (json_type(type) != JSON_STRING)
        return brg_fail(error, BRG_REJECT,
                        "msgtype is missing: the bot had nothing to say, but a message and a "
                        "refresh want a stream");
    if (!bytes_eq_str(json_string(type), "stream"))
        return brg_fail(error, BRG_REJECT, "msgtype is not \"stream\"");
    if (json_type(json_get(root, "stream")) != JSON_OBJECT)
        return brg_fail(error, BRG_REJECT, "stream is missing or no object");
    return BRG_OK;
}

static enum brg_err judge_id(const struct json *stream, struct bytes known,
                             struct wecom_reply *out, struct brg_error *error)
{
    const struct json *id = json_get(stream, "id");
    out->stream_id = json_string(id);
    if (json_type(id) != JSON_STRING)
        return brg_fail(error, BRG_REJECT, "stream.id is missing or no string");
    if (!is_id(out->stream_id))
        return brg_fail(error, BRG_REJECT,
                        "stream.id (%zu bytes) is not 1 to %d characters of A-Z a-z 0-9 _ -",
                        out->stream_id.len, WECOM_STREAM_ID_MAX);
    if (known.len > 0 && !bytes_eq(known, out->stream_id))
        return brg_fail(error, BRG_REJECT, "stream.id changed from " BYTES_FMT " to " BYTES_FMT,
                        BYTES_ARG(known), BYTES_ARG(out->stream_id));
    return BRG_OK;
}

static enum brg_err judge_content(const struct json *stream, struct wecom_reply *out,
                                  struct brg_error *error)
{
    const struct json *content = json_get(stream, "content");
    out->content = json_string(content);
    if (json_type(content) != JSON_STRING)
        return brg_fail(error, BRG_REJECT, "stream.content is missing or no string");
    if (out->content.len == 0)
        return brg_fail(error, BRG_REJECT,
                        "stream.content is empty: WeCom would show a text of its own");
    if (out->content.len > WECOM_CONTENT_MAX_BYTES)
        return brg_fail(error, BRG_REJECT, "stream.content has %zu bytes, at most %d allowed",
                        out->content.len, WECOM_CONTENT_MAX_BYTES);
    if (!utf8_is_valid(out->content))
        return brg_fail(error, BRG_REJECT, "stream.content is not valid UTF-8");
    return BRG_OK;
}

/* A missing finish means false, by the platform's page. */
static enum brg_err judge_finish(const struct json *stream, struct wecom_reply *out,
                                 struct brg_error *error)
{
    const struct json *finish = json_get(stream, "finish");
    if (finish && json_type(finish) != JSON_BOOL)
        return brg_fail(error, BRG_REJECT, "stream.finish is no boolean");
    out->is_finished = json_bool(finish, false);
    return BRG_OK;
}

enum brg_err wecom_reply_judge(struct bytes text, struct bytes stream_id,
                               struct wecom_reply *out, struct brg_error *error)
{
    *out = (struct wecom_reply){.root = json_parse(text, JSON_STRICT, error)};
    if (!out->root)
        return BRG_REJECT;
    const struct json *stream = json_get(out->root, "stream");
    enum brg_err err = judge_type(out->root, error);
    if (err == BRG_OK)
        err = judge_id(stream, stream_id, out, error);
    if (err == BRG_OK)
        err = judge_content(stream, out, error);
    if (err == BRG_OK)
        err = judge_finish(stream, out, error);
    if (err != BRG_OK) {
        json_free(out->root);
        *out = (struct wecom_reply){0};
    }
    return err;
}
