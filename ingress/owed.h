/* What the store is told when it is back: that streams were opened, or the ends that users were
 * told meanwhile. One of these holds one kind.
 *
 * Bounded; beyond the bound the oldest is dropped, counted and logged. Loop thread. */
#pragma once

#include "store/store.h"

enum owed_kind { OWED_OPENS, OWED_CLOSES };

struct owed;

struct owed *owed_new(struct loop *loop, struct store *store, enum owed_kind kind, size_t max);
/* After store_free: answers of the store that are still to come belong to it. */
void owed_free(struct owed *o);

/* Copies `stream`. Written at once when the store is up. `reason`: of an end; REASON_NONE where
 * it was opened. */
void owed_add(struct owed *o, const struct store_stream *stream, enum stream_reason reason);
void owed_store_up(struct owed *o);
size_t owed_count(const struct owed *o);
size_t owed_limit(const struct owed *o);
