/* A server that loses its data and goes on, as the same run: told once, and not for one key. */
#include "support_store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct store_stream stream = {
    .id = {"s1", 2}, .bot = {"bot", 3}, .start_at_ms = 1, .deadline_at_ms = 2, .ttl_ms = 60000};

static struct test_redis *redis;
static struct rig *rig;

static int start(void **state)
{
    (void)state;
    redis = test_redis_start(NULL);
    rig = rig_new(test_redis_url(redis));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_free(rig);
    test_redis_stop(redis);
    return 0;
}

static void an_emptied_server_is_told_once_and_stays_up(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    for (unsigned time = 0; time < 2; time++) {
        h = (struct heard){0};
        rig_open(rig, &stream, STREAM_OPEN);
        test_redis_do(redis, "FLUSHALL", NULL);
        assert_true(rig_run(rig, is_loss_told, &h, 10000));
        rig_run(rig, never, NULL, 2500);
        assert_int_equal(h.losses, 1);
        assert_int_equal(h.ups, 1);
        assert_int_equal(h.downs, 0);
        assert_int_equal(rig_read(rig, &stream).state, STREAM_MISSING);
    }
}

static void one_lost_key_is_no_loss(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    rig_open(rig, &stream, STREAM_OPEN);
    test_redis_do(redis, "DEL", "bb:{s1}:m", NULL);
    rig_run(rig, never, NULL, 2500);
    assert_int_equal(h.ups, 0);
    assert_int_equal(h.losses, 0);
}

static void a_server_emptied_between_two_connections_is_told(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    test_redis_do(redis, "ACL", "SETUSER", "default", "-time", NULL); /* the greeting fails */
    test_redis_do(redis, "CLIENT", "KILL", "TYPE", "normal", NULL);
    test_redis_do(redis, "FLUSHALL", NULL);
    rig_run(rig, never, NULL, 500);
    assert_int_equal(h.downs, 1);
    assert_int_equal(h.ups, 0);
    test_redis_do(redis, "ACL", "SETUSER", "default", "+time", NULL);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(h.losses, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_emptied_server_is_told_once_and_stays_up),
        TEST(one_lost_key_is_no_loss),
        TEST(a_server_emptied_between_two_connections_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
