#include "bus/bus_reader.h"

#include "base/clock.h"
#include "base/crash_point.h"
#include "bus/bus_commit.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <poll.h>
#include <time.h>

enum {
    MEMORY_WAIT_MS = 20,   /* freed memory is not signalled */
    RECORDS_PER_TURN = 64, /* of one partition, before the next one's turn */
};

static struct metric records_read = METRIC(METRIC_COUNTER, "botbridge_bus_records_read_total",
                                           NULL, "Records handed to the loop");
static struct metric records_done =
    METRIC(METRIC_COUNTER, "botbridge_bus_records_done_total", NULL, "Records completed");
static struct metric rebalances = METRIC(METRIC_COUNTER, "botbridge_bus_rebalances_total", NULL,
                                         "Assignments and revocations");
/* Of each consumer. */
enum gauge {
    PARTITIONS,
    LAG,
    WINDOW_RECORDS,
    WINDOW_RECORDS_LIMIT,
    WINDOW_BYTES,
    WINDOW_BYTES_LIMIT,
    TOTAL_BYTES,
    TOTAL_BYTES_LIMIT,
    FRONTIER_AGE,
};
static const char *const gauge_texts[BUS_READER_GAUGES][2] = {
    [PARTITIONS] = {"botbridge_bus_partitions", "Partitions owned now"},
    [LAG] = {"botbridge_bus_consumer_lag_records",
             "Records behind the commits of owned partitions"},
    [WINDOW_RECORDS] = {"botbridge_bus_window_records",
                        "Widest span from frontier to newest record"},
    [WINDOW_RECORDS_LIMIT] = {"botbridge_bus_window_records_limit",
                              "Bound of the above (worker.window_records)"},
    [WINDOW_BYTES] = {"botbridge_bus_window_bytes",
                      "Bytes of incomplete records of the partition that has most"},
    [WINDOW_BYTES_LIMIT] = {"botbridge_bus_window_bytes_limit",
                            "Bound of the above (worker.window_bytes)"},
    [TOTAL_BYTES] = {"botbridge_bus_total_bytes", "Bytes of records in hand, all partitions"},
    [TOTAL_BYTES_LIMIT] = {"botbridge_bus_total_bytes_limit",
                           "Bound of the above (worker.total_bytes)"},
    [FRONTIER_AGE] = {"botbridge_bus_frontier_age_ms", "Age of the oldest incomplete record"},
};

void bus_reader_show_metrics(struct bus_reader *r, const char *topic)
{
    static struct metric *const shared[] = {&records_read, &records_done, &rebalances};
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        metric_register(shared[i]);
    bus_commit_metrics();
    struct buf labels;
    buf_init(&labels, BUS_TOPIC_NAME_BYTES * 2);
    metrics_append_label(&labels, "topic", bytes_of_str(topic));
    r->labels = bytes_dup(buf_bytes(&labels));
    buf_free(&labels);
    for (size_t i = 0; i < BUS_READER_GAUGES; i++) {
        r->gauges[i] = (struct metric)METRIC(METRIC_GAUGE, gauge_texts[i][0], r->labels,
                                             gauge_texts[i][1]);
        metric_register(&r->gauges[i]);
    }
}

void bus_reader_hide_metrics(struct bus_reader *r)
{
    for (size_t i = 0; i < BUS_READER_GAUGES; i++)
        metric_unregister(&r->gauges[i]);
}

static void apply_dones(struct bus_reader *r)
{
    bus_channel_take_dones(&r->channel, &r->dones);
    for (size_t i = 0; i < r->dones.count; i++) {
        const struct bus_done *d = &r->dones.list[i];
        if (!bus_parts_complete(&r->parts, d->origin, d->offset, d->bytes))
            continue;
        metric_add(&records_done, 1);
        crash_point("offset.marked");
    }
}

static void tell_revoked(struct bus_reader *r, const struct bus_part *part)
{
    bus_channel_push_one(&r->channel, (struct bus_item){.kind = BUS_ITEM_REVOKE,
                                                        .text = brg_strdup(part->topic),
                                                        .partition = part->partition,
                                                        .generation = part->origin.generation});
}

static void fail_for_good(struct bus_reader *r)
{
    if (r->is_dead)
        return;
    r->is_dead = true;
    char text[BRG_ERROR_TEXT_BYTES];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(r->rk, text, sizeof text);
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        snprintf(text, sizeof text, "another process has the same worker.slot");
    log_error("bus", "consumer_fatal", "code=%s text=\"%s\"", rd_kafka_err2name(code), text);
    bus_channel_push_one(&r->channel,
                         (struct bus_item){.kind = BUS_ITEM_FATAL, .text = brg_strdup(text)});
}

/* The library tells errors by its callback or in place of a record: a consumer's fatal one in
 * place of a record. */
static void note_error(struct bus_reader *r, rd_kafka_resp_err_t err, const char *reason)
{
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        fail_for_good(r);
    else if (!bus_is_connection_error(err))
        log_warn("bus", "consumer_error", "code=%s text=\"%s\"", rd_kafka_err2name(err),
                 reason);
}

/* --- rebalances: inside rd_kafka_consumer_poll or _close, this thread --- */

/* Split before the assign call: after it, records could already be on their way to the consumer
 * queue. */
static void take_partition(struct bus_reader *r, const rd_kafka_topic_partition_t *tp)
{
    struct bus_part *old = bus_parts_find(&r->parts, tp->topic, tp->partition);
    if (old) {
        tell_revoked(r, old);
        bus_parts_drop(&r->parts, old);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(r->rk, tp->topic, tp->partition);
    BRG_CHECK(queue);
    rd_kafka_queue_forward(queue, NULL);
    bus_eventfd_attach(queue, r->channel.reader_fd);
    bus_parts_add(&r->parts, tp->topic, tp->partition, queue);
}

static void give_partition(struct bus_reader *r, const rd_kafka_topic_partition_t *tp)
{
    struct bus_part *part = bus_parts_find(&r->parts, tp->topic, tp->partition);
    if (!part)
        return;
    bus_eventfd_attach(part->queue, -1);
    tell_revoked(r, part);
    bus_parts_drop(&r->parts, part);
}

static void on_assign(struct bus_reader *r, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        take_partition(r, &list->elems[i]);
    rd_kafka_error_t *error = rd_kafka_incremental_assign(r->rk, list);
    metric_add(&r->gauges[PARTITIONS], list->cnt);
    log_info("bus", "assigned", "partitions=%d ok=%d", list->cnt, error == NULL);
    if (error)
        log_error("bus", "assign_failed", "text=\"%s\"", rd_kafka_error_string(error));
    if (error)
        rd_kafka_error_destroy(error);
    if (r->is_joined)
        return;
    r->is_joined = true;
    bus_channel_push_one(&r->channel, (struct bus_item){.kind = BUS_ITEM_JOINED});
}

/* A lost assignment may already be somebody else's: a commit would move their frontier. */
static void on_revoke(struct bus_reader *r, rd_kafka_topic_partition_list_t *list)
{
    bool is_lost = rd_kafka_assignment_lost(r->rk) != 0;
    apply_dones(r);
    if (!is_lost && !r->is_dead)
        bus_commit_now(r, list);
    for (int i = 0; i < list->cnt; i++)
        give_partition(r, &list->elems[i]);
    rd_kafka_error_t *error = rd_kafka_incremental_unassign(r->rk, list);
    metric_add(&r->gauges[PARTITIONS], -list->cnt);
    log_info("bus", "revoked", "partitions=%d lost=%d", list->cnt, is_lost);
    if (error)
        log_error("bus", "unassign_failed", "text=\"%s\"", rd_kafka_error_string(error));
    if (error)
        rd_kafka_error_destroy(error);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_reader *r = opaque;
    metric_add(&rebalances, 1);
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assign(r, list);
    } else if (err == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoke(r, list);
    } else {
        log_error("bus", "rebalance_failed", "text=\"%s\"", rd_kafka_err2str(err));
        rd_kafka_assign(rk, NULL);
    }
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    (void)rk;
    note_error(opaque, (rd_kafka_resp_err_t)err, reason);
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    (void)rk;
    (void)len;
    struct bus_reader *r = opaque;
    metric_set(&r->gauges[LAG], bus_stats_scan(json, "\"consumer_lag\":").sum);
    return 0; /* the library frees the text */
}

void bus_reader_configure(rd_kafka_conf_t *conf, struct bus_reader *r)
{
    rd_kafka_conf_set_opaque(conf, r);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, bus_commit_on_result);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_stats);
}

/* --- reading --- */

/* Of records that are not complete, or not freed. */
static size_t bytes_in_hand(const struct bus_reader *r)
{
    size_t kept = atomic_load(&r->ledger->bytes);
    return r->parts.bytes > kept ? r->parts.bytes : kept;
}

static bool is_memory_full(const struct bus_reader *r)
{
    return bytes_in_hand(r) >= r->total_bytes;
}

static void flush_batch(struct bus_reader *r)
{
    metric_add(&records_read, (int64_t)r->batch.count);
    bus_channel_push(&r->channel, &r->batch);
}

/* Everything before it goes first: order is what the loop relies on. */
static void restart_part(struct bus_reader *r, struct bus_part *part, int64_t offset)
{
    log_warn("bus", "partition_rewound", "topic=%s partition=%d frontier=%lld offset=%lld",
             part->topic, (int)part->partition, (long long)bus_part_frontier(part),
             (long long)offset);
    flush_batch(r);
    tell_revoked(r, part);
    bus_part_restart(&r->parts, part);
}

/* Takes `raw`. */
static struct bus_message *take_record(struct bus_reader *r, struct bus_part *part,
                                       rd_kafka_message_t *raw)
{
    if (bus_part_is_rewound(part, raw->offset))
        restart_part(r, part, raw->offset);
    struct bus_message *m = bus_message_new(raw, part->origin, r->ledger);
    rd_kafka_message_destroy(raw);
    return m;
}

static void take_end(struct bus_reader *r, struct bus_part *part, int64_t offset)
{
    if (bus_part_is_rewound(part, offset))
        restart_part(r, part, offset);
    bus_part_note_end(part, offset);
}

static struct bus_message *read_one(struct bus_reader *r, struct bus_part *part)
{
    for (;;) {
        rd_kafka_message_t *raw = rd_kafka_consume_queue(part->queue, 0);
        if (!raw)
            return NULL;
        if (!raw->err)
            return take_record(r, part, raw);
        if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            take_end(r, part, raw->offset);
        else
            log_warn("bus", "partition_error", "topic=%s partition=%d text=\"%s\"", part->topic,
                     (int)part->partition, rd_kafka_message_errstr(raw));
        rd_kafka_message_destroy(raw);
    }
}

enum read_end { READ_EMPTY, READ_TURN_OVER, READ_BLOCKED };

static enum read_end read_part(struct bus_reader *r, struct bus_part *part, size_t limit)
{
    for (size_t n = 0; n < limit; n++) {
        if (!bus_part_has_room(&r->parts, part) || is_memory_full(r))
            return READ_BLOCKED;
        struct bus_message *m = part->parked ? part->parked : read_one(r, part);
        part->parked = NULL;
        if (!m)
            return READ_EMPTY;
        if (!bus_part_receive(&r->parts, part, m)) {
            part->parked = m;
            return READ_BLOCKED;
        }
        bus_items_add(&r->batch, (struct bus_item){.kind = BUS_ITEM_MESSAGE, .message = m});
        crash_point("record.read");
    }
    return READ_TURN_OVER;
}

struct pass {
    bool has_more;
    bool waits_for_room;
    bool waits_for_dones;
    bool is_memory_full;
};

static struct pass read_all(struct bus_reader *r)
{
    struct pass pass = {0};
    if (atomic_load(&r->is_draining))
        return pass;
    for (size_t i = 0; i < r->parts.count; i++) {
        struct bus_part *part = &r->parts.list[(r->next_part + i) % r->parts.count];
        if (!part->is_used)
            continue;
        size_t room = bus_channel_room(&r->channel);
        size_t limit = room < RECORDS_PER_TURN ? room : RECORDS_PER_TURN;
        enum read_end end = limit > 0 ? read_part(r, part, limit) : READ_EMPTY;
        flush_batch(r);
        pass.waits_for_room |= limit == 0;
        pass.has_more |= end == READ_TURN_OVER;
        pass.waits_for_dones |= end == READ_BLOCKED;
    }
    pass.is_memory_full = is_memory_full(r);
    r->next_part++;
    return pass;
}

/* --- the thread --- */

/* The partitions are split, so only errors are expected here. A record would be one that was on
 * its way while the queue was split: it precedes all of its partition's queue, and to drop it
 * would be to lose it, because the tracker takes what it never saw for a gap. */
static void on_polled(struct bus_reader *r, rd_kafka_message_t *raw)
{
    if (raw->err) {
        note_error(r, raw->err, rd_kafka_message_errstr(raw));
        rd_kafka_message_destroy(raw);
        return;
    }
    struct bus_part *part =
        bus_parts_find(&r->parts, rd_kafka_topic_name(raw->rkt), raw->partition);
    BRG_CHECK(part && !part->parked);
    struct bus_message *m = take_record(r, part, raw);
    BRG_CHECK(bus_part_receive(&r->parts, part, m));
    bus_items_add(&r->batch, (struct bus_item){.kind = BUS_ITEM_MESSAGE, .message = m});
    flush_batch(r);
}

static void serve_consumer_queue(struct bus_reader *r)
{
    for (;;) {
        rd_kafka_message_t *raw = rd_kafka_consumer_poll(r->rk, 0);
        if (!raw)
            return;
        on_polled(r, raw);
    }
}

static void publish(struct bus_reader *r)
{
    int64_t oldest = bus_parts_oldest_ms(&r->parts);
    int64_t age = oldest ? clock_wall_ms() - oldest : 0;
    atomic_store(&r->oldest_ms, oldest);
    metric_set(&r->gauges[FRONTIER_AGE], age > 0 ? age : 0);
    metric_set(&r->gauges[WINDOW_RECORDS], bus_parts_widest(&r->parts));
    metric_set(&r->gauges[WINDOW_BYTES], (int64_t)bus_parts_fullest(&r->parts));
    metric_set(&r->gauges[TOTAL_BYTES], (int64_t)bytes_in_hand(r));
}

static void sleep_until_signalled(struct bus_reader *r, struct pass pass)
{
    if (pass.has_more && !pass.waits_for_room)
        return;
    if (!bus_channel_may_sleep(&r->channel, pass.waits_for_room, pass.waits_for_dones))
        return;
    int64_t wait_ms = bus_commit_wait_ms(r);
    if (pass.is_memory_full && wait_ms > MEMORY_WAIT_MS)
        wait_ms = MEMORY_WAIT_MS;
    struct pollfd fd = {.fd = r->channel.reader_fd, .events = POLLIN};
    poll(&fd, 1, (int)wait_ms);
}

/* librdkafka before 2.3.0 aborts when a cooperative-sticky member goes between its join and its
 * first assignment (confluentinc/librdkafka#4312). It is closed then, and its memory goes with
 * the process. */
static bool may_destroy(const struct bus_reader *r)
{
    enum { FIXED_VERSION = 0x020300ff };
    return r->is_joined || rd_kafka_version() >= FIXED_VERSION;
}

static void end_thread(struct bus_reader *r)
{
    rd_kafka_consumer_close(r->rk);
    bus_parts_free(&r->parts);
    bus_eventfd_attach(r->queue, -1);
    rd_kafka_queue_destroy(r->queue);
    if (may_destroy(r))
        rd_kafka_destroy(r->rk);
    pthread_mutex_lock(&r->lock);
    r->is_gone = true;
    pthread_cond_broadcast(&r->ended);
    bool is_left = r->is_left;
    pthread_mutex_unlock(&r->lock);
    if (is_left)
        bus_reader_free(r);
}

static void *run(void *arg)
{
    struct bus_reader *r = arg;
    while (!atomic_load(&r->is_ending)) {
        bus_eventfd_clear(r->channel.reader_fd);
        serve_consumer_queue(r);
        apply_dones(r);
        struct pass pass = read_all(r);
        bus_commit_if_due(r);
        publish(r);
        sleep_until_signalled(r, pass);
    }
    end_thread(r);
    return NULL;
}

void bus_reader_start(struct bus_reader *r)
{
    bus_cond_init(&r->ended);
    pthread_mutex_init(&r->lock, NULL);
    metric_set(&r->gauges[WINDOW_RECORDS_LIMIT], r->parts.window);
    metric_set(&r->gauges[WINDOW_BYTES_LIMIT], (int64_t)r->parts.window_bytes);
    metric_set(&r->gauges[TOTAL_BYTES_LIMIT], (int64_t)r->total_bytes);
    r->queue = rd_kafka_queue_get_consumer(r->rk);
    bus_eventfd_attach(r->queue, r->channel.reader_fd);
    bus_thread_start(&r->thread, run, r);
}

bool bus_reader_end(struct bus_reader *r, int64_t timeout_ms)
{
    struct timespec at = bus_deadline_after(timeout_ms);
    pthread_t thread = r->thread;
    bus_channel_leave(&r->channel);
    atomic_store(&r->is_ending, true);
    bus_eventfd_signal(r->channel.reader_fd);
    pthread_mutex_lock(&r->lock);
    while (!r->is_gone)
        if (pthread_cond_timedwait(&r->ended, &r->lock, &at) != 0)
            break;
    bool is_gone = r->is_gone;
    r->is_left = !is_gone;
    pthread_mutex_unlock(&r->lock);
    if (!is_gone) {
        pthread_detach(thread);
        return false;
    }
    pthread_join(thread, NULL);
    bus_reader_free(r);
    return true;
}

void bus_reader_free(struct bus_reader *r)
{
    bus_parts_free(&r->parts);
    bus_channel_free(&r->channel);
    bus_ledger_release(r->ledger);
    free(r->batch.list);
    free(r->dones.list);
    free(r->labels);
    free(r);
}
