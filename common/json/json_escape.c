#include "json/json_utf8.h"
#include "json/json_writer.h"

#include <endian.h>

enum {
    WORD = sizeof(uint64_t),
    ESCAPE_MAX = 6, /* \u00XX */
    SLACK = 256,    /* room for escapes that is reserved ahead of need */
};

static const uint64_t ONES = 0x0101010101010101;
static const uint64_t TOPS = 0x8080808080808080;

static uint64_t zero_bytes(uint64_t w)
{
    return (w - ONES) & ~w & TOPS;
}

/* Top bits of the bytes that need an escape. Borrows make bits above the lowest one unreliable,
 * so only the lowest is used. */
static uint64_t specials(uint64_t w)
{
    uint64_t control = (w - ONES * 0x20) & ~w & TOPS;
    return control | zero_bytes(w ^ (ONES * '"')) | zero_bytes(w ^ (ONES * '\\'));
}

static bool is_special(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Writes at most ESCAPE_MAX bytes; returns how many. */
static size_t write_escape(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    to[0] = '\\';
    to[1] = c < 0x20 ? letters[c] : (char)c;
    if (to[1] != 0)
        return 2;
    memcpy(to + 1, "u00", 3);
    to[4] = digits[c >> 4];
    to[5] = digits[c & 15];
    return ESCAPE_MAX;
}

/* Copies and escapes from the front of `text`. `to` has room for all of it plus `SLACK`; stops
 * when the escapes have used the slack up. Returns the bytes written. */
static size_t escape_into(char *to, struct bytes *text)
{
    const char *in = text->ptr;
    const char *end = in + text->len;
    const char *limit = to + text->len + SLACK - WORD - ESCAPE_MAX;
    char *start = to;
    /* limit - to shrinks against end - in by what escapes add, hence the second condition. */
    while (end - in >= WORD && limit - to > end - in) {
        uint64_t w;
        memcpy(&w, in, WORD);
        memcpy(to, in, WORD);
        uint64_t hits = specials(le64toh(w));
        size_t clean = hits ? (size_t)__builtin_ctzll(hits) / 8 : WORD;
        in += clean;
        to += clean;
        if (hits)
            to += write_escape(to, (unsigned char)*in++);
    }
    while (in < end && end - in < WORD && limit - to > end - in) {
        if (is_special((unsigned char)*in))
            to += write_escape(to, (unsigned char)*in++);
        else
            *to++ = *in++;
    }
    *text = bytes_of(in, (size_t)(end - in));
    return (size_t)(to - start);
}

/* Byte by byte: near the maximum, where only what is really needed may be asked for. */
static void escape_tight(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.len && !out->overflowed; i++) {
        char escape[ESCAPE_MAX] = {text.ptr[i]};
        size_t len = 1;
        if (is_special((unsigned char)text.ptr[i]))
            len = write_escape(escape, (unsigned char)text.ptr[i]);
        buf_append(out, bytes_of(escape, len));
    }
}

static void escape_valid(struct buf *out, struct bytes text)
{
    while (text.len > 0 && !out->overflowed) {
        if (out->max - out->len < text.len + SLACK) {
            escape_tight(out, text);
            return;
        }
        char *to = buf_reserve(out, text.len + SLACK);
        if (to)
            out->len += escape_into(to, &text);
    }
}

void json_escape(struct buf *out, struct bytes text)
{
    while (text.len > 0 && !out->overflowed) {
        size_t valid = json_utf8_prefix(text);
        escape_valid(out, bytes_of(text.ptr, valid));
        text = bytes_of(text.ptr + valid, text.len - valid);
        if (text.len == 0)
            return;
        size_t bad = 1;
        (void)json_utf8_char(text, &bad);
        buf_append(out, BYTES_LIT("\xEF\xBF\xBD"));
        text = bytes_of(text.ptr + bad, text.len - bad);
    }
}
