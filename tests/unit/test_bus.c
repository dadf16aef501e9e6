/* Producer and consumer on Apache Kafka (one node, started here), and on the embedded broker.
 */
#include "base/clock.h"
#include "bus/bus_consumer.h"
#include "bus/bus_producer.h"
#include "log/log.h"
#include "support_kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    PATIENCE_MS = 30000,
    DELIVERY_MS = 3000,
    PARTITIONS_MAX = 8,
    RECORDS_MAX = 4096,
};

static struct kafka kafka;
static bool has_kafka;

#define NEEDS_KAFKA() \
    if (!has_kafka)   \
    skip()

/* --- producing --- */

struct outbox {
    struct loop *loop;
    struct bus_producer *producer;
    bool is_ready;
    size_t sent;
    size_t ok;
    size_t retry;
    size_t reject;
    size_t reports;
};

static void on_delivery(enum brg_err err, const char *reason, void *arg)
{
    (void)reason;
    struct outbox *o = arg;
    o->reports++;
    o->ok += err == BRG_OK;
    o->retry += err == BRG_RETRY;
    o->reject += err == BRG_REJECT;
}

static void on_ready(bool is_ready, void *arg)
{
    ((struct outbox *)arg)->is_ready = is_ready;
}

static void outbox_open(struct outbox *o, struct loop *loop, const struct bus_options *base,
                        const char *topic, bool allow_unsafe)
{
    const char *topics[] = {topic, NULL};
    struct bus_producer_options options = {
        .base = *base,
        .delivery_timeout_ms = DELIVERY_MS,
        .queue_max_messages = RECORDS_MAX,
        .queue_max_kbytes = 65536,
        .topics = topics,
        .allow_unsafe_durability = allow_unsafe,
    };
    struct brg_error error = {0};
    *o = (struct outbox){.loop = loop};
    o->producer = bus_producer_new(loop, &options, &error);
    assert_string_equal(error.text, "");
    assert_non_null(o->producer);
    bus_producer_watch(o->producer, on_ready, o);
}

static enum brg_err outbox_send(struct outbox *o, const char *topic, const char *key,
                                struct bytes value)
{
    struct bus_header headers[] = {
        {"bb-stream", BYTES_LIT("first")}, {"empty", {0}}, {"bb-stream", BYTES_LIT("last")}};
    struct bus_record record = {topic, bytes_of_str(key), value, headers, 3};
    enum brg_err err = bus_produce(o->producer, &record, on_delivery, o);
    o->sent += err == BRG_OK;
    return err;
}

static void outbox_send_numbered(struct outbox *o, const char *topic, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%zu", i);
        assert_int_equal(outbox_send(o, topic, key, bytes_of_str(key)), BRG_OK);
    }
}

/* A topic of `partitions`, with `count` records in it. */
static void fill(struct loop *loop, const struct bus_options *base, const char *topic,
                 size_t count)
{
    struct outbox o;
    outbox_open(&o, loop, base, topic, true);
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    outbox_send_numbered(&o, topic, count);
    assert_true(run_until_count(loop, &o.reports, count, PATIENCE_MS));
    assert_int_equal(o.ok, count);
    bus_producer_free(o.producer);
}

/* --- consuming --- */

struct inbox {
    struct bus_consumer *consumer;
    bool (*wants)(const struct bus_message_info *info); /* complete it at once? NULL: yes */
    bool is_joined;
    size_t count;
    size_t revoked;
    size_t per_partition[PARTITIONS_MAX];
    int64_t first[PARTITIONS_MAX]; /* offset */
    size_t held_count;
    struct bus_message *held[RECORDS_MAX];
    size_t times[PARTITIONS_MAX][RECORDS_MAX]; /* seen, by offset */
};

static void on_message(struct bus_message *m, void *arg)
{
    struct inbox *in = arg;
    struct bus_message_info info;
    bus_message_info(m, &info);
    assert_in_range(info.partition, 0, PARTITIONS_MAX - 1);
    assert_in_range(info.offset, 0, RECORDS_MAX - 1);
    assert_true(bytes_eq(info.key, info.value));
    assert_true(bytes_eq_str(bus_message_header(m, "bb-stream"), "last"));
    assert_int_equal(bus_message_header(m, "empty").len, 0);
    assert_null(bus_message_header(m, "absent").ptr);
    if (in->per_partition[info.partition]++ == 0)
        in->first[info.partition] = info.offset;
    in->times[info.partition][info.offset]++;
    in->count++;
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
        .window_bytes = 1 << 20,
        .total_bytes = 8 << 20,
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

/* Nothing more comes for a while: for promises that something does not happen. */
static void run_for(struct loop *loop, int64_t ms)
{
    bool never = false;
    assert_false(run_until(loop, &never, ms));
}

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
                                      .delivery_timeout_ms = DELIVERY_MS,
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
    struct bus_consumer_callbacks callbacks = {.on_message = on_message};
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
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    char *value = brg_calloc(1, HUGE);
    assert_int_equal(outbox_send(&o, "large.requests", "k", bytes_of(value, HUGE)), BRG_REJECT);
    free(value);
    assert_int_equal(outbox_send(&o, "large.requests", "k", BYTES_LIT("k")), BRG_OK);
    assert_true(run_until_count(loop, &o.reports, 1, PATIENCE_MS));
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
    struct brg_error error = {0};
    assert_int_equal(bus_topics_check(&kafka.options, "unsafe", true, &error), BRG_OK);
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
    assert_true(run_until_count(loop, &o.ok, 1, PATIENCE_MS));
    assert_true(clock_mono_ms() - before < 1000);
    bus_producer_free(o.producer);
    loop_free(loop);
}

static void test_frozen_broker(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 50, LATE_MS = 1500 };
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "frozen", 3, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, "frozen.requests", true);
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    outbox_send_numbered(&o, "frozen.requests", 1);
    assert_true(run_until_count(loop, &o.ok, 1, PATIENCE_MS));
    kafka_freeze(&kafka);
    int64_t before = clock_mono_ms();
    outbox_send_numbered(&o, "frozen.requests", COUNT);
    bool is_told = run_until_count(loop, &o.reports, 1 + COUNT, PATIENCE_MS);
    int64_t took = clock_mono_ms() - before;
    kafka_thaw(&kafka);
    assert_true(is_told);
    print_message("failure reported after %lld ms\n", (long long)took);
    assert_in_range(took, DELIVERY_MS - 100, DELIVERY_MS + LATE_MS);
    assert_int_equal(o.retry, COUNT);
    before = clock_mono_ms();
    while (o.ok == 1 && clock_mono_ms() - before < PATIENCE_MS) {
        outbox_send_numbered(&o, "frozen.requests", 1);
        assert_true(run_until_count(loop, &o.reports, o.sent, PATIENCE_MS));
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
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    outbox_send_numbered(&o, "fatal.requests", COUNT);
    bus_producer_break(o.producer);
    assert_true(run_until_count(loop, &o.reports, COUNT, PATIENCE_MS));
    assert_int_equal(o.ok + o.retry, COUNT);
    assert_true(o.retry > 0);
    assert_false(bus_producer_is_ready(o.producer, NULL));
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    size_t ok = o.ok;
    outbox_send_numbered(&o, "fatal.requests", COUNT);
    assert_true(run_until_count(loop, &o.reports, 2 * COUNT, PATIENCE_MS));
    assert_int_equal(o.ok, ok + COUNT);
    bus_producer_free(o.producer);
    assert_int_equal(o.reports, 2 * COUNT);
    loop_free(loop);
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
    fill(loop, &kafka.options, topic, COUNT);

    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = is_not_40;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until(loop, &in->is_joined, PATIENCE_MS));
    assert_true(bus_consumer_is_joined(in->consumer));
    assert_true(run_until_count(loop, &in->count, COUNT, PATIENCE_MS));
    run_for(loop, 700); /* a periodic commit, and what it must not pass */
    assert_true(bus_consumer_frontier_age_ms(in->consumer) > 0);
    inbox_close(in);

    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, COUNT - HOLE, PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(in->first[0], HOLE);
    assert_int_equal(in->count, COUNT - HOLE);
    assert_int_equal(bus_consumer_frontier_age_ms(in->consumer), 0);
    inbox_close(in);

    fill(loop, &kafka.options, topic, 1);
    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 1, PATIENCE_MS));
    assert_int_equal(in->first[0], COUNT);
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
    assert_true(run_until(loop, &in->is_joined, PATIENCE_MS));
    fill(loop, &kafka.options, topic, COUNT);
    run_for(loop, 3000);
    size_t others = in->per_partition[1] + in->per_partition[2];
    assert_int_equal(in->per_partition[0], WINDOW);
    assert_true(others > COUNT / 2);

    /* The second record done does not help; the first one makes room for two. */
    bus_consumer_complete(in->consumer, in->held[1]);
    run_for(loop, 1200);
    assert_int_equal(in->per_partition[0], WINDOW);
    bus_consumer_complete(in->consumer, in->held[0]);
    assert_true(run_until_count(loop, &in->per_partition[0], WINDOW + 2, PATIENCE_MS));
    in->wants = NULL;
    for (size_t i = 2; i < in->held_count; i++)
        bus_consumer_complete(in->consumer, in->held[i]);
    assert_true(run_until_count(loop, &in->count, COUNT, PATIENCE_MS));
    inbox_close(in);
    loop_free(loop);
}

static void test_memory_bound(void **state)
{
    (void)state;
    NEEDS_KAFKA();
    enum { COUNT = 40, VALUE = 20000 };
    const char *topic = "memory.requests";
    struct loop *loop = loop_new();
    kafka_topics(&kafka, "memory", 1, 1);
    struct outbox o;
    outbox_open(&o, loop, &kafka.options, topic, true);
    assert_true(run_until(loop, &o.is_ready, PATIENCE_MS));
    char *value = brg_calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(outbox_send(&o, topic, value, bytes_of_str(value)), BRG_OK);
    free(value);
    assert_true(run_until_count(loop, &o.ok, COUNT, PATIENCE_MS));
    bus_producer_free(o.producer);

    /* Key and value: 40 KB each, so the window's 1 MiB is passed by the 26th. */
    enum { FIT = (1 << 20) / (2 * VALUE) + 1 };
    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = is_not_partition_0;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, FIT, PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(in->count, FIT);
    bus_consumer_complete(in->consumer, in->held[3]);
    bus_message_free(in->held[3]);
    in->held[3] = NULL;
    assert_true(run_until_count(loop, &in->count, FIT + 1, PATIENCE_MS));
    run_for(loop, 300);
    assert_int_equal(in->count, FIT + 1);
    inbox_close(in);
    loop_free(loop);
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
    fill(loop, &kafka.options, topic, COUNT);
    struct inbox *a = BRG_NEW(struct inbox);
    struct inbox *b = BRG_NEW(struct inbox);
    a->wants = never;
    b->wants = never;
    inbox_open(a, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &a->count, COUNT, PATIENCE_MS));
    inbox_open(b, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &a->revoked, PARTITIONS / 2, PATIENCE_MS));
    assert_true(run_until(loop, &b->is_joined, PATIENCE_MS));
    assert_true(run_until_count(loop, &b->count, 1, PATIENCE_MS));
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
    assert_true(run_until_count(loop, &c->count, read_by_b, PATIENCE_MS));
    run_for(loop, 700);
    assert_int_equal(c->count, read_by_b);
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
    fill(loop, &kafka.options, topic, 10);
    struct inbox *in = BRG_NEW(struct inbox);
    in->wants = never;
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, PATIENCE_MS));
    bus_consumer_stop_reading(in->consumer);
    fill(loop, &kafka.options, topic, 10);
    run_for(loop, 700);
    assert_int_equal(in->count, 10);
    for (size_t i = 0; i < 10; i++)
        bus_consumer_complete(in->consumer, in->held[i]);
    inbox_close(in);
    in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, PATIENCE_MS));
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
    fill(loop, &kafka.options, topic, 10);
    struct inbox *in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &kafka.options, topic, 1024);
    assert_true(run_until_count(loop, &in->count, 10, PATIENCE_MS));
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
    fill(loop, &base, topic, COUNT);
    struct inbox *in = BRG_NEW(struct inbox);
    inbox_open(in, loop, &base, topic, 1024);
    assert_true(run_until_count(loop, &in->count, COUNT, PATIENCE_MS));
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
        cmocka_unit_test(test_settings_name_the_bad_property),
        cmocka_unit_test(test_refused_setting_stops_both),
        cmocka_unit_test(test_queue_bound_and_purge),
        cmocka_unit_test(test_too_large_is_rejected),
        cmocka_unit_test(test_not_ready_without_durability),
        cmocka_unit_test(test_ready_once_the_topic_is_made),
        cmocka_unit_test(test_frozen_broker),
        cmocka_unit_test(test_fatal_error_makes_a_new_producer),
        cmocka_unit_test(test_restart_resumes_at_the_frontier),
        cmocka_unit_test(test_full_window_stops_one_partition),
        cmocka_unit_test(test_memory_bound),
        cmocka_unit_test(test_rebalance),
        cmocka_unit_test(test_stop_reading),
        cmocka_unit_test(test_consumer_survives_a_frozen_broker),
        cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
