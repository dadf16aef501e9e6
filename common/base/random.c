#include "base/random.h"

#include "base/clock.h"

#include <stdbool.h>
#include <sys/random.h>

static uint64_t state;
static bool is_seeded;

void random_seed(uint64_t seed)
{
    if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_mono_us();
    state = seed;
    is_seeded = true;
}

/* splitmix64: one word of state, passes the usual batteries. */
uint64_t random_u64(void)
{
    if (!is_seeded)
        random_seed(0);
    state += 0x9E3779B97F4A7C15U;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t limit)
{
    if (limit == 0)
        return 0;
    /* The values below 2^64 mod limit would make small results likelier. */
    uint64_t reject = (0 - limit) % limit;
    uint64_t value = random_u64();
    while (value < reject)
        value = random_u64();
    return value % limit;
}

int64_t random_backoff_ms(int64_t base_ms, int64_t cap_ms, unsigned attempt)
{
    if (base_ms <= 0 || cap_ms <= 0)
        return 0;
    int64_t limit = cap_ms;
    if (attempt < 62 && base_ms <= (cap_ms >> attempt))
        limit = base_ms << attempt;
    return (int64_t)random_below((uint64_t)limit + 1);
}
