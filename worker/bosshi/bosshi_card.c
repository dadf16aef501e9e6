#include "bosshi/bosshi_card.h"

#include "base/utf8.h"
#include "cut.h"
#include "json/json_writer.h"

enum {
    /* Of the limit, so that a line's end may be waited for when a text has to be cut. */
    SLACK_PARTS = 40,
    /* What may be looked at behind a cut to judge it. */
    AHEAD_BYTES = 1024,
    UTF8_MAX_BYTES = 4,
};

/* --- limits --- */

/* What the byte adds to the count: a character counts with its first byte. */
static size_t weight(char c, enum bosshi_unit unit)
{
    unsigned char byte = (unsigned char)c;
    if (unit == BOSSHI_BYTES)
        return 1;
    if ((byte & 0xc0) == 0x80)
        return 0;
    return unit == BOSSHI_UTF16 && byte >= 0xf0 ? 2 : 1;
}

size_t bosshi_count(struct bytes text, enum bosshi_unit unit)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += weight(text.ptr[i], unit);
    return count;
}

/* Bytes of the characters that fit, or all. */
static size_t characters(struct bytes text, struct bosshi_limit limit)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += weight(text.ptr[i], limit.unit);
        if (count > limit.count)
            return i;
    }
    return text.len;
}

size_t bosshi_fit(struct bytes text, struct bosshi_limit limit)
{
    return limit.unit == BOSSHI_BYTES ? utf8_cut(text, limit.count) : characters(text, limit);
}

static struct bosshi_limit less(struct bosshi_limit limit, size_t what)
{
    limit.count = limit.count > what ? limit.count - what : 0;
    return limit;
}

size_t bosshi_growing(struct bytes text, struct bosshi_limit limit)
{
    struct bosshi_limit room = less(limit, CUT_CLOSING_MAX + limit.count / SLACK_PARTS);
    size_t fit = bosshi_fit(text, room);
    /* Until the room is used up its end in bytes is not known: then more is kept back, which
     * shows less, and never more. */
    return cut_growing(text, fit < text.len ? fit : SIZE_MAX);
}

/* --- parts --- */

/* What precedes a part so that it can be read alone, unless that would be most of it. */
static void reopen(struct bytes text, size_t from, struct bosshi_limit limit, struct buf *out)
{
    cut_reopen(text, from, out);
    if (bosshi_count(buf_bytes(out), limit.unit) > limit.count / 2)
        buf_reset(out);
}

/* Where to cut `whole`, which does not fit; `opening` bytes of it stand before the part. */
static size_t place(struct bytes whole, size_t opening, size_t least, struct bosshi_limit limit)
{
    size_t room = bosshi_fit(whole, less(limit, CUT_CLOSING_MAX));
    size_t at = cut_at(whole, least > opening ? least : opening, room + CUT_CLOSING_MAX);
    return at > opening ? at : room;
}

size_t bosshi_part(struct bytes text, size_t from, size_t least, struct bosshi_limit limit,
                   struct buf *out)
{
    struct buf part;
    buf_init(&part, limit.count * UTF8_MAX_BYTES + AHEAD_BYTES + text.len - from);
    reopen(text, from, limit, &part);
    size_t opening = part.len;
    size_t window = limit.count * UTF8_MAX_BYTES + AHEAD_BYTES;
    size_t left = text.len - from;
    buf_append(&part, bytes_of(text.ptr + from, left < window ? left : window));
    struct bytes whole = buf_bytes(&part);
    if (bosshi_fit(whole, limit) == whole.len) {
        buf_append(out, whole);
        buf_free(&part);
        return text.len;
    }
    size_t at = place(whole, opening, from == 0 ? least : 0, limit);
    buf_append(out, bytes_of(whole.ptr, at));
    cut_close(whole, at, out);
    buf_free(&part);
    return from + at - opening;
}

/* --- messages --- */

void bosshi_write_card(struct buf *out, struct bytes header, struct bytes markdown)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_open(&w, "globalConfig", '{');
    json_boolean(&w, "forward", false);
    json_boolean(&w, "shareCard", true); /* else it may not be updated */
    json_close(&w, '}');
    if (header.len > 0) {
        json_open(&w, "header", '{');
        json_open(&w, "text", '{');
        json_str(&w, "tag", BYTES_LIT("plain_text"));
        json_str(&w, "content", header);
        json_close(&w, '}');
        json_str(&w, "color", BYTES_LIT("blue"));
        json_close(&w, '}');
    }
    json_open(&w, "modules", '[');
    json_open(&w, NULL, '{');
    json_str(&w, "tag", BYTES_LIT("markdown"));
    json_str(&w, "content", markdown);
    json_str(&w, "textAlign", BYTES_LIT("left"));
    json_close(&w, '}');
    json_close(&w, ']');
    json_close(&w, '}');
}

void bosshi_write_text(struct buf *out, struct bytes text)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "text", text);
    json_close(&w, '}');
}
