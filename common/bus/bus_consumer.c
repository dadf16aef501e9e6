#include "bus/bus_consumer.h"

#include "base/clock.h"
#include "bus/bus_reader.h"
#include "log/log.h"

enum { ITEMS_PER_TURN = 128 };

struct bus_consumer {
    struct loop *loop;
    struct loop_wake *wake;
    struct bus_consumer_callbacks callbacks;
    struct bus_reader *reader;
    struct bus_items items; /* taken from the channel, delivered up to `next` */
    size_t next;
    bool is_joined;
    bool is_draining;
};

static void deliver(struct bus_consumer *c, struct bus_item *item)
{
    const struct bus_consumer_callbacks *cb = &c->callbacks;
    struct bus_message *m = item->message;
    item->message = NULL;
    switch (item->kind) {
    case BUS_ITEM_MESSAGE:
        if (c->is_draining)
            bus_message_free(m); /* never begun, never complete: the next owner reads it */
        else
            cb->on_message(m, cb->arg);
        break;
    case BUS_ITEM_REVOKE:
        if (cb->on_revoke)
            cb->on_revoke(item->text, item->partition, item->generation, cb->arg);
        break;
    case BUS_ITEM_JOINED:
        c->is_joined = true;
        if (cb->on_joined)
            cb->on_joined(cb->arg);
        break;
    case BUS_ITEM_FATAL:
        if (cb->on_fatal)
            cb->on_fatal(item->text, cb->arg);
        break;
    }
    bus_item_free(item);
}

static void on_wake(void *arg)
{
    struct bus_consumer *c = arg;
    if (c->next == c->items.count) {
        bus_channel_take_items(&c->reader->channel, &c->items);
        c->next = 0;
    }
    for (int n = 0; n < ITEMS_PER_TURN && c->next < c->items.count; n++)
        deliver(c, &c->items.list[c->next++]);
    /* Also after the last of them: the wake of what was pushed meanwhile may be used up. */
    if (c->items.count > 0)
        loop_wake_send(c->wake);
}

static rd_kafka_conf_t *consumer_conf(const struct bus_consumer_options *o,
                                      struct brg_error *error)
{
    struct bus_setting ours[] = {
        {"group.id", o->group},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"session.timeout.ms", "15000"},
        {"heartbeat.interval.ms", "3000"},
        {"max.poll.interval.ms", "60000"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "earliest"},
        {"queued.min.messages", "1000"},
        {"queued.max.messages.kbytes", "8192"},
        {"fetch.wait.max.ms", "500"},
        {"fetch.min.bytes", "1"},
        {"fetch.error.backoff.ms", "100"},
        {"isolation.level", "read_committed"},
        /* A worker may be started before the topics; default is 5 minutes. */
        {"topic.metadata.refresh.interval.ms", "10000"},
        {"statistics.interval.ms", "5000"},
        {o->instance_id ? "group.instance.id" : NULL, o->instance_id},
        {NULL, NULL},
    };
    return bus_conf_new(&o->base, ours, error);
}

static struct bus_reader *reader_new(const struct bus_consumer_options *o)
{
    struct bus_reader *r = BRG_NEW(struct bus_reader);
    bus_channel_init(&r->channel);
    r->ledger = bus_ledger_new();
    r->total_bytes = o->total_bytes;
    r->parts.window = o->window_records;
    r->parts.window_bytes = o->window_bytes;
    return r;
}

static enum brg_err subscribe(rd_kafka_t *rk, const char *const *topics,
                              struct brg_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (; *topics; topics++)
        rd_kafka_topic_partition_list_add(list, *topics, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err ? brg_fail(error, BRG_STOP, "kafka: cannot subscribe: %s", rd_kafka_err2str(err))
               : BRG_OK;
}

static enum brg_err reader_open(struct bus_reader *r, const struct bus_consumer_options *o,
                                struct brg_error *error)
{
    rd_kafka_conf_t *conf = consumer_conf(o, error);
    if (!conf)
        return BRG_STOP;
    bus_reader_configure(conf, r);
    r->rk = bus_handle_new(RD_KAFKA_CONSUMER, conf, error);
    if (!r->rk)
        return BRG_STOP;
    rd_kafka_poll_set_consumer(r->rk);
    if (subscribe(r->rk, o->topics, error) == BRG_OK)
        return BRG_OK;
    rd_kafka_destroy(r->rk);
    return BRG_STOP;
}

struct bus_consumer *bus_consumer_new(struct loop *loop,
                                      const struct bus_consumer_options *options,
                                      const struct bus_consumer_callbacks *callbacks,
                                      struct brg_error *error)
{
    struct bus_reader *r = reader_new(options);
    if (reader_open(r, options, error) != BRG_OK) {
        bus_reader_free(r);
        return NULL;
    }
    bus_reader_show_metrics(r, options->topics[0]);
    struct bus_consumer *c = BRG_NEW(struct bus_consumer);
    c->loop = loop;
    c->callbacks = *callbacks;
    c->reader = r;
    c->wake = loop_wake_new(loop, on_wake, c);
    r->channel.wake = c->wake;
    bus_reader_start(r);
    return c;
}

void bus_consumer_complete(struct bus_consumer *c, const struct bus_message *m)
{
    struct bus_message_info info;
    bus_message_info(m, &info);
    bus_channel_done(&c->reader->channel, (struct bus_done){.origin = bus_message_origin(m),
                                                            .offset = info.offset,
                                                            .bytes = bus_message_bytes(m)});
}

void bus_consumer_stop_reading(struct bus_consumer *c)
{
    c->is_draining = true;
    atomic_store(&c->reader->is_draining, true);
}

bool bus_consumer_is_joined(const struct bus_consumer *c)
{
    return c->is_joined;
}

int64_t bus_consumer_frontier_age_ms(const struct bus_consumer *c)
{
    int64_t oldest = atomic_load(&c->reader->oldest_ms);
    int64_t age = oldest ? clock_wall_ms() - oldest : 0;
    return age > 0 ? age : 0;
}

void bus_consumer_free(struct bus_consumer *c, int64_t timeout_ms)
{
    if (!c)
        return;
    bus_reader_hide_metrics(c->reader);
    if (!bus_reader_end(c->reader, timeout_ms))
        log_error("bus", "consumer_left", "timeout_ms=%lld", (long long)timeout_ms);
    for (; c->next < c->items.count; c->next++)
        bus_item_free(&c->items.list[c->next]);
    free(c->items.list);
    loop_wake_free(c->wake);
    free(c);
}
