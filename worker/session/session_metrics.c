#include "session/session_internal.h"

struct session_metrics session_metrics = {
    .done = METRIC(METRIC_COUNTER, "botbridge_worker_answers_total", "outcome=\"done\"",
                   "Answers by how they ended"),
    .apology = METRIC(METRIC_COUNTER, "botbridge_worker_answers_total", "outcome=\"apology\"",
                      "Answers by how they ended"),
    .deadline = METRIC(METRIC_COUNTER, "botbridge_worker_answers_total", "outcome=\"deadline\"",
                       "Answers by how they ended"),
    .closed = METRIC(METRIC_COUNTER, "botbridge_worker_answers_total", "outcome=\"closed\"",
                     "Answers by how they ended"),
    .dead_letters = METRIC(METRIC_COUNTER, "botbridge_worker_dead_letters_total", NULL,
                           "Dead letters acknowledged by Kafka"),
    .events = METRIC(METRIC_COUNTER, "botbridge_worker_events_total", NULL,
                     "Answer events acknowledged by Kafka"),
    .retries = METRIC(METRIC_COUNTER, "botbridge_worker_retries_total", NULL,
                      "Attempts after a failed one"),
    .fenced = METRIC(METRIC_COUNTER, "botbridge_worker_fenced_total", NULL,
                     "Streams found to belong to a newer owner"),
    .takeovers = METRIC(METRIC_COUNTER, "botbridge_worker_takeovers_total", NULL,
                        "Streams taken over from another owner"),
    .releases = METRIC(METRIC_COUNTER, "botbridge_worker_releases_total", NULL,
                       "Streams given up for another worker"),
    .puts = METRIC(METRIC_COUNTER, "botbridge_worker_puts_total", NULL,
                   "Writes of text or lease to the store"),
    .store_failures = METRIC(METRIC_COUNTER, "botbridge_worker_store_failures_total", NULL,
                             "Store calls of sessions without a known outcome"),
    .letter_failures = METRIC(METRIC_COUNTER, "botbridge_worker_letter_failures_total", NULL,
                              "Dead letters and events that have to be produced again"),
    .letters_lost =
        METRIC(METRIC_COUNTER, "botbridge_worker_letters_lost_total", NULL,
               "Dead letters and events given up: Kafka refuses even their outline"),
    .shed = METRIC(METRIC_COUNTER, "botbridge_worker_shed_total", NULL,
                   "Questions refused because their bot or pipeline had too much in hand"),
    .alone = METRIC(METRIC_COUNTER, "botbridge_worker_alone_total", NULL,
                    "Starts of a question alone, because workers died with it"),
    .poison = METRIC(METRIC_COUNTER, "botbridge_worker_poison_total", NULL,
                     "Questions given up because a worker died while it ran them alone"),
    .cut = METRIC(METRIC_COUNTER, "botbridge_worker_answers_cut_total", NULL,
                  "Answers ended because they were longer than worker.answer_max_bytes"),
    .moved = METRIC(METRIC_COUNTER, "botbridge_worker_late_total", NULL,
                    "Records moved to the late topic: what is owed outlives the bubble"),
    .url_refused =
        METRIC(METRIC_COUNTER, "botbridge_worker_response_url_forbidden_total", NULL,
               "Messages whose response_url may not be called (section response_url)"),
    .first_text_ms = METRIC(METRIC_HISTOGRAM, "botbridge_worker_first_text_ms", NULL,
                            "From the record's arrival to the first text"),
    .answer_ms = METRIC(METRIC_HISTOGRAM, "botbridge_worker_answer_ms", NULL,
                        "From the record's arrival to the visible end"),
};

void session_metrics_register(void)
{
    struct session_metrics *m = &session_metrics;
    metric_register(&m->done);
    metric_register(&m->apology);
    metric_register(&m->deadline);
    metric_register(&m->closed);
    metric_register(&m->dead_letters);
    metric_register(&m->events);
    metric_register(&m->retries);
    metric_register(&m->fenced);
    metric_register(&m->takeovers);
    metric_register(&m->releases);
    metric_register(&m->puts);
    metric_register(&m->store_failures);
    metric_register(&m->letter_failures);
    metric_register(&m->letters_lost);
    metric_register(&m->shed);
    metric_register(&m->alone);
    metric_register(&m->poison);
    metric_register(&m->cut);
    metric_register(&m->moved);
    metric_register(&m->url_refused);
    metric_register(&m->first_text_ms);
    metric_register(&m->answer_ms);
}
