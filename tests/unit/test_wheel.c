/* The timing wheel against a sorted model, over random runs. BOTBRIDGE_TEST_SEED=<number
 * printed> repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "base/wheel.h"

#include <inttypes.h>

enum { TIMERS = 200, ROUNDS = 4000 };

/* What the wheel should hold: a due time per timer, 0 while not set. */
struct model {
    struct wheel wheel;
    struct wheel_timer timers[TIMERS];
    int64_t due_ms[TIMERS];
    bool is_late[TIMERS]; /* was due when it was set: fires at the next advance */
    int set_in[TIMERS];   /* number of the advance before or in which it was set */
    int advances;
    int64_t horizon_ms;
    bool is_advancing;
    int64_t last_due_ms;
    size_t fired;
};

static size_t index_of(const struct model *m, const struct wheel_timer *t)
{
    return (size_t)(t - m->timers);
}

static void model_set(struct model *m, size_t i, int64_t due_ms)
{
    wheel_set(&m->wheel, &m->timers[i], due_ms);
    m->due_ms[i] = due_ms;
    m->is_late[i] = due_ms <= m->horizon_ms;
    m->set_in[i] = m->advances;
}

static void model_cancel(struct model *m, size_t i)
{
    wheel_cancel(&m->wheel, &m->timers[i]);
    m->due_ms[i] = 0;
}

/* Delays of every order of magnitude, the wheel's range exceeded now and then. */
static int64_t random_delay(void)
{
    return (int64_t)random_below((uint64_t)1 << random_below(39)) - 2;
}

static void on_fire(struct wheel_timer *t, void *arg)
{
    struct model *m = arg;
    size_t i = index_of(m, t);
    assert_true(m->is_advancing);
    assert_false(wheel_is_set(t));
    assert_true(m->due_ms[i] != 0);
    assert_true(m->due_ms[i] <= m->horizon_ms);
    if (m->is_late[i]) {
        assert_true(m->set_in[i] < m->advances);
    } else {
        assert_true(m->due_ms[i] >= m->last_due_ms);
        assert_true(m->wheel.now_ms >= m->due_ms[i]);
        m->last_due_ms = m->due_ms[i];
    }
    m->due_ms[i] = 0;
    m->fired++;
    switch (random_below(4)) {
    case 0:
        model_set(m, i, m->horizon_ms + random_delay());
        break;
    case 1:
        model_set(m, random_below(TIMERS), m->wheel.now_ms + random_delay());
        break;
    case 2:
        model_cancel(m, random_below(TIMERS));
        break;
    default:
        break;
    }
}

static void check_bitmaps(const struct wheel *w)
{
    for (size_t level = 0; level < WHEEL_LEVELS; level++) {
        for (size_t slot = 0; slot < WHEEL_SLOTS; slot++) {
            bool is_marked = (w->occupied[level] >> slot) & 1U;
            assert_true(is_marked == !list_is_empty(&w->slots[level][slot]));
        }
    }
}

static void check_against_model(const struct model *m)
{
    size_t count = 0;
    int64_t nearest_ms = INT64_MAX;
    bool is_any_late = false;
    for (size_t i = 0; i < TIMERS; i++) {
        bool is_set = m->due_ms[i] != 0;
        assert_true(wheel_is_set(&m->timers[i]) == is_set);
        if (!is_set)
            continue;
        count++;
        is_any_late |= m->is_late[i];
        assert_true(m->is_late[i] || m->due_ms[i] > m->wheel.now_ms);
        nearest_ms = m->due_ms[i] < nearest_ms ? m->due_ms[i] : nearest_ms;
    }
    assert_int_equal(m->wheel.count, count);
    int64_t next_ms = wheel_next_ms(&m->wheel);
    if (count == 0)
        assert_true(next_ms == -1);
    else if (is_any_late)
        assert_true(next_ms == 0);
    else
        assert_true(next_ms > 0 && m->wheel.now_ms + next_ms <= nearest_ms);
}

static void model_advance(struct model *m, int64_t now_ms)
{
    m->horizon_ms = now_ms;
    m->last_due_ms = 0;
    m->advances++;
    m->is_advancing = true;
    wheel_advance(&m->wheel, now_ms);
    m->is_advancing = false;
}

static int64_t random_step(const struct model *m)
{
    int64_t next_ms = wheel_next_ms(&m->wheel);
    switch (random_below(4)) {
    case 0:
        return next_ms > 0 ? next_ms : 1;
    case 1:
        return next_ms > 1 ? next_ms - 1 : 0;
    case 2:
        return (int64_t)random_below(100);
    default:
        return (int64_t)random_below((uint64_t)1 << random_below(38));
    }
}

static void run_model(int64_t start_ms)
{
    struct model *m = BRG_NEW(struct model);
    wheel_init(&m->wheel, start_ms);
    m->horizon_ms = start_ms;
    for (size_t i = 0; i < TIMERS; i++)
        wheel_timer_init(&m->timers[i], on_fire, m);
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t ops = random_below(8); ops > 0; ops--)
            model_set(m, random_below(TIMERS), m->wheel.now_ms + random_delay());
        for (uint64_t ops = random_below(4); ops > 0; ops--)
            model_cancel(m, random_below(TIMERS));
        model_advance(m, m->wheel.now_ms + random_step(m));
        check_against_model(m);
        if (round % 64 == 0)
            check_bitmaps(&m->wheel);
    }
    assert_true(m->fired > ROUNDS / 4);
    free(m);
}

static void random_runs(void **state)
{
    (void)state;
    const char *wanted = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)clock_mono_us();
    print_message("seed %" PRIu64 "\n", seed);
    random_seed(seed);
    static const int64_t starts_ms[] = {
        5, (1LL << 30) - 3, (1LL << 36) - 1000, (1LL << 36) - 1, 1795316645678, 1LL << 50,
    };
    for (size_t i = 0; i < sizeof(starts_ms) / sizeof(starts_ms[0]); i++)
        run_model(starts_ms[i]);
}

static void count_up(struct wheel_timer *t, void *arg)
{
    (void)t;
    ++*(int *)arg;
}

/* Every delay that changes level, and its neighbours, to the millisecond. */
static void exact_at_level_edges(void **state)
{
    (void)state;
    static const int64_t starts_ms[] = {0, 1, 63, 64, 4095, 262143, (1LL << 36) - 1};
    for (size_t s = 0; s < sizeof(starts_ms) / sizeof(starts_ms[0]); s++) {
        for (int64_t edge = 64; edge <= 1LL << 42; edge *= 64) {
            for (int64_t delay = edge - 1; delay <= edge + 1; delay++) {
                struct wheel w;
                struct wheel_timer t;
                int fired = 0;
                wheel_init(&w, starts_ms[s]);
                wheel_timer_init(&t, count_up, &fired);
                wheel_set(&w, &t, starts_ms[s] + delay);
                wheel_advance(&w, starts_ms[s] + delay - 1);
                assert_int_equal(fired, 0);
                wheel_advance(&w, starts_ms[s] + delay);
                assert_int_equal(fired, 1);
                assert_int_equal(w.count, 0);
            }
        }
    }
}

static void late_fires_at_next_advance(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer t;
    int fired = 0;
    wheel_init(&w, 1000);
    wheel_timer_init(&t, count_up, &fired);
    static const int64_t dues_ms[] = {1000, 999, 0, -5, INT64_MIN};
    for (size_t i = 0; i < sizeof(dues_ms) / sizeof(dues_ms[0]); i++) {
        fired = 0;
        wheel_set(&w, &t, dues_ms[i]);
        assert_true(wheel_is_set(&t));
        assert_int_equal(wheel_next_ms(&w), 0);
        wheel_advance(&w, 1000);
        assert_int_equal(fired, 1);
        assert_false(wheel_is_set(&t));
    }
}

struct again {
    struct wheel *wheel;
    int fired;
};

static void set_again(struct wheel_timer *t, void *arg)
{
    struct again *again = arg;
    again->fired++;
    wheel_set(again->wheel, t, again->wheel->now_ms);
}

static void self_set_does_not_hold_the_loop(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer t;
    struct again again = {&w, 0};
    wheel_init(&w, 10);
    wheel_timer_init(&t, set_again, &again);
    wheel_set(&w, &t, 20);
    wheel_advance(&w, 1000);
    assert_int_equal(again.fired, 1);
    wheel_advance(&w, 1000);
    assert_int_equal(again.fired, 2);
    wheel_cancel(&w, &t);
    wheel_cancel(&w, &t);
    assert_int_equal(w.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs),
        cmocka_unit_test(exact_at_level_edges),
        cmocka_unit_test(late_fires_at_next_advance),
        cmocka_unit_test(self_set_does_not_hold_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
