#include "crypto/base64_vectors.h"

/* The vectors are the compiler's. Byte and word order below are those of x86-64; others stay
 * with the table. */
#ifdef __x86_64__
#define WITH_AVX2 __attribute__((target("avx2")))
#define CPU_HAS_AVX2 (__builtin_cpu_supports("avx2") != 0)
#else
#define WITH_AVX2
#define CPU_HAS_AVX2 false
#endif

enum { VECTOR = 32, GROUP = VECTOR / 4 * 3 };

typedef uint8_t vector_bytes __attribute__((vector_size(VECTOR)));
typedef int8_t vector_signed __attribute__((vector_size(VECTOR)));
typedef uint32_t vector_words __attribute__((vector_size(VECTOR)));

bool base64_has_vectors(void)
{
    return CPU_HAS_AVX2;
}

#define ALL(b) ((vector_bytes){0} + (uint8_t)(b))
/* Added where the value is above `limit`. */
#define ABOVE(values, limit, add) \
    ((vector_bytes)((vector_signed)(values) > (vector_signed)ALL(limit)) & ALL(add))

/* A shuffle moves bytes only within the halves of a vector: the load begins four bytes early,
 * so that each half holds twelve of the 24. */
WITH_AVX2 size_t base64_encode_vectors(const uint8_t *in, size_t len, char *out)
{
    const vector_bytes three_reversed = {6,  5,  4,  4,  9,  8,  7,  7,  12, 11, 10,
                                         10, 15, 14, 13, 13, 18, 17, 16, 16, 21, 20,
                                         19, 19, 24, 23, 22, 22, 27, 26, 25, 25};
    size_t used = 0;
    for (; len - used >= VECTOR - BASE64_READS_BACK; used += GROUP, out += VECTOR) {
        vector_bytes v;
        memcpy(&v, in + used - BASE64_READS_BACK, sizeof v);
        vector_words w = (vector_words)__builtin_shuffle(v, three_reversed);
        vector_words sixes =
            (w >> 18 & 63) | (w >> 12 & 63) << 8 | (w >> 6 & 63) << 16 | (w & 63) << 24;
        vector_bytes values = (vector_bytes)sixes;
        vector_bytes text = values + ALL('A');
        text += ABOVE(values, 25, 'a' - 26 - 'A');
        text += ABOVE(values, 51, '0' - 52 - ('a' - 26));
        text += ABOVE(values, 61, '+' - 62 - ('0' - 52));
        text += ABOVE(values, 62, '/' - 63 - ('+' - 62));
        memcpy(out, &text, sizeof text);
    }
    return used;
}
