#include "json/json_utf8.h"
#include "json/json_writer.h"

#include <endian.h>

/* Text is copied and judged in one pass, 16 bytes at a time. Only a block with an error, the
 * head and the tail go character by character. */

enum {
    ESCAPE_MAX = 6, /* \u00XX */
    /* Most that one step adds to the output beyond the input it consumes. */
    STEP_MAX = (UTF8_BLOCK + 2 * UTF8_REACH) * ESCAPE_MAX + UTF8_BLOCK,
    SLACK = 4 * STEP_MAX, /* room for escapes, reserved ahead of need */
};

#define REPLACEMENT BYTES_LIT("\xEF\xBF\xBD")

/* `at` bytes are written; a character may be unfinished there, its first bytes written as they
 * are. Bytes before `clean` were replaced and tell nothing about those that follow. */
struct cursor {
    struct bytes text;
    size_t at;
    size_t clean;
};

/* Start of the unfinished character, or `at`. */
static size_t character_start(const struct cursor *c)
{
    struct bytes tail = bytes_of(c->text.ptr + c->clean, c->text.len - c->clean);
    return c->clean + json_utf8_boundary(tail, c->at - c->clean);
}

static char *write_escape(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    to[0] = '\\';
    to[1] = (char)c;
    if (c < 0x20)
        to[1] = letters[c];
    if (to[1] != 0)
        return to + 2;
    memcpy(to + 1, "u00", 3);
    to[4] = digits[c >> 4];
    to[5] = digits[c & 15];
    return to + ESCAPE_MAX;
}

/* The character at the cursor, which stands on a boundary. */
static char *write_char(struct cursor *c, char *to)
{
    struct bytes rest = bytes_of(c->text.ptr + c->at, c->text.len - c->at);
    size_t bad = 0;
    size_t len = json_utf8_char(rest, &bad);
    if (len == 0) {
        c->at += bad;
        c->clean = c->at;
        memcpy(to, REPLACEMENT.ptr, REPLACEMENT.len);
        return to + REPLACEMENT.len;
    }
    c->at += len;
    if (json_is_special(rest.ptr[0]))
        return write_escape(to, (unsigned char)rest.ptr[0]);
    memcpy(to, rest.ptr, len);
    return to + len;
}

/* One block's worth of characters, beginning with the unfinished one, which is taken back. */
static char *write_slowly(struct cursor *c, char *to)
{
    size_t stop = c->at + UTF8_BLOCK;
    size_t start = character_start(c);
    to -= c->at - start;
    c->at = start;
    while (c->at < stop && c->at < c->text.len)
        to = write_char(c, to);
    return to;
}

static utf8_words specials(utf8_words w)
{
    utf8_bytes b = (utf8_bytes)w;
    return (utf8_words)(((b & utf8_all(0xE0)) == utf8_all(0)) | (b == utf8_all('"')) |
                        (b == utf8_all('\\')));
}

/* One bit per byte whose top bit is set, the first byte lowest. */
static unsigned bits_of(uint64_t tops)
{
    return (unsigned)((le64toh(tops) & 0x8080808080808080) * 0x0002040810204081 >> 56);
}

/* A valid block with characters to escape: the pieces between them, each copied by a whole
 * block, of which the next piece overwrites what is too much. */
static char *write_block(const char *block, utf8_words hits, char *to)
{
    char padded[2 * UTF8_BLOCK] = {0};
    memcpy(padded, block, UTF8_BLOCK);
    size_t from = 0;
    for (unsigned bits = bits_of(hits[0]) | bits_of(hits[1]) << 8; bits; bits &= bits - 1) {
        size_t hit = (size_t)__builtin_ctz(bits);
        memcpy(to, padded + from, UTF8_BLOCK);
        to = write_escape(to + (hit - from), (unsigned char)padded[hit]);
        from = hit + 1;
    }
    memcpy(to, padded + from, UTF8_BLOCK);
    return to + (UTF8_BLOCK - from);
}

/* Writes until the text or the room ends; `limit` is the end of the room. Returns the end of
 * what is written. */
static char *write_text(struct cursor *c, char *to, const char *limit)
{
    size_t len = c->text.len;
    while (c->at < len && (size_t)(limit - to) > len - c->at + STEP_MAX) {
        const char *in = c->text.ptr + c->at;
        if (c->at < c->clean + UTF8_REACH || len - c->at < UTF8_BLOCK) {
            to = write_slowly(c, to);
            continue;
        }
        utf8_words hits = specials(utf8_load(in));
        struct utf8_view view = utf8_look(in);
        memcpy(to, in, UTF8_BLOCK);
        if (!utf8_any(view.errors | view.rare | hits)) {
            to += UTF8_BLOCK;
            c->at += UTF8_BLOCK;
        } else if (utf8_has_errors(view, in)) {
            to = write_slowly(c, to);
        } else {
            to = write_block(in, hits, to);
            c->at += UTF8_BLOCK;
        }
    }
    /* A text that ends with a block may end in the middle of a character. */
    if (c->at == len && character_start(c) != len)
        to = write_slowly(c, to);
    return to;
}

/* Character by character: near the maximum, where only what is really needed may be asked for.
 */
static void write_tightly(struct buf *out, struct cursor *c)
{
    size_t start = character_start(c);
    out->len -= c->at - start;
    c->at = start;
    while (c->at < c->text.len && !out->overflowed) {
        char one[ESCAPE_MAX];
        size_t len = (size_t)(write_char(c, one) - one);
        buf_append(out, bytes_of(one, len));
    }
}

void json_escape(struct buf *out, struct bytes text)
{
    struct cursor c = {text, 0, 0};
    while (c.at < text.len && !out->overflowed) {
        size_t need = text.len - c.at + SLACK;
        if (out->max - out->len < need) {
            write_tightly(out, &c);
            return;
        }
        char *to = buf_reserve(out, need);
        if (to)
            out->len = (size_t)(write_text(&c, to, to + need) - out->ptr);
    }
}
