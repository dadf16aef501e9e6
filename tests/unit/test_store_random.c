/* Random operations of two workers and an ingress on one stream, with leases that end and a
 * store that loses its data, against a model of the record in C. The seed is printed;
 * STORE_SEED and STORE_STEPS repeat or lengthen a run. */
#include "support_store.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 30000, LEASE_MS = 3600000, TEXT_BYTES = 32 };

static struct test_redis *redis;
static struct rig *rig;
static const struct store_stream stream = {.id = {"s1", 2},
                                           .bot = {"bot", 3},
                                           .start_at_ms = 1,
                                           .deadline_at_ms = 2,
                                           .ttl_ms = 7200000};

/* What is owed, as bits. */
enum { OWED_DLQ = 1, OWED_EVENT = 2, OWED_SHOWN = 4 };
static const char *const owed_lists[] = {
    "", "dlq", "event", "dlq,event", "shown", "dlq,shown", "event,shown", "dlq,event,shown"};

struct model {
    enum stream_state state;
    enum stream_reason reason;
    bool by_ingress;
    bool is_leased;
    bool is_shown;
    bool has_extras;
    uint64_t epoch;
    uint64_t was;   /* 0, or the epoch under which its writer knows it */
    unsigned owner; /* 0: none */
    unsigned starts;
    bool has_starts; /* a worker had it, even if that start was taken back */
    unsigned owed;
    char text[TEXT_BYTES];
};

struct worker {
    unsigned owner;
    uint64_t epoch;
};

static struct model m;
static struct worker workers[2];
static unsigned owners;
static char fresh_text[TEXT_BYTES];

static void expect(struct store_reply r, enum store_verdict verdict)
{
    assert_int_equal(r.outcome, STORE_DONE);
    assert_int_equal(r.verdict, verdict);
    assert_string_equal(stream_state_name(r.state), stream_state_name(m.state));
    assert_int_equal(r.reason, m.reason);
    assert_int_equal(r.by_ingress, m.by_ingress);
}

static void new_text(void)
{
    snprintf(fresh_text, sizeof(fresh_text), "text %u", (unsigned)random_below(1000000));
}

static void set_text(const char *text)
{
    snprintf(m.text, sizeof(m.text), "%s", text);
}

static void unlease(void)
{
    m.is_leased = false;
    m.owner = 0;
}

/* The epoch of a record as a writer under `epoch` finds it. */
static uint64_t prior_to(uint64_t epoch)
{
    return m.was == epoch ? epoch : m.epoch;
}

/* As put, note and finish begin. True when the writer is fenced. */
static bool own(uint64_t epoch)
{
    uint64_t prior = prior_to(epoch);
    if (prior > epoch)
        return true;
    if (m.state == STREAM_MISSING)
        m = (struct model){0};
    if (m.state != STREAM_FINAL)
        m.state = STREAM_RUN;
    if (!m.has_starts)
        m.starts = 1;
    m.has_starts = true;
    if (prior == 0) {
        m.epoch = 0; /* the server's clock: see take_epoch */
        m.was = epoch;
    } else if (prior < epoch) {
        m.epoch = epoch;
        m.was = 0;
        m.owner = 0;
    }
    return false;
}

/* The first write after a loss has an epoch above all that were granted before. */
static void take_epoch(struct store_reply r)
{
    if (m.epoch != 0)
        return;
    assert_true(r.epoch >= workers[0].epoch && r.epoch >= workers[1].epoch);
    m.epoch = r.epoch;
}

static void do_open(void)
{
    bool is_known = random_below(2) > 0;
    if (m.state == STREAM_MISSING || (m.state == STREAM_UNKNOWN && is_known))
        m.state = is_known ? STREAM_OPEN : STREAM_UNKNOWN;
    expect(rig_open(rig, &stream, is_known ? STREAM_OPEN : STREAM_UNKNOWN), VERDICT_OK);
}

static void do_close(void)
{
    enum stream_reason reason = REASON_BUSY + (unsigned)random_below(5);
    bool is_mild = reason == REASON_BUSY || reason == REASON_LOST;
    enum store_verdict verdict = VERDICT_OK;
    if (m.state == STREAM_FINAL && !m.by_ingress) {
        verdict = VERDICT_FINAL;
    } else if (m.state == STREAM_FINAL) {
        verdict = m.reason == reason ? VERDICT_OK : VERDICT_CLOSED;
    } else if ((m.state == STREAM_RUN && is_mild) ||
               (m.state == STREAM_OPEN && reason == REASON_LOST)) {
        verdict = VERDICT_HELD;
    } else {
        m.state = STREAM_FINAL;
        m.by_ingress = true;
        m.reason = reason;
    }
    expect(rig_close(rig, &stream, reason), verdict);
}

static void do_shown(void)
{
    if (m.state == STREAM_FINAL && !m.is_shown) {
        m.is_shown = true;
        m.owed &= ~(unsigned)OWED_SHOWN;
        if (m.owed == 0)
            unlease();
    }
    expect(rig_shown(rig, &stream), VERDICT_OK);
}

static void do_claim(struct worker *w)
{
    if (random_below(3) > 0)
        w->owner = ++owners;
    char owner[16];
    snprintf(owner, sizeof(owner), "o%u", w->owner);
    bool is_repeat = m.owner != 0 && m.owner == w->owner;
    bool is_done = m.state == STREAM_FINAL && !m.by_ingress && m.owed == 0;
    struct store_reply r = rig_claim(rig, &stream, owner, LEASE_MS);
    if (is_done) {
        expect(r, VERDICT_FINAL);
        return;
    }
    if (!is_repeat && m.is_leased) {
        expect(r, VERDICT_HELD);
        return;
    }
    enum store_verdict verdict = VERDICT_GRANTED;
    if (m.state == STREAM_FINAL)
        verdict = m.by_ingress ? VERDICT_CLOSED : VERDICT_FINAL;
    else
        m.state = STREAM_RUN;
    assert_true(is_repeat ? r.epoch == m.epoch : r.epoch > m.epoch);
    m.epoch = w->epoch = r.epoch;
    if (!is_repeat)
        m.was = 0;
    m.owner = w->owner;
    m.starts += !is_repeat;
    m.has_starts = true;
    m.is_leased = true;
    expect(r, verdict);
    assert_int_equal(r.starts, m.starts);
    assert_true(bytes_eq_str(r.text, m.text));
}

static void do_put(struct worker *w)
{
    bool has_text = random_below(3) > 0;
    struct model before = m;
    new_text();
    enum store_verdict verdict = VERDICT_OK;
    if (own(w->epoch)) {
        verdict = VERDICT_FENCED;
    } else if (m.state == STREAM_FINAL && !m.by_ingress) {
        verdict = VERDICT_FINAL;
        m = before;
        m.is_leased = m.is_leased || (prior_to(w->epoch) == w->epoch && m.owed != 0);
    } else {
        m.is_leased = true;
        if (m.state == STREAM_FINAL)
            verdict = VERDICT_CLOSED;
        else if (has_text)
            set_text(fresh_text);
    }
    struct store_reply r =
        rig_put(rig, &stream, w->epoch, has_text ? fresh_text : NULL, LEASE_MS);
    expect(r, verdict);
    take_epoch(r);
}

static void do_finish(struct worker *w)
{
    unsigned owed = (unsigned)random_below(8);
    bool has_extras = random_below(2) > 0;
    uint64_t prior = prior_to(w->epoch);
    struct model before = m;
    new_text();
    enum store_verdict verdict = VERDICT_OK;
    if (own(w->epoch)) {
        verdict = VERDICT_FENCED;
    } else if (m.state == STREAM_FINAL && m.by_ingress) {
        verdict = VERDICT_CLOSED;
        m.is_leased = true;
    } else if (m.state == STREAM_FINAL) {
        verdict = prior == w->epoch ? VERDICT_OK : VERDICT_FINAL;
        m = before;
        m.is_leased = m.is_leased || (prior == w->epoch && m.owed != 0);
    } else {
        m.state = STREAM_FINAL;
        m.reason = REASON_DONE;
        m.owed = owed;
        m.has_extras = has_extras;
        set_text(fresh_text);
        m.is_leased = owed != 0;
        if (owed == 0)
            unlease();
    }
    struct store_reply r = rig_finish(rig, &stream, w->epoch, REASON_DONE, fresh_text,
                                      has_extras ? "x" : "", owed_lists[owed], LEASE_MS);
    expect(r, verdict);
    take_epoch(r);
}

static void do_settle(struct worker *w)
{
    unsigned item = random_below(2) > 0 ? OWED_DLQ : OWED_EVENT;
    enum store_verdict verdict = VERDICT_FENCED;
    if (m.epoch == 0) {
        verdict = VERDICT_OK; /* no claim: nothing is owed */
    } else if (!own(w->epoch)) {
        verdict = VERDICT_OK;
        m.owed &= ~item;
        if (m.state == STREAM_FINAL && m.owed == 0)
            unlease();
    }
    struct store_reply r = rig_settle(rig, &stream, w->epoch, owed_lists[item]);
    expect(r, verdict);
    if (!bytes_eq_str(r.owed, owed_lists[m.owed]))
        fail_msg("owed '" BYTES_FMT "' and not '%s'", BYTES_ARG(r.owed), owed_lists[m.owed]);
}

static void do_note(struct worker *w)
{
    uint64_t prior = prior_to(w->epoch);
    bool is_fenced = own(w->epoch);
    if (!is_fenced && prior < w->epoch)
        m.is_leased = true;
    struct store_reply r = rig_note(rig, &stream, w->epoch, "f", "v");
    expect(r, is_fenced ? VERDICT_FENCED : VERDICT_OK);
    take_epoch(r);
}

static void do_release(struct worker *w)
{
    bool is_unclaimed = m.epoch == 0;
    bool is_fenced = !is_unclaimed && own(w->epoch);
    bool is_left = !is_unclaimed && !is_fenced;
    if (is_left && m.state == STREAM_RUN && m.owner != 0)
        m.starts--;
    if (is_left)
        unlease();
    expect(rig_release(rig, &stream, w->epoch), is_fenced ? VERDICT_FENCED : VERDICT_OK);
}

static void do_read(void)
{
    struct store_reply r = rig_read(rig, &stream);
    expect(r, VERDICT_OK);
    assert_true(bytes_eq_str(r.text, m.text));
    assert_int_equal(r.extras.len, m.has_extras ? 1 : 0);
    assert_int_equal(r.shown_at_ms > 0, m.is_shown);
}

static void lose_data(void)
{
    test_redis_do(redis, "FLUSHALL", NULL);
    m = (struct model){0};
}

static void end_lease(void)
{
    if (m.state == STREAM_MISSING)
        return;
    test_redis_do(redis, "HSET", "bb:{s1}:m", "lease_until", "1", NULL);
    m.is_leased = false;
}

static void check_ttls(void)
{
    static const char *const keys[] = {"bb:{s1}:m", "bb:{s1}:t", "bb:{s1}:x"};
    for (size_t i = 0; i < 3; i++) {
        char *ttl = test_redis_ask(redis, "PTTL", keys[i], NULL);
        assert_string_not_equal(ttl, "-1");
        free(ttl);
    }
}

static void step(void)
{
    struct worker *w = &workers[random_below(2)];
    switch (random_below(24)) {
    case 0:
        /* Final streams change little: most runs of a record end soon after. */
        if (m.state == STREAM_FINAL || random_below(8) == 0)
            lose_data();
        break;
    case 1:
        end_lease();
        break;
    case 2:
        check_ttls();
        break;
    case 3:
    case 4:
        do_open();
        break;
    case 5:
        do_close();
        break;
    case 6:
        do_shown();
        break;
    case 7:
    case 8:
    case 9:
        do_claim(w);
        break;
    case 10:
        do_finish(w);
        break;
    case 11:
        do_settle(w);
        break;
    case 12:
        do_release(w);
        break;
    case 13:
        do_note(w);
        break;
    case 14:
    case 15:
    case 16:
    case 17:
        do_put(w);
        break;
    default:
        do_read();
        break;
    }
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, 10) : otherwise;
}

static void the_record_does_as_the_model(void **state)
{
    (void)state;
    random_seed(0);
    unsigned long seed = setting("STORE_SEED", (unsigned long)random_below(1000000) + 1);
    unsigned long steps = setting("STORE_STEPS", STEPS);
    print_message("STORE_SEED=%lu STORE_STEPS=%lu\n", seed, steps);
    random_seed(seed);
    workers[0] = (struct worker){.owner = ++owners, .epoch = 1};
    workers[1] = (struct worker){.owner = ++owners, .epoch = 2};
    for (unsigned long i = 0; i < steps; i++)
        step();
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_record_does_as_the_model)};
    return cmocka_run_group_tests(tests, start, stop);
}
