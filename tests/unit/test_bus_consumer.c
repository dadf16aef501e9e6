/* Consumer, on Apache Kafka (one node, started here) and on the embedded broker. */
#include "base/clock.h"
#include "bus/bus_consumer.h"
#include "log/log.h"
#include "support_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS_MAX = 8 };

static struct kafka kafka;
static bool has_kafka;

#define NEEDS_KAFKA() \
    if (!has_kafka)   \
    skip()

/* --- consuming --- */

struct inbox {
    struct bus_consumer *consumer;
    bool (*wants)(const struct bus_message_info *info); /* complete it at once? NULL: yes */
    int64_t work_us;                                    /* each record takes the loop so long */
    size_t total_bytes;                                 /* 0: more than the window */
    bool is_joined;
    size_t count;
    size_t revoked;
    size_t per_partition[PARTITIONS_MAX];
    int64_t first[PARTITIONS_MAX]; /* offset */
    size_t held_count;
    struct bus_message *held[BUS_RECORDS_MAX];
    size_t times[PARTITIONS_MAX][BUS_RECORDS_MAX]; /* seen, by offset */
};

static void on_message(struct bus_message *m, void *arg)
{
    struct inbox *in = arg;
    struct bus_message_info info;
    bus_message_info(m, &info);
    assert_in_range(info.partition, 0, PARTITIONS_MAX - 1);
    assert_in_range(info.offset, 0, BUS_RECORDS_MAX - 1);
    assert_true(bytes_eq(info.key, info.value));
    assert_true(bytes_eq_str(bus_message_header(m, "bb-stream"), "last"));
    assert_int_equal(bus_message_header(m, "empty").len, 0);
    assert_null(bus_message_header(m, "absent").ptr);
    if (in->per_partition[info.partition]++ == 0)
        in->first[info.partition] = info.offset;
    in->times[info.partition][info.offset]++;
    in->count++;
    int64_t end_us = in->work_us ? clock_mono_us() + in->work_us : 0;
    while (end_us && clock_mono_us() < end_us)
        ;
    if (in->wants && !in->wants(&info)) {
        in->held[in->held_count++] = m;
        return;
    }
    bus_consumer_complete(in->consumer, m);
    bus_message_free(m);
}

static void on_revoke(const char *topic, int32_t partition, uint32_t generation, void *arg)
{
    (void)topic;
    (void)partition;
    (void)generation;
    ((struct inbox *)arg)->revoked++;
}

static void on_joined(void *arg)
{
    ((struct inbox *)arg)->is_joined = true;
}

static void inbox_open(struct inbox *in, struct loop *loop, const struct bus_options *base,
                       const char *topic, unsigned window)
{
    const char *topics[] = {topic, NULL};
    struct bus_consumer_options options = {
        .base = *base,
        .group = topic,
        .topics = topics,
        .window_records = window,
        .window_bytes = in->total_bytes > 0 ? 8 << 20 : 1 << 20,
        .total_bytes = in->total_bytes > 0 ? in->total_bytes : 8 << 20,
    };
    struct bus_consumer_callbacks callbacks = {
        .on_message = on_message, .on_revoke = on_revoke, .on_joined = on_joined, .arg = in};
    struct brg_error error = {0};
    in->consumer = bus_consumer_new(loop, &options, &callbacks, &error);
    assert_string_equal(error.text, "");
    assert_non_null(in->consumer);
}

static void inbox_close(struct inbox *in)
{
    enum { CLOSE_MS = 10000 };
    int64_t before = clock_mono_ms();
    bus_consumer_free(in->consumer, CLOSE_MS);
    assert_true(clock_mono_ms() - before < CLOSE_MS);
    for (size_t i = 0; i < in->held_count; i++)
        bus_message_free(in->held[i]);
    free(in);
}

/* --- consumer --- */

static bool is_not_40(const struct bus_message_info *info)
{
    return info->offset != 40;
}

static void test_restart_resumes_at_the_frontier(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 100, HOLE = 40 };
    const char *topic = "frontier.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "frontier", 1, 1);
    topic_fill(loop, &kafka.options, topic, COUNT);

    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = is_not_40;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until(loop, &in->is_joined, BUS_PATIENCE_MS));
    assert_true(bus_consumer_is_joined(in->consumer));
    assert_true(run_until_count(loop, &in->count, COUNT, BUS_PATIENCE_MS));
    run_for(loop, 700); /* a periodic commit, and what it must not pass */
    assert_true(bus_consumer_frontier_age_ms(in->consumer) > 0);
    inbox_close(in);

    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, COUNT - HOLE, BUS_PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(in->first[0], HOLE);
    assert_int_equal(in->count, COUNT - HOLE);
    assert_int_equal(bus_consumer_frontier_age_ms(in->consumer), 0);
    inbox_close(in);

    topic_fill(loop, &kafka.options, topic, 1);
    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 1, BUS_PATIENCE_MS));
    assert_int_equal(in->first[0], COUNT);
    inbox_close(in);
    loop_free(loop);
}

/* More than the hand-over queue holds, many times over, and a loop slower than the reader:
 * neither side may miss its wake. */
static void test_backlog(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { ROUNDS = 3, COUNT = 4000, ALL = ROUNDS * COUNT, PARTITIONS = 4 };
    const char *topic = "backlog.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "backlog", PARTITIONS, 1);
    for (int i = 0; i < ROUNDS; i++)
        topic_fill(loop, &kafka.options, topic, COUNT);
    struct inbox *in = BRG_NEW(struct inbox);
    in->work_us = 20;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, ALL, BUS_PATIENCE_MS));
    inbox_close(in);
    loop_free(loop);
}

static bool is_not_partition_0(const struct bus_message_info *info)
{
    return info->partition != 0;
}

static void test_full_window_stops_one_partition(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 1500, WINDOW = 64 };
    const char *topic = "window.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "window", 3, 1);
    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = is_not_partition_0;
    inbox_open(in, loop, &kafka.options, topic, WINDOW);
    assert_true(run_until(loop, &in->is_joined, BUS_PATIENCE_MS));
    topic_fill(loop, &kafka.options, topic, COUNT);
    run_for(loop, 3000);
    size_t others = in->per_partition[1] + in->per_partition[2];
    assert_int_equal(in->per_partition[0], WINDOW);
    assert_true(others > COUNT / 2);

    /* The second record done does not help; the first one makes room for two. */
    bus_consumer_complete(in->consumer, in->held[1]);
    run_for(loop, 1200);
    assert_int_equal(in->per_partition[0], WINDOW);
    bus_consumer_complete(in->consumer, in->held[0]);
    assert_true(run_until_count(loop, &in->per_partition[0], WINDOW + 2, BUS_PATIENCE_MS));
    in->wants = NULL;
    for (size_t i = 2; i < in->held_count; i++)
        bus_consumer_complete(in->consumer, in->held[i]);
    assert_true(run_until_count(loop, &in->count, COUNT, BUS_PATIENCE_MS));
    inbox_close(in);
    loop_free(loop);
}

static void expect_memory_bound(const char *prefix, size_t total_bytes)
{
    enum { COUNT = 40, VALUE = 20000 };
    char topic[64];
    snprintf(topic, sizeof(topic), "%s.requests", prefix);
    struct loop *loop = loop_new();
    kafka_topics(&kafka, prefix, 1, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, topic, true);
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    char *value = brg_calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(outbox_send(&o, topic, value, bytes_of_str(value)), BRG_OK);
    free(value);
    assert_true(run_until_count(loop, &o.ok, COUNT, BUS_PATIENCE_MS));
    bus_producer_free(o.producer);

    /* Key and value: 40 KB each, so 1 MiB is passed by the 26th. */
    enum { FIT = (1 << 20) / (2 * VALUE) + 1 };
    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = is_not_partition_0;
    in->total_bytes = total_bytes;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, FIT, BUS_PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(in->count, FIT);
    bus_consumer_complete(in->consumer, in->held[3]);
    bus_message_free(in->held[3]);
    in->held[3] = NULL;
    assert_true(run_until_count(loop, &in->count, FIT + 1, BUS_PATIENCE_MS));
    run_for(loop, 300);
    assert_int_equal(in->count, FIT + 1);
    inbox_close(in);
    loop_free(loop);
}

static void test_memory_bounds(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    expect_memory_bound("memory", 0);
    expect_memory_bound("total", 1 << 20);
}

static bool never(const struct bus_message_info *info)
{
    (void)info;
    return false;
}

/* Two members share four partitions. What the first had not completed when it was revoked is
 * read by the second, and its late completions move nobody's frontier. */
static void test_rebalance(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 400, PARTITIONS = 4 };
    const char *topic = "share.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "share", PARTITIONS, 1);
    topic_fill(loop, &kafka.options, topic, COUNT);
    struct inbox *a = BRG_NEW(struct inbox);
    struct inbox *b = BRG_NEW(struct inbox);
    a->wants = never;
    b->wants = never;
    inbox_open(a, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &a->count, COUNT, BUS_PATIENCE_MS));
    inbox_open(b, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &a->revoked, PARTITIONS / 2, BUS_PATIENCE_MS));
    assert_true(run_until(loop, &b->is_joined, BUS_PATIENCE_MS));
    assert_true(run_until_count(loop, &b->count, 1, BUS_PATIENCE_MS));
    run_for(loop, 2000);
    assert_int_equal(a->revoked, PARTITIONS / 2);
    assert_true(b->count > 0 && b->count < COUNT);

    /* All of a's records complete: for the moved half that is an older generation. */
    for (size_t i = 0; i < a->held_count; i++)
        bus_consumer_complete(a->consumer, a->held[i]);
    run_for(loop, 1200);
    size_t read_by_b = b->count;
    inbox_close(a);
    inbox_close(b);

    struct inbox *c = BRG_NEW(struct inbox);
    inbox_open(c, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &c->count, read_by_b, BUS_PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(c->count, read_by_b);
    inbox_close(c);
    loop_free(loop);
}

/* A partition that comes back is read again from the frontier; completions of the records that
 * its earlier life handed out do not count for it. */
static void test_returned_partition_is_a_new_life(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 100, PARTITIONS = 2 };
    const char *topic = "return.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "return", PARTITIONS, 1);
    topic_fill(loop, &kafka.options, topic, COUNT);
    struct inbox *a = BRG_NEW(struct inbox);
    struct inbox *b = BRG_NEW(struct inbox);
    a->wants = never;
    b->wants = never;
    inbox_open(a, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &a->count, COUNT, BUS_PATIENCE_MS));
    inbox_open(b, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &b->count, 1, BUS_PATIENCE_MS));
    assert_int_equal(a->revoked, 1);
    inbox_close(b);
    assert_true(run_until_count(loop, &a->count, COUNT + 1, BUS_PATIENCE_MS));
    run_for(loop, 700);
    size_t returned = a->count - COUNT;
    for (size_t i = 0; i < COUNT; i++)
        bus_consumer_complete(a->consumer, a->held[i]);
    run_for(loop, 1200);
    inbox_close(a);

    struct inbox *c = BRG_NEW(struct inbox);
    inbox_open(c, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &c->count, returned, BUS_PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(c->count, returned);
    inbox_close(c);
    loop_free(loop);
}

static void test_stop_reading(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    const char *topic = "drain.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "drain", 1, 1);
    topic_fill(loop, &kafka.options, topic, 10);
    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = never;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, BUS_PATIENCE_MS));
    bus_consumer_stop_reading(in->consumer);
    topic_fill(loop, &kafka.options, topic, 10);
    run_for(loop, 700);
    assert_int_equal(in->count, 10);
    for (size_t i = 0; i < 10; i++)
        bus_consumer_complete(in->consumer, in->held[i]);
    inbox_close(in);
    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, BUS_PATIENCE_MS));
    assert_int_equal(in->first[0], 10);
    inbox_close(in);
    loop_free(loop);
}

static void test_consumer_survives_a_frozen_broker(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    const char *topic = "stall.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "stall", 1, 1);
    topic_fill(loop, &kafka.options, topic, 10);
    struct inbox *in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, BUS_PATIENCE_MS));
    kafka_freeze(&kafka);
    int64_t before = clock_mono_ms();
    bus_consumer_free(in->consumer, 1500);
    int64_t took = clock_mono_ms() - before;
    kafka_thaw(&kafka);
    print_message("closed after %lld ms\n", (long long)took);
    assert_in_range(took, 0, 1900);
    free(in);
    loop_free(loop);
}

/* --- embedded broker --- */

static void test_embedded(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    const char *topic = "first.requests";
    struct brg_error error = {0};
    struct loop *loop = loop_new();
    struct bus_embedded *broker = bus_embedded_start(2, &error);
    assert_non_null(broker);
    assert_int_equal(bus_embedded_topic(broker, topic, 3), BRG_OK);
    struct bus_setting settings[] = {{"bootstrap.servers", bus_embedded_servers(broker)},
                                     {"session.timeout.ms", "6000"}};
    struct bus_options base = {"test", settings, 2};
    topic_fill(loop, &base, topic, COUNT);
    struct inbox *in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &base, topic, 1024);
    assert_true(run_until_count(loop, &in->count, COUNT, BUS_PATIENCE_MS));
    inbox_close(in);
    bus_embedded_stop(broker);
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
        cmocka_unit_test(test_restart_resumes_at_the_frontier),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_full_window_stops_one_partition),
        cmocka_unit_test(test_memory_bounds),
        cmocka_unit_test(test_rebalance),
        cmocka_unit_test(test_returned_partition_is_a_new_life),
        cmocka_unit_test(test_stop_reading),
        cmocka_unit_test(test_consumer_survives_a_frozen_broker),
        cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
