#include "base/bytes.h"

#include "base/error.h"

#include <limits.h>

bool bytes_starts_with(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && bytes_eq(bytes_of(a.ptr, prefix.len), prefix);
}

/* Not tolower(): the answer must not depend on a locale. */
static char ascii_lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

bool bytes_eq_nocase(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    }
    return true;
}

char *bytes_dup(struct bytes b)
{
    char *copy = brg_calloc(b.len + 1, 1);
    if (b.len > 0)
        memcpy(copy, b.ptr, b.len);
    return copy;
}

bool bytes_to_u64(struct bytes b, uint64_t *out)
{
    uint64_t value = 0;
    if (b.len == 0)
        return false;
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] < '0' || b.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(b.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool bytes_to_i64(struct bytes b, int64_t *out)
{
    bool is_negative = b.len > 0 && b.ptr[0] == '-';
    uint64_t magnitude;
    if (!bytes_to_u64(is_negative ? bytes_of(b.ptr + 1, b.len - 1) : b, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (is_negative ? 1U : 0U))
        return false;
    if (!is_negative)
        *out = (int64_t)magnitude;
    else
        *out = magnitude > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)magnitude;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t bytes_percent_decode(struct bytes in, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] != '%') {
            out[len++] = in.ptr[i];
            continue;
        }
        if (in.len - i < 3)
            return SIZE_MAX;
        int high = hex_value(in.ptr[i + 1]);
        int low = hex_value(in.ptr[i + 2]);
        if (high < 0 || low < 0)
            return SIZE_MAX;
        out[len++] = (char)(high * 16 + low);
        i += 2;
    }
    return len;
}
