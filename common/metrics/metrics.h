/* Counters, gauges and histograms in Prometheus text format 0.0.4.
 *
 * Each module declares its own metrics as static objects and registers them once at creation; a
 * metric lives for the process. Any thread may update (relaxed atomics); registering and
 * writing happen on the loop. Label sets are fixed text in the source or names from the
 * configuration, never anything a peer sends. */
#pragma once

#include "base/buf.h"

#include <stdatomic.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Upper bounds in milliseconds; the last bucket is +Inf. */
#define METRIC_BUCKETS 17

struct metric {
    const char *name;   /* botbridge_… ; counters end in _total, histograms in _ms */
    const char *labels; /* NULL or e.g. "outcome=\"busy\"" */
    const char *help;
    enum metric_kind kind;
    bool is_registered;
    struct metric *next;
    _Atomic int64_t value; /* counter, gauge; sum of milliseconds for a histogram */
    _Atomic uint64_t buckets[METRIC_BUCKETS];
};

#define METRIC(kind_, name_, labels_, help_)                                   \
    {                                                                          \
        .name = (name_), .labels = (labels_), .help = (help_), .kind = (kind_) \
    }

/* Registering twice is harmless; metrics of one name come out together, under one help text. */
void metric_register(struct metric *m);
/* For a metric that lives shorter than the process; safe when it is not registered. */
void metric_unregister(struct metric *m);

static inline void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline void metric_set(struct metric *m, int64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

/* The most so far; for metrics that only one thread updates. */
static inline void metric_raise(struct metric *m, int64_t v)
{
    if (v > atomic_load_explicit(&m->value, memory_order_relaxed))
        metric_set(m, v);
}

static inline int64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

void metric_observe_ms(struct metric *m, int64_t ms);

/* A gauge computed at scrape time: `read` is called on the loop just before writing. */
void metrics_on_scrape(void (*refresh)(void *arg), void *arg);
/* For owners that end before the process does. */
void metrics_off_scrape(void (*refresh)(void *arg), const void *arg);

/* Appends `name="value"`, escaped, to a label set that is being built in `out`. */
void metrics_append_label(struct buf *out, const char *name, struct bytes value);

/* Appends all registered metrics, and process_resident_memory_bytes, process_open_fds,
 * botbridge_build_info, botbridge_log_lines_dropped_total. */
void metrics_write(struct buf *out);
