/* A server that is slow, falls silent, or gets late what was given up: against a real one that
 * is frozen and thawed. */
#include "support_store.h"

#include "base/clock.h"
#include "store/store_impl.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LEASE_MS = 60000, SLACK_MS = 1000 };

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

struct tally {
    unsigned calls, done, unavailable;
};

static void count(const struct store_reply *reply, void *arg)
{
    struct tally *t = arg;
    t->calls++;
    t->done += reply->outcome == STORE_DONE;
    t->unavailable += reply->outcome == STORE_UNAVAILABLE;
}

struct crowd {
    unsigned want;
    struct tally t;
    bool is_frozen;
    unsigned calls_at_thaw;
    struct wheel_timer pulse;
};

enum { CROWD = 10000, FROZEN_MS = 200, THAWED_MS = 25 };

/* The server works for a moment, or until it got to answer anything on a busy machine, and
 * stands still for less than the time-out. */
static void on_pulse(struct wheel_timer *t, void *arg)
{
    struct crowd *c = arg;
    if (c->is_frozen) {
        test_redis_thaw(redis);
        c->calls_at_thaw = c->t.calls;
        c->is_frozen = false;
    } else if (c->t.calls > c->calls_at_thaw) {
        test_redis_freeze(redis);
        c->is_frozen = true;
    }
    loop_timer_set(rig->loop, t, c->is_frozen ? FROZEN_MS : THAWED_MS);
}

static bool are_all_answered(void *arg)
{
    const struct crowd *c = arg;
    return c->t.calls >= c->want;
}

static void claim_at_once(struct crowd *c)
{
    for (unsigned i = 0; i < c->want; i++) {
        char id[16];
        snprintf(id, sizeof(id), "c%u", i);
        struct store_stream one = stream;
        one.id = bytes_of_str(id);
        store_claim(rig->store, &one, B("owner"), LEASE_MS, count, &c->t);
    }
}

static void a_slow_server_is_waited_for_while_it_answers(void **state)
{
    (void)state;
    struct heard h = {0};
    struct crowd c = {.want = CROWD};
    store_watch(rig->store, hear, &h);
    wheel_timer_init(&c.pulse, on_pulse, &c);
    claim_at_once(&c);
    int64_t begun_ms = clock_mono_ms();
    on_pulse(&c.pulse, &c);
    bool is_done = rig_run(rig, are_all_answered, &c, 60000);
    loop_timer_cancel(rig->loop, &c.pulse);
    test_redis_thaw(redis);
    assert_true(is_done);
    assert_int_equal(c.t.done, CROWD);
    assert_int_equal(h.downs, 0);
    assert_true(clock_mono_ms() - begun_ms > RIG_COMMAND_MS * 2); /* else it was not slow */
}

static bool is_a_tenth_answered(void *arg)
{
    const struct crowd *c = arg;
    return c->t.calls >= c->want / 10;
}

/* In the middle of its answers it says no more: known as late as after any other last word. */
static void a_server_that_falls_silent_is_noticed_in_time(void **state)
{
    (void)state;
    struct crowd c = {.want = CROWD};
    claim_at_once(&c);
    assert_true(rig_run(rig, is_a_tenth_answered, &c, 10000));
    test_redis_freeze(redis);
    int64_t frozen_ms = clock_mono_ms();
    assert_true(c.t.calls < CROWD);
    assert_true(rig_run_until_up(rig, false));
    assert_in_range(clock_mono_ms() - frozen_ms, 0, RIG_COMMAND_MS + SLACK_MS);
    test_redis_thaw(redis);
}

/* What was not sent when its writer gave up never is. */
static void what_was_given_up_does_not_arrive(void **state)
{
    (void)state;
    size_t size = 1 << 20; /* both sockets hold it, the server's alone does not */
    struct tally t = {0};
    struct heard h = {0};
    char *late = brg_calloc(1, size);
    memset(late, 'x', size);
    uint64_t epoch = rig_claim(rig, &stream, "owner", LEASE_MS).epoch;
    store_watch(rig->store, hear, &h);
    test_redis_freeze(redis);
    store_put(rig->store, &stream, epoch, bytes_of(late, size), LEASE_MS, count, &t);
    assert_true(rig_run_until_up(rig, false));
    free(late);
    test_redis_thaw(redis);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    rig_run(rig, never, NULL, RIG_COMMAND_MS);
    assert_int_equal(t.unavailable, 1);
    assert_int_equal(rig_read(rig, &stream).text.len, 0);
}

enum { STALE = 400, WORDS = 15 };

/* The owner's call with a text or a note, through its first connection. */
static void append_stale(struct buf *out, const struct store_script *script, const char *epoch,
                         const char *a, const char *b, const char *c)
{
    const char *const words[WORDS] = {"EVALSHA",   script->sha, "3", "bb:{s1}:m", "bb:{s1}:t",
                                      "bb:{s1}:x", "bot",       "1", "2",         "60000",
                                      epoch,       "1",         a,   b,           c};
    resp_words(out, c ? WORDS : WORDS - 1);
    for (unsigned i = 0; i < WORDS && words[i]; i++)
        resp_word(out, bytes_of_str(words[i]));
}

/* More than a server reads at once. */
static int send_stale(const char *epoch)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(test_redis_port(redis)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct buf out;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    buf_init(&out, 1 << 20);
    for (unsigned i = 0; i < STALE; i++) {
        append_stale(&out, &store_script_put, epoch, "60000", "1", "stale");
        append_stale(&out, &store_script_note, epoch, "said", "stale", NULL);
    }
    assert_int_equal(write(fd, out.ptr, out.len), out.len);
    buf_free(&out);
    return fd;
}

static bool is_greeting(void *arg)
{
    const struct store *s = arg;
    return s->state == CONN_GREETING;
}

static void expect_newest(void)
{
    assert_true(bytes_eq_str(rig_read(rig, &stream).text, "newest"));
    char *said = test_redis_ask(redis, "HGET", "bb:{s1}:m", "n:said", NULL);
    assert_string_equal(said, "newest");
    free(said);
}

/* What a connection was given up with may be read after the next one's calls, where nobody
 * tells the server that it is gone (a proxy that goes on, a reset that is lost on its way). The
 * older text is not written over the newer one, nor a note over its repeat. */
static void what_a_frozen_server_reads_too_late_is_fenced(void **state)
{
    (void)state;
    struct tally t = {0};
    struct heard h = {0};
    char epoch_text[24];
    uint64_t epoch = rig_claim(rig, &stream, "owner", LEASE_MS).epoch;
    snprintf(epoch_text, sizeof(epoch_text), "%" PRIu64, epoch);
    store_watch(rig->store, hear, &h);
    test_redis_freeze(redis);
    store_put(rig->store, &stream, epoch, B("stale"), LEASE_MS, count, &t);
    int fd = send_stale(epoch_text);
    assert_true(rig_run_until_up(rig, false));
    assert_true(rig_run(rig, is_greeting, rig->store, 10000));
    test_redis_thaw(redis);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    assert_int_equal(rig_put(rig, &stream, epoch, "newest", LEASE_MS).verdict, VERDICT_OK);
    assert_int_equal(rig_note(rig, &stream, epoch, "said", "newest").verdict, VERDICT_OK);
    expect_newest();
    rig_run(rig, never, NULL, 200);
    expect_newest();
    (void)close(fd);
    assert_int_equal(t.unavailable, 1);
    assert_int_equal(rig_claim(rig, &stream, "owner", LEASE_MS).epoch, epoch);
    assert_int_equal(
        rig_finish(rig, &stream, epoch, REASON_DONE, "end", "", "event", LEASE_MS).verdict,
        VERDICT_OK);
}

/* A new owner's connections are numbered from the beginning again. */
static void an_earlier_owners_connections_do_not_count(void **state)
{
    (void)state;
    struct heard h = {0};
    uint64_t epoch = rig_claim(rig, &stream, "owner", LEASE_MS).epoch;
    store_watch(rig->store, hear, &h);
    test_redis_do(redis, "CLIENT", "KILL", "TYPE", "normal", NULL);
    assert_true(rig_run(rig, is_up_again, &h, 10000));
    rig_put(rig, &stream, epoch, "text", LEASE_MS);
    rig_release(rig, &stream, epoch);
    struct rig *other = rig_new(test_redis_url(redis));
    struct store_reply r = rig_claim(other, &stream, "another", LEASE_MS);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    epoch = r.epoch;
    assert_int_equal(rig_put(other, &stream, epoch, "theirs", LEASE_MS).verdict, VERDICT_OK);
    assert_true(bytes_eq_str(rig_read(other, &stream).text, "theirs"));
    rig_free(other);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_server_is_waited_for_while_it_answers),
        TEST(a_server_that_falls_silent_is_noticed_in_time),
        TEST(what_was_given_up_does_not_arrive),
        TEST(what_a_frozen_server_reads_too_late_is_fenced),
        TEST(an_earlier_owners_connections_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
