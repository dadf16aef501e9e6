/* Characters of JSON strings. UTF-8 at the speed the hottest path needs (every refresh escapes
 * up to 20 KB): 16 bytes at a time, whatever the mixture of scripts. RFC 3629 as in
 * base/utf8.h. */
#pragma once

#include "base/bytes.h"

/* What stands in a JSON string only escaped. */
static inline bool json_is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

/* Length of the longest prefix that is valid UTF-8. */
size_t json_utf8_prefix(struct bytes text);

/* The character at the start of `text` (not empty): its length, or 0 when malformed; then
 * `*bad` is the length of the sequence that one U+FFFD stands for (Unicode 15, section 3.9). */
size_t json_utf8_char(struct bytes text, size_t *bad);

/* Start of the character that is unfinished at `at`, or `at` itself; blocks up to there were
 * without errors. */
size_t json_utf8_boundary(struct bytes text, size_t at);

/* The vectors are the compiler's, so any target has them; sixteen bytes are what every x86-64
 * and every 64-bit ARM can do at once. */
enum { UTF8_BLOCK = 16, UTF8_REACH = 3 }; /* a character reaches back over at most 3 bytes */

typedef uint64_t utf8_words __attribute__((vector_size(UTF8_BLOCK)));
typedef uint8_t utf8_bytes __attribute__((vector_size(UTF8_BLOCK)));
typedef int8_t utf8_signed __attribute__((vector_size(UTF8_BLOCK)));

static inline utf8_words utf8_load(const char *p)
{
    utf8_words w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline utf8_bytes utf8_all(uint8_t b)
{
    return (utf8_bytes){b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
}

static inline bool utf8_any(utf8_words w)
{
    return (w[0] | w[1]) != 0;
}

/* What the bytes from `p` look like given the UTF8_REACH bytes before `p`; the bytes of a mask
 * are 0 or 0xFF. A character that runs over the end of the block is the next block's matter. */
struct utf8_view {
    utf8_words errors; /* continuations too many or too few */
    utf8_words rare; /* the byte before has a rule of its own for this one: utf8_rare_errors */
};

static inline struct utf8_view utf8_look(const char *p)
{
    utf8_bytes lead = (utf8_bytes)utf8_load(p - 1);
    utf8_bytes before2 = (utf8_bytes)utf8_load(p - 2);
    utf8_bytes before3 = (utf8_bytes)utf8_load(p - 3);
    utf8_signed cur = (utf8_signed)utf8_load(p);
    /* A byte must be a continuation exactly when one of the three before it announces so. */
    utf8_words wants = (utf8_words)(lead >= utf8_all(0xC0)) |
                       (utf8_words)(before2 >= utf8_all(0xE0)) |
                       (utf8_words)(before3 >= utf8_all(0xF0));
    utf8_words continues = (utf8_words)(cur < (utf8_signed)utf8_all(0xC0));
    utf8_words rare = (utf8_words)(lead == utf8_all(0xE0)) |
                      (utf8_words)(lead == utf8_all(0xED)) |
                      (utf8_words)(lead >= utf8_all(0xF0)) |
                      (utf8_words)((lead & utf8_all(0xFE)) == utf8_all(0xC0));
    return (struct utf8_view){wants ^ continues, rare};
}

/* Second bytes that a lead byte forbids, and lead bytes that never occur. */
utf8_words utf8_rare_errors(const char *p);

static inline bool utf8_has_errors(struct utf8_view view, const char *p)
{
    return utf8_any(view.errors) || (utf8_any(view.rare) && utf8_any(utf8_rare_errors(p)));
}
