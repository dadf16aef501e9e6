/* Growable byte buffer with a maximum fixed at creation.
 *
 * Invariant: len <= cap <= max. An append that would pass `max` adds nothing and sets
 * `overflowed`; from then on nothing is added until buf_reset or buf_free, so a writer may
 * chain appends and check once at the end. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"

struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    size_t max;
    bool overflowed;
};

void buf_init(struct buf *b, size_t max); /* allocates nothing */
void buf_free(struct buf *b);             /* frees the memory; `max` stays, usable again */
void buf_reset(struct buf *b);            /* empties, keeps the memory */

void buf_append(struct buf *b, struct bytes data);
void buf_append_str(struct buf *b, const char *text);
void buf_append_char(struct buf *b, char c);
void buf_append_u64(struct buf *b, uint64_t value);
void buf_append_i64(struct buf *b, int64_t value);
void buf_printf(struct buf *b, const char *fmt, ...) BRG_PRINTF(2, 3);

/* Makes room for `n` more bytes and returns where they go, or NULL (and overflowed) over the
 * maximum. The caller fills them and adds to `len`. */
char *buf_reserve(struct buf *b, size_t n);

/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);

/* Hands the memory to the caller (free), or NULL when nothing was ever appended; no NUL at its
 * end. The buffer is empty afterwards. */
char *buf_take(struct buf *b, size_t *len);

static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->ptr, b->len};
}
