/* Ends that users were told while the store was away: written to it when it is back.
 *
 * Bounded; beyond the bound the oldest is dropped, counted and logged. Loop thread. */
#pragma once

#include "store/store.h"

struct owed;

struct owed *owed_new(struct loop *loop, struct store *store, size_t max_ends);
/* After store_free: answers of the store that are still to come belong to it. */
void owed_free(struct owed *o);

/* Copies `stream`. Written at once when the store is up. */
void owed_close(struct owed *o, const struct store_stream *stream, enum stream_reason reason);
void owed_store_up(struct owed *o);
size_t owed_count(const struct owed *o);
size_t owed_limit(const struct owed *o);
