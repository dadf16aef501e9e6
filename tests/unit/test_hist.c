/* The simulator's histogram against the sorted values. BOTBRIDGE_TEST_SEED=<number printed>
 * repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "hist.h"

#include <inttypes.h>

static void test_empty(void **state)
{
    static struct hist h;
    (void)state;
    assert_int_equal(hist_quantile(&h, 0), 0);
    assert_int_equal(hist_quantile(&h, 1000), 0);
    assert_int_equal(h.max, 0);
}

static void test_small_values_are_exact(void **state)
{
    static struct hist h;
    (void)state;
    for (int64_t v = 0; v < 128; v++)
        hist_record(&h, v);
    assert_int_equal(h.count, 128);
    for (unsigned permille = 1; permille <= 1000; permille++)
        assert_int_equal(hist_quantile(&h, permille), (128 * permille + 999) / 1000 - 1);
}

static void test_one_value_is_every_quantile(void **state)
{
    static const int64_t values[] = {0, 1, 127, 128, 129, 1000003, 4294967295};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct hist *h = BRG_NEW(struct hist);
        hist_record(h, values[i]);
        assert_int_equal(hist_quantile(h, 0), values[i]);
        assert_int_equal(hist_quantile(h, 500), values[i]);
        assert_int_equal(hist_quantile(h, 1000), values[i]);
        assert_int_equal(h->max, values[i]);
        free(h);
    }
}

static void test_values_outside_are_kept_at_the_ends(void **state)
{
    static struct hist h;
    (void)state;
    hist_record(&h, INT64_MIN);
    hist_record(&h, INT64_MAX);
    assert_int_equal(h.count, 2);
    assert_int_equal(hist_quantile(&h, 500), 0);
    assert_int_equal(hist_quantile(&h, 1000), HIST_VALUE_MAX);
}

/* Each power of two and its neighbours: every value has a bucket of its own order, no more than
 * 1/64 above the value. */
static void test_no_bucket_is_wider_than_a_64th(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        for (int64_t v = (INT64_C(1) << bit) - 2; v <= (INT64_C(1) << bit) + 2; v++) {
            if (v < 0 || v > HIST_VALUE_MAX)
                continue;
            struct hist *h = BRG_NEW(struct hist);
            hist_record(h, v);
            hist_record(h, HIST_VALUE_MAX);
            int64_t got = hist_quantile(h, 500);
            assert_true(got >= v);
            assert_true(got - v <= v / 64);
            free(h);
        }
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

enum { VALUES = 20011 };

static void test_quantiles_of_random_values(void **state)
{
    static int64_t values[VALUES];
    static struct hist h;
    (void)state;
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = (int64_t)random_below(UINT64_C(1) << random_below(33));
        hist_record(&h, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), compare);
    for (unsigned permille = 1; permille <= 1000; permille++) {
        int64_t exact = values[((size_t)VALUES * permille + 999) / 1000 - 1];
        int64_t got = hist_quantile(&h, permille);
        assert_true(got >= exact);
        assert_true(got - exact <= exact / 64);
    }
    assert_int_equal(hist_quantile(&h, 1000), values[VALUES - 1]);
}

int main(void)
{
    const char *given = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_mono_us();
    printf("seed %" PRIu64 "\n", seed);
    random_seed(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_one_value_is_every_quantile),
        cmocka_unit_test(test_values_outside_are_kept_at_the_ends),
        cmocka_unit_test(test_no_bucket_is_wider_than_a_64th),
        cmocka_unit_test(test_quantiles_of_random_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
