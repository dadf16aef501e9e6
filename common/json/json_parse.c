#include "json/json_c.h"

#include "json/json.h"
#include "json/json_utf8.h"

#include <limits.h>
#include <pthread.h>

/* A problem and the offset it was found at. */
struct fault {
    const char *what;
    size_t at;
};

/* Tokeners of one thread; they keep their buffers between documents. */
struct tokeners {
    struct json_tokener *peer;
    struct json_tokener *record;
};

static pthread_once_t tokeners_once = PTHREAD_ONCE_INIT;
static pthread_key_t tokeners_key;

static void free_tokeners(void *arg)
{
    struct tokeners *t = arg;
    json_tokener_free(t->peer);
    json_tokener_free(t->record);
    free(t);
}

static void make_key(void)
{
    BRG_CHECK(pthread_key_create(&tokeners_key, free_tokeners) == 0);
}

/* json-c counts the value inside the innermost container as a level, hence + 1. */
static struct json_tokener *new_tokener(int depth)
{
    struct json_tokener *t = json_tokener_new_ex(depth + 1);
    BRG_CHECK(t != NULL);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT);
    return t;
}

static struct json_tokener *tokener(enum json_mode mode)
{
    BRG_CHECK(pthread_once(&tokeners_once, make_key) == 0);
    struct tokeners *t = pthread_getspecific(tokeners_key);
    if (!t) {
        t = BRG_NEW(struct tokeners);
        t->peer = new_tokener(JSON_DEPTH_MAX);
        t->record = new_tokener(JSON_RECORD_DEPTH_MAX);
        BRG_CHECK(pthread_setspecific(tokeners_key, t) == 0);
    }
    return mode == JSON_RECORD ? t->record : t->peer;
}

static const char *describe(enum json_tokener_error code)
{
    switch (code) {
    case json_tokener_error_depth:
        return "nested too deeply";
    case json_tokener_continue:
    case json_tokener_error_parse_eof:
        return "the text ends too early";
    default:
        return json_tokener_error_desc(code);
    }
}

static struct json_object *parse_once(struct json_tokener *t, struct bytes text,
                                      struct fault *fault)
{
    json_tokener_reset(t);
    struct json_object *root = json_tokener_parse_ex(t, text.ptr, (int)text.len);
    enum json_tokener_error code = json_tokener_get_error(t);
    size_t end = json_tokener_get_parse_end(t);
    if (code == json_tokener_continue) {
        /* A number at the very end might go on; a NUL byte tells that it does not. */
        root = json_tokener_parse_ex(t, "", 1);
        code = json_tokener_get_error(t);
        end = text.len;
    }
    /* After a failure the tokener would hold what was read so far. */
    json_tokener_reset(t);
    if (code == json_tokener_success && end == text.len && root)
        return root;
    fault->at = end;
    fault->what = describe(code);
    if (code == json_tokener_success)
        fault->what = end < text.len ? "text after the value" : "the value is null";
    json_object_put(root);
    return NULL;
}

/* `at` is an opening quote: returns the offset behind the closing one (or the end), and notes
 * the first raw control character unless one was found before. */
static size_t string_end(struct bytes text, size_t at, size_t *control)
{
    for (size_t i = at + 1; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"')
            return i + 1;
        if (c < 0x20 && *control == SIZE_MAX)
            *control = i;
        if (c == '\\')
            i++;
    }
    return text.len;
}

/* Offset of the first raw control character inside a string, or SIZE_MAX. */
static size_t find_control(struct bytes text)
{
    size_t control = SIZE_MAX;
    for (size_t i = 0; i < text.len && control == SIZE_MAX;)
        i = text.ptr[i] == '"' ? string_end(text, i, &control) : i + 1;
    return control;
}

/* Raw control characters inside strings become \u00XX. What follows a backslash stays. */
static void escape_controls(struct buf *out, struct bytes text)
{
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (in_string && c < 0x20) {
            buf_printf(out, "\\u%04x", c);
            continue;
        }
        if (c == '"')
            in_string = !in_string;
        buf_append_char(out, (char)c);
        if (in_string && c == '\\' && i + 1 < text.len)
            buf_append_char(out, text.ptr[++i]);
    }
}

/* json-c 0.16 takes raw control characters but NUL, later versions take none: the second try
 * makes them alike, and only such texts pay for it. */
static struct json_object *parse_peer(struct bytes text, enum json_mode mode,
                                      struct fault *fault)
{
    fault->at = json_utf8_prefix(text);
    fault->what = "not UTF-8";
    if (fault->at < text.len)
        return NULL;
    struct json_tokener *t = tokener(mode);
    if (mode == JSON_STRICT) {
        fault->at = find_control(text);
        fault->what = "raw control character in a string";
        return fault->at != SIZE_MAX ? NULL : parse_once(t, text, fault);
    }
    struct json_object *root = parse_once(t, text, fault);
    if (root || find_control(text) == SIZE_MAX)
        return root;
    struct buf escaped;
    struct fault second;
    buf_init(&escaped, INT_MAX);
    escape_controls(&escaped, text);
    if (!escaped.overflowed)
        root = parse_once(t, buf_bytes(&escaped), &second);
    buf_free(&escaped);
    return root;
}

/* End of the comment that starts at `at`, or 0 when there is none or it does not end. */
static size_t comment_end(struct bytes text, size_t at)
{
    struct bytes rest = bytes_of(text.ptr + at, text.len - at);
    const char *end = NULL;
    if (bytes_starts_with(rest, BYTES_LIT("//"))) {
        end = memchr(rest.ptr, '\n', rest.len);
        return end ? (size_t)(end - text.ptr) : text.len;
    }
    if (!bytes_starts_with(rest, BYTES_LIT("/*")))
        return 0;
    end = memmem(rest.ptr + 2, rest.len - 2, "*/", 2);
    return end ? (size_t)(end - text.ptr) + 2 : 0;
}

static void blank(char *copy, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        copy[i] = copy[i] == '\n' ? '\n' : ' ';
}

/* Blanks the comments in `copy`, so that every place keeps its line and column; refuses what
 * some versions of json-c would let pass. */
static bool prepare_config(struct bytes text, char *copy, struct fault *fault)
{
    size_t control = SIZE_MAX;
    size_t i = 0;
    while (i < text.len) {
        size_t start = i++;
        char c = text.ptr[start];
        *fault = (struct fault){"strings stand between double quotes", start};
        if (c == '\'')
            return false;
        if (c == '"')
            i = string_end(text, start, &control);
        *fault = (struct fault){"control character in a string; write \\n or \\t", control};
        if (control != SIZE_MAX)
            return false;
        if (c != '/')
            continue;
        i = comment_end(text, start);
        *fault = (struct fault){"no comment, or one without its end", start};
        if (i == 0)
            return false;
        blank(copy, start, i);
    }
    return true;
}

static struct json_object *parse_config(struct bytes text, struct fault *fault)
{
    *fault = (struct fault){"not UTF-8", json_utf8_prefix(text)};
    if (fault->at < text.len)
        return NULL;
    char *copy = bytes_dup(text);
    struct json_object *root = NULL;
    if (prepare_config(text, copy, fault))
        root = parse_once(tokener(JSON_CONFIG), bytes_of(copy, text.len), fault);
    free(copy);
    return root;
}

static void report(struct bytes text, enum json_mode mode, const struct fault *fault,
                   struct brg_error *error)
{
    if (mode != JSON_CONFIG) {
        brg_fail(error, BRG_REJECT, "byte %zu: %s", fault->at, fault->what);
        return;
    }
    size_t line = 1, column = 1;
    for (size_t i = 0; i < fault->at && i < text.len; i++) {
        line += text.ptr[i] == '\n';
        column = text.ptr[i] == '\n' ? 1 : column + 1;
    }
    brg_fail(error, BRG_REJECT, "line %zu, column %zu: %s", line, column, fault->what);
}

struct json *json_parse(struct bytes text, enum json_mode mode, struct brg_error *error)
{
    struct fault fault = {"empty, or too long", 0};
    struct json_object *root = NULL;
    if (text.len > 0 && text.len < INT_MAX)
        root =
            mode == JSON_CONFIG ? parse_config(text, &fault) : parse_peer(text, mode, &fault);
    if (!root)
        report(text, mode, &fault, error);
    return (struct json *)root;
}

void json_free(struct json *root)
{
    json_object_put((struct json_object *)root);
}
