#include "metrics/metrics.h"

#include "log/log.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t bucket_bounds_ms[METRIC_BUCKETS - 1] = {
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000,
};

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

struct refresher {
    struct refresher *next;
    void (*refresh)(void *arg);
    void *arg;
};

static struct metric *metrics;
static struct refresher *refreshers;

/* Prometheus wants the samples of one name together, whoever registers them and when. */
void metric_register(struct metric *m)
{
    if (m->is_registered)
        return;
    m->is_registered = true;
    struct metric **link = &metrics;
    struct metric **after_same_name = NULL;
    while (*link) {
        bool is_same = strcmp((*link)->name, m->name) == 0;
        link = &(*link)->next;
        if (is_same)
            after_same_name = link;
    }
    if (after_same_name)
        link = after_same_name;
    m->next = *link;
    *link = m;
}

void metric_unregister(struct metric *m)
{
    if (!m->is_registered)
        return;
    m->is_registered = false;
    struct metric **link = &metrics;
    while (*link != m)
        link = &(*link)->next;
    *link = m->next;
}

void metric_observe_ms(struct metric *m, int64_t ms)
{
    size_t bucket = 0;
    if (ms < 0)
        ms = 0;
    while (bucket < METRIC_BUCKETS - 1 && ms > bucket_bounds_ms[bucket])
        bucket++;
    atomic_fetch_add_explicit(&m->buckets[bucket], 1, memory_order_relaxed);
    metric_add(m, ms);
}

void metrics_on_scrape(void (*refresh)(void *arg), void *arg)
{
    struct refresher *r = BRG_NEW(struct refresher);
    *r = (struct refresher){refreshers, refresh, arg};
    refreshers = r;
}

void metrics_off_scrape(void (*refresh)(void *arg), const void *arg)
{
    struct refresher **link = &refreshers;
    while (*link) {
        struct refresher *r = *link;
        if (r->refresh == refresh && r->arg == arg) {
            *link = r->next;
            free(r);
        } else {
            link = &r->next;
        }
    }
}

static void append_escaped(struct buf *out, struct bytes text, bool is_quoted)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') {
            buf_append_str(out, "\\n");
            continue;
        }
        if (c == '\\' || (c == '"' && is_quoted))
            buf_append_char(out, '\\');
        buf_append_char(out, c);
    }
}

void metrics_append_label(struct buf *out, const char *name, struct bytes value)
{
    if (out->len > 0)
        buf_append_char(out, ',');
    buf_append_str(out, name);
    buf_append_str(out, "=\"");
    append_escaped(out, value, true);
    buf_append_char(out, '"');
}

static void append_head(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    append_escaped(out, bytes_of_str(help), false);
    buf_printf(out, "\n# TYPE %s %s\n", name, kind);
}

static void append_sample(struct buf *out, const struct metric *m, const char *suffix,
                          int64_t value)
{
    buf_append_str(out, m->name);
    buf_append_str(out, suffix);
    if (m->labels && m->labels[0])
        buf_printf(out, "{%s}", m->labels);
    buf_printf(out, " %" PRId64 "\n", value);
}

static void append_bucket(struct buf *out, const struct metric *m, size_t bucket,
                          uint64_t cumulative)
{
    buf_printf(out, "%s_bucket{", m->name);
    if (m->labels && m->labels[0])
        buf_printf(out, "%s,", m->labels);
    if (bucket < METRIC_BUCKETS - 1)
        buf_printf(out, "le=\"%" PRId64 "\"} ", bucket_bounds_ms[bucket]);
    else
        buf_append_str(out, "le=\"+Inf\"} ");
    buf_append_u64(out, cumulative);
    buf_append_char(out, '\n');
}

/* The count is that of the last bucket, so that the two agree while others observe. */
static void append_histogram(struct buf *out, const struct metric *m)
{
    uint64_t cumulative = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        cumulative += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        append_bucket(out, m, i, cumulative);
    }
    append_sample(out, m, "_sum", metric_get(m));
    append_sample(out, m, "_count", (int64_t)cumulative);
}

static int64_t resident_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    char text[128] = "";
    size_t len = fread(text, 1, sizeof(text) - 1, statm);
    (void)fclose(statm);
    /* "size resident shared …", in pages. */
    const char *resident = memchr(text, ' ', len);
    return resident ? strtoll(resident, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

static int64_t open_fds(void)
{
    /* Linux 6.2 and later tell the number as the size; before that it is 0. */
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;

    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    int64_t count = 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count - 1; /* the directory's own */
}

static void append_value(struct buf *out, const char *name, const char *kind, const char *help,
                         int64_t value)
{
    append_head(out, name, kind, help);
    buf_printf(out, "%s %" PRId64 "\n", name, value);
}

static void append_process(struct buf *out)
{
    append_value(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                 resident_bytes());
    append_value(out, "process_open_fds", "gauge", "Open file descriptors.", open_fds());
    append_value(out, "botbridge_log_lines_dropped_total", "counter",
                 "Log lines lost because stderr would have blocked.", (int64_t)log_dropped());
    append_head(out, "botbridge_build_info", "gauge", "Always 1; the label says what runs.");
    buf_append_str(out, "botbridge_build_info{version=\"" BOTBRIDGE_VERSION "\"} 1\n");
}

void metrics_write(struct buf *out)
{
    for (const struct refresher *r = refreshers; r; r = r->next)
        r->refresh(r->arg);
    const char *last_name = "";
    for (const struct metric *m = metrics; m; m = m->next) {
        if (strcmp(last_name, m->name) != 0)
            append_head(out, m->name, kind_names[m->kind], m->help);
        last_name = m->name;
        if (m->kind == METRIC_HISTOGRAM)
            append_histogram(out, m);
        else
            append_sample(out, m, "", metric_get(m));
    }
    append_process(out);
}
