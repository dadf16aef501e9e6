#include "json/json_utf8.h"

utf8_words utf8_rare_errors(const char *p)
{
    utf8_bytes lead = (utf8_bytes)utf8_load(p - 1), cur = (utf8_bytes)utf8_load(p);
    utf8_words bad = (utf8_words)((lead == utf8_all(0xE0)) & (cur < utf8_all(0xA0)));
    bad |= (utf8_words)((lead == utf8_all(0xED)) & (cur >= utf8_all(0xA0)));
    bad |= (utf8_words)((lead == utf8_all(0xF0)) & (cur < utf8_all(0x90)));
    bad |= (utf8_words)((lead == utf8_all(0xF4)) & (cur >= utf8_all(0x90)));
    bad |= (utf8_words)((lead & utf8_all(0xFE)) == utf8_all(0xC0));
    bad |= (utf8_words)(lead > utf8_all(0xF4));
    return bad;
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

size_t json_utf8_boundary(struct bytes text, size_t at)
{
    for (size_t back = 1; back <= UTF8_REACH && back <= at; back++) {
        unsigned char c = (unsigned char)text.ptr[at - back];
        if (is_continuation(c))
            continue;
        /* A byte that announces nothing is judged with its successor, hence not yet. */
        bool is_finished = announced(c) != 0 && announced(c) <= back;
        return is_finished ? at : at - back;
    }
    return at;
}

size_t json_utf8_prefix(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        const char *p = text.ptr + at;
        bool is_block = at >= UTF8_REACH && text.len - at >= UTF8_BLOCK;
        if (is_block && !utf8_has_errors(utf8_look(p), p)) {
            at += UTF8_BLOCK;
            continue;
        }
        size_t stop = at < UTF8_REACH ? UTF8_REACH : at + UTF8_BLOCK;
        for (at = json_utf8_boundary(text, at); at < stop && at < text.len;) {
            size_t bad = 0;
            size_t len = json_utf8_char(bytes_of(text.ptr + at, text.len - at), &bad);
            if (len == 0)
                return at;
            at += len;
        }
    }
    return json_utf8_boundary(text, at);
}
