/* Offsets tracker against a naive model that keeps every offset ever received. */
#include "base/random.h"
#include "bus/offsets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { WINDOW = 125, OFFSETS_MAX = 6000, RUNS = 200, STEPS = 3000 };

/* By definition: the first offset from `start` on that was received and is not complete; with
 * none, one past the last received. */
struct model {
    int64_t start;
    int64_t head;
    bool received[OFFSETS_MAX];
    bool done[OFFSETS_MAX];
};

static int64_t model_base(const struct model *m)
{
    for (int64_t o = m->start; o < m->head; o++)
        if (m->received[o] && !m->done[o])
            return o;
    return m->head;
}

static size_t model_in_flight(const struct model *m)
{
    size_t count = 0;
    for (int64_t o = m->start; o < m->head; o++)
        count += m->received[o] && !m->done[o];
    return count;
}

static void model_restart(struct model *m, int64_t start)
{
    memset(m, 0, sizeof *m);
    m->start = m->head = start;
}

static void step_receive(struct offsets *o, struct model *m)
{
    int64_t gap = random_below(4) ? 0 : (int64_t)random_below(random_below(20) ? 5 : 300);
    int64_t offset = m->head + gap;
    if (offset >= OFFSETS_MAX)
        return;
    bool fits = model_in_flight(m) == 0 || offset < model_base(m) + WINDOW;
    assert_int_equal(offsets_fits(o, offset), fits);
    if (!fits)
        return;
    assert_true(offsets_receive(o, offset));
    m->received[offset] = true;
    m->head = offset + 1;
}

static void step_receive_again(struct offsets *o, const struct model *m)
{
    if (m->head > m->start) {
        int64_t span = m->head - m->start;
        assert_false(offsets_receive(o, m->start + (int64_t)random_below((uint64_t)span)));
    }
}

static void step_complete(struct offsets *o, struct model *m)
{
    int64_t from = model_base(m) - 5;
    int64_t offset = from + (int64_t)random_below(WINDOW + 10);
    bool in_flight =
        offset >= m->start && offset < m->head && m->received[offset] && !m->done[offset];
    assert_int_equal(offsets_complete(o, offset), in_flight);
    if (in_flight)
        m->done[offset] = true;
}

static void compare(const struct offsets *o, const struct model *m)
{
    /* With nothing ever received in this life base is where it started. */
    assert_int_equal(o->base, model_base(m));
    assert_int_equal(o->head, m->head);
    assert_int_equal(offsets_in_flight(o), model_in_flight(m));
    assert_int_equal(offsets_has_room(o), m->head - model_base(m) < WINDOW);
}

static void test_random_against_model(void **state)
{
    (void)state;
    static struct model m;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *given = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec + 1;
    print_message("seed %llu (BOTBRIDGE_TEST_SEED)\n", (unsigned long long)seed);
    random_seed(seed);
    for (int run = 0; run < RUNS; run++) {
        struct offsets o;
        int64_t start = (int64_t)random_below(300);
        offsets_init(&o, start, WINDOW);
        model_restart(&m, start);
        uint64_t eager = 1 + random_below(9); /* of ten steps, how many receive */
        for (int i = 0; i < STEPS; i++) {
            if (random_below(10) < eager)
                step_receive(&o, &m);
            else
                step_complete(&o, &m);
            if (random_below(50) == 0)
                step_receive_again(&o, &m);
            if (random_below(500) == 0) {
                int64_t base = o.base; /* a restart resumes at what was committed */
                offsets_free(&o);
                offsets_init(&o, base, WINDOW);
                model_restart(&m, base);
            }
            compare(&o, &m);
        }
        offsets_free(&o);
    }
}

static void test_window_limit(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 1000, WINDOW);
    for (int64_t i = 0; i < WINDOW; i++) {
        assert_true(offsets_has_room(&o));
        assert_true(offsets_receive(&o, 1000 + i));
    }
    assert_false(offsets_has_room(&o));
    assert_false(offsets_fits(&o, 1000 + WINDOW));
    for (int64_t i = 1; i < WINDOW; i++)
        assert_true(offsets_complete(&o, 1000 + i));
    assert_int_equal(o.base, 1000);
    assert_false(offsets_has_room(&o));
    assert_true(offsets_complete(&o, 1000));
    assert_int_equal(o.base, 1000 + WINDOW);
    assert_true(offsets_has_room(&o));
    assert_false(offsets_complete(&o, 1000));
    offsets_free(&o);
}

static void test_gap_wider_than_window(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 5, WINDOW);
    assert_true(offsets_receive(&o, 7));
    assert_int_equal(o.base, 7);
    int64_t far = INT64_C(1) << 40;
    assert_false(offsets_fits(&o, far));
    assert_true(offsets_complete(&o, 7));
    assert_true(offsets_fits(&o, far));
    assert_true(offsets_receive(&o, far));
    assert_int_equal(o.base, far);
    assert_true(offsets_complete(&o, far));
    assert_int_equal(o.base, far + 1);
    offsets_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_model),
        cmocka_unit_test(test_window_limit),
        cmocka_unit_test(test_gap_wider_than_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
