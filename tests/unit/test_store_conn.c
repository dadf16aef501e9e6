/* The store's connection against a real redis-server that dies, freezes, refuses and returns.
 */
#include "support_store.h"

#include "base/clock.h"
#include "store/store_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum { LEASE_MS = 60000, SLACK_MS = 1000, MANY = 1000 };

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
    rig = NULL;
    test_redis_stop(redis);
    redis = NULL;
    return 0;
}

static void rig_again(const char *url)
{
    rig_free(rig);
    rig = rig_new_away(url, RIG_OUTSTANDING);
}

/* --- counting answers --- */

struct tally {
    unsigned calls, done, unavailable, refused;
};

static void count(const struct store_reply *reply, void *arg)
{
    struct tally *t = arg;
    t->calls++;
    t->done += reply->outcome == STORE_DONE;
    t->unavailable += reply->outcome == STORE_UNAVAILABLE;
    t->refused += reply->outcome == STORE_REFUSED;
}

static bool are_many_there(void *arg)
{
    const struct tally *t = arg;
    return t->calls >= MANY;
}

static void start_many(struct tally *t)
{
    for (unsigned i = 0; i < MANY; i++)
        store_read(rig->store, stream.id, count, t);
}

/* --- tests --- */

static void operations_fail_later_while_it_is_away(void **state)
{
    (void)state;
    test_redis_kill(redis);
    assert_true(rig_run_until_up(rig, false));
    struct tally t = {0};
    start_many(&t);
    assert_int_equal(t.calls, 0);
    assert_true(rig_run(rig, are_many_there, &t, 1000));
    assert_int_equal(t.unavailable, MANY);
    assert_int_equal(rig_put(rig, &stream, 1, "x", 1).outcome, STORE_UNAVAILABLE);
}

static void an_empty_restart_is_a_new_run(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    test_redis_restart(redis);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(h.ups, 1);
    assert_int_equal(h.downs, 1);
    assert_int_equal(h.losses, 1);
    assert_int_equal(rig_read(rig, &stream).state, STREAM_MISSING);
}

/* As a server does that is still loading when it is asked for the first time. */
static void a_new_run_is_told_after_a_greeting_that_failed(void **state)
{
    (void)state;
    static const char *options[] = {NULL, "default", "on",    "nopass", "~*",
                                    "&*", "+@all",   "-time", NULL};
    struct heard h = {0};
    (void)stop(NULL);
    redis = test_redis_start(options);
    rig = rig_new(test_redis_url(redis));
    store_watch(rig->store, hear, &h);
    options[0] = "--user";
    test_redis_restart(redis);
    rig_run(rig, never, NULL, 500);
    assert_int_equal(h.downs, 1);
    assert_int_equal(h.ups, 0);
    test_redis_do(redis, "ACL", "SETUSER", "default", "+time", NULL);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(h.losses, 1);
}

static void the_same_server_is_no_new_run(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    rig_open(rig, &stream, STREAM_OPEN);
    test_redis_do(redis, "CLIENT", "KILL", "TYPE", "normal", NULL);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(h.downs, 1);
    assert_int_equal(h.losses, 0);
    assert_int_equal(rig_read(rig, &stream).state, STREAM_OPEN);
}

static void a_lost_connection_answers_everything_once(void **state)
{
    (void)state;
    struct tally t = {0};
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    test_redis_do(redis, "CLIENT", "PAUSE", "60000", NULL);
    start_many(&t);
    test_redis_restart(redis);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(t.calls, MANY);
    assert_int_equal(t.unavailable, MANY);
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_DONE);
    assert_int_equal(t.calls, MANY);
}

static void a_frozen_server_is_noticed_in_time_and_at_the_greeting(void **state)
{
    (void)state;
    struct heard h = {0};
    test_redis_freeze(redis);
    int64_t begun_ms = clock_mono_ms();
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_UNAVAILABLE);
    int64_t took_ms = clock_mono_ms() - begun_ms;
    assert_in_range(took_ms, RIG_COMMAND_MS - 50, RIG_COMMAND_MS + SLACK_MS);
    assert_false(store_is_up(rig->store));
    /* Its kernel accepts, so the next connection goes as far as the greeting, and fails there:
     * otherwise this would still be that connection. */
    store_watch(rig->store, hear, &h);
    assert_false(rig_run(rig, is_up_again, &h, (int64_t)RIG_COMMAND_MS * 4));
    assert_true(rig->store->attempts >= 2);
    test_redis_thaw(redis);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(h.losses, 0);
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_DONE);
}

enum { BUSY_FDS = 400, BUSY_MS = 2000 };

/* 400 µs of work: a turn that serves them all takes 160 ms. */
static void work(struct loop_fd *fd, unsigned events, void *arg)
{
    unsigned *turns = arg; /* of one of them */
    (void)fd;
    (void)events;
    if (turns)
        ++*turns;
    int64_t until_us = clock_mono_us() + 400;
    while (clock_mono_us() < until_us)
        continue;
}

static void read_once_more(const struct store_reply *reply, void *arg)
{
    unsigned *reads = arg;
    if (reply->outcome != STORE_DONE)
        return; /* the end of the test */
    (*reads)++;
    store_read(rig->store, stream.id, read_once_more, reads);
}

/* What is asked next waits for an answer that lies in the socket. */
static void answers_are_read_within_a_long_turn(void **state)
{
    (void)state;
    static int fds[BUSY_FDS];
    static struct loop_fd *watched[BUSY_FDS];
    static unsigned reads;
    unsigned turns = 0;
    reads = 0;
    for (unsigned i = 0; i < BUSY_FDS; i++) {
        fds[i] = eventfd(1, EFD_CLOEXEC); /* for ever readable */
        watched[i] = loop_fd_new(rig->loop, fds[i], work, i == 0 ? &turns : NULL);
        loop_fd_watch(watched[i], LOOP_READ);
    }
    store_read(rig->store, stream.id, read_once_more, &reads);
    rig_run(rig, never, NULL, BUSY_MS);
    unsigned done = reads;
    for (unsigned i = 0; i < BUSY_FDS; i++) {
        loop_fd_free(watched[i]);
        (void)close(fds[i]);
    }
    print_message("%u reads one after the other in %u turns\n", done, turns);
    assert_true(done > 2 * turns);
    rig_free(rig);
    rig = NULL;
}

static void a_paused_server_costs_one_timeout(void **state)
{
    (void)state;
    char pause[16];
    snprintf(pause, sizeof(pause), "%d", RIG_COMMAND_MS * 2);
    test_redis_do(redis, "CLIENT", "PAUSE", pause, NULL);
    struct tally t = {0};
    start_many(&t);
    int64_t begun_ms = clock_mono_ms();
    assert_true(rig_run(rig, are_many_there, &t, 10000));
    assert_in_range(clock_mono_ms() - begun_ms, RIG_COMMAND_MS - 50, RIG_COMMAND_MS + SLACK_MS);
    assert_int_equal(t.unavailable, MANY);
    assert_true(rig_run_until_up(rig, true));
}

static void freeing_answers_what_is_pending(void **state)
{
    (void)state;
    struct tally t = {0};
    test_redis_freeze(redis);
    start_many(&t);
    rig_free(rig);
    rig = NULL;
    assert_int_equal(t.calls, MANY);
    assert_int_equal(t.unavailable, MANY);
}

static void above_the_limit_operations_fail(void **state)
{
    (void)state;
    rig_free(rig);
    rig = rig_new_away(test_redis_url(redis), MANY - 10);
    assert_true(rig_run_until_up(rig, true));
    struct tally t = {0};
    start_many(&t);
    assert_true(rig_run(rig, are_many_there, &t, 10000));
    assert_int_equal(t.done, MANY - 10);
    assert_int_equal(t.unavailable, 10);
    struct tally again = {0};
    start_many(&again);
    assert_true(rig_run(rig, are_many_there, &again, 10000));
    assert_int_equal(again.done, MANY - 10);
}

static void what_a_silent_server_may_cost_is_bounded(void **state)
{
    (void)state;
    size_t size = 15 << 20;
    struct tally t = {0};
    char *text = brg_calloc(1, size);
    test_redis_freeze(redis);
    for (int i = 0; i < 3; i++)
        store_put(rig->store, &stream, 1, bytes_of(text, size), LEASE_MS, count, &t);
    assert_int_equal(rig->store->held_bytes / size, 2);
    assert_false(list_is_empty(&rig->store->failed));
    free(text);
    test_redis_thaw(redis);
    rig_run(rig, never, NULL, (int64_t)RIG_COMMAND_MS * 2);
    assert_int_equal(t.calls, 3);
    assert_int_equal(rig->store->held_bytes, 0);
}

static void logs_in_and_selects(void **state)
{
    (void)state;
    char url[128];
    test_redis_do(redis, "ACL", "SETUSER", "bridge", "on", ">p@s/s:", "~bb:*", "+@all", NULL);
    snprintf(url, sizeof(url), "redis://bridge:p%%40s%%2Fs%%3A@127.0.0.1:%u/3",
             (unsigned)test_redis_port(redis));
    rig_again(url);
    assert_true(rig_run_until_up(rig, true));
    rig_open(rig, &stream, STREAM_OPEN);
    char *keyspace = test_redis_ask(redis, "INFO", "keyspace", NULL);
    assert_non_null(strstr(keyspace, "db3:keys=2")); /* its mark and the stream */
    free(keyspace);
    test_redis_do(redis, "CONFIG", "SET", "requirepass", "secret", NULL);
    snprintf(url, sizeof(url), "redis://:secret@127.0.0.1:%u",
             (unsigned)test_redis_port(redis));
    rig_again(url);
    assert_true(rig_run_until_up(rig, true));
}

static void a_wrong_login_is_tried_again_slowly(void **state)
{
    (void)state;
    char url[128];
    test_redis_do(redis, "ACL", "SETUSER", "bridge", "on", ">right", "~*", "+@all", NULL);
    const char *const logins[] = {"bridge:wrong@", "nobody:right@"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(url, sizeof(url), "redis://%s127.0.0.1:%u", logins[i],
                 (unsigned)test_redis_port(redis));
        rig_again(url);
        rig_run(rig, never, NULL, 1000);
        assert_false(store_is_up(rig->store));
        assert_int_equal(rig->store->attempts, 1);
    }
    test_redis_do(redis, "ACL", "SETUSER", "nobody", "on", ">right", "~*", "+@all", NULL);
    assert_true(rig_run_until_up(rig, true));
}

static void a_server_without_memory_refuses(void **state)
{
    (void)state;
    uint64_t epoch = rig_claim(rig, &stream, "a", LEASE_MS).epoch;
    test_redis_do(redis, "CONFIG", "SET", "maxmemory", "1", NULL);
    assert_int_equal(rig_put(rig, &stream, epoch, "x", LEASE_MS).outcome, STORE_REFUSED);
    assert_int_equal(rig_read(rig, &stream).state, STREAM_RUN);
    assert_true(store_is_up(rig->store));
    test_redis_do(redis, "CONFIG", "SET", "maxmemory", "0", NULL);
    assert_int_equal(rig_put(rig, &stream, epoch, "x", LEASE_MS).outcome, STORE_DONE);
}

static void a_user_without_permission_is_refused(void **state)
{
    (void)state;
    char url[128];
    test_redis_do(redis, "ACL", "SETUSER", "reader", "on", ">p", "~*", "+@all", "-hset",
                  "-script", "-info", NULL);
    snprintf(url, sizeof(url), "redis://reader:p@127.0.0.1:%u",
             (unsigned)test_redis_port(redis));
    rig_again(url);
    assert_true(rig_run_until_up(rig, true));
    assert_int_equal(rig_open(rig, &stream, STREAM_OPEN).outcome, STORE_REFUSED);
    test_redis_do(redis, "ACL", "SETUSER", "reader", "-hmget", NULL);
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_REFUSED);
    test_redis_do(redis, "ACL", "SETUSER", "reader", "-get", NULL);
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_REFUSED);
}

static void a_replica_is_left_for_the_primary(void **state)
{
    (void)state;
    struct heard h = {0};
    store_watch(rig->store, hear, &h);
    test_redis_do(redis, "REPLICAOF", "127.0.0.1", "1", NULL);
    assert_int_equal(rig_open(rig, &stream, STREAM_OPEN).outcome, STORE_UNAVAILABLE);
    assert_int_equal(h.downs, 1);
    test_redis_do(redis, "REPLICAOF", "NO", "ONE", NULL);
    assert_true(rig_run_until_up(rig, true));
    assert_int_equal(rig_open(rig, &stream, STREAM_OPEN).outcome, STORE_DONE);
    test_redis_do(redis, "CONFIG", "SET", "replica-serve-stale-data", "no", NULL);
    test_redis_do(redis, "REPLICAOF", "127.0.0.1", "1", NULL);
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_UNAVAILABLE);
    test_redis_do(redis, "REPLICAOF", "NO", "ONE", NULL);
    assert_true(rig_run_until_up(rig, true));
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_DONE);
}

static void a_name_is_looked_up_each_time(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof(url), "redis://localhost:%u", (unsigned)test_redis_port(redis));
    rig_again(url);
    assert_int_equal(rig->store->state, CONN_RESOLVING);
    assert_true(rig_run_until_up(rig, true));
    test_redis_restart(redis);
    assert_true(rig_run_until_up(rig, false));
    assert_true(rig_run_until_up(rig, true));
    rig_again("redis://no-such-host.invalid:1"); /* freed while the look-up may be under way */
    rig_run(rig, never, NULL, 50);
    assert_false(store_is_up(rig->store));
    assert_int_equal(rig_read(rig, &stream).outcome, STORE_UNAVAILABLE);
}

static void store_time_is_the_servers(void **state)
{
    (void)state;
    char *time = test_redis_ask(redis, "TIME", NULL);
    char *rest = time;
    int64_t seconds = strtoll(rest, &rest, 10);
    int64_t server_ms = seconds * 1000 + strtoll(rest, NULL, 10) / 1000;
    free(time);
    assert_in_range(store_now_ms(rig->store) - server_ms + 1000, 1000 - 100, 1000 + 100);
    int64_t in_a_minute = store_to_mono_ms(rig->store, store_now_ms(rig->store) + 60000);
    assert_in_range(in_a_minute - loop_now_ms(rig->loop), 60000 - 1, 60000 + 1);
}

static void texts_of_any_bytes_and_size_come_back(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *big = brg_calloc(1, SIZE + 1);
    for (size_t i = 0; i < SIZE; i++)
        big[i] = (char)(i * 7 % 255 + 1);
    uint64_t epoch = rig_claim(rig, &stream, "a", LEASE_MS).epoch;
    assert_int_equal(rig_put(rig, &stream, epoch, big, LEASE_MS).outcome, STORE_DONE);
    assert_true(bytes_eq_str(rig_read(rig, &stream).text, big));
    test_redis_do(redis, "SCRIPT", "FLUSH", NULL);
    rig_finish(rig, &stream, epoch, REASON_DONE, "a\r\n$5\r\n", big, "", LEASE_MS);
    struct store_reply r = rig_read(rig, &stream);
    assert_true(bytes_eq_str(r.text, "a\r\n$5\r\n"));
    assert_true(bytes_eq_str(r.extras, big));
    assert_true(bytes_eq_str(r.bot, "bot"));
    free(big);
}

static void bad_ids_and_sizes_are_refused(void **state)
{
    (void)state;
    const char *const ids[] = {
        "", "a}b", "a b", "a\n",
        "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct store_stream bad = stream;
        bad.id = bytes_of_str(ids[i]);
        assert_int_equal(rig_read(rig, &bad).outcome, STORE_REFUSED);
        assert_int_equal(rig_open(rig, &bad, STREAM_OPEN).outcome, STORE_REFUSED);
    }
    struct store_stream longest = stream;
    longest.id = bytes_of(ids[4], 64);
    assert_int_equal(rig_open(rig, &longest, STREAM_OPEN).outcome, STORE_DONE);
    assert_int_equal(rig_read(rig, &longest).state, STREAM_OPEN);
    size_t size = 17 << 20;
    char *huge = brg_calloc(1, size + 1);
    memset(huge, 'x', size);
    assert_int_equal(rig_put(rig, &stream, 1, huge, 1).outcome, STORE_REFUSED);
    free(huge);
}

static void errors_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *error;
        enum error_class class;
    } cases[] = {
        {"LOADING Redis is loading the dataset in memory", ERROR_AWAY},
        {"MASTERDOWN Link with MASTER is down", ERROR_AWAY},
        {"CLUSTERDOWN The cluster is down", ERROR_AWAY},
        {"TRYAGAIN Multiple keys request during rehashing of slot", ERROR_AWAY},
        {"BUSY Redis is busy running a script.", ERROR_AWAY},
        {"READONLY You can't write against a read only replica.", ERROR_ELSEWHERE},
        {"NOSCRIPT No matching script.", ERROR_NOSCRIPT},
        {"NOAUTH Authentication required.", ERROR_LOGIN},
        {"WRONGPASS invalid username-password pair", ERROR_LOGIN},
        {"OOM command not allowed when used memory > 'maxmemory'.", ERROR_REFUSED},
        {"MISCONF Redis is configured to save RDB snapshots", ERROR_REFUSED},
        {"NOPERM this user has no permissions", ERROR_REFUSED},
        {"ERR unknown command", ERROR_REFUSED},
        {"LOADINGX", ERROR_REFUSED},
        {"", ERROR_REFUSED},
        /* Redis 6 wraps what a script's command answered. */
        {"ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -READONLY "
         "You can't write against a read only replica.",
         ERROR_ELSEWHERE},
        {"ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -OOM "
         "command",
         ERROR_REFUSED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes code;
        if (reply_classify(bytes_of_str(cases[i].error), &code) != cases[i].class)
            fail_msg("%s", cases[i].error);
    }
}

static void urls(void **state)
{
    (void)state;
    struct store_url u;
    struct brg_error error;
    assert_int_equal(store_url_parse("redis://127.0.0.1:6380/7", &u, &error), BRG_OK);
    assert_string_equal(u.host, "127.0.0.1");
    assert_int_equal(u.port, 6380);
    assert_int_equal(u.db, 7);
    assert_true(u.is_numeric && !u.user && !u.password);
    store_url_free(&u);
    assert_int_equal(store_url_parse("redis://u:p%3A%40x@[::1]:1/", &u, &error), BRG_OK);
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.user, "u");
    assert_string_equal(u.password, "p:@x");
    assert_true(u.is_numeric && u.port == 1 && u.db == 0);
    store_url_free(&u);
    assert_int_equal(store_url_parse("redis://:a:b@valkey", &u, &error), BRG_OK);
    assert_string_equal(u.password, "a:b");
    assert_true(!u.is_numeric && !u.user && u.port == 6379);
    store_url_free(&u);
    const char *const wrong[] = {
        "",
        "127.0.0.1:6379",
        "rediss://hunter2@h:1",
        "redis://",
        "redis://:1",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:",
        "redis://h:x",
        "redis://h:1/x",
        "redis://h:1/-1",
        "redis://hunter2@h:1",
        "redis://u:@h:1",
        "redis://u:hunter2%zz@h:1",
        "redis://u:hunter2%00@h:1",
        "redis://u:hunter2/@h:1",
        "redis://[::1:1",
        "redis://[::1]1",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (store_url_parse(wrong[i], &u, &error) != BRG_STOP)
            fail_msg("accepted %s", wrong[i]);
        assert_null(strstr(error.text, "hunter2"));
        assert_null(u.host);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(operations_fail_later_while_it_is_away),
        TEST(an_empty_restart_is_a_new_run),
        TEST(a_new_run_is_told_after_a_greeting_that_failed),
        TEST(the_same_server_is_no_new_run),
        TEST(a_lost_connection_answers_everything_once),
        TEST(a_frozen_server_is_noticed_in_time_and_at_the_greeting),
        TEST(answers_are_read_within_a_long_turn),
        TEST(a_paused_server_costs_one_timeout),
        TEST(freeing_answers_what_is_pending),
        TEST(above_the_limit_operations_fail),
        TEST(what_a_silent_server_may_cost_is_bounded),
        TEST(logs_in_and_selects),
        TEST(a_wrong_login_is_tried_again_slowly),
        TEST(a_server_without_memory_refuses),
        TEST(a_user_without_permission_is_refused),
        TEST(a_replica_is_left_for_the_primary),
        TEST(a_name_is_looked_up_each_time),
        TEST(store_time_is_the_servers),
        TEST(texts_of_any_bytes_and_size_come_back),
        TEST(bad_ids_and_sizes_are_refused),
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
