#include "base/utf8.h"

/* Length that a lead byte announces, or 0 when no character starts with it. C0, C1 (overlong)
 * and F5.. (above U+10FFFF) never occur. */
static size_t announced(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* The second byte carries what the lead byte cannot exclude: overlong forms, surrogates and
 * everything above U+10FFFF (RFC 3629, section 4). */
static bool second_is_valid(unsigned char lead, unsigned char second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second <= 0x9F;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second <= 0x8F;
    default:
        return true;
    }
}

bool utf8_is_valid(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        unsigned char lead = (unsigned char)text.ptr[at];
        size_t len = announced(lead);
        if (len == 0 || len > text.len - at)
            return false;
        for (size_t i = 1; i < len; i++) {
            if (!is_continuation(text.ptr[at + i]))
                return false;
        }
        if (len > 1 && !second_is_valid(lead, (unsigned char)text.ptr[at + 1]))
            return false;
        at += len;
    }
    return true;
}

size_t utf8_cut(struct bytes text, size_t max_bytes)
{
    if (text.len <= max_bytes)
        return text.len;
    size_t cut = max_bytes;
    /* Bounded, so that invalid text cannot make a cut walk back to the start. */
    for (int steps = 0; steps < 3 && cut > 0 && is_continuation(text.ptr[cut]); steps++)
        cut--;
    return cut;
}

size_t utf8_complete(struct bytes text)
{
    for (size_t back = 1; back <= 3 && back <= text.len; back++) {
        char c = text.ptr[text.len - back];
        if (is_continuation(c))
            continue;
        return announced((unsigned char)c) > back ? text.len - back : text.len;
    }
    return text.len;
}
