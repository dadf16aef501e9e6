#include "base/buf.h"

#include <inttypes.h>
#include <stdarg.h>

enum { FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->ptr);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflowed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->overflowed)
        return NULL;
    if (n > b->max - b->len) {
        b->overflowed = true;
        return NULL;
    }
    size_t need = b->len + n;
    if (b->ptr && need <= b->cap)
        return b->ptr + b->len;

    size_t cap = b->cap < FIRST_BYTES ? FIRST_BYTES : b->cap;
    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    if (cap > b->max)
        cap = b->max;
    /* Sizes may come from a peer here: no memory is an overflow, not the end of the process. */
    char *grown = realloc(b->ptr, cap ? cap : 1);
    if (!grown) {
        b->overflowed = true;
        return NULL;
    }
    b->ptr = grown;
    b->cap = cap;
    return b->ptr + b->len;
}

void buf_append(struct buf *b, struct bytes data)
{
    if (data.len == 0)
        return;
    char *to = buf_reserve(b, data.len);
    if (!to)
        return;
    memcpy(to, data.ptr, data.len);
    b->len += data.len;
}

void buf_append_str(struct buf *b, const char *text)
{
    buf_append(b, bytes_of_str(text));
}

void buf_append_char(struct buf *b, char c)
{
    buf_append(b, bytes_of(&c, 1));
}

enum { DECIMAL_BYTES = 24 }; /* 20 digits of a 64-bit number, sign, NUL */

void buf_append_u64(struct buf *b, uint64_t value)
{
    char digits[DECIMAL_BYTES];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(b, bytes_of(digits + at, sizeof(digits) - at));
}

void buf_append_i64(struct buf *b, int64_t value)
{
    char digits[DECIMAL_BYTES];
    int len = snprintf(digits, sizeof(digits), "%" PRId64, value);
    buf_append(b, bytes_of(digits, (size_t)len));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_list again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    BRG_CHECK(len >= 0);
    size_t size = (size_t)len;
    if (size < sizeof(small)) {
        buf_append(b, bytes_of(small, size));
    } else if (size > b->max - b->len) {
        b->overflowed = true;
    } else {
        /* vsnprintf ends with a NUL for which the buffer may have no room. */
        char *big = brg_calloc(size + 1, 1);
        (void)vsnprintf(big, size + 1, fmt, again);
        buf_append(b, bytes_of(big, size));
        free(big);
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    BRG_CHECK(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->ptr, b->ptr + n, b->len);
}

char *buf_take(struct buf *b, size_t *len)
{
    char *ptr = b->ptr;
    *len = b->len;
    buf_init(b, b->max);
    return ptr;
}
