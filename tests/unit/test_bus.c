/* Settings and producer, on Apache Kafka (one node, started here). */
#include "base/clock.h"
#include "bus/bus_consumer.h"
#include "log/log.h"
#include "support_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct kafka kafka;
static bool has_kafka;

#define NEEDS_KAFKA() \
    if (!has_kafka)   \
    skip()

/* --- settings --- */

static void test_settings_name_the_bad_property(void **state)
{
    (void)state;
    struct brg_error error = {0};
    struct bus_setting good[] = {{"bootstrap.servers", "127.0.0.1:1"}, {"acks", "all"}};
    assert_int_equal(bus_settings_check(good, 2, &error), BRG_OK);
    struct bus_setting unknown = {"no.such.property", "1"};
    assert_int_equal(bus_settings_check(&unknown, 1, &error), BRG_STOP);
    assert_non_null(strstr(error.text, "kafka.no.such.property"));
    struct bus_setting invalid = {"linger.ms", "soon"};
    assert_int_equal(bus_settings_check(&invalid, 1, &error), BRG_STOP);
    assert_non_null(strstr(error.text, "kafka.linger.ms"));
    struct bus_setting ours = {"enable.auto.commit", "true"};
    assert_int_equal(bus_settings_check(&ours, 1, &error), BRG_STOP);
    assert_non_null(strstr(error.text, "kafka.enable.auto.commit"));
}

static void test_refused_setting_stops_both(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct bus_setting bad = {"security.protocol", "quantum"};
    const char *topics[] = {"t", NULL};
    struct brg_error error = {0};
    struct bus_producer_options po = {.base = {"test", &bad, 1},
                                      .delivery_timeout_ms = BUS_DELIVERY_MS,
                                      .queue_max_messages = 10,
                                      .queue_max_kbytes = 100,
                                      .topics = topics};
    assert_null(bus_producer_new(loop, &po, &error));
    assert_int_equal(error.code, BRG_STOP);
    struct bus_consumer_options co = {.base = {"test", &bad, 1},
                                      .group = "g",
                                      .topics = topics,
                                      .window_records = 64,
                                      .window_bytes = 1000,
                                      .total_bytes = 1000};
    struct bus_consumer_callbacks callbacks = {0};
    error.code = BRG_OK;
    assert_null(bus_consumer_new(loop, &co, &callbacks, &error));
    assert_int_equal(error.code, BRG_STOP);
    loop_free(loop);
}

/* --- producer --- */

static void test_queue_bound_and_purge(void **state)
{
    (void)state;
    enum { LIMIT = 100 };
    struct loop *loop = loop_new();
    struct bus_setting nowhere[] = {{"bootstrap.servers", "127.0.0.1:1"},
                                    {"queue.buffering.max.messages", "100"}};
    struct bus_options base = {"test", nowhere, 2};
    struct outbox o;
    outbox_open(&o, loop, &base, "t", true);
    outbox_send_numbered(&o, "t", LIMIT);
    assert_int_equal(outbox_send(&o, "t", "k", BYTES_LIT("v")), BRG_RETRY);
    assert_int_equal(bus_producer_queued(o.producer), LIMIT);
    struct buf why;
    buf_init(&why, 1000);
    assert_false(bus_producer_is_ready(o.producer, &why));
    assert_true(why.len > 0);
    buf_free(&why);
    int64_t before = clock_mono_ms();
    bus_producer_free(o.producer);
    assert_true(clock_mono_ms() - before < 1500);
    assert_int_equal(o.reports, LIMIT);
    assert_int_equal(o.retry, LIMIT);
    loop_free(loop);
}

static void test_too_large_is_rejected(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { HUGE = 2000000 };
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "large", 1, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "large.requests", true);
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    char *value = brg_calloc(1, HUGE);
    assert_int_equal(outbox_send(&o, "large.requests", "k", bytes_of(value, HUGE)), BRG_REJECT);
    free(value);
    assert_int_equal(outbox_send(&o, "large.requests", "k", BYTES_LIT("k")), BRG_OK);
    assert_true(run_until_count(loop, &o.reports, 1, BUS_PATIENCE_MS));
    assert_int_equal(o.ok, 1);
    bus_producer_free(o.producer);
    assert_int_equal(o.reports, 1);
    loop_free(loop);
}

static void test_not_ready_without_durability(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "unsafe", 1, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "unsafe.requests", false);
    run_for(loop, 1000);
    struct buf why;
    buf_init(&why, 1000);
    assert_false(bus_producer_is_ready(o.producer, &why));
    buf_append_char(&why, '\0');
    assert_non_null(strstr(why.ptr, "replication 1"));
    buf_free(&why);
    bus_producer_free(o.producer);
    loop_free(loop);
}

static void test_ready_once_the_topic_is_made(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    struct loop *loop = loop_new();
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "later.requests", true);
    run_for(loop, 1000);
    assert_false(bus_producer_is_ready(o.producer, NULL));
    kafka_topics(&kafka, "later", 1, 1);
    assert_true(run_until(loop, &o.is_ready, 5000));
    int64_t before = clock_mono_ms();
    outbox_send_numbered(&o, "later.requests", 1);
    assert_true(run_until_count(loop, &o.ok, 1, BUS_PATIENCE_MS));
    assert_true(clock_mono_ms() - before < 1000);
    bus_producer_free(o.producer);
    loop_free(loop);
}

static void test_frozen_broker(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 50, LATE_MS = 2500 }; /* librdkafka: 1 s */
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "frozen", 3, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "frozen.requests", true);
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    outbox_send_numbered(&o, "frozen.requests", 1);
    assert_true(run_until_count(loop, &o.ok, 1, BUS_PATIENCE_MS));
    kafka_freeze(&kafka);
    int64_t before = clock_mono_ms();
    outbox_send_numbered(&o, "frozen.requests", COUNT);
    bool is_told = run_until_count(loop, &o.reports, 1 + COUNT, BUS_PATIENCE_MS);
    int64_t took = clock_mono_ms() - before;
    kafka_thaw(&kafka);
    assert_true(is_told);
    print_message("failure reported after %lld ms\n", (long long)took);
    assert_in_range(took, BUS_DELIVERY_MS - 100, BUS_DELIVERY_MS + LATE_MS);
    assert_int_equal(o.retry, COUNT);
    before = clock_mono_ms();
    while (o.ok == 1 && clock_mono_ms() - before < BUS_PATIENCE_MS) {
        outbox_send_numbered(&o, "frozen.requests", 1);
        assert_true(run_until_count(loop, &o.reports, o.sent, BUS_PATIENCE_MS));
    }
    print_message("acknowledged again after %lld ms\n", (long long)(clock_mono_ms() - before));
    assert_int_equal(o.ok, 2);
    bus_producer_free(o.producer);
    assert_int_equal(o.reports, o.sent);
    loop_free(loop);
}

static void test_fatal_error_makes_a_new_producer(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 200 };
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "fatal", 3, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "fatal.requests", true);
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    /* The frozen broker keeps them in flight: nobody but the replacement reports them. */
    outbox_send_numbered(&o, "fatal.requests", 1);
    assert_true(run_until_count(loop, &o.ok, 1, BUS_PATIENCE_MS));
    kafka_freeze(&kafka);
    outbox_send_numbered(&o, "fatal.requests", COUNT - 1);
    run_for(loop, 300);
    bus_producer_break(o.producer);
    bool is_told = run_until_count(loop, &o.reports, COUNT, BUS_DELIVERY_MS / 2);
    kafka_thaw(&kafka);
    assert_true(is_told);
    assert_int_equal(o.ok + o.retry, COUNT);
    assert_true(o.retry > 0);
    assert_false(bus_producer_is_ready(o.producer, NULL));
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    size_t ok = o.ok;
    outbox_send_numbered(&o, "fatal.requests", COUNT);
    assert_true(run_until_count(loop, &o.reports, o.sent, BUS_PATIENCE_MS));
    assert_int_equal(o.ok, ok + COUNT);
    bus_producer_free(o.producer);
    assert_int_equal(o.reports, o.sent);
    loop_free(loop);
}

static int start_all(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    has_kafka = kafka_start(&kafka, 1);
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    if (has_kafka)
        kafka_stop(&kafka);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_name_the_bad_property),
        cmocka_unit_test(test_refused_setting_stops_both),
        cmocka_unit_test(test_queue_bound_and_purge),
        cmocka_unit_test(test_too_large_is_rejected),
        cmocka_unit_test(test_not_ready_without_durability),
        cmocka_unit_test(test_ready_once_the_topic_is_made),
        cmocka_unit_test(test_frozen_broker),
        cmocka_unit_test(test_fatal_error_makes_a_new_producer),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
