#include "json/json_c.h"

#include "json/json.h"
#include "json/json_check.h"

#include <limits.h>
#include <pthread.h>

/* A tokener per thread; it keeps its buffers between documents. */
static pthread_once_t tokener_once = PTHREAD_ONCE_INIT;
static pthread_key_t tokener_key;

static void free_tokener(void *arg)
{
    json_tokener_free(arg);
}

static void make_key(void)
{
    BRG_CHECK(pthread_key_create(&tokener_key, free_tokener) == 0);
}

static struct json_tokener *tokener(void)
{
    BRG_CHECK(pthread_once(&tokener_once, make_key) == 0);
    struct json_tokener *t = pthread_getspecific(tokener_key);
    if (!t) {
        /* json-c counts the value inside the innermost container as a level. */
        t = json_tokener_new_ex(JSON_RECORD_DEPTH_MAX + 1);
        BRG_CHECK(t != NULL && pthread_setspecific(tokener_key, t) == 0);
    }
    return t;
}

/* `text` is JSON; what json-c would tolerate beyond does not occur. Not strict, because 0.18
 * then refuses every byte above 0x7F (it compares a signed char with 0x1F). */
static struct json_object *build(struct bytes text)
{
    struct json_tokener *t = tokener();
    json_tokener_reset(t);
    struct json_object *root = json_tokener_parse_ex(t, text.ptr, (int)text.len);
    /* A number at the very end might go on; a NUL byte tells that it does not. */
    if (json_tokener_get_error(t) == json_tokener_continue)
        root = json_tokener_parse_ex(t, "", 1);
    /* After a failure the tokener would hold what was read so far. */
    json_tokener_reset(t);
    return root;
}

/* Writes the half of a surrogate pair as three bytes when `escape` is one and its string begins
 * or ends with it; returns what of `escape` that is, or 0. */
static size_t reword_half(struct buf *out, struct bytes escape, bool is_first)
{
    enum { LENGTH = 6, HIGH = 0xD800, LOW = 0xDC00, END = 0xE000 };
    char digits[] = "0000";
    if (escape.len <= LENGTH || escape.ptr[1] != 'u')
        return 0;
    memcpy(digits, escape.ptr + 2, sizeof digits - 1);
    unsigned long unit = strtoul(digits, NULL, 16);
    bool is_last = escape.ptr[LENGTH] == '"';
    bool is_high = unit >= HIGH && unit < LOW, is_low = unit >= LOW && unit < END;
    if (!(is_high && is_last) && !(is_low && is_first))
        return 0;
    buf_append_char(out, (char)(0xE0 | unit >> 12));
    buf_append_char(out, (char)(0x80 | (unit >> 6 & 0x3F)));
    buf_append_char(out, (char)(0x80 | (unit & 0x3F)));
    return LENGTH;
}

/* What json-c would read wrongly, in other words: NUL inside a string, which it takes for the
 * end of the text, and integers of more than 64 bits, which it clamps, as numbers with an
 * exponent, of which it keeps the text. What follows a backslash stays. */
static void reword(struct buf *out, struct bytes text, bool keeps_halves)
{
    bool in_string = false, is_first = false; /* behind the opening quote */
    for (size_t i = 0; i < text.len;) {
        struct bytes rest = bytes_of(text.ptr + i, text.len - i);
        size_t number = in_string ? 0 : json_number_length(rest);
        size_t taken = number > 0 ? number : *rest.ptr == '\\' ? 2 : 1;
        size_t half = 0;
        if (keeps_halves && *rest.ptr == '\\')
            half = reword_half(out, rest, is_first);
        if (*rest.ptr == '"')
            in_string = !in_string;
        is_first = in_string && *rest.ptr == '"';
        if (half > 0)
            taken = half;
        else if (*rest.ptr == 0)
            buf_append_str(out, "\\u0000");
        else
            buf_append(out, bytes_of(rest.ptr, taken));
        if (number > 0 && json_is_wide(bytes_of(rest.ptr, number)))
            buf_append_str(out, JSON_WIDE_MARK);
        i += taken;
    }
}

static struct json_object *build_reworded(struct bytes text, bool keeps_halves)
{
    struct buf reworded;
    struct json_object *root = NULL;
    buf_init(&reworded, INT_MAX - 1);
    reword(&reworded, text, keeps_halves);
    if (!reworded.overflowed)
        root = build(buf_bytes(&reworded));
    buf_free(&reworded);
    return root;
}

/* Without its comments: json-c knows them too, but not at every place. */
static struct json_object *build_uncommented(struct bytes text)
{
    char *copy = bytes_dup(text);
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        if (copy[i] == '"')
            in_string = !in_string;
        else if (copy[i] == '\\')
            i++; /* only strings have them */
        else if (copy[i] == '/' && !in_string)
            memset(copy + i, ' ', json_comment_end(text, i) - i);
    }
    struct json_object *root = build(bytes_of(copy, text.len));
    free(copy);
    return root;
}

static bool has_surrogate(struct bytes text)
{
    return memmem(text.ptr, text.len, "\\ud", 3) || memmem(text.ptr, text.len, "\\uD", 3);
}

static struct json_object *parse(struct bytes text, enum json_mode mode,
                                 struct json_fault *fault)
{
    struct json_check check = {
        .depth_max = mode == JSON_RECORD ? JSON_RECORD_DEPTH_MAX : JSON_DEPTH_MAX,
        .values_max = mode == JSON_CALLBACK ? JSON_CALLBACK_VALUES : 0,
        .takes_comments = mode == JSON_CONFIG,
    };
    *fault = (struct json_fault){"too long", 0};
    if (text.len >= INT_MAX || !json_check(text, &check, fault))
        return NULL;
    *fault = (struct json_fault){"raw control character in a string", check.control};
    if (check.control != SIZE_MAX && (mode == JSON_STRICT || mode == JSON_CONFIG))
        return NULL;
    *fault = (struct json_fault){"the value is null", 0};
    if (mode == JSON_CONFIG)
        return build_uncommented(text);
    bool keeps_halves = mode == JSON_CHUNK && has_surrogate(text);
    return check.has_nul || check.has_wide || keeps_halves ? build_reworded(text, keeps_halves)
                                                           : build(text);
}

static void report(struct bytes text, enum json_mode mode, const struct json_fault *fault,
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
    struct json_fault fault;
    struct json_object *root = parse(text, mode, &fault);
    if (!root)
        report(text, mode, &fault, error);
    return (struct json *)root;
}

void json_free(struct json *root)
{
    json_object_put((struct json_object *)root);
}
