/* Name look-up in a thread of its own, because getaddrinfo blocks for as long as DNS likes.
 * Everything here is called on the loop's thread. Internal to the store. */
#pragma once

#include "loop/loop.h"

enum { RESOLVE_ADDRESSES = 8, RESOLVE_ADDRESS_BYTES = 64 };

struct resolve_result {
    const char *failure; /* static text, or NULL */
    unsigned count;
    char address[RESOLVE_ADDRESSES][RESOLVE_ADDRESS_BYTES]; /* numeric */
};

struct resolve;

/* `wake` is sent when the look-up has ended; it must outlive resolve_free. NULL when no thread
 * can be had. */
struct resolve *resolve_start(const char *host, struct loop_wake *wake);
bool resolve_take(struct resolve *r, struct resolve_result *out); /* false: not ended yet */
void resolve_free(struct resolve *r); /* a look-up under way ends by itself, unheard */
