#include "answer.h"

#include "base/utf8.h"
#include "cut.h"

#define TAIL_GAP "\n\n"

/* Of the limit, so that a line's end may be waited for when a text has to be cut. */
enum { SLACK_PARTS = 40 };

void answer_init(struct answer *a, size_t max_bytes, size_t limit_bytes, size_t tail_max_bytes)
{
    size_t reserve =
        CUT_CLOSING_MAX + sizeof(TAIL_GAP) - 1 + tail_max_bytes + limit_bytes / SLACK_PARTS;
    buf_init(&a->text, max_bytes);
    a->is_cut = false;
    a->limit_bytes = limit_bytes;
    a->reserve_bytes = reserve < limit_bytes ? reserve : limit_bytes;
}

void answer_free(struct answer *a)
{
    buf_free(&a->text);
}

void answer_clear(struct answer *a)
{
    buf_reset(&a->text);
    a->is_cut = false;
}

bool answer_append(struct answer *a, struct bytes text)
{
    size_t room = a->text.max - a->text.len;
    if (a->is_cut)
        return false;
    buf_append(&a->text, bytes_of(text.ptr, text.len < room ? text.len : room));
    a->is_cut = text.len > room || a->text.overflowed;
    return !a->is_cut;
}

bool answer_replace(struct answer *a, struct bytes text)
{
    answer_clear(a);
    return answer_append(a, text);
}

/* Length of the white space or the thought that `text` begins with; 0: of neither. */
static size_t blank_length(struct bytes text)
{
    struct bytes open = BYTES_LIT("<think>"), close = BYTES_LIT("</think>");
    if (text.len > 0 && memchr(" \t\r\n", *text.ptr, 4))
        return 1;
    if (bytes_starts_with(text, BYTES_LIT("\u3000"))) /* the blank of Chinese texts */
        return 3;
    if (!bytes_starts_with(text, open))
        return 0;
    const char *end = memmem(text.ptr, text.len, close.ptr, close.len);
    return end ? (size_t)(end - text.ptr) + close.len : text.len;
}

bool answer_is_blank(const struct answer *a)
{
    struct bytes rest = buf_bytes(&a->text);
    size_t len;
    do {
        len = blank_length(rest);
        rest = bytes_of(rest.ptr + len, rest.len - len);
    } while (len > 0);
    return rest.len == 0;
}

struct bytes answer_visible(const struct answer *a)
{
    struct bytes text = buf_bytes(&a->text);
    return bytes_of(text.ptr, cut_growing(text, a->limit_bytes - a->reserve_bytes));
}

/* A character that never came whole cannot be shown. */
static struct bytes whole_text(const struct answer *a)
{
    return bytes_of(a->text.ptr, utf8_complete(buf_bytes(&a->text)));
}

bool answer_has_rest(const struct answer *a)
{
    return whole_text(a).len > a->limit_bytes;
}

static size_t less(size_t from, size_t what)
{
    return from > what ? from - what : 0;
}

/* Everything of `text` from `from` on that fits before `tail`. */
static size_t append_closed(struct bytes text, size_t from, size_t least, size_t max_bytes,
                            struct bytes tail, struct buf *out)
{
    size_t room = less(max_bytes, tail.len + sizeof(TAIL_GAP) - 1);
    struct bytes part = bytes_of(text.ptr + from, text.len - from);
    size_t kept = part.len;
    if (kept > less(room, CUT_CLOSING_MAX))
        kept = cut_at(part, least, room);
    buf_append(out, bytes_of(part.ptr, kept));
    cut_close(text, from + kept, out);
    if (from + kept > 0)
        buf_append_str(out, TAIL_GAP);
    buf_append(out, tail);
    return kept;
}

size_t answer_compose(const struct answer *a, struct bytes tail, struct bytes over,
                      struct buf *out)
{
    struct bytes text = whole_text(a);
    if (tail.len == 0 && text.len <= a->limit_bytes && !a->is_cut) {
        buf_append(out, text);
        return text.len;
    }
    struct bytes visible = answer_visible(a);
    struct bytes said = tail.len > 0 ? tail : over;
    said.len = utf8_cut(said, a->limit_bytes);
    return append_closed(tail.len > 0 ? visible : text, 0, visible.len, a->limit_bytes, said,
                         out);
}

void answer_compose_rest(const struct answer *a, size_t from, struct bytes over,
                         struct buf *out)
{
    struct bytes text = whole_text(a);
    size_t before = out->len;
    cut_reopen(text, from, out);
    size_t room = less(a->limit_bytes, out->len - before);
    if (text.len - from <= room && !a->is_cut)
        buf_append(out, bytes_of(text.ptr + from, text.len - from));
    else
        (void)append_closed(text, from, 0, room, over, out);
}
