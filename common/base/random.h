/* Randomness that needs no secrecy: back-off jitter, ids of processes. Keys and IVs come from
 * crypto_random. Single-threaded. */
#pragma once

#include <stdint.h>

void random_seed(uint64_t seed); /* 0 takes a seed from the system; tests pass a fixed one */
uint64_t random_u64(void);
uint64_t random_below(uint64_t limit); /* 0 .. limit-1; 0 for limit 0 */
/* Full jitter: uniform in [0, min(cap_ms, base_ms << attempt)], attempt from 0. */
int64_t random_backoff_ms(int64_t base_ms, int64_t cap_ms, unsigned attempt);
