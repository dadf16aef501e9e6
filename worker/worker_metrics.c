#include "worker_metrics.h"

#include "metrics/metrics.h"

#define STATE_GAUGE(state, label) \
    [state] = METRIC(METRIC_GAUGE, "botbridge_worker_sessions", label, "Sessions by state")

static struct metric state_gauges[SESSION_RELEASING + 1] = {
    STATE_GAUGE(SESSION_QUEUED, "state=\"queued\""),
    STATE_GAUGE(SESSION_WAITING, "state=\"waiting\""),
    STATE_GAUGE(SESSION_CLAIMING, "state=\"claiming\""),
    STATE_GAUGE(SESSION_READY, "state=\"ready\""),
    STATE_GAUGE(SESSION_RUNNING, "state=\"running\""),
    STATE_GAUGE(SESSION_FINISHING, "state=\"finishing\""),
    STATE_GAUGE(SESSION_SETTLING, "state=\"settling\""),
    STATE_GAUGE(SESSION_RELEASING, "state=\"releasing\""),
};
static struct metric begun = METRIC(METRIC_GAUGE, "botbridge_worker_sessions_begun", NULL,
                                    "Sessions that have their lane's turn");
static struct metric begun_limit = METRIC(METRIC_GAUGE, "botbridge_worker_sessions_begun_limit",
                                          NULL, "Bound of the above (worker.max_sessions)");
static struct metric frontier_age = METRIC(METRIC_GAUGE, "botbridge_worker_frontier_age_ms",
                                           NULL, "Age of the oldest incomplete record");

static struct metric quota_gauges[] = {
    METRIC(METRIC_GAUGE, "botbridge_worker_bot_records", NULL,
           "Records in hand of the bot that has most"),
    METRIC(METRIC_GAUGE, "botbridge_worker_bot_records_limit", NULL,
           "Bound of the above (worker.bot_max_records)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_bot_bytes", NULL, "The same in bytes"),
    METRIC(METRIC_GAUGE, "botbridge_worker_bot_bytes_limit", NULL,
           "Bound of the above (worker.bot_max_bytes)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_records", NULL,
           "Records in hand of the pipeline that has most"),
    METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_records_limit", NULL,
           "Bound of the above (worker.pipeline_max_records)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_bytes", NULL, "The same in bytes"),
    METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_bytes_limit", NULL,
           "Bound of the above (worker.pipeline_max_bytes)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_lane_records", NULL,
           "Records in hand of the lane that has most"),
    METRIC(METRIC_GAUGE, "botbridge_worker_lane_records_limit", NULL,
           "Bound of the above (worker.lane_max_records)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_lane_bytes", NULL, "The same in bytes"),
    METRIC(METRIC_GAUGE, "botbridge_worker_lane_bytes_limit", NULL,
           "Bound of the above (worker.lane_max_bytes)"),
};

static struct metric other_gauges[] = {
    METRIC(METRIC_GAUGE, "botbridge_worker_finals", NULL,
           "Final texts kept to be written again"),
    METRIC(METRIC_GAUGE, "botbridge_worker_finals_limit", NULL,
           "Bound of the above (worker.finals_entries)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_finals_bytes", NULL, "Bytes they take"),
    METRIC(METRIC_GAUGE, "botbridge_worker_finals_bytes_limit", NULL,
           "Bound of the above (worker.finals_bytes)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_puts_in_flight", NULL,
           "Writes of text or lease that the store has not answered"),
    METRIC(METRIC_GAUGE, "botbridge_worker_puts_in_flight_limit", NULL,
           "Bound of the above (worker.puts_in_flight)"),
    METRIC(METRIC_GAUGE, "botbridge_worker_answer_bytes", NULL, "Longest answer in hand"),
    METRIC(METRIC_GAUGE, "botbridge_worker_answer_bytes_limit", NULL,
           "Bound of the above (worker.answer_max_bytes)"),
};

static size_t longest_answer(const struct worker *w)
{
    size_t longest = 0;
    for (struct list *node = w->sessions.next; node != &w->sessions; node = node->next) {
        const struct session *s = LIST_ENTRY(node, struct session, node);
        longest = s->answer.text.len > longest ? s->answer.text.len : longest;
    }
    return longest;
}

static void refresh_others(const struct worker *w)
{
    const int64_t values[] = {
        (int64_t)w->finals.count,   (int64_t)w->finals.max_count,
        (int64_t)w->finals.bytes,   (int64_t)w->finals.max_bytes,
        (int64_t)w->puts_in_flight, (int64_t)w->max_puts_in_flight,
        (int64_t)longest_answer(w), w->config->worker.answer_max_bytes,
    };
    for (size_t i = 0; i < sizeof(other_gauges) / sizeof(*other_gauges); i++)
        metric_set(&other_gauges[i], values[i]);
}

static void refresh_quotas(struct worker *w)
{
    struct metric *m = quota_gauges;
    struct quotas *const all[] = {&w->bot_quotas, &w->pipeline_quotas, &w->lane_quotas, NULL};
    for (size_t i = 0; all[i]; i++) {
        struct quota_use use = quotas_fullest(all[i]);
        metric_set(m++, (int64_t)use.records);
        metric_set(m++, (int64_t)all[i]->max_records);
        metric_set(m++, (int64_t)use.bytes);
        metric_set(m++, (int64_t)all[i]->max_bytes);
    }
}

static void refresh_metrics(void *arg)
{
    struct worker *w = arg;
    for (size_t i = 0; i <= SESSION_RELEASING; i++)
        metric_set(&state_gauges[i], (int64_t)w->in_state[i]);
    metric_set(&begun, (int64_t)w->lanes.turns.served);
    metric_set(&begun_limit, (int64_t)w->lanes.turns.capacity);
    upstreams_refresh_metrics(&w->upstreams);
    refresh_quotas(w);
    refresh_others(w);
    metric_set(&frontier_age, intake_frontier_age_ms(&w->intake));
}

void worker_metrics_register(struct worker *w)
{
    session_metrics_register();
    delivery_metrics_register();
    for (size_t i = 0; i <= SESSION_RELEASING; i++)
        metric_register(&state_gauges[i]);
    metric_register(&begun);
    metric_register(&begun_limit);
    for (size_t i = 0; i < sizeof(quota_gauges) / sizeof(*quota_gauges); i++)
        metric_register(&quota_gauges[i]);
    metric_register(&frontier_age);
    for (size_t i = 0; i < sizeof(other_gauges) / sizeof(*other_gauges); i++)
        metric_register(&other_gauges[i]);
    metrics_on_scrape(refresh_metrics, w);
}

void worker_metrics_unregister(struct worker *w)
{
    metrics_off_scrape(refresh_metrics, w);
}
