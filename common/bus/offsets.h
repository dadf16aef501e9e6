/* Which offsets of one partition are done: the contiguous frontier over work that ends in any
 * order.
 *
 * A ring bitmap of at least `window` offsets from `base` (the next offset to commit). Offsets
 * never received (compaction, transaction markers) count as done once a later one was received.
 * Owner: the consumer thread. O(1) amortised per record.
 *
 * Invariants: base <= head <= base + window; bits outside [base, head) are clear; with nothing
 * in flight base == head. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct offsets {
    int64_t base; /* first incomplete offset = next to commit */
    int64_t head; /* highest received + 1 */
    uint32_t window;
    uint32_t slots; /* of the ring: a multiple of 64, not below `window` */
    uint32_t in_flight;
    uint64_t *received;
    uint64_t *done;
};

/* `start` is the first offset that can arrive. */
void offsets_init(struct offsets *o, int64_t start, uint32_t window);
void offsets_free(struct offsets *o);

/* Room for one more record? When not, its partition is not read. */
bool offsets_has_room(const struct offsets *o);
/* May this offset be received now? Behind a gap it may lie beyond the window although there is
 * room; with nothing in flight any later offset fits. */
bool offsets_fits(const struct offsets *o, int64_t offset);
/* Records arrive in ascending order; the offset must fit. False when it is below head (already
 * received or passed): ignore the record. */
bool offsets_receive(struct offsets *o, int64_t offset);
/* False when it was not in flight (already complete, or of another life). */
bool offsets_complete(struct offsets *o, int64_t offset);
size_t offsets_in_flight(const struct offsets *o);
