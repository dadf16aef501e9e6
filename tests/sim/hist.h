/* Histogram of latencies in log-linear buckets: exact below 128, then 64 buckets per power of
 * two, so that a bucket is at most 1/64 wider than its lowest value. Bounded: 14 KiB, whatever
 * is recorded. Zeroed memory is an empty histogram. */
#pragma once

#include <stdint.h>

enum { HIST_LINEAR_BITS = 7, HIST_STEPS = 1 << (HIST_LINEAR_BITS - 1) };
#define HIST_VALUE_MAX UINT32_MAX /* in µs more than an hour; what is larger counts as this */
#define HIST_BUCKETS ((32 - HIST_LINEAR_BITS) * HIST_STEPS + 2 * HIST_STEPS)

struct hist {
    uint64_t buckets[HIST_BUCKETS];
    uint64_t count;
    int64_t max;
};

void hist_record(struct hist *h, int64_t value); /* what is negative counts as 0 */

/* The value below or at which `permille` of the recorded ones lie (rank rounded up): the upper
 * end of its bucket, never more than the maximum. 0 when empty. */
int64_t hist_quantile(const struct hist *h, unsigned permille);
