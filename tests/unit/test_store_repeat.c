/* What holds for every operation: TTLs, scripts that the server forgot, repeats after an
 * outcome that nobody learned. */
#include "support_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LEASE_MS = 60000 };

static struct test_redis *redis;
static struct rig *rig;
static const struct store_stream stream = {.id = {"s-1_A", 5},
                                           .bot = {"bot", 3},
                                           .start_at_ms = 1,
                                           .deadline_at_ms = 2,
                                           .ttl_ms = 7200000};

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

static void assert_every_key_has_ttl(void)
{
    char *keys = test_redis_ask(redis, "KEYS", "*", NULL);
    char *rest = keys;
    for (char *key = strsep(&rest, "\n"); key && *key; key = strsep(&rest, "\n")) {
        char *ttl = test_redis_ask(redis, "PTTL", key, NULL);
        if (strtoll(ttl, NULL, 10) <= 0)
            fail_msg("%s has no TTL", key);
        free(ttl);
    }
    free(keys);
}

/* One call of each operation on a stream that `epoch` owns. */
static struct store_reply call(size_t which, uint64_t *epoch)
{
    struct store_reply r;
    switch (which) {
    case 0:
        return rig_open(rig, &stream, STREAM_OPEN);
    case 1:
        r = rig_claim(rig, &stream, "a", LEASE_MS);
        if (r.outcome == STORE_DONE)
            *epoch = r.epoch;
        return r;
    case 2:
        return rig_put(rig, &stream, *epoch, "text", LEASE_MS);
    case 3:
        return rig_note(rig, &stream, *epoch, "f", "v");
    case 4:
        return rig_finish(rig, &stream, *epoch, REASON_DONE, "end", "card", "a,shown",
                          LEASE_MS);
    case 5:
        return rig_settle(rig, &stream, *epoch, "a");
    case 6:
        return rig_shown(rig, &stream);
    case 7:
        return rig_release(rig, &stream, *epoch);
    default:
        return rig_close(rig, &stream, REASON_DEADLINE);
    }
}
enum { CALLS = 9, CALL_CLAIM = 1, CALL_CLOSE = 8, CALL_RELEASE = 7 };

/* What lies before the call: all earlier ones, but release and close need a live stream. */
static void prepare(size_t which, uint64_t *epoch)
{
    test_redis_do(redis, "FLUSHALL", NULL);
    size_t last = which;
    if (which == CALL_RELEASE || which == CALL_CLOSE)
        last = 3;
    for (size_t i = 0; i < last; i++)
        assert_int_equal(call(i, epoch).outcome, STORE_DONE);
}

static void assert_went_well(struct store_reply r, size_t which)
{
    assert_int_equal(r.outcome, STORE_DONE);
    assert_int_equal(r.verdict, which == CALL_CLAIM ? VERDICT_GRANTED : VERDICT_OK);
}

static void every_key_has_a_ttl_after_every_script(void **state)
{
    (void)state;
    uint64_t epoch = 0;
    for (size_t i = 0; i < CALLS; i++) {
        prepare(i, &epoch);
        assert_went_well(call(i, &epoch), i);
        assert_every_key_has_ttl();
    }
}

static void a_script_the_server_forgot_is_sent_again(void **state)
{
    (void)state;
    uint64_t epoch = 0;
    for (size_t i = 0; i < CALLS; i++) {
        prepare(i, &epoch);
        test_redis_do(redis, "SCRIPT", "FLUSH", NULL);
        assert_went_well(call(i, &epoch), i);
    }
}

/* All that is stored but for the clock's part, and the number of the writer's connection. */
static char *snapshot(void)
{
    return test_redis_ask(redis, "EVAL",
                          "local h = redis.call('HGETALL', KEYS[1]) local o = {} "
                          "for i = 1, #h, 2 do local f = h[i] "
                          "if f ~= 'lease_until' and f ~= 'epoch' and f ~= 'shown_at' and "
                          "f ~= 'link' then "
                          "o[#o + 1] = f .. '=' .. h[i + 1] end end table.sort(o) "
                          "for i = 2, 3 do o[#o + 1] = redis.call('GET', KEYS[i]) or '-' end "
                          "return table.concat(o, ' ')",
                          "3", "bb:{s-1_A}:m", "bb:{s-1_A}:t", "bb:{s-1_A}:x", NULL);
}

static long long scripts_run(void)
{
    char *info = test_redis_ask(redis, "INFO", "commandstats", NULL);
    const char *at = strstr(info, "cmdstat_evalsha:calls=");
    long long count = at ? strtoll(strchr(at, '=') + 1, NULL, 10) : 0;
    free(info);
    return count;
}

/* The server is frozen when the command reaches it, the client gives up, and the server, awake
 * again, executes it all the same. */
static void a_repeat_after_an_unknown_outcome_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < CALLS; i++) {
        uint64_t epoch = 0;
        prepare(i, &epoch);
        assert_went_well(call(i, &epoch), i);
        char *wanted = snapshot();

        prepare(i, &epoch);
        long long before = scripts_run();
        test_redis_freeze(redis);
        assert_int_equal(call(i, &epoch).outcome, STORE_UNAVAILABLE);
        test_redis_thaw(redis);
        while (scripts_run() == before)
            continue;
        assert_true(rig_run_until_up(rig, true));
        assert_went_well(call(i, &epoch), i);
        char *found = snapshot();
        assert_string_equal(found, wanted);
        free(found);
        free(wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_ttl_after_every_script),
        cmocka_unit_test(a_script_the_server_forgot_is_sent_again),
        cmocka_unit_test(a_repeat_after_an_unknown_outcome_changes_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
