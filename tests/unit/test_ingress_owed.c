/* Ends told, and streams opened, while the store was away are in it once it is back. */
#include "owed.h"
#include "support_redis.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BOT BYTES_LIT("helpdesk")
#define PATIENCE_MS 60000
#define DEADLINE_AT_MS 2000

struct rig {
    struct test_redis *redis;
    struct loop *loop;
    struct store *store;
    struct owed *owed, *opens;
    struct wheel_timer timer;
    bool (*until)(struct rig *rig);
    int64_t give_up_ms;
};

static void look(struct wheel_timer *t, void *arg)
{
    struct rig *rig = arg;
    if (rig->until(rig)) {
        loop_stop(rig->loop);
        return;
    }
    assert_true(loop_now_ms(rig->loop) < rig->give_up_ms);
    loop_timer_set(rig->loop, t, 5);
}

static void run_until(struct rig *rig, bool (*until)(struct rig *rig))
{
    rig->until = until;
    rig->give_up_ms = loop_now_ms(rig->loop) + PATIENCE_MS;
    loop_timer_set(rig->loop, &rig->timer, 0);
    loop_run(rig->loop);
}

static bool is_up(struct rig *rig)
{
    return store_is_up(rig->store);
}

static bool is_down(struct rig *rig)
{
    return !store_is_up(rig->store);
}

static bool is_settled(struct rig *rig)
{
    return owed_count(rig->owed) + owed_count(rig->opens) == 0;
}

static bool was_refused(struct rig *rig)
{
    char *answer = test_redis_ask(rig->redis, "INFO", "errorstats", NULL);
    bool is_refused = strstr(answer, "errorstat_NOPERM") != NULL;
    free(answer);
    return is_refused;
}

static void on_store(bool up, bool is_loss, void *arg)
{
    struct rig *rig = arg;
    (void)is_loss;
    if (up) {
        owed_store_up(rig->owed);
        owed_store_up(rig->opens);
    }
}

/* REASON_NONE: opened. */
static void owe(struct rig *rig, const char *id, enum stream_reason reason)
{
    struct store_stream stream = {.id = bytes_of_str(id),
                                  .bot = BOT,
                                  .start_at_ms = 1000,
                                  .deadline_at_ms = DEADLINE_AT_MS,
                                  .ttl_ms = 600000};
    owed_add(reason == REASON_NONE ? rig->opens : rig->owed, &stream, reason);
}

static void expect(struct rig *rig, const char *id, const char *field, const char *value)
{
    char key[80];
    snprintf(key, sizeof(key), "bb:{%s}:m", id);
    char *answer = test_redis_ask(rig->redis, "HGET", key, field, NULL);
    assert_string_equal(answer, value);
    free(answer);
}

/* The clock is measured anew with every connection. */
static void expect_deadline(struct rig *rig, const char *id)
{
    char key[80];
    int64_t at_ms = 0;
    snprintf(key, sizeof(key), "bb:{%s}:m", id);
    char *answer = test_redis_ask(rig->redis, "HGET", key, "deadline_at", NULL);
    assert_true(bytes_to_i64(bytes_of_str(answer), &at_ms));
    assert_in_range(at_ms, DEADLINE_AT_MS - 100, DEADLINE_AT_MS + 100);
    free(answer);
}

static void written_at_once_while_the_store_is_up(void **state)
{
    struct rig *rig = *state;
    run_until(rig, is_up);
    owe(rig, "now", REASON_LOST);
    run_until(rig, is_settled);
    expect(rig, "now", "state", "final");
    expect(rig, "now", "reason", "lost");
    expect(rig, "now", "bot", "helpdesk");
}

static void written_when_the_store_is_back(void **state)
{
    struct rig *rig = *state;
    run_until(rig, is_up);
    test_redis_kill(rig->redis);
    run_until(rig, is_down);
    for (int i = 0; i < 200; i++) { /* more than go out at once */
        char id[32];
        snprintf(id, sizeof(id), "away-%d", i);
        owe(rig, id, i % 2 ? REASON_DEADLINE : REASON_BUSY);
    }
    assert_int_equal(owed_count(rig->owed), 200);
    test_redis_restart(rig->redis);
    run_until(rig, is_settled);
    expect(rig, "away-0", "reason", "busy");
    expect(rig, "away-0", "by", "ingress");
    expect(rig, "away-199", "reason", "deadline");
    expect_deadline(rig, "away-199");
}

static void an_open_is_written_when_the_store_is_back_and_undoes_no_end(void **state)
{
    struct rig *rig = *state;
    run_until(rig, is_up);
    test_redis_kill(rig->redis);
    run_until(rig, is_down);
    owe(rig, "asked", REASON_NONE);
    owe(rig, "asked-ended", REASON_NONE);
    owe(rig, "asked-ended", REASON_DEADLINE);
    test_redis_restart(rig->redis);
    run_until(rig, is_settled);
    expect(rig, "asked", "state", "open");
    expect_deadline(rig, "asked");
    expect(rig, "asked-ended", "state", "final");
    owe(rig, "asked-ended", REASON_NONE);
    run_until(rig, is_settled);
    expect(rig, "asked-ended", "state", "final");
    expect(rig, "asked-ended", "reason", "deadline");
}

static void a_refused_write_is_tried_again(void **state)
{
    struct rig *rig = *state;
    run_until(rig, is_up);
    test_redis_do(rig->redis, "ACL", "SETUSER", "default", "-evalsha", "-eval", NULL);
    owe(rig, "refused", REASON_BUSY);
    run_until(rig, was_refused);
    assert_int_equal(owed_count(rig->owed), 1);
    test_redis_do(rig->redis, "ACL", "SETUSER", "default", "+evalsha", "+eval", NULL);
    run_until(rig, is_settled);
    expect(rig, "refused", "reason", "busy");
}

static void beyond_the_bound_the_oldest_is_dropped(void **state)
{
    struct rig *rig = *state;
    run_until(rig, is_up);
    test_redis_kill(rig->redis);
    run_until(rig, is_down);
    size_t last = 0;
    for (int i = 0; i < 20000; i++) {
        char id[32];
        snprintf(id, sizeof(id), "many-%d", i);
        owe(rig, id, REASON_LOST);
        assert_true(owed_count(rig->owed) >= last);
        last = owed_count(rig->owed);
    }
    assert_int_equal(last, 16384);
    test_redis_restart(rig->redis);
    run_until(rig, is_settled);
    expect(rig, "many-3615", "state", "");
    expect(rig, "many-3616", "state", "final");
    expect(rig, "many-19999", "state", "final");
}

static int set_up(void **state)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct brg_error error;
    rig->redis = test_redis_start(NULL);
    rig->loop = loop_new();
    struct store_options options = {.url = test_redis_url(rig->redis),
                                    .connect_timeout_ms = 2000,
                                    .command_timeout_ms = 2000,
                                    .max_outstanding = 1000,
                                    .max_outstanding_bytes = 32 << 20};
    rig->store = store_new(rig->loop, &options, &error);
    assert_non_null(rig->store);
    rig->opens = owed_new(rig->loop, rig->store, OWED_OPENS, 16);
    rig->owed = owed_new(rig->loop, rig->store, OWED_CLOSES, 16384);
    store_watch(rig->store, on_store, rig);
    wheel_timer_init(&rig->timer, look, rig);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    store_free(rig->store);
    owed_free(rig->opens);
    owed_free(rig->owed);
    loop_free(rig->loop);
    test_redis_stop(rig->redis);
    free(rig);
    return 0;
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_STORE(written_at_once_while_the_store_is_up),
        WITH_STORE(written_when_the_store_is_back),
        WITH_STORE(an_open_is_written_when_the_store_is_back_and_undoes_no_end),
        WITH_STORE(a_refused_write_is_tried_again),
        WITH_STORE(beyond_the_bound_the_oldest_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
