#include "json/json_c.h"

#include "json/json.h"
#include "json/json_check.h"
#include "json/json_writer.h"

/* struct json has no body: every pointer to one is a json_object, which json-c wants without
 * const even where it only reads. */
static struct json_object *object_of(const struct json *j)
{
    return (struct json_object *)(uintptr_t)j;
}

static const struct json *view_of(struct json_object *o)
{
    return (const struct json *)o;
}

enum json_type json_type(const struct json *j)
{
    switch (json_object_get_type(object_of(j))) {
    case json_type_boolean:
        return JSON_BOOL;
    case json_type_int:
        return JSON_INT;
    case json_type_double:
        return JSON_DOUBLE;
    case json_type_string:
        return JSON_STRING;
    case json_type_array:
        return JSON_ARRAY;
    case json_type_object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

const struct json *json_get(const struct json *object, const char *key)
{
    struct json_object *found = NULL;
    if (json_type(object) == JSON_OBJECT)
        json_object_object_get_ex(object_of(object), key, &found);
    return view_of(found);
}

/* Decodes ~0 and ~1 of one reference token; false when it does not fit or is malformed. */
static bool unescape_token(struct bytes token, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        if (c == '~') {
            if (++i == token.len || (token.ptr[i] != '0' && token.ptr[i] != '1'))
                return false;
            c = token.ptr[i] == '0' ? '~' : '/';
        }
        if (len + 1 >= size)
            return false;
        out[len++] = c;
    }
    out[len] = 0;
    return true;
}

static const struct json *step(const struct json *j, struct bytes token)
{
    char key[256];
    if (!unescape_token(token, key, sizeof key))
        return NULL;
    if (json_type(j) != JSON_ARRAY)
        return json_get(j, key);
    uint64_t index = 0;
    bool has_zeros = token.len > 1 && token.ptr[0] == '0';
    return !has_zeros && bytes_to_u64(token, &index) ? json_item(j, index) : NULL;
}

const struct json *json_at(const struct json *j, const char *pointer)
{
    while (j && *pointer == '/') {
        size_t len = strcspn(pointer + 1, "/");
        j = step(j, bytes_of(pointer + 1, len));
        pointer += 1 + len;
    }
    return *pointer == 0 ? j : NULL;
}

struct bytes json_string(const struct json *j)
{
    if (json_type(j) != JSON_STRING)
        return BYTES_LIT("");
    struct json_object *o = object_of(j);
    return bytes_of(json_object_get_string(o), (size_t)json_object_get_string_len(o));
}

int64_t json_int(const struct json *j, int64_t otherwise)
{
    return json_type(j) == JSON_INT ? json_object_get_int64(object_of(j)) : otherwise;
}

bool json_bool(const struct json *j, bool otherwise)
{
    return json_type(j) == JSON_BOOL ? json_object_get_boolean(object_of(j)) : otherwise;
}

size_t json_length(const struct json *j)
{
    return json_type(j) == JSON_ARRAY ? json_object_array_length(object_of(j)) : 0;
}

const struct json *json_item(const struct json *array, size_t index)
{
    if (index >= json_length(array))
        return NULL;
    return view_of(json_object_array_get_idx(object_of(array), index));
}

void json_each(const struct json *object, json_member_fn *fn, void *arg)
{
    if (json_type(object) != JSON_OBJECT)
        return;
    struct json_object_iterator at = json_object_iter_begin(object_of(object));
    struct json_object_iterator end = json_object_iter_end(object_of(object));
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        struct bytes key = bytes_of_str(json_object_iter_peek_name(&at));
        fn(key, view_of(json_object_iter_peek_value(&at)), arg);
    }
}

/* Integers above INT64_MAX are kept by json-c and clamped by the signed getter. */
static void write_int(struct buf *out, struct json_object *o)
{
    int64_t value = json_object_get_int64(o);
    if (value == INT64_MAX)
        buf_append_u64(out, json_object_get_uint64(o));
    else
        buf_append_i64(out, value);
}

/* json-c keeps the text a number was read from, so 1.10 stays 1.10. */
static void write_double(struct buf *out, struct json_object *o)
{
    struct bytes text = bytes_of_str(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
    struct bytes mark = BYTES_LIT(JSON_WIDE_MARK);
    size_t rest = text.len > mark.len ? text.len - mark.len : 0;
    if (bytes_eq(bytes_of(text.ptr + rest, text.len - rest), mark) &&
        json_is_wide(bytes_of(text.ptr, rest)))
        text.len = rest;
    buf_append(out, text);
}

static void write_string(struct buf *out, struct bytes text)
{
    buf_append_char(out, '"');
    json_escape(out, text);
    buf_append_char(out, '"');
}

static void write_array(struct buf *out, const struct json *array)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < json_length(array); i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_write_value(out, json_item(array, i));
    }
    buf_append_char(out, ']');
}

struct member_writer {
    struct buf *out;
    bool has_member;
};

static void write_member(struct bytes key, const struct json *value, void *arg)
{
    struct member_writer *w = arg;
    if (w->has_member)
        buf_append_char(w->out, ',');
    w->has_member = true;
    write_string(w->out, key);
    buf_append_char(w->out, ':');
    json_write_value(w->out, value);
}

/* Recursion is bounded by the depth that json_parse allows. */
void json_write_value(struct buf *out, const struct json *j)
{
    struct member_writer members = {.out = out};
    switch (json_type(j)) {
    case JSON_NULL:
        buf_append_str(out, "null");
        break;
    case JSON_BOOL:
        buf_append_str(out, json_bool(j, false) ? "true" : "false");
        break;
    case JSON_INT:
        write_int(out, object_of(j));
        break;
    case JSON_DOUBLE:
        write_double(out, object_of(j));
        break;
    case JSON_STRING:
        write_string(out, json_string(j));
        break;
    case JSON_ARRAY:
        write_array(out, j);
        break;
    case JSON_OBJECT:
        buf_append_char(out, '{');
        json_each(j, write_member, &members);
        buf_append_char(out, '}');
        break;
    }
}
