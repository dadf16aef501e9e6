#include "json/json_check.h"

#include "base/error.h"
#include "json/json_utf8.h"

/* What may come next. */
enum expect {
    VALUE,
    VALUE_OR_END, /* just after '[' */
    KEY,
    KEY_OR_END, /* just after '{' */
    COMMA_OR_END,
    NOTHING, /* the value is complete */
};

struct reader {
    struct bytes text;
    size_t at;
    struct json_check *check;
    struct json_fault *fault;
    unsigned depth;
    size_t values;
    bool is_object[JSON_CHECK_DEPTH_MAX]; /* the container at each depth */
};

static bool fail(struct reader *r, const char *what)
{
    *r->fault = (struct json_fault){what, r->at};
    return false;
}

/* The byte at the cursor, or -1 at the end. */
static int peek(const struct reader *r)
{
    return r->at < r->text.len ? (unsigned char)r->text.ptr[r->at] : -1;
}

static bool fail_here(struct reader *r, const char *what)
{
    return fail(r, peek(r) < 0 ? "the text ends too early" : what);
}

size_t json_comment_end(struct bytes text, size_t at)
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

static bool skip_space(struct reader *r)
{
    for (;;) {
        int c = peek(r);
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
            r->at++;
            continue;
        }
        if (c != '/' || !r->check->takes_comments)
            return true;
        size_t end = json_comment_end(r->text, r->at);
        if (end == 0)
            return fail(r, "no comment, or one without its end");
        r->at = end;
    }
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool read_escape(struct reader *r)
{
    static const char known[] = {'"', '\\', '/', 'b', 'f', 'n', 'r', 't', 'u'};
    r->at++;
    int c = peek(r);
    if (c < 0 || !memchr(known, c, sizeof known))
        return fail_here(r, "no escape that JSON knows");
    r->at++;
    for (int i = 0; c == 'u' && i < 4; i++, r->at++) {
        if (!is_hex(peek(r)))
            return fail_here(r, "four hexadecimal digits expected");
    }
    return true;
}

static void note_control(struct reader *r, int c)
{
    if (r->check->control == SIZE_MAX)
        r->check->control = r->at;
    r->check->has_nul |= c == 0;
    r->at++;
}

/* The cursor stands on the opening quote. */
static bool read_string(struct reader *r)
{
    for (r->at++;;) {
        while (r->at < r->text.len && !json_is_special(r->text.ptr[r->at]))
            r->at++;
        int c = peek(r);
        if (c < 0)
            return fail_here(r, "");
        if (c == '"') {
            r->at++;
            return true;
        }
        if (c == '\\' && !read_escape(r))
            return false;
        if (c != '\\')
            note_control(r, c);
    }
}

static bool read_digits(struct reader *r)
{
    if (!is_digit(peek(r)))
        return fail_here(r, "digit expected");
    while (is_digit(peek(r)))
        r->at++;
    return true;
}

size_t json_number_length(struct bytes text)
{
    static const char marks[] = {'+', '-', '.', 'e', 'E'};
    size_t len = 0;
    while (len < text.len &&
           (is_digit(text.ptr[len]) || memchr(marks, text.ptr[len], sizeof marks)))
        len++;
    return len;
}

bool json_is_wide(struct bytes number)
{
    enum { ALWAYS_FITS = 18 }; /* digits */
    int64_t small;
    uint64_t large;
    size_t sign = number.len > 0 && number.ptr[0] == '-';
    if (number.len <= ALWAYS_FITS)
        return false;
    for (size_t i = sign; i < number.len; i++)
        if (!is_digit(number.ptr[i]))
            return false;
    return !bytes_to_i64(number, &small) && !bytes_to_u64(number, &large);
}

static bool read_fraction(struct reader *r)
{
    if (peek(r) == '.') {
        r->at++;
        if (!read_digits(r))
            return false;
    }
    if (peek(r) != 'e' && peek(r) != 'E')
        return true;
    r->at++;
    if (peek(r) == '+' || peek(r) == '-')
        r->at++;
    return read_digits(r);
}

static bool read_number(struct reader *r)
{
    size_t start = r->at;
    if (peek(r) == '-')
        r->at++;
    if (peek(r) == '0')
        r->at++;
    else if (!read_digits(r))
        return false;
    if (!read_fraction(r))
        return false;
    r->check->has_wide |= json_is_wide(bytes_of(r->text.ptr + start, r->at - start));
    return true;
}

static bool read_word(struct reader *r, const char *word)
{
    for (; *word; word++, r->at++) {
        if (peek(r) != *word)
            return fail_here(r, "unexpected character");
    }
    return true;
}

static bool read_scalar(struct reader *r)
{
    switch (peek(r)) {
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, "true");
    case 'f':
        return read_word(r, "false");
    case 'n':
        return read_word(r, "null");
    case '\'':
        return fail(r, "strings stand between double quotes");
    default:
        if (peek(r) == '-' || is_digit(peek(r)))
            return read_number(r);
        return fail_here(r, "unexpected character");
    }
}

static bool enter(struct reader *r, bool is_object)
{
    if (r->depth == r->check->depth_max)
        return fail(r, "nested too deeply");
    r->is_object[r->depth++] = is_object;
    r->at++;
    return true;
}

static void leave(struct reader *r)
{
    r->depth--;
    r->at++;
}

static bool is_in_object(const struct reader *r)
{
    return r->depth > 0 && r->is_object[r->depth - 1];
}

static enum expect after_value(const struct reader *r)
{
    return r->depth > 0 ? COMMA_OR_END : NOTHING;
}

static bool read_value(struct reader *r, enum expect *next)
{
    int c = peek(r);
    if (r->values++ == r->check->values_max && r->check->values_max > 0)
        return fail(r, "too many values");
    if (c == '{' || c == '[') {
        *next = c == '{' ? KEY_OR_END : VALUE_OR_END;
        return enter(r, c == '{');
    }
    if (!read_scalar(r))
        return false;
    *next = after_value(r);
    return true;
}

static bool read_key(struct reader *r, enum expect *next)
{
    if (peek(r) != '"')
        return fail_here(r, "member name in double quotes expected");
    if (!read_string(r) || !skip_space(r))
        return false;
    if (peek(r) != ':')
        return fail_here(r, "':' expected");
    r->at++;
    *next = VALUE;
    return true;
}

static bool read_separator(struct reader *r, enum expect *next)
{
    if (peek(r) != ',')
        return fail_here(r, "',' or the closing bracket expected");
    r->at++;
    *next = is_in_object(r) ? KEY : VALUE;
    return true;
}

static bool is_closing(const struct reader *r, enum expect expect)
{
    bool may_close = expect == VALUE_OR_END || expect == KEY_OR_END || expect == COMMA_OR_END;
    return may_close && peek(r) == (is_in_object(r) ? '}' : ']');
}

static bool read_next(struct reader *r, enum expect *expect)
{
    if (is_closing(r, *expect)) {
        leave(r);
        *expect = after_value(r);
        return true;
    }
    switch (*expect) {
    case KEY:
    case KEY_OR_END:
        return read_key(r, expect);
    case COMMA_OR_END:
        return read_separator(r, expect);
    default:
        return read_value(r, expect);
    }
}

bool json_check(struct bytes text, struct json_check *check, struct json_fault *fault)
{
    struct reader r; /* but for is_object, which is written before it is read */
    r.text = text;
    r.check = check;
    r.fault = fault;
    r.depth = 0;
    r.values = 0;
    BRG_CHECK(check->depth_max <= JSON_CHECK_DEPTH_MAX);
    check->control = SIZE_MAX;
    check->has_nul = check->has_wide = false;
    r.at = json_utf8_prefix(text);
    if (r.at < text.len)
        return fail(&r, "not UTF-8");
    enum expect expect = VALUE;
    for (r.at = 0; expect != NOTHING;) {
        if (!skip_space(&r) || !read_next(&r, &expect))
            return false;
    }
    if (!skip_space(&r))
        return false;
    return peek(&r) < 0 || fail(&r, "text after the value");
}
