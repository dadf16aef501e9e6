#include "config/config_keys.h"

static void new_line(struct buf *out, size_t depth)
{
    buf_append_char(out, '\n');
    for (size_t i = 0; i < depth; i++)
        buf_append_str(out, "  ");
}

static size_t string_length(struct bytes text)
{
    size_t i = 1;
    while (i < text.len && text.ptr[i] != '"')
        i += text.ptr[i] == '\\' ? 2 : 1;
    return i + 1;
}

void config_pretty(struct buf *out, struct bytes json)
{
    size_t depth = 0;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        bool is_opening = c == '{' || c == '[', is_closing = c == '}' || c == ']';
        bool is_empty = is_opening && i + 1 < json.len && json.ptr[i + 1] == c + 2;
        if (c == '"') {
            struct bytes rest = {json.ptr + i, json.len - i};
            size_t len = string_length(rest);
            buf_append(out, bytes_of(rest.ptr, len));
            i += len - 1;
            continue;
        }
        if (is_closing)
            new_line(out, --depth);
        buf_append_char(out, c);
        if (is_empty)
            buf_append_char(out, json.ptr[++i]);
        else if (is_opening)
            new_line(out, ++depth);
        else if (c == ',')
            new_line(out, depth);
        else if (c == ':')
            buf_append_char(out, ' ');
    }
    buf_append_char(out, '\n');
}
