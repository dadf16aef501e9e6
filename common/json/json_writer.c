#include "json/json_writer.h"

void json_begin(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

static void begin_value(struct json_writer *w, const char *key)
{
    if (w->has_member[w->depth])
        buf_append_char(w->out, ',');
    w->has_member[w->depth] = true;
    if (!key)
        return;
    buf_append_char(w->out, '"');
    buf_append_str(w->out, key);
    buf_append(w->out, BYTES_LIT("\":"));
}

void json_open(struct json_writer *w, const char *key, char bracket)
{
    BRG_CHECK(w->depth + 1 < JSON_WRITER_DEPTH);
    begin_value(w, key);
    buf_append_char(w->out, bracket);
    w->has_member[++w->depth] = false;
}

void json_close(struct json_writer *w, char bracket)
{
    BRG_CHECK(w->depth > 0);
    w->depth--;
    buf_append_char(w->out, bracket);
}

void json_str(struct json_writer *w, const char *key, struct bytes value)
{
    begin_value(w, key);
    buf_append_char(w->out, '"');
    json_escape(w->out, value);
    buf_append_char(w->out, '"');
}

void json_i64(struct json_writer *w, const char *key, int64_t value)
{
    begin_value(w, key);
    buf_append_i64(w->out, value);
}

void json_boolean(struct json_writer *w, const char *key, bool value)
{
    begin_value(w, key);
    buf_append_str(w->out, value ? "true" : "false");
}

void json_nul(struct json_writer *w, const char *key)
{
    begin_value(w, key);
    buf_append(w->out, BYTES_LIT("null"));
}

void json_raw(struct json_writer *w, const char *key, struct bytes json)
{
    begin_value(w, key);
    buf_append(w->out, json);
}
