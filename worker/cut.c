#include "cut.h"

#include "base/utf8.h"

#define THINK_OPEN BYTES_LIT("<think>")
#define THINK_CLOSE BYTES_LIT("</think>")

enum { INDENT_MAX = 3, FENCE_MIN = 3 };

static struct bytes rest_of(struct bytes text, size_t from)
{
    return bytes_of(text.ptr + from, text.len - from);
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* --- lines --- */

static size_t indent_of(struct bytes line)
{
    size_t n = 0;
    while (n < line.len && n <= INDENT_MAX && line.ptr[n] == ' ')
        n++;
    return n;
}

/* Without the indentation; empty when there is more of it than a block's beginning has. */
static struct bytes unindented(struct bytes line)
{
    size_t indent = indent_of(line);
    return indent <= INDENT_MAX ? rest_of(line, indent) : bytes_of(NULL, 0);
}

static size_t run_of(struct bytes text, char c)
{
    size_t n = 0;
    while (n < text.len && text.ptr[n] == c)
        n++;
    return n;
}

static bool is_row(struct bytes line)
{
    struct bytes text = unindented(line);
    return text.len > 0 && *text.ptr == '|';
}

/* |---|:-:| */
static bool is_delimiter_row(struct bytes line)
{
    bool has_dash = false;
    for (size_t i = 0; i < line.len; i++) {
        if (!is_one_of(line.ptr[i], "|:- \t\r\n"))
            return false;
        has_dash = has_dash || line.ptr[i] == '-';
    }
    return has_dash && is_row(line);
}

/* Length of the fence that the line begins with, 0: none. */
static size_t fence_of(struct bytes line, char *c)
{
    struct bytes text = unindented(line);
    *c = '\0';
    if (text.len > 0)
        *c = *text.ptr;
    if (*c != '`' && *c != '~')
        return 0;
    size_t len = run_of(text, *c);
    bool is_inline = *c == '`' && memchr(text.ptr + len, '`', text.len - len) != NULL;
    return len >= FENCE_MIN && len <= CUT_FENCE_MAX && !is_inline ? len : 0;
}

static bool is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_one_of(text.ptr[i], " \t\r\n"))
            return false;
    return true;
}

/* --- what is open --- */

struct scan {
    bool is_thinking;
    bool is_line_start; /* what follows begins a line */
    size_t fence_len;   /* 0: not in a code block */
    char fence;
    struct bytes opening;    /* the line of the open fence */
    struct bytes head;       /* first row of the table that the last line belongs to */
    struct bytes delimiters; /* its second */
    size_t rows;
};

static void end_table(struct scan *s)
{
    s->rows = 0;
    s->head = s->delimiters = bytes_of(NULL, 0);
}

static void scan_row(struct scan *s, struct bytes line)
{
    s->rows++;
    if (s->rows == 1)
        s->head = line;
    else if (s->rows == 2 && is_delimiter_row(line))
        s->delimiters = line;
}

static void scan_line(struct scan *s, struct bytes line)
{
    char c;
    size_t fence = fence_of(line, &c);
    if (s->fence_len > 0) {
        bool is_end = fence >= s->fence_len && c == s->fence &&
                      is_blank(rest_of(unindented(line), fence));
        if (is_end)
            s->fence_len = 0;
        return;
    }
    if (!is_row(line)) {
        end_table(s);
    } else {
        scan_row(s, line);
        return;
    }
    if (fence > 0) {
        s->fence_len = fence;
        s->fence = c;
        s->opening = line;
    }
}

/* Length of the next tag that counts, at the start of `text`; 0: none. */
static size_t tag_at(const struct scan *s, struct bytes text)
{
    struct bytes tag = s->is_thinking ? THINK_CLOSE : THINK_OPEN;
    bool counts = s->is_thinking || s->fence_len == 0;
    return counts && bytes_starts_with(text, tag) ? tag.len : 0;
}

/* A tag ends the line before it and begins another, and what a thought leaves open ends with
 * it. */
static void scan_tag(struct scan *s)
{
    s->is_thinking = !s->is_thinking;
    s->fence_len = 0;
    end_table(s);
}

/* Start of what follows the line at `from`: behind its line break, at a tag, or the end. */
static size_t line_end(const struct scan *s, struct bytes text, size_t from)
{
    for (size_t i = from; i < text.len; i++) {
        if (text.ptr[i] == '\n')
            return i + 1;
        if (text.ptr[i] == '<' && tag_at(s, rest_of(text, i)) > 0)
            return i;
    }
    return text.len;
}

/* All of `text`, whose last line may be unfinished. */
static void scan(struct scan *s, struct bytes text)
{
    size_t at = 0;
    *s = (struct scan){.is_line_start = true};
    while (at < text.len) {
        size_t tag = tag_at(s, rest_of(text, at));
        if (tag > 0) {
            scan_tag(s);
            s->is_line_start = true;
            at += tag;
            continue;
        }
        size_t end = line_end(s, text, at);
        scan_line(s, bytes_of(text.ptr + at, end - at));
        s->is_line_start = text.ptr[end - 1] == '\n';
        at = end;
    }
}

/* --- where to cut --- */

/* Must the unfinished line `line` be kept back? What it becomes is known only at its end. */
static bool is_undecided(struct bytes line)
{
    if (line.len == 0 || indent_of(line) > INDENT_MAX)
        return false;
    struct bytes text = unindented(line);
    if (text.len == 0 || *text.ptr == '|')
        return true;
    if (*text.ptr != '`' && *text.ptr != '~')
        return false;
    size_t run = run_of(text, *text.ptr);
    return run == text.len || run >= FENCE_MIN;
}

/* Length of the unfinished tag at the end of `text`. */
static size_t partial_tag(struct bytes text)
{
    const struct bytes tags[] = {THINK_OPEN, THINK_CLOSE};
    size_t longest = text.len < tags[1].len ? text.len : tags[1].len - 1;
    for (size_t len = longest; len > 0; len--) {
        const char *end = text.ptr + text.len - len;
        for (size_t i = 0; i < 2; i++)
            if (len < tags[i].len && memcmp(end, tags[i].ptr, len) == 0)
                return len;
    }
    return 0;
}

/* Behind the first tag of `line` from `from` on, or 0. */
static size_t after_tag(struct bytes line, size_t from)
{
    for (size_t i = from; i < line.len; i++) {
        const char *next = memchr(line.ptr + i, '<', line.len - i);
        if (!next)
            return 0;
        i = (size_t)(next - line.ptr);
        struct bytes rest = rest_of(line, i);
        if (bytes_starts_with(rest, THINK_OPEN))
            return i + THINK_OPEN.len;
        if (bytes_starts_with(rest, THINK_CLOSE))
            return i + THINK_CLOSE.len;
    }
    return 0;
}

/* How much of the end of `text` must be kept back. A tag may begin a line or, where it does not
 * count, stand in one: told without the text before it, because a growing text is looked at
 * often, so both are allowed for. */
static size_t kept_back(struct bytes text)
{
    const char *found = text.len > 0 ? memrchr(text.ptr, '\n', text.len) : NULL;
    struct bytes line = rest_of(text, found ? (size_t)(found - text.ptr) + 1 : 0);
    if (is_undecided(line))
        return line.len;
    for (size_t at = after_tag(line, 0); at > 0; at = after_tag(line, at))
        if (is_undecided(rest_of(line, at)))
            return line.len - at;
    return 0;
}

static struct bytes line_at(struct bytes text, size_t at)
{
    const char *end = at < text.len ? memchr(text.ptr + at, '\n', text.len - at) : NULL;
    return bytes_of(text.ptr + at, end ? (size_t)(end - text.ptr) - at : text.len - at);
}

/* Start of the line that ends with the line break before `at`. */
static size_t line_before(struct bytes text, size_t at)
{
    const char *found = at > 1 ? memrchr(text.ptr, '\n', at - 1) : NULL;
    return found ? (size_t)(found - text.ptr) + 1 : 0;
}

size_t cut_growing(struct bytes text, size_t max_bytes)
{
    struct bytes shown = bytes_of(text.ptr, utf8_complete(text));
    shown.len = utf8_cut(shown, max_bytes);
    shown.len -= partial_tag(shown);
    size_t back = kept_back(shown);
    return back <= max_bytes / 2 ? shown.len - back : shown.len;
}

/* Would what stands in the middle of a line mean something else at the start of one? */
static bool is_special(struct bytes text, size_t at)
{
    struct scan s;
    scan(&s, bytes_of(text.ptr, at));
    return !s.is_line_start && at < text.len && is_one_of(text.ptr[at], "`~| ");
}

/* The nearest place from `at` back to `least`, or else on to `most`, where the rest of a line
 * stays what it is. */
static size_t within_line(struct bytes text, size_t at, size_t least, size_t most)
{
    size_t place = at;
    while (place > least && is_special(text, place))
        place = cut_growing(text, place - 1);
    if (place >= least && !is_special(text, place))
        return place;
    for (place = at; place < most && is_special(text, place); place++)
        ;
    return is_special(text, place) ? at : place;
}

size_t cut_at(struct bytes text, size_t least, size_t max_bytes)
{
    size_t room = max_bytes > CUT_CLOSING_MAX ? max_bytes - CUT_CLOSING_MAX : 0;
    if (room > text.len)
        room = text.len;
    if (least > room)
        least = 0; /* more is to be said than was announced */
    const char *line_break = room > 0 ? memrchr(text.ptr, '\n', room) : NULL;
    size_t after = line_break ? (size_t)(line_break - text.ptr) + 1 : 0;
    if (is_delimiter_row(line_at(text, after)) && line_before(text, after) > least)
        after = line_before(text, after); /* a table's head goes with it */
    if (after > least && room - after <= max_bytes / 4)
        return after;
    size_t at = cut_growing(text, room);
    return within_line(text, at > least ? at : least, least, room);
}

/* --- what stands on both sides of the cut --- */

void cut_close(struct bytes text, size_t at, struct buf *out)
{
    struct scan s;
    scan(&s, bytes_of(text.ptr, at));
    bool is_line_open = at > 0 && text.ptr[at - 1] != '\n';
    if (s.fence_len > 0) {
        if (is_line_open)
            buf_append_char(out, '\n');
        for (size_t i = 0; i < s.fence_len; i++)
            buf_append_char(out, s.fence);
        is_line_open = true;
    }
    if (!s.is_thinking)
        return;
    if (is_line_open)
        buf_append_char(out, '\n');
    buf_append(out, THINK_CLOSE);
}

static void append_line(struct buf *out, struct bytes line)
{
    buf_append(out, line);
    if (line.len > 0 && line.ptr[line.len - 1] != '\n')
        buf_append_char(out, '\n');
}

void cut_reopen(struct bytes text, size_t at, struct buf *out)
{
    struct scan s;
    scan(&s, bytes_of(text.ptr, at));
    if (s.is_thinking) {
        buf_append(out, THINK_OPEN);
        buf_append_char(out, '\n');
    }
    if (s.fence_len > 0)
        append_line(out, s.opening);
    bool is_in_table = s.delimiters.len > 0 && is_row(rest_of(text, at));
    if (is_in_table && s.head.len + s.delimiters.len <= CUT_TABLE_HEAD_MAX) {
        append_line(out, s.head);
        append_line(out, s.delimiters);
    }
}
