/* Pointer and length: how all peer data travels. Never owns, NUL is never assumed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *ptr;
    size_t len;
};

#define BYTES_LIT(s) ((struct bytes){(s), sizeof(s) - 1})
#define BYTES_FMT "%.*s"
#define BYTES_ARG(b) (int)(b).len, (b).ptr

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){ptr, len};
}

/* NULL gives empty bytes. */
static inline struct bytes bytes_of_str(const char *s)
{
    return (struct bytes){s, s ? strlen(s) : 0};
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool bytes_eq_str(struct bytes a, const char *s)
{
    return bytes_eq(a, bytes_of_str(s));
}

bool bytes_starts_with(struct bytes a, struct bytes prefix);
bool bytes_eq_nocase(struct bytes a, struct bytes b); /* ASCII only */

/* NUL-terminated copy, owned by the caller (free). */
char *bytes_dup(struct bytes b);

/* Whole of `b` is an unsigned decimal number that fits; false leaves *out alone. */
bool bytes_to_u64(struct bytes b, uint64_t *out) __attribute__((warn_unused_result));
bool bytes_to_i64(struct bytes b, int64_t *out) __attribute__((warn_unused_result));

/* Percent-decodes `in` into `out` (room for in.len bytes); '+' stays '+', because base64
 * arrives in queries. Returns the decoded length, or SIZE_MAX when an escape is malformed. */
size_t bytes_percent_decode(struct bytes in, char *out);
