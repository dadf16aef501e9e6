#include "sse.h"

void sse_init(struct sse *s, size_t max_bytes, sse_event_fn *on_event, void *arg)
{
    *s = (struct sse){.on_event = on_event, .arg = arg};
    buf_init(&s->line, max_bytes);
    buf_init(&s->data, max_bytes);
    buf_init(&s->name, max_bytes);
}

void sse_free(struct sse *s)
{
    buf_free(&s->line);
    buf_free(&s->data);
    buf_free(&s->name);
}

void sse_stop(struct sse *s)
{
    s->is_stopped = true;
}

static enum brg_err reject(struct sse *s)
{
    s->is_stopped = true;
    return BRG_REJECT;
}

static void dispatch(struct sse *s, bool is_open)
{
    if (s->has_data) {
        struct sse_event event = {
            .name = s->name.len > 0 ? buf_bytes(&s->name) : BYTES_LIT("message"),
            .data = buf_bytes(&s->data),
            .is_open = is_open,
        };
        s->on_event(&event, s->arg);
    }
    buf_reset(&s->data);
    buf_reset(&s->name);
    s->has_data = false;
}

static void take_field(struct sse *s, struct bytes name, struct bytes value)
{
    if (bytes_eq_str(name, "data")) {
        if (s->has_data)
            buf_append_char(&s->data, '\n');
        buf_append(&s->data, value);
        s->has_data = true;
    } else if (bytes_eq_str(name, "event")) {
        buf_reset(&s->name);
        buf_append(&s->name, value);
    }
    /* id and retry serve reconnecting, which no pipeline does; other names are to be ignored.
     */
}

/* One line without its end. */
static enum brg_err take_line(struct sse *s, struct bytes line)
{
    if (line.len > s->line.max)
        return reject(s);
    if (!s->is_started) {
        s->is_started = true;
        if (bytes_starts_with(line, BYTES_LIT("\xef\xbb\xbf")))
            line = bytes_of(line.ptr + 3, line.len - 3);
    }
    if (line.len == 0) {
        dispatch(s, false);
        return BRG_OK;
    }
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon) {
        take_field(s, line, BYTES_LIT(""));
    } else if (colon > line.ptr) { /* a leading colon is a comment */
        size_t name_len = (size_t)(colon - line.ptr);
        size_t skip = name_len + 1;
        if (skip < line.len && line.ptr[skip] == ' ')
            skip++;
        take_field(s, bytes_of(line.ptr, name_len), bytes_of(line.ptr + skip, line.len - skip));
    }
    return s->data.overflowed ? reject(s) : BRG_OK;
}

/* Ends the line that `tail` completes; what came in earlier pieces is in s->line. */
static enum brg_err end_line(struct sse *s, struct bytes tail)
{
    if (s->line.len == 0)
        return take_line(s, tail);
    buf_append(&s->line, tail);
    if (s->line.overflowed)
        return reject(s);
    enum brg_err err = take_line(s, buf_bytes(&s->line));
    buf_reset(&s->line);
    return err;
}

static size_t find_line_end(struct bytes input, size_t from)
{
    size_t at = from;
    while (at < input.len && input.ptr[at] != '\n' && input.ptr[at] != '\r')
        at++;
    return at;
}

enum brg_err sse_feed(struct sse *s, struct bytes input)
{
    size_t at = 0;
    while (!s->is_stopped && at < input.len) {
        if (s->after_cr && input.ptr[at] == '\n') {
            s->after_cr = false;
            at++;
            continue;
        }
        s->after_cr = false;
        size_t end = find_line_end(input, at);
        struct bytes piece = bytes_of(input.ptr + at, end - at);
        if (end == input.len) {
            buf_append(&s->line, piece);
            return s->line.overflowed ? reject(s) : BRG_OK;
        }
        s->after_cr = input.ptr[end] == '\r';
        at = end + 1;
        if (end_line(s, piece) != BRG_OK)
            return BRG_REJECT;
    }
    return BRG_OK;
}

enum brg_err sse_end(struct sse *s)
{
    if (s->is_stopped)
        return BRG_OK;
    bool is_open = s->line.len > 0 && !s->has_data;
    if (is_open && end_line(s, BYTES_LIT("")) != BRG_OK)
        return BRG_REJECT;
    s->is_stopped = true;
    dispatch(s, is_open);
    return BRG_OK;
}
