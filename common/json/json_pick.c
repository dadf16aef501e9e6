#include "json/json_pick.h"

#include "json/json.h"
#include "json/json_check.h"

#include <limits.h>

_Static_assert((int)JSON_PICK_NESTING_MAX <= (int)JSON_CHECK_DEPTH_MAX, "depths");

/* Walks over text that is known to be JSON, so every container and string has its end. */
struct walk {
    const char *at;
    const char *end;
    struct json_pick *picks;
    size_t count;
    uint32_t seen;                         /* bit per pick: the string was there */
    uint32_t entered[JSON_PICK_DEPTH_MAX]; /* the same of each object on the way to it */
    bool is_plain;
};

/* Where the cursor is: the beginning of a pick's `object`. */
struct place {
    struct bytes path;
    unsigned depth; /* names in it */
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

static bool is_in(const struct json_pick *pick, const struct place *place)
{
    return pick->object ? bytes_eq_str(place->path, pick->object) : place->depth == 0;
}

static void mark(struct walk *w, uint32_t *marks, size_t i)
{
    uint32_t bit = UINT32_C(1) << i;
    if (*marks & bit) /* of two with one name the last counts: not our matter */
        w->is_plain = false;
    *marks |= bit;
}

static bool is_null(const struct walk *w)
{
    return *w->at == 'n';
}

static void take_string(struct walk *w, size_t i)
{
    bool is_escaped = false;
    const char *back = w->at;
    mark(w, &w->seen, i);
    if (*w->at == '"')
        w->picks[i].string = read_string(w, &is_escaped);
    else if (!is_null(w))
        w->is_plain = false;
    if (is_escaped)
        w->is_plain = false;
    w->at = back;
}

/* How much of `object` leads into the member `name` of what is at `path`; 0: it does not. */
static size_t lead(const char *object, struct bytes path, struct bytes name, bool *is_array)
{
    const char *rest = object;
    if (path.len > 0) {
        if (strncmp(object, path.ptr, path.len) != 0 || object[path.len] != '.')
            return 0;
        rest += path.len + 1;
    }
    bool is_same = strncmp(rest, name.ptr, name.len) == 0;
    if (!is_same || strcspn(rest, ".[") != name.len)
        return 0;
    rest += name.len;
    *is_array = *rest == '[';
    rest += *is_array ? strlen("[0]") : 0;
    return *rest == '.' || *rest == '\0' ? (size_t)(rest - object) : 0;
}

/* Is the member an object, or array, on the way to a wanted string? */
static bool find_inner(struct walk *w, const struct place *place, struct bytes name,
                       struct place *inner, bool *is_array)
{
    bool is_found = false;
    for (size_t i = 0; i < w->count; i++) {
        const char *object = w->picks[i].object;
        size_t len = object ? lead(object, place->path, name, is_array) : 0;
        if (len == 0)
            continue;
        is_found = true;
        *inner = (struct place){bytes_of(object, len), place->depth + 1};
        mark(w, &w->entered[place->depth], i);
    }
    return is_found;
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

static void walk_object(struct walk *w, const struct place *place);

/* The first item, behind the bracket if there is one; then the others are passed over. */
static void walk_items(struct walk *w, const struct place *place)
{
    const char *back = w->at++;
    skip_space(w);
    if (*w->at == ']') {
        w->at = back;
        skip_value(w);
        return;
    }
    if (*w->at != '{') {
        w->is_plain = false;
        return;
    }
    walk_object(w, place);
    while (w->is_plain && has_more(w)) {
        skip_space(w);
        skip_value(w);
    }
}

static void walk_member(struct walk *w, const struct place *place)
{
    struct place inner;
    bool is_array = false;
    struct bytes name = read_name(w);
    for (size_t i = 0; i < w->count; i++) {
        if (bytes_eq_str(name, w->picks[i].key) && is_in(&w->picks[i], place))
            take_string(w, i);
    }
    bool is_wanted = find_inner(w, place, name, &inner, &is_array) && !is_null(w);
    if (is_wanted && *w->at != (is_array ? '[' : '{'))
        w->is_plain = false;
    if (!is_wanted || !w->is_plain)
        skip_value(w);
    else if (is_array)
        walk_items(w, &inner);
    else
        walk_object(w, &inner);
}

/* From the opening bracket to behind the closing one, or to where it stops being plain. */
static void walk_object(struct walk *w, const struct place *place)
{
    w->at++;
    skip_space(w);
    if (*w->at == '}') {
        w->at++;
        return;
    }
    do
        walk_member(w, place);
    while (w->is_plain && has_more(w));
}

static bool pick(struct bytes text, unsigned depth_max, struct json_pick *picks, size_t count)
{
    struct json_fault fault;
    struct json_check check = {.depth_max = depth_max};
    BRG_CHECK(count <= JSON_PICKS_MAX);
    for (size_t i = 0; i < count; i++)
        picks[i].string = bytes_of(NULL, 0);
    if (text.len >= INT_MAX || !json_check(text, &check, &fault) || check.has_nul)
        return false;
    struct walk w = {
        .at = text.ptr,
        .end = text.ptr + text.len,
        .picks = picks,
        .count = count,
        .is_plain = true,
    };
    skip_space(&w);
    if (*w.at != '{')
        return false;
    walk_object(&w, &(struct place){.depth = 0});
    return w.is_plain;
}

bool json_pick(struct bytes text, struct json_pick *picks, size_t count)
{
    return pick(text, JSON_DEPTH_MAX, picks, count);
}

bool json_pick_deep(struct bytes text, struct json_pick *picks, size_t count)
{
    return pick(text, JSON_PICK_NESTING_MAX, picks, count);
}
