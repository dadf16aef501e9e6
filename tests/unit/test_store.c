/* Every script and every verdict, against a real redis-server. */
#include "support_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LEASE_MS = 60000, TTL_MS = 7200000, FINAL_TTL_MS = 1800000 };

static struct test_redis *redis;
static struct rig *rig;

static const struct store_stream stream = {.id = {"s-1_A", 5},
                                           .bot = {"bot", 3},
                                           .start_at_ms = 1000,
                                           .deadline_at_ms = 9000,
                                           .ttl_ms = TTL_MS};
/* The same stream as another process sees it, whose clock and bot differ. */
static const struct store_stream other = {.id = {"s-1_A", 5},
                                          .bot = {"bob", 3},
                                          .start_at_ms = 2000,
                                          .deadline_at_ms = 8000,
                                          .ttl_ms = TTL_MS};

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

static long long ask_number(const char *command, const char *key)
{
    char *answer = test_redis_ask(redis, command, key, NULL);
    long long value = strtoll(answer, NULL, 10);
    free(answer);
    return value;
}

static void assert_every_key_has_ttl(void)
{
    char *keys = test_redis_ask(redis, "KEYS", "*", NULL);
    char *rest = keys;
    for (char *key = strsep(&rest, "\n"); key && *key; key = strsep(&rest, "\n"))
        if (ask_number("PTTL", key) <= 0)
            fail_msg("%s has no TTL", key);
    free(keys);
}

static int empty(void **state)
{
    (void)state;
    test_redis_do(redis, "FLUSHALL", NULL);
    return 0;
}

static int check(void **state)
{
    (void)state;
    assert_every_key_has_ttl();
    return 0;
}

static void expect(struct store_reply r, enum store_verdict verdict, enum stream_state state)
{
    assert_int_equal(r.outcome, STORE_DONE);
    assert_int_equal(r.verdict, verdict);
    assert_string_equal(stream_state_name(r.state), stream_state_name(state));
}

static void expect_text(const char *text)
{
    struct store_reply r = rig_read(rig, &stream);
    assert_int_equal(r.outcome, STORE_DONE);
    if (!bytes_eq_str(r.text, text))
        fail_msg("text is '" BYTES_FMT "' and not '%s'", BYTES_ARG(r.text), text);
}

static void set_field(const char *field, const char *value)
{
    test_redis_do(redis, "HSET", "bb:{s-1_A}:m", field, value, NULL);
}

static void let_lease_end(void)
{
    set_field("lease_until", "1");
}

static uint64_t claim(const char *owner)
{
    struct store_reply r = rig_claim(rig, &stream, owner, LEASE_MS);
    expect(r, VERDICT_GRANTED, STREAM_RUN);
    return r.epoch;
}

/* --- reading and opening --- */

static void reads_nothing_of_a_missing_stream(void **state)
{
    (void)state;
    test_redis_do(redis, "SET", "bb:{s-1_A}:t", "left over", "PX", "60000", NULL);
    struct store_reply r = rig_read(rig, &stream);
    expect(r, VERDICT_OK, STREAM_MISSING);
    assert_int_equal(r.text.len, 0);
}

static void open_creates_and_a_repeat_keeps_the_first(void **state)
{
    (void)state;
    test_redis_do(redis, "SET", "bb:{s-1_A}:t", "left over", "PX", "60000", NULL);
    expect(rig_open(rig, &stream, STREAM_OPEN), VERDICT_OK, STREAM_OPEN);
    struct store_reply r = rig_open(rig, &other, STREAM_OPEN);
    expect(r, VERDICT_OK, STREAM_OPEN);
    assert_true(bytes_eq_str(r.bot, "bot"));
    assert_int_equal(r.start_at_ms, 1000);
    assert_int_equal(r.deadline_at_ms, 9000);
    assert_int_equal(r.text.len, 0);
    expect(rig_open(rig, &other, STREAM_UNKNOWN), VERDICT_OK, STREAM_OPEN);
    r = rig_read(rig, &stream);
    assert_true(bytes_eq_str(r.bot, "bot"));
    assert_int_equal(r.start_at_ms, 1000);
    assert_int_equal(r.deadline_at_ms, 9000);
}

static void open_makes_unknown_known(void **state)
{
    (void)state;
    expect(rig_open(rig, &other, STREAM_UNKNOWN), VERDICT_OK, STREAM_UNKNOWN);
    expect(rig_open(rig, &stream, STREAM_UNKNOWN), VERDICT_OK, STREAM_UNKNOWN);
    assert_int_equal(rig_read(rig, &stream).start_at_ms, 2000);
    struct store_reply r = rig_open(rig, &stream, STREAM_OPEN);
    expect(r, VERDICT_OK, STREAM_OPEN);
    assert_int_equal(r.start_at_ms, 1000);
    assert_int_equal(r.deadline_at_ms, 9000);
    assert_true(bytes_eq_str(r.bot, "bot"));
}

static void open_of_a_running_stream_shows_its_text(void **state)
{
    (void)state;
    expect(rig_put(rig, &stream, claim("a"), "so far", LEASE_MS), VERDICT_OK, STREAM_RUN);
    struct store_reply r = rig_open(rig, &stream, STREAM_OPEN);
    expect(r, VERDICT_OK, STREAM_RUN);
    assert_true(bytes_eq_str(r.text, "so far"));
}

static void a_place_is_shown_until_somebody_has_it(void **state)
{
    (void)state;
    expect(rig_open_queued(rig, &stream, "two before"), VERDICT_OK, STREAM_OPEN);
    expect_text("two before");
    expect(rig_open_queued(rig, &stream, ""), VERDICT_OK, STREAM_OPEN);
    expect_text("");
    rig_open_queued(rig, &stream, "one before");
    uint64_t epoch = claim("a");
    expect(rig_open_queued(rig, &stream, "late"), VERDICT_OK, STREAM_RUN);
    expect_text("one before");
    expect(rig_put(rig, &stream, epoch, "answer", LEASE_MS), VERDICT_OK, STREAM_RUN);
    rig_finish(rig, &stream, epoch, REASON_DONE, "answer.", "", "", LEASE_MS);
    expect(rig_open_queued(rig, &stream, "late"), VERDICT_OK, STREAM_FINAL);
    expect_text("answer.");
}

/* --- claiming --- */

static void claim_makes_it_run(void **state)
{
    (void)state;
    struct store_reply r = rig_claim(rig, &stream, "a", LEASE_MS);
    expect(r, VERDICT_GRANTED, STREAM_RUN);
    assert_int_equal(r.starts, 1);
    assert_int_equal(r.start_at_ms, 1000);
    assert_true(bytes_eq_str(r.bot, "bot"));
    empty(state);
    rig_open(rig, &other, STREAM_UNKNOWN);
    assert_int_equal(rig_claim(rig, &stream, "a", LEASE_MS).start_at_ms, 1000);
    empty(state);
    rig_open(rig, &stream, STREAM_OPEN);
    assert_int_equal(rig_claim(rig, &other, "a", LEASE_MS).start_at_ms, 1000);
}

static void claim_is_held_until_the_lease_ends(void **state)
{
    (void)state;
    uint64_t first = claim("a");
    rig_put(rig, &stream, first, "shown", LEASE_MS);
    struct store_reply r = rig_claim(rig, &stream, "b", LEASE_MS);
    expect(r, VERDICT_HELD, STREAM_RUN);
    assert_in_range(r.held_until_ms - store_now_ms(rig->store), LEASE_MS - 5000,
                    LEASE_MS + 100);
    let_lease_end();
    r = rig_claim(rig, &stream, "b", LEASE_MS);
    expect(r, VERDICT_GRANTED, STREAM_RUN);
    assert_int_equal(r.starts, 2);
    assert_int_equal(r.shown_bytes, strlen("shown"));
    assert_true(bytes_eq_str(r.text, "shown"));
    assert_true(r.epoch > first);
    expect(rig_put(rig, &stream, first, "zombie", LEASE_MS), VERDICT_FENCED, STREAM_RUN);
    expect_text("shown");
}

static void a_repeated_claim_gets_the_same(void **state)
{
    (void)state;
    uint64_t epoch = claim("a");
    struct store_reply r = rig_claim(rig, &stream, "a", LEASE_MS);
    expect(r, VERDICT_GRANTED, STREAM_RUN);
    assert_true(r.epoch == epoch);
    assert_int_equal(r.starts, 1);
    let_lease_end();
    r = rig_claim(rig, &stream, "a", LEASE_MS);
    assert_true(r.epoch == epoch);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_RUN);
}

static void release_lets_another_go_on_at_once(void **state)
{
    (void)state;
    uint64_t first = claim("a");
    expect(rig_release(rig, &stream, first), VERDICT_OK, STREAM_RUN);
    expect(rig_release(rig, &stream, first), VERDICT_OK, STREAM_RUN);
    struct store_reply r = rig_claim(rig, &stream, "b", LEASE_MS);
    expect(r, VERDICT_GRANTED, STREAM_RUN);
    assert_int_equal(r.starts, 1);
    expect(rig_release(rig, &stream, first), VERDICT_FENCED, STREAM_RUN);
    expect(rig_claim(rig, &stream, "c", LEASE_MS), VERDICT_HELD, STREAM_RUN);
}

static void epoch_is_the_clock_or_one_more(void **state)
{
    (void)state;
    int64_t before_us = store_now_ms(rig->store) * 1000;
    assert_in_range((int64_t)claim("a"), before_us - 1000000, before_us + 5000000);
    set_field("epoch", "8000000000000001"); /* the clock was set back */
    let_lease_end();
    assert_true(claim("b") == 8000000000000002);
    char *stored = test_redis_ask(redis, "HGET", "bb:{s-1_A}:m", "epoch", NULL);
    assert_string_equal(stored, "8000000000000002");
    free(stored);
}

static void an_old_epoch_loses_after_the_store_lost_its_data(void **state)
{
    uint64_t zombie = claim("a");
    rig_put(rig, &stream, zombie, "old", LEASE_MS);
    empty(state);
    uint64_t epoch = claim("b");
    assert_true(epoch > zombie);
    expect(rig_put(rig, &stream, epoch, "new", LEASE_MS), VERDICT_OK, STREAM_RUN);
    expect(rig_put(rig, &stream, zombie, "zombie", LEASE_MS), VERDICT_FENCED, STREAM_RUN);
    expect(rig_note(rig, &stream, zombie, "f", "v"), VERDICT_FENCED, STREAM_RUN);
    expect(rig_finish(rig, &stream, zombie, REASON_DONE, "zombie", "", "", LEASE_MS),
           VERDICT_FENCED, STREAM_RUN);
    expect(rig_settle(rig, &stream, zombie, "dlq"), VERDICT_FENCED, STREAM_RUN);
    expect(rig_release(rig, &stream, zombie), VERDICT_FENCED, STREAM_RUN);
    expect_text("new");
    expect(rig_claim(rig, &stream, "c", LEASE_MS), VERDICT_HELD, STREAM_RUN);
}

/* --- writing --- */

static void put_replaces_the_text_and_renews(void **state)
{
    (void)state;
    uint64_t epoch = claim("a");
    expect(rig_put(rig, &stream, epoch, "one", LEASE_MS), VERDICT_OK, STREAM_RUN);
    let_lease_end();
    expect(rig_put(rig, &stream, epoch, NULL, LEASE_MS), VERDICT_OK, STREAM_RUN);
    expect_text("one");
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_RUN);
    expect(rig_put(rig, &stream, epoch, "", LEASE_MS), VERDICT_OK, STREAM_RUN);
    expect_text("");
}

static void a_write_makes_a_lost_record_again(void **state)
{
    uint64_t epoch = claim("a");
    enum stream_state found[] = {STREAM_MISSING, STREAM_UNKNOWN, STREAM_OPEN};
    for (size_t i = 0; i < 3; i++) {
        empty(state);
        if (found[i] != STREAM_MISSING)
            rig_open(rig, &stream, found[i]);
        expect(rig_put(rig, &stream, epoch, "again", LEASE_MS), VERDICT_OK, STREAM_RUN);
        expect_text("again");
        assert_true(bytes_eq_str(rig_read(rig, &stream).bot, "bot"));
        expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_RUN);
        expect(rig_put(rig, &stream, epoch - 1, "zombie", LEASE_MS), VERDICT_FENCED,
               STREAM_RUN);
    }
    empty(state);
    expect(rig_finish(rig, &stream, epoch, REASON_DONE, "end", "x", "dlq", LEASE_MS),
           VERDICT_OK, STREAM_FINAL);
    expect_text("end");
    empty(state);
    expect(rig_note(rig, &stream, epoch, "f", "v"), VERDICT_OK, STREAM_RUN);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_RUN);
}

/* Two that both believe to be the owner do not take turns: their texts would alternate. */
static void the_first_to_write_after_a_loss_is_the_owner(void **state)
{
    enum stream_state found[] = {STREAM_MISSING, STREAM_UNKNOWN, STREAM_OPEN};
    uint64_t zombie = claim("a");
    let_lease_end();
    uint64_t newer = claim("b");
    for (size_t i = 0; i < 3; i++) {
        empty(state);
        if (found[i] != STREAM_MISSING)
            rig_open(rig, &stream, found[i]);
        expect(rig_put(rig, &stream, zombie, "long text", LEASE_MS), VERDICT_OK, STREAM_RUN);
        expect(rig_put(rig, &stream, newer, "short", LEASE_MS), VERDICT_FENCED, STREAM_RUN);
        expect(rig_note(rig, &stream, newer, "f", "v"), VERDICT_FENCED, STREAM_RUN);
        expect(rig_put(rig, &stream, zombie, "longer text", LEASE_MS), VERDICT_OK, STREAM_RUN);
        expect_text("longer text");
    }
    let_lease_end();
    uint64_t heir = claim("c");
    assert_true(heir > newer);
    expect(rig_put(rig, &stream, zombie, "zombie", LEASE_MS), VERDICT_FENCED, STREAM_RUN);
    expect(rig_finish(rig, &stream, heir, REASON_DONE, "end", "", "", LEASE_MS), VERDICT_OK,
           STREAM_FINAL);
    expect_text("end");
}

/* Else a worker that goes would fence the one that writes a lost end again. */
static void who_only_leaves_does_not_make_a_lost_record_again(void **state)
{
    uint64_t drained = claim("a");
    let_lease_end();
    uint64_t epoch = claim("b");
    empty(state);
    expect(rig_release(rig, &stream, drained), VERDICT_OK, STREAM_MISSING);
    expect(rig_settle(rig, &stream, drained, "dlq"), VERDICT_OK, STREAM_MISSING);
    rig_open(rig, &stream, STREAM_OPEN);
    expect(rig_release(rig, &stream, drained), VERDICT_OK, STREAM_OPEN);
    expect(rig_settle(rig, &stream, drained, "dlq"), VERDICT_OK, STREAM_OPEN);
    expect(rig_finish(rig, &stream, epoch, REASON_DONE, "end", "", "", LEASE_MS), VERDICT_OK,
           STREAM_FINAL);
}

static void a_claim_lost_by_a_failover_is_made_good_by_its_write(void **state)
{
    (void)state;
    uint64_t older = claim("a");
    expect(rig_put(rig, &stream, older + 5, "newer", LEASE_MS), VERDICT_OK, STREAM_RUN);
    expect(rig_put(rig, &stream, older, "older", LEASE_MS), VERDICT_FENCED, STREAM_RUN);
    struct store_reply r = rig_claim(rig, &stream, "a", LEASE_MS);
    expect(r, VERDICT_HELD, STREAM_RUN); /* the older owner is none any more */
    expect_text("newer");
}

static void finish_ends_it_once(void **state)
{
    (void)state;
    uint64_t epoch = claim("a");
    expect(rig_finish(rig, &stream, epoch, REASON_DONE, "end", "card", "dlq,event", LEASE_MS),
           VERDICT_OK, STREAM_FINAL);
    struct store_reply r = rig_read(rig, &stream);
    expect(r, VERDICT_OK, STREAM_FINAL);
    assert_int_equal(r.reason, REASON_DONE);
    assert_false(r.by_ingress);
    assert_true(bytes_eq_str(r.text, "end"));
    assert_true(bytes_eq_str(r.extras, "card"));
    assert_true(bytes_eq_str(r.bot, "bot"));
    assert_int_equal(r.start_at_ms, 1000);
    assert_in_range(ask_number("PTTL", "bb:{s-1_A}:t"), 1, FINAL_TTL_MS);
    assert_in_range(ask_number("PTTL", "bb:{s-1_A}:x"), 1, FINAL_TTL_MS);
    assert_in_range(ask_number("PTTL", "bb:{s-1_A}:m"), FINAL_TTL_MS, TTL_MS);
    r = rig_settle(rig, &stream, epoch, "dlq");
    assert_true(bytes_eq_str(r.owed, "event"));
    r = rig_finish(rig, &stream, epoch, REASON_APOLOGY, "twice", "", "dlq,event", LEASE_MS);
    expect(r, VERDICT_OK, STREAM_FINAL);
    assert_true(bytes_eq_str(r.owed, "event"));
    expect(rig_put(rig, &stream, epoch, "late", LEASE_MS), VERDICT_FINAL, STREAM_FINAL);
    expect(rig_finish(rig, &stream, epoch + 1, REASON_DONE, "other", "", "", LEASE_MS),
           VERDICT_FINAL, STREAM_FINAL);
    expect(rig_finish(rig, &stream, epoch - 1, REASON_DONE, "other", "", "", LEASE_MS),
           VERDICT_FENCED, STREAM_FINAL);
    expect(rig_open(rig, &stream, STREAM_OPEN), VERDICT_OK, STREAM_FINAL);
    expect_text("end");
    r = rig_open(rig, &stream, STREAM_OPEN);
    assert_true(bytes_eq_str(r.extras, "card"));
    assert_int_equal(r.reason, REASON_DONE);
}

static void what_is_owed_goes_to_the_next_owner(void **state)
{
    (void)state;
    uint64_t first = claim("a");
    rig_note(rig, &stream, first, "rurl", "intent");
    rig_note(rig, &stream, first, "msg", "42");
    rig_finish(rig, &stream, first, REASON_APOLOGY, "sorry", "", "dlq,event", LEASE_MS);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_FINAL);
    let_lease_end();
    struct store_reply r = rig_claim(rig, &stream, "b", LEASE_MS);
    expect(r, VERDICT_FINAL, STREAM_FINAL);
    assert_int_equal(r.reason, REASON_APOLOGY);
    assert_true(r.epoch > first);
    assert_true(bytes_eq_str(r.owed, "dlq,event"));
    assert_true(bytes_eq_str(r.text, "sorry"));
    assert_non_null(memmem(r.notes.ptr, r.notes.len, "rurl=intent\n", 12));
    assert_non_null(memmem(r.notes.ptr, r.notes.len, "msg=42\n", 7));
    uint64_t second = r.epoch;
    expect(rig_note(rig, &stream, first, "rurl", "done"), VERDICT_FENCED, STREAM_FINAL);
    expect(rig_settle(rig, &stream, first, "dlq"), VERDICT_FENCED, STREAM_FINAL);
    expect(rig_claim(rig, &stream, "c", LEASE_MS), VERDICT_HELD, STREAM_FINAL);
    r = rig_settle(rig, &stream, second, "event");
    expect(r, VERDICT_OK, STREAM_FINAL);
    assert_true(bytes_eq_str(r.owed, "dlq"));
    assert_true(r.held_until_ms > 0);
    r = rig_settle(rig, &stream, second, "dlq");
    assert_int_equal(r.owed.len, 0);
    assert_int_equal(r.held_until_ms, 0);
    expect(rig_settle(rig, &stream, second, "dlq"), VERDICT_OK, STREAM_FINAL);
    r = rig_claim(rig, &stream, "c", LEASE_MS);
    expect(r, VERDICT_FINAL, STREAM_FINAL);
    assert_true(r.epoch == second); /* nothing owed, nothing granted */
    assert_int_equal(r.owed.len, 0);
}

static void what_is_owed_is_done_under_a_lease(void **state)
{
    (void)state;
    uint64_t epoch = claim("a");
    rig_finish(rig, &stream, epoch, REASON_DEADLINE, "end", "", "late,event", LEASE_MS);
    let_lease_end();
    struct store_reply r = rig_put(rig, &stream, epoch, NULL, LEASE_MS);
    expect(r, VERDICT_FINAL, STREAM_FINAL);
    assert_true(r.epoch == epoch);
    assert_true(bytes_eq_str(r.owed, "late,event"));
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_FINAL);
    let_lease_end();
    expect(rig_finish(rig, &stream, epoch, REASON_DEADLINE, "end", "", "", LEASE_MS),
           VERDICT_OK, STREAM_FINAL);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_FINAL);

    /* A claim that a failover lost: what its owner thinks to hold is not the older one's end.
     */
    let_lease_end();
    r = rig_put(rig, &stream, epoch + 1, NULL, LEASE_MS);
    expect(r, VERDICT_FINAL, STREAM_FINAL);
    assert_true(r.epoch == epoch);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_FINAL, STREAM_FINAL);
}

static void shown_is_noted_once_and_settled(void **state)
{
    (void)state;
    expect(rig_shown(rig, &stream), VERDICT_OK, STREAM_MISSING);
    assert_int_equal(ask_number("EXISTS", "bb:{s-1_A}:m"), 0);
    uint64_t epoch = claim("a");
    assert_int_equal(rig_shown(rig, &stream).shown_at_ms, 0);
    rig_finish(rig, &stream, epoch, REASON_DONE, "end", "", "shown", LEASE_MS);
    struct store_reply r = rig_shown(rig, &stream);
    expect(r, VERDICT_OK, STREAM_FINAL);
    assert_true(r.shown_at_ms > 0);
    assert_int_equal(r.owed.len, 0);
    assert_int_equal(r.held_until_ms, 0);
    set_field("shown_at", "77");
    assert_int_equal(rig_shown(rig, &stream).shown_at_ms, 77);
    assert_int_equal(rig_read(rig, &stream).shown_at_ms, 77);
}

/* --- closing --- */

static void close_ends_what_no_worker_has(void **state)
{
    static const enum stream_reason reasons[] = {REASON_BUSY, REASON_DEADLINE, REASON_LOST,
                                                 REASON_SYNC, REASON_STOPPED};
    static const enum stream_state found[] = {STREAM_MISSING, STREAM_UNKNOWN, STREAM_OPEN};
    for (size_t i = 0; i < 15; i++) {
        enum stream_reason reason = reasons[i / 3];
        empty(state);
        if (found[i % 3] != STREAM_MISSING)
            rig_open(rig, &stream, found[i % 3]);
        struct store_reply r = rig_close(rig, &stream, reason);
        if (reason == REASON_LOST && found[i % 3] == STREAM_OPEN) {
            expect(r, VERDICT_HELD, STREAM_OPEN);
            continue;
        }
        expect(r, VERDICT_OK, STREAM_FINAL);
        assert_true(r.by_ingress);
        assert_int_equal(r.reason, reason);
        expect(rig_close(rig, &stream, reason), VERDICT_OK, STREAM_FINAL);
        enum stream_reason another = reason == REASON_BUSY ? REASON_LOST : REASON_BUSY;
        r = rig_close(rig, &stream, another);
        expect(r, VERDICT_CLOSED, STREAM_FINAL);
        assert_int_equal(r.reason, reason);
        r = rig_read(rig, &stream);
        assert_true(r.by_ingress);
        assert_int_equal(r.reason, reason);
    }
}

static void close_leaves_a_worker_what_was_durable(void **state)
{
    (void)state;
    uint64_t epoch = claim("a");
    rig_put(rig, &stream, epoch, "so far", LEASE_MS);
    for (int is_over = 0; is_over < 2; is_over++) {
        struct store_reply r = rig_close(rig, &stream, REASON_BUSY);
        expect(r, VERDICT_HELD, STREAM_RUN);
        assert_true(bytes_eq_str(r.text, "so far"));
        expect(rig_close(rig, &stream, REASON_LOST), VERDICT_HELD, STREAM_RUN);
        let_lease_end();
    }
    rig_finish(rig, &stream, epoch, REASON_DONE, "end", "card", "", LEASE_MS);
    struct store_reply r = rig_close(rig, &stream, REASON_DEADLINE);
    expect(r, VERDICT_FINAL, STREAM_FINAL);
    assert_true(bytes_eq_str(r.text, "end"));
    assert_true(bytes_eq_str(r.extras, "card"));
    assert_int_equal(r.reason, REASON_DONE);
}

static void close_at_the_deadline_overrides_a_worker(void **state)
{
    static const enum stream_reason reasons[] = {REASON_DEADLINE, REASON_SYNC, REASON_STOPPED};
    for (size_t i = 0; i < 3; i++) {
        empty(state);
        uint64_t epoch = claim("a");
        rig_put(rig, &stream, epoch, "so far", LEASE_MS);
        struct store_reply r = rig_close(rig, &stream, reasons[i]);
        expect(r, VERDICT_OK, STREAM_FINAL);
        assert_true(bytes_eq_str(r.text, "so far"));
        assert_in_range(ask_number("PTTL", "bb:{s-1_A}:t"), 1, FINAL_TTL_MS);
        r = rig_put(rig, &stream, epoch, "late", LEASE_MS);
        expect(r, VERDICT_CLOSED, STREAM_FINAL);
        assert_int_equal(r.reason, reasons[i]);
        expect(rig_finish(rig, &stream, epoch, REASON_DONE, "late", "x", "dlq", LEASE_MS),
               VERDICT_CLOSED, STREAM_FINAL);
        expect_text("so far");
        assert_int_equal(ask_number("EXISTS", "bb:{s-1_A}:x"), 0);
    }
}

static void a_closed_stream_can_be_owned_for_what_follows(void **state)
{
    (void)state;
    uint64_t first = claim("a");
    rig_close(rig, &stream, REASON_DEADLINE);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_FINAL);
    let_lease_end();
    expect(rig_put(rig, &stream, first, NULL, LEASE_MS), VERDICT_CLOSED, STREAM_FINAL);
    expect(rig_claim(rig, &stream, "b", LEASE_MS), VERDICT_HELD, STREAM_FINAL);
    expect(rig_release(rig, &stream, first), VERDICT_OK, STREAM_FINAL);
    struct store_reply r = rig_claim(rig, &stream, "b", LEASE_MS);
    expect(r, VERDICT_CLOSED, STREAM_FINAL);
    assert_int_equal(r.reason, REASON_DEADLINE);
    assert_true(r.epoch > first);
    expect(rig_put(rig, &stream, first, NULL, LEASE_MS), VERDICT_FENCED, STREAM_FINAL);
    expect(rig_note(rig, &stream, first, "rurl", "intent"), VERDICT_FENCED, STREAM_FINAL);
    expect(rig_note(rig, &stream, r.epoch, "rurl", "intent"), VERDICT_OK, STREAM_FINAL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, empty, check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_nothing_of_a_missing_stream),
        TEST(open_creates_and_a_repeat_keeps_the_first),
        TEST(open_makes_unknown_known),
        TEST(open_of_a_running_stream_shows_its_text),
        TEST(a_place_is_shown_until_somebody_has_it),
        TEST(claim_makes_it_run),
        TEST(claim_is_held_until_the_lease_ends),
        TEST(a_repeated_claim_gets_the_same),
        TEST(release_lets_another_go_on_at_once),
        TEST(epoch_is_the_clock_or_one_more),
        TEST(an_old_epoch_loses_after_the_store_lost_its_data),
        TEST(put_replaces_the_text_and_renews),
        TEST(a_write_makes_a_lost_record_again),
        TEST(the_first_to_write_after_a_loss_is_the_owner),
        TEST(who_only_leaves_does_not_make_a_lost_record_again),
        TEST(a_claim_lost_by_a_failover_is_made_good_by_its_write),
        TEST(finish_ends_it_once),
        TEST(what_is_owed_goes_to_the_next_owner),
        TEST(what_is_owed_is_done_under_a_lease),
        TEST(shown_is_noted_once_and_settled),
        TEST(close_ends_what_no_worker_has),
        TEST(close_leaves_a_worker_what_was_durable),
        TEST(close_at_the_deadline_overrides_a_worker),
        TEST(a_closed_stream_can_be_owned_for_what_follows),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
