#include "bus/bus_commit.h"

#include "base/clock.h"
#include "base/crash_point.h"
#include "log/log.h"
#include "metrics/metrics.h"

enum {
    COMMIT_EVERY_MS = 500,
    COMMIT_UNTOLD_MS = 5000, /* after a coordinator that did not say what is committed */
    COMMIT_LOST_MS = 10000,  /* after this a result is not waited for any more */
    COMMIT_NOW_MS = 2000,
    LOOK_MS = 1000,
};

static struct metric committed = METRIC(METRIC_COUNTER, "botbridge_bus_commits_total",
                                        "outcome=\"ok\"", "Offset commits by result");
static struct metric uncommitted = METRIC(METRIC_COUNTER, "botbridge_bus_commits_total",
                                          "outcome=\"failed\"", "Offset commits by result");

void bus_commit_metrics(void)
{
    metric_register(&committed);
    metric_register(&uncommitted);
}

static void add_frontier(rd_kafka_topic_partition_list_t *list, struct bus_part *part)
{
    part->commit_sent = bus_part_frontier(part);
    rd_kafka_topic_partition_list_add(list, part->topic, part->partition)->offset =
        part->commit_sent;
}

static rd_kafka_topic_partition_list_t *dirty_frontiers(struct bus_reader *r)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)r->parts.count);
    for (size_t i = 0; i < r->parts.count; i++)
        if (bus_part_is_dirty(&r->parts.list[i]))
            add_frontier(list, &r->parts.list[i]);
    return list;
}

static bool has_dirty(const struct bus_reader *r)
{
    for (size_t i = 0; i < r->parts.count; i++)
        if (bus_part_is_dirty(&r->parts.list[i]))
            return true;
    return false;
}

static void note_result(struct bus_reader *r, rd_kafka_resp_err_t err,
                        const rd_kafka_topic_partition_list_t *list)
{
    bool is_good = !err;
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];
        struct bus_part *part = bus_parts_find(&r->parts, tp->topic, tp->partition);
        if (!err && !tp->err && part && part->commit_sent == tp->offset)
            part->committed = tp->offset;
        if (tp->err)
            is_good = false;
        if (!err && tp->err)
            err = tp->err;
    }
    metric_add(is_good ? &committed : &uncommitted, 1);
    if (!is_good)
        log_warn("bus", "uncommitted", "code=%s", rd_kafka_err2name(err));
}

void bus_commit_on_result(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                          rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)rk;
    struct bus_reader *r = opaque;
    crash_point("commit.answered");
    r->commit_out_ms = 0;
    if (err != RD_KAFKA_RESP_ERR__NO_OFFSET)
        note_result(r, err, list);
}

/* A partition of which only the end is known mostly was committed up to there by an earlier
 * owner: that is asked for, once and for all of them together, instead of said again. Without
 * an answer it is said again, later: this thread waited for it, and reads for all partitions.
 */
static bool look_up_committed(struct bus_reader *r)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)r->parts.count);
    for (size_t i = 0; i < r->parts.count; i++) {
        const struct bus_part *part = &r->parts.list[i];
        if (bus_part_is_dirty(part) && !part->is_started && part->committed < 0)
            rd_kafka_topic_partition_list_add(list, part->topic, part->partition);
    }
    bool is_told = list->cnt == 0 || !rd_kafka_committed(r->rk, list, LOOK_MS);
    for (int i = 0; is_told && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];
        struct bus_part *part = bus_parts_find(&r->parts, tp->topic, tp->partition);
        if (part && !tp->err && tp->offset >= 0)
            part->committed = tp->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return is_told;
}

void bus_commit_if_due(struct bus_reader *r)
{
    int64_t now = clock_mono_ms();
    bool is_out = r->commit_out_ms && now - r->commit_out_ms < COMMIT_LOST_MS;
    if (r->is_dead || now < r->commit_due_ms || is_out)
        return;
    bool is_told = look_up_committed(r);
    rd_kafka_topic_partition_list_t *list = dirty_frontiers(r);
    if (list->cnt > 0) {
        r->commit_due_ms = now + (is_told ? COMMIT_EVERY_MS : COMMIT_UNTOLD_MS);
        rd_kafka_resp_err_t err = rd_kafka_commit(r->rk, list, 1);
        crash_point("commit.sent");
        r->commit_out_ms = err ? 0 : now;
        if (err)
            note_result(r, err, NULL);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t bus_commit_wait_ms(const struct bus_reader *r)
{
    if (!has_dirty(r) || r->commit_out_ms)
        return COMMIT_EVERY_MS;
    int64_t wait = r->commit_due_ms - clock_mono_ms();
    return wait > 0 ? wait : 0;
}

static void commit_and_wait(struct bus_reader *r, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(r->rk);
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(r->rk, list, queue, NULL, NULL);
    crash_point("last_commit.sent");
    rd_kafka_event_t *event = err ? NULL : rd_kafka_queue_poll(queue, COMMIT_NOW_MS);
    crash_point("last_commit.answered");
    if (event)
        note_result(r, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event));
    else
        note_result(r, err ? err : RD_KAFKA_RESP_ERR__TIMED_OUT, NULL);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
}

void bus_commit_now(struct bus_reader *r, const rd_kafka_topic_partition_list_t *revoked)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(revoked->cnt);
    for (int i = 0; i < revoked->cnt; i++) {
        struct bus_part *part =
            bus_parts_find(&r->parts, revoked->elems[i].topic, revoked->elems[i].partition);
        if (part && bus_part_is_dirty(part))
            add_frontier(list, part);
    }
    if (list->cnt > 0)
        commit_and_wait(r, list);
    rd_kafka_topic_partition_list_destroy(list);
}
