/* The report of mistakes: one line each, its path first. */
#include "base/utf8.h"
#include "config/config_keys.h"

#include <stdarg.h>

enum {
    NAME_SHOWN_MAX = 64,
    TEXT_MAX_BYTES = 1024,
    LINE_MAX_BYTES = TEXT_MAX_BYTES + CONFIG_PATH_BYTES + 8,
    PATH_MAX_BYTES = 2 * CONFIG_PATH_BYTES,
};

/* Member names come from the file: what would break a line is replaced. */
static void append_name(struct buf *out, struct bytes name)
{
    for (size_t i = 0; i < name.len && i < NAME_SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        buf_append_char(out, (char)(c < 0x20 || c == 0x7f ? '?' : c));
    }
}

static void finish_path(char out[CONFIG_PATH_BYTES], struct buf *b)
{
    size_t len = utf8_cut(buf_bytes(b), CONFIG_PATH_BYTES - 1);
    if (len > 0)
        memcpy(out, b->ptr, len);
    out[len] = 0;
    buf_free(b);
}

void config_path(char out[CONFIG_PATH_BYTES], const char *parent, struct bytes name)
{
    struct buf b;
    buf_init(&b, PATH_MAX_BYTES);
    if (parent) {
        buf_append_str(&b, parent);
        buf_append_char(&b, '.');
    }
    struct bytes cut = {name.ptr, utf8_cut(name, NAME_SHOWN_MAX)};
    append_name(&b, cut);
    finish_path(out, &b);
}

void config_path_index(char out[CONFIG_PATH_BYTES], const char *parent, size_t index)
{
    struct buf b;
    buf_init(&b, PATH_MAX_BYTES);
    buf_printf(&b, "%s[%zu]", parent, index);
    finish_path(out, &b);
}

void config_mistake(struct reader *r, const char *path, const char *fmt, ...)
{
    char text[TEXT_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->mistakes++;
    if (len < 0)
        return;
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    buf_printf(&line, "%s: %s\n", path, text);
    /* Whole lines or nothing: what is beyond the report's bound only counts. */
    buf_append(r->report, buf_bytes(&line));
    buf_free(&line);
}

const char *config_type_name(const struct json *j)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",     [JSON_BOOL] = "boolean",  [JSON_INT] = "integer",
        [JSON_DOUBLE] = "number", [JSON_STRING] = "string", [JSON_ARRAY] = "list",
        [JSON_OBJECT] = "object"};
    return names[json_type(j)];
}

enum { NEAREST_MAX = 40 };

/* Edits (insert, delete, replace, swap neighbours) between two short names. */
static size_t edit_distance(struct bytes a, struct bytes b)
{
    size_t rows[3][NEAREST_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *swapped = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool is_same = a.ptr[i - 1] == b.ptr[j - 1];
            size_t best = above[j - 1] + (is_same ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool is_swap =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (is_swap && swapped[j - 2] + 1 < best)
                best = swapped[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

const char *config_nearest(struct bytes name, const char *const *candidates)
{
    const char *nearest = NULL;
    size_t least = name.len / 3 + 1;
    if (name.len == 0 || name.len > NEAREST_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        struct bytes candidate = bytes_of_str(*candidates);
        if (candidate.len > NEAREST_MAX)
            continue;
        size_t distance = edit_distance(name, candidate);
        if (distance < least || (distance == least && !nearest)) {
            least = distance;
            nearest = *candidates;
        }
    }
    return nearest;
}
