#include "hist.h"

static unsigned bucket_of(uint32_t value)
{
    unsigned bits = 32 - (unsigned)__builtin_clz(value | 1);
    unsigned shift = bits > HIST_LINEAR_BITS ? bits - HIST_LINEAR_BITS : 0;
    return shift * HIST_STEPS + (value >> shift);
}

/* Largest value of a bucket. */
static int64_t top_of(unsigned bucket)
{
    if (bucket < 2 * HIST_STEPS)
        return bucket;
    unsigned shift = bucket / HIST_STEPS - 1;
    int64_t step = bucket % HIST_STEPS + HIST_STEPS;
    return ((step + 1) << shift) - 1;
}

void hist_record(struct hist *h, int64_t value)
{
    int64_t kept = value < 0 ? 0 : value > HIST_VALUE_MAX ? HIST_VALUE_MAX : value;
    h->buckets[bucket_of((uint32_t)kept)]++;
    h->count++;
    if (kept > h->max)
        h->max = kept;
}

int64_t hist_quantile(const struct hist *h, unsigned permille)
{
    uint64_t rank = h->count / 1000 * permille + (h->count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    if (h->count == 0)
        return 0;
    if (rank == 0)
        rank = 1;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}
