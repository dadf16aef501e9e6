/* The emulation that the explorer runs the scripts on, against redis-server: random runs of the
 * same scripts on both, comparing every answer, and the keys after it. KEYSPACE_SEED repeats.
 */
#include "keyspace.h"

#include "base/random.h"
#include "store/scripts.h"
#include "support_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RUNS = 4000, SCRIPTS = 9, TEXT_BYTES = 8192 };
#define TIME_CALL "redis.call('TIME')"

static const struct store_script *const scripts[SCRIPTS] = {
    &store_script_open, &store_script_close,  &store_script_shown,
    &store_script_put,  &store_script_claim,  &store_script_finish,
    &store_script_note, &store_script_settle, &store_script_release,
};

static struct test_redis *redis;
static struct host *host;
static struct keyspace keys;
static int handle[SCRIPTS];

static const char *pick(const char *const *from, size_t count)
{
    return from[random_below(count)];
}
#define PICK(...)                            \
    pick((const char *const[]){__VA_ARGS__}, \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* --- both sides --- */

/* The server's clock cannot be set: in the text that it gets TIME is a constant. */
static void with_time(const char *body, int64_t now_us, char *out)
{
    const char *at = strstr(body, TIME_CALL);
    assert_non_null(at);
    int len =
        snprintf(out, TEXT_BYTES, "%.*s{'%d','%d'}%s", (int)(at - body), body,
                 (int)(now_us / 1000000), (int)(now_us % 1000000), at + strlen(TIME_CALL));
    assert_in_range(len, 1, TEXT_BYTES - 1);
}

static char *ask_server(const char *body, const char *const *args, unsigned count)
{
    const char *a[ARGS_MAX + 1] = {0};
    for (unsigned i = 0; i < count; i++)
        a[i] = args[i];
    return test_redis_ask(redis, "EVAL", body, "3", "m", "t", "x", a[0], a[1], a[2], a[3], a[4],
                          a[5], a[6], a[7], a[8], a[9], a[10], a[11], NULL);
}

static void join(const struct lua_answer *answer, char *out)
{
    size_t at = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < answer->count; i++)
        at += (size_t)snprintf(out + at, TEXT_BYTES - at, "%s\n", answer->element[i]);
}

static void expect_same(const char *what, const char *ours, char *theirs)
{
    if (strcmp(ours, theirs) != 0)
        fail_msg("%s: the emulation says\n%sthe server says\n%s", what, ours, theirs);
    free(theirs);
}

static void expect_ttl(const char *key, bool has_ttl)
{
    char *theirs = test_redis_ask(redis, "PTTL", key, NULL);
    if ((strtoll(theirs, NULL, 10) > 0) != has_ttl)
        fail_msg("PTTL of %s is %s", key, theirs);
    free(theirs);
}

static void expect_same_keys(void)
{
    char ours[TEXT_BYTES];
    size_t at = 0;
    ours[0] = '\0';
    for (unsigned i = 0; i < keys.fields; i++)
        at += (size_t)snprintf(ours + at, sizeof(ours) - at, "%s\n%s\n", keys.field[i].name,
                               keys.field[i].value);
    expect_same("hash", ours, test_redis_ask(redis, "HGETALL", "m", NULL));
    expect_same("text", keys.text.value, test_redis_ask(redis, "GET", "t", NULL));
    expect_same("extras", keys.extras.value, test_redis_ask(redis, "GET", "x", NULL));
    expect_ttl("m", keys.fields > 0 && keys.has_ttl);
    expect_ttl("t", keys.text.is_there && keys.text.has_ttl);
    expect_ttl("x", keys.extras.is_there && keys.extras.has_ttl);
}

/* --- one run --- */

struct arguments {
    const char *arg[ARGS_MAX];
    unsigned count;
    char epoch[24];
};

static void add(struct arguments *a, const char *text)
{
    a->arg[a->count++] = text;
}

static void add_epoch(struct arguments *a, int64_t now_us)
{
    int64_t epoch = now_us - (int64_t)random_below(4) * 1000000;
    snprintf(a->epoch, sizeof(a->epoch), "%lld", (long long)epoch);
    add(a, a->epoch);
}

static void add_own(struct arguments *a, const char *name, int64_t now_us)
{
    if (strcmp(name, "open") == 0) {
        add(a, PICK("open", "unknown"));
    } else if (strcmp(name, "close") == 0) {
        add(a, PICK("busy", "deadline", "lost"));
    } else if (strcmp(name, "claim") == 0) {
        add(a, PICK("o1", "o2", "o3"));
        add(a, PICK("1", "2"));
        add(a, "1500");
    } else {
        add_epoch(a, now_us);
        add(a, PICK("1", "2"));
    }
    if (strcmp(name, "put") == 0) {
        add(a, "1500");
        add(a, PICK("0", "1"));
        add(a, PICK("", "text", "longer text"));
    } else if (strcmp(name, "note") == 0) {
        add(a, PICK("told", "url"));
        add(a, PICK("1", "intent", "done"));
    } else if (strcmp(name, "settle") == 0) {
        add(a, PICK("dlq", "event", "shown"));
    } else if (strcmp(name, "finish") == 0) {
        add(a, PICK("done", "apology"));
        add(a, PICK("end", "another end"));
        add(a, PICK("", "extras"));
        add(a, PICK("", "dlq", "dlq,event", "event,shown"));
        add(a, "1500");
    }
}

static void run_once(int64_t now_us)
{
    struct arguments a = {.count = 0};
    struct lua_answer answer;
    char body[TEXT_BYTES], ours[TEXT_BYTES];
    size_t which = random_below(SCRIPTS);
    const char *name = scripts[which]->name;
    if (strcmp(name, "shown") != 0) {
        add(&a, PICK("bot", "other"));
        add(&a, "1000");
        add(&a, "2000");
        add(&a, PICK("7200000", "60000"));
        add_own(&a, name, now_us);
    }
    host_run(host, handle[which], &keys, now_us, a.arg, a.count, &answer);
    assert_string_equal(answer.error, "");
    join(&answer, ours);
    with_time(scripts[which]->body, now_us, body);
    expect_same(name, ours, ask_server(body, a.arg, a.count));
    expect_same_keys();
}

static void the_emulation_does_as_the_server(void **state)
{
    (void)state;
    const char *given = getenv("KEYSPACE_SEED");
    random_seed(0);
    unsigned long seed =
        given ? strtoul(given, NULL, 10) : (unsigned long)random_below(1000000) + 1;
    print_message("KEYSPACE_SEED=%lu\n", seed);
    random_seed(seed);
    int64_t now_us = 1700000000000000;
    for (unsigned i = 0; i < RUNS; i++) {
        now_us += (int64_t)random_below(1000000);
        if (random_below(12) == 0) {
            test_redis_do(redis, "FLUSHALL", NULL);
            keys = (struct keyspace){0};
        }
        run_once(now_us);
    }
}

static int start(void **state)
{
    (void)state;
    redis = test_redis_start(NULL);
    host = host_new();
    for (unsigned i = 0; i < SCRIPTS; i++) {
        handle[i] = host_load(host, scripts[i]->name, scripts[i]->body);
        assert_int_not_equal(handle[i], 0);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_free(host);
    test_redis_stop(redis);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_emulation_does_as_the_server)};
    return cmocka_run_group_tests(tests, start, stop);
}
