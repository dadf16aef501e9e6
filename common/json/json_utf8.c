#include "json/json_utf8.h"

enum { BLOCK = 16, REACH = 3 }; /* a character reaches back over at most 3 bytes */

typedef uint64_t words __attribute__((vector_size(BLOCK)));
typedef int8_t signed_bytes __attribute__((vector_size(BLOCK)));

static const words HIGH = {0x8080808080808080, 0x8080808080808080};

static words load(const char *p)
{
    words w;
    memcpy(&w, p, sizeof w);
    return w;
}

static bool any_high(words w)
{
    w &= HIGH;
    return (w[0] | w[1]) != 0;
}

static signed_bytes all(unsigned byte)
{
    int8_t b = (int8_t)(uint8_t)byte;
    return (signed_bytes){b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
}

/* Second bytes that a lead byte forbids, and bytes that never occur. Among continuation bytes
 * the signed order is the unsigned one. */
static words forbidden(signed_bytes lead, signed_bytes cur)
{
    words bad = (words)((lead == all(0xE0)) & (cur < all(0xA0)));
    bad |= (words)((lead == all(0xED)) & (cur >= all(0xA0)));
    bad |= (words)((lead == all(0xF0)) & (cur < all(0x90)));
    bad |= (words)((lead == all(0xF4)) & (cur >= all(0x90)));
    bad |= (words)((cur & all(0xFE)) == all(0xC0));
    bad |= (words)((cur > all(0xF4)) & (cur < all(0)));
    return bad;
}

/* A byte must be a continuation exactly when one of the three before it announces so. Shifting
 * moves the bit looked for to the top of its byte; the others are masked off at the end. A
 * character that runs over the end of the block is the next block's matter. */
static bool block_is_valid(const char *p)
{
    words cur = load(p), before1 = load(p - 1), before2 = load(p - 2), before3 = load(p - 3);
    if (!any_high(cur | before3))
        return true;
    words continues = cur & ~(cur << 1);
    words wants = before1 & (before1 << 1);
    wants |= before2 & (before2 << 1) & (before2 << 2);
    wants |= before3 & (before3 << 1) & (before3 << 2) & (before3 << 3);
    return !any_high((continues ^ wants) | forbidden((signed_bytes)before1, (signed_bytes)cur));
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

static size_t announced(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static bool second_is_allowed(unsigned char lead, unsigned char second)
{
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

size_t json_utf8_char(struct bytes text, size_t *bad)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    size_t need = announced(p[0]);
    size_t have = 1;
    if (need > 1 && text.len > 1 && second_is_allowed(p[0], p[1]))
        have = 2;
    while (have > 1 && have < need && have < text.len && is_continuation(p[have]))
        have++;
    *bad = have;
    return have == need ? need : 0;
}

/* Start of the character that is unfinished at `at`, or `at`; all before is valid. */
static size_t boundary(struct bytes text, size_t at)
{
    for (size_t back = 1; back <= REACH && back <= at; back++) {
        unsigned char c = (unsigned char)text.ptr[at - back];
        if (!is_continuation(c))
            return announced(c) > back ? at - back : at;
    }
    return at;
}

size_t json_utf8_prefix(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        if (at >= REACH && text.len - at >= BLOCK && block_is_valid(text.ptr + at)) {
            at += BLOCK;
            continue;
        }
        size_t stop = at < REACH ? REACH : at + BLOCK;
        for (at = boundary(text, at); at < stop && at < text.len;) {
            size_t bad = 0;
            size_t len = json_utf8_char(bytes_of(text.ptr + at, text.len - at), &bad);
            if (len == 0)
                return at;
            at += len;
        }
    }
    return boundary(text, at);
}
