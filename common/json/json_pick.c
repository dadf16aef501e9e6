#include "json/json_pick.h"

#include "json/json.h"
#include "json/json_check.h"

#include <limits.h>

/* Walks over text that is known to be JSON, so every container and string has its end. */
struct walk {
    const char *at;
    const char *end;
    struct json_pick *picks;
    size_t count;
    uint32_t seen;    /* bit per pick: the string was there */
    uint32_t entered; /* bit per pick: the object it is in was there */
    bool is_plain;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct walk *w)
{
    while (w->at < w->end && is_space(*w->at))
        w->at++;
}

/* What stands between the quotes; the cursor goes from the first to behind the second. */
static struct bytes read_string(struct walk *w, bool *is_escaped)
{
    const char *start = ++w->at;
    const char *quote = memchr(start, '"', (size_t)(w->end - start));
    *is_escaped = memchr(start, '\\', (size_t)(quote - start)) != NULL;
    if (!*is_escaped) {
        w->at = quote + 1;
        return bytes_of(start, (size_t)(quote - start));
    }
    while (*w->at != '"')
        w->at += *w->at == '\\' ? 2 : 1;
    w->at++;
    return bytes_of(start, (size_t)(w->at - start) - 1);
}

static bool is_after_value(char c)
{
    return c == ',' || c == '}' || c == ']' || is_space(c);
}

static void skip_value(struct walk *w)
{
    unsigned depth = 0;
    bool ignored;
    do {
        char c = *w->at;
        if (c == '"') {
            (void)read_string(w, &ignored);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        w->at++;
    } while (depth > 0 || (w->at < w->end && !is_after_value(*w->at)));
}

static bool is_in(const struct json_pick *pick, const char *object)
{
    return pick->object == object ||
           (pick->object && object && strcmp(pick->object, object) == 0);
}

static void mark(struct walk *w, uint32_t *marks, size_t i)
{
    uint32_t bit = UINT32_C(1) << i;
    if (*marks & bit) /* of two with one name the last counts: not our matter */
        w->is_plain = false;
    *marks |= bit;
}

static void take_string(struct walk *w, size_t i)
{
    bool is_escaped = false;
    const char *back = w->at;
    mark(w, &w->seen, i);
    if (*w->at == '"')
        w->picks[i].string = read_string(w, &is_escaped);
    else
        w->is_plain = false;
    if (is_escaped)
        w->is_plain = false;
    w->at = back;
}

/* The object of that name is wanted: NULL, or the name as in `picks`. */
static const char *enter(struct walk *w, struct bytes name)
{
    const char *object = NULL;
    for (size_t i = 0; i < w->count; i++) {
        if (!w->picks[i].object || !bytes_eq_str(name, w->picks[i].object))
            continue;
        object = w->picks[i].object;
        mark(w, &w->entered, i);
    }
    if (object && *w->at != '{')
        w->is_plain = false;
    return object;
}

static struct bytes read_name(struct walk *w)
{
    bool is_escaped;
    skip_space(w);
    struct bytes name = read_string(w, &is_escaped);
    if (is_escaped)
        w->is_plain = false;
    skip_space(w);
    w->at++; /* the colon */
    skip_space(w);
    return name;
}

/* Goes to the next member, or behind the object. */
static bool has_more(struct walk *w)
{
    skip_space(w);
    return *w->at++ == ',';
}

static void walk_inner(struct walk *w, const char *object);

static void walk_member(struct walk *w, const char *object)
{
    struct bytes name = read_name(w);
    for (size_t i = 0; i < w->count; i++) {
        if (is_in(&w->picks[i], object) && bytes_eq_str(name, w->picks[i].key))
            take_string(w, i);
    }
    const char *inner = object ? NULL : enter(w, name);
    if (inner && w->is_plain)
        walk_inner(w, inner);
    else
        skip_value(w);
}

/* From the opening bracket to behind the closing one, or to where it stops being plain. */
static void walk_inner(struct walk *w, const char *object)
{
    w->at++;
    skip_space(w);
    if (*w->at == '}') {
        w->at++;
        return;
    }
    do
        walk_member(w, object);
    while (w->is_plain && has_more(w));
}

bool json_pick(struct bytes text, struct json_pick *picks, size_t count)
{
    struct json_fault fault;
    struct json_check check = {.depth_max = JSON_DEPTH_MAX};
    BRG_CHECK(count <= JSON_PICKS_MAX);
    for (size_t i = 0; i < count; i++)
        picks[i].string = bytes_of(NULL, 0);
    if (text.len >= INT_MAX || !json_check(text, &check, &fault) || check.has_nul)
        return false;
    struct walk w = {text.ptr, text.ptr + text.len, picks, count, 0, 0, true};
    skip_space(&w);
    if (*w.at != '{')
        return false;
    walk_inner(&w, NULL);
    return w.is_plain;
}
