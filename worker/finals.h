/* Final texts of the last half minute, to be written again where the store lost them: its
 * replication is asynchronous, so a failover or an empty restart may forget what a poll has not
 * seen yet. Bounded in number and bytes, the oldest go first. Loop thread only. */
#pragma once

#include "store/store.h"

#define FINALS_KEPT_MS 30000

struct final;

struct finals {
    struct final **ring;
    size_t max_count;
    size_t first; /* the oldest */
    size_t count;
    size_t bytes;
    size_t max_bytes;
};

void finals_init(struct finals *f, size_t max_count, size_t max_bytes);
void finals_free(struct finals *f);

/* Copies everything. */
void finals_add(struct finals *f, const struct store_stream *stream, uint64_t epoch,
                enum stream_reason reason, struct bytes text, int64_t now_ms);
/* Drops what is older than FINALS_KEPT_MS. */
void finals_expire(struct finals *f, int64_t now_ms);
/* Writes all that is kept; what the store has already it keeps. */
void finals_write(struct finals *f, struct store *store, int64_t lease_ms);
