#include "support_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

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

void outbox_open(struct outbox *o, struct loop *loop, const struct bus_options *base,
                 const char *topic, bool allow_unsafe)
{
    const char *topics[] = {topic, NULL};
    struct bus_producer_options options = {
        .base = *base,
        .delivery_timeout_ms = BUS_DELIVERY_MS,
        .queue_max_messages = BUS_RECORDS_MAX,
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

enum brg_err outbox_send(struct outbox *o, const char *topic, const char *key,
                         struct bytes value)
{
    struct bus_header headers[] = {
        {"bb-stream", BYTES_LIT("first")}, {"empty", {0}}, {"bb-stream", BYTES_LIT("last")}};
    struct bus_record record = {topic, bytes_of_str(key), value, headers, 3};
    enum brg_err err = bus_produce(o->producer, &record, on_delivery, o);
    o->sent += err == BRG_OK;
    return err;
}

void outbox_send_numbered(struct outbox *o, const char *topic, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%zu", i);
        assert_int_equal(outbox_send(o, topic, key, bytes_of_str(key)), BRG_OK);
    }
}

void topic_fill(struct loop *loop, const struct bus_options *base, const char *topic,
                size_t count)
{
    struct outbox o;
    outbox_open(&o, loop, base, topic, true);
    assert_true(run_until(loop, &o.is_ready, BUS_PATIENCE_MS));
    outbox_send_numbered(&o, topic, count);
    assert_true(run_until_count(loop, &o.reports, count, BUS_PATIENCE_MS));
    assert_int_equal(o.ok, count);
    bus_producer_free(o.producer);
}

void run_for(struct loop *loop, int64_t ms)
{
    bool never = false;
    assert_false(run_until(loop, &never, ms));
}
