/* What this process has shown lately, for when the store is away: id -> bot, times, longest
 * text, end.
 *
 * Bounded in entries and bytes; the least recently used goes first, of bytes its text alone,
 * since what is left still ends a stream in time. Never consulted in place of a store that
 * answers, except to keep shown text from going backwards. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "render.h"

struct recall;

struct recall *recall_new(size_t max_entries, size_t max_bytes);
void recall_free(struct recall *r);

/* Times are kept by the loop's clock, given and taken in store time, which is `ahead_ms` ahead
 * of it at that moment (store_ahead_ms): a stream that was noted before the store's clock was
 * known keeps its age. */

/* False when the id is not known for this bot. `out->text` lives until the next recall_note. */
bool recall_find(struct recall *r, struct bytes id, struct bytes bot, int64_t ahead_ms,
                 struct record *out);

/* The id is known, but for another bot. */
bool recall_is_foreign(struct recall *r, struct bytes id, struct bytes bot);

/* Takes over what is known now. While a stream is live its longest text stays; a final text
 * replaces it; a known end is not forgotten. A stream that was opened does not become unknown
 * again. An id of another bot is left alone. `what->text` may be the view recall_find gave. */
void recall_note(struct recall *r, struct bytes id, struct bytes bot, int64_t ahead_ms,
                 const struct record *what);

size_t recall_entries(const struct recall *r);
size_t recall_bytes(const struct recall *r);
size_t recall_entries_limit(const struct recall *r);
size_t recall_bytes_limit(const struct recall *r);
