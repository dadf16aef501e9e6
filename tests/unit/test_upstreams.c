/* Places at pipelines' other sides: limits, fairness, breaker, being alone; and what is counted
 * per bot. */
#include "upstreams.h"

#include "base/error.h"
#include "quotas.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SEATS = 16, OPEN_MS = 200, ALONE_MS = 300 };

static struct loop *loop;
static struct upstreams up;
static struct upstream_place seats[SEATS];
static char seen[256];
static struct wheel_timer guard;
static size_t wanted;

static size_t count_seen(void)
{
    size_t count = 0;
    for (const char *c = seen; *c; c++)
        count += *c == ' ' ? 1 : 0;
    return count;
}

static void note_seat(struct upstream_place *place, void *arg)
{
    (void)arg;
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%zu ", (size_t)(place - seats));
    if (count_seen() == wanted)
        loop_stop(loop);
}

static void on_guard(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    loop_stop(loop);
}

/* Until so many turns were seen in all, or the time is up. */
static void turn_loop(size_t turns, int64_t limit_ms)
{
    wanted = turns;
    if (count_seen() >= turns)
        return;
    loop_timer_set(loop, &guard, limit_ms);
    loop_run(loop);
    loop_timer_cancel(loop, &guard);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    seen[0] = '\0';
    wanted = 0;
    wheel_timer_init(&guard, on_guard, NULL);
    for (size_t i = 0; i < SEATS; i++)
        upstream_place_init(&seats[i]);
    upstreams_init(&up, loop, ALONE_MS, note_seat, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < SEATS; i++)
        upstreams_leave(&up, &seats[i]);
    assert_int_equal(up.held, 0);
    assert_int_equal(up.waiting, 0);
    upstreams_free(&up);
    loop_free(loop);
    return 0;
}

static void enter(size_t i, const char *name, const char *bot, int64_t limit, bool is_alone)
{
    struct upstream_terms terms = {
        .name = bytes_of_str(name),
        .group = bytes_of_str(bot),
        .limit = limit,
        .breaker_failures = 3,
        .breaker_open_ms = OPEN_MS,
        .is_alone = is_alone,
    };
    upstreams_enter(&up, &seats[i], &terms);
}

static void leave(size_t i)
{
    upstreams_leave(&up, &seats[i]);
}

static void end(size_t i, bool is_answering)
{
    upstreams_report(&up, &seats[i], is_answering);
    leave(i);
}

static void test_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        enter(i, "main", "bot", 2, false);
    enter(4, "other", "bot", 0, false);
    assert_string_equal(seen, "0 1 4 ");
    assert_int_equal(up.waiting, 2);
    leave(2); /* out of the queue */
    leave(0);
    assert_string_equal(seen, "0 1 4 3 ");
    enter(5, "main", "bot", 3, false); /* a reload raised the limit */
    assert_string_equal(seen, "0 1 4 3 5 ");
}

/* A bot with many questions delays another bot's by one. */
static void test_fair_over_bots(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++)
        enter(i, "main", "flood", 1, false);
    enter(6, "main", "calm", 1, false);
    enter(7, "main", "calm", 1, false);
    enter(8, "main", "third", 1, false);
    static const size_t order[] = {0, 1, 6, 8, 2, 7, 3};
    for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
        leave(order[i]);
    assert_string_equal(seen, "0 1 6 8 2 7 3 4 ");
}

/* Against what is served: each says how many come before it. */
static void test_ahead(void **state)
{
    (void)state;
    static const char *const bots[] = {"a", "a", "a", "a", "b", "a", "b", "c"};
    enum { WAITING = sizeof(bots) / sizeof(*bots) };
    for (size_t i = 0; i < WAITING; i++)
        enter(i, "main", bots[i], 1, false);
    assert_int_equal(upstream_ahead(&seats[0]), 0); /* served */
    size_t said[WAITING] = {0};
    for (size_t i = 1; i < WAITING; i++)
        said[i] = upstream_ahead(&seats[i]);
    for (size_t place = 0; place < WAITING; place++) {
        size_t served = 0;
        while (served < WAITING && !upstream_is_held(&seats[served]))
            served++;
        assert_in_range(served, 0, WAITING - 1);
        if (place > 0)
            assert_int_equal(said[served], place - 1);
        leave(served);
    }
}

static void fail_times(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        enter(i, "main", "bot", 0, false);
        end(i, false);
    }
}

static void test_breaker_opens_and_closes_by_a_probe(void **state)
{
    (void)state;
    fail_times(2);
    enter(2, "main", "bot", 0, false);
    assert_true(upstream_is_sound(&seats[2]));
    int64_t before_ms = loop_now_ms(loop);
    end(2, false);
    enter(3, "main", "bot", 0, false);
    enter(4, "main", "bot", 0, false);
    enter(5, "other", "bot", 0, false); /* has a breaker of its own */
    assert_string_equal(seen, "0 1 2 5 ");
    assert_false(upstream_is_sound(&seats[3]));
    turn_loop(5, 5000);
    assert_string_equal(seen, "0 1 2 5 3 "); /* one probe, not both */
    assert_true(loop_now_ms(loop) - before_ms >= OPEN_MS);
    turn_loop(6, OPEN_MS * 2);
    assert_string_equal(seen, "0 1 2 5 3 ");
    upstreams_report(&up, &seats[3], true);
    turn_loop(6, 5000);
    assert_string_equal(seen, "0 1 2 5 3 4 ");
    assert_true(upstream_is_sound(&seats[4]));
}

static void test_probe_that_fails_opens_again(void **state)
{
    (void)state;
    fail_times(3);
    enter(3, "main", "bot", 0, false);
    enter(4, "main", "bot", 0, false);
    turn_loop(4, 5000);
    int64_t before_ms = loop_now_ms(loop);
    end(3, false);
    turn_loop(5, 5000);
    assert_string_equal(seen, "0 1 2 3 4 ");
    assert_true(loop_now_ms(loop) - before_ms >= OPEN_MS);
    enter(5, "main", "bot", 0, false);
    leave(4); /* gone without an outcome: somebody else is the probe */
    assert_string_equal(seen, "0 1 2 3 4 5 ");
}

/* An answer in between: no run of failures. What began before says nothing about now. */
static void test_what_breaks_a_run(void **state)
{
    (void)state;
    fail_times(2);
    enter(2, "main", "bot", 0, false);
    end(2, true);
    fail_times(2);
    enter(3, "main", "bot", 0, false);
    enter(4, "main", "bot", 0, false);
    end(3, false);
    end(4, true); /* open by now */
    enter(5, "main", "bot", 0, false);
    assert_false(upstream_is_held(&seats[5]));
}

static void test_alone(void **state)
{
    (void)state;
    enter(0, "main", "bot", 0, false);
    enter(1, "other", "bot", 0, true);
    enter(2, "main", "bot", 0, false);
    assert_string_equal(seen, "0 "); /* one runs: the gate is closed until it ends */
    leave(0);
    assert_string_equal(seen, "0 1 ");
    enter(3, "main", "bot", 0, true);
    leave(1);
    assert_string_equal(seen, "0 1 3 ");
    leave(3);
    assert_string_equal(seen, "0 1 3 2 ");
}

/* Neither a long answer before it nor one of its own holds the others up for ever. */
static void test_alone_is_bounded(void **state)
{
    (void)state;
    int64_t before_ms = loop_now_ms(loop);
    enter(0, "main", "bot", 0, false);
    enter(1, "main", "bot", 0, true);
    enter(2, "main", "bot", 0, false);
    turn_loop(2, 5000);
    assert_string_equal(seen, "0 2 ");
    assert_true(loop_now_ms(loop) - before_ms >= ALONE_MS);
    leave(0);
    leave(2);
    turn_loop(3, 5000); /* after a pause as long it is its turn */
    assert_string_equal(seen, "0 2 1 ");
    enter(3, "main", "bot", 0, false);
    turn_loop(4, 5000);
    assert_string_equal(seen, "0 2 1 3 ");
}

/* Who cannot be served closes no gate. */
static void test_alone_waits_for_its_breaker(void **state)
{
    (void)state;
    fail_times(3);
    enter(3, "main", "bot", 0, true);
    enter(4, "other", "bot", 0, false);
    assert_string_equal(seen, "0 1 2 4 ");
    leave(4);
    turn_loop(5, 5000);
    assert_string_equal(seen, "0 1 2 4 3 ");
}

static void test_quotas(void **state)
{
    (void)state;
    struct quotas q;
    struct quota_share shares[8] = {{0}};
    quotas_init(&q, 3, 100);
    for (size_t i = 0; i < 3; i++)
        assert_true(quotas_take(&q, &shares[i], BYTES_LIT("flood"), 10));
    assert_false(quotas_take(&q, &shares[3], BYTES_LIT("flood"), 10)); /* limit + 1 */
    assert_true(quotas_take(&q, &shares[3], BYTES_LIT("calm"), 60));
    assert_true(quotas_take(&q, &shares[4], BYTES_LIT("calm"), 40)); /* the limit itself */
    assert_false(quotas_take(&q, &shares[5], BYTES_LIT("calm"), 1));
    assert_true(quotas_take(&q, &shares[5], BYTES_LIT("large"), 1000)); /* nothing else of it */
    assert_false(quotas_take(&q, &shares[6], BYTES_LIT("large"), 1));
    assert_int_equal(quotas_fullest(&q).records, 3);
    assert_int_equal(quotas_fullest(&q).bytes, 1000);
    quotas_give(&q, &shares[0]);
    quotas_give(&q, &shares[0]);
    assert_true(quotas_take(&q, &shares[6], BYTES_LIT("flood"), 10));
    for (size_t i = 0; i < 8; i++)
        quotas_give(&q, &shares[i]);
    assert_int_equal(q.by_name.count, 0);
    quotas_free(&q);
}

#define SEAT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEAT_TEST(test_limit),
        SEAT_TEST(test_fair_over_bots),
        SEAT_TEST(test_ahead),
        SEAT_TEST(test_breaker_opens_and_closes_by_a_probe),
        SEAT_TEST(test_probe_that_fails_opens_again),
        SEAT_TEST(test_what_breaks_a_run),
        SEAT_TEST(test_alone),
        SEAT_TEST(test_alone_is_bounded),
        SEAT_TEST(test_alone_waits_for_its_breaker),
        cmocka_unit_test(test_quotas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
