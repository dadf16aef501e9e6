/* Metrics as Prometheus reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "metrics/metrics.h"

#include <pthread.h>
#include <unistd.h>

enum { PAGE_MAX = 1 << 20 };

/* The page as text; the caller frees it. */
static char *scrape(void)
{
    struct buf page;
    buf_init(&page, PAGE_MAX);
    metrics_write(&page);
    buf_append_char(&page, '\0');
    assert_false(page.overflowed);
    size_t len = 0;
    return buf_take(&page, &len);
}

static void assert_has(const char *page, const char *text)
{
    if (!strstr(page, text))
        fail_msg("missing:\n%s\nin:\n%s", text, page);
}

static int64_t value_of(const char *page, const char *name)
{
    char start[128];
    (void)snprintf(start, sizeof(start), "\n%s ", name);
    const char *at = strstr(page, start);
    assert_non_null(at);
    return strtoll(at + strlen(start), NULL, 10);
}

static void counters_and_gauges(void **state)
{
    (void)state;
    static struct metric busy =
        METRIC(METRIC_COUNTER, "test_answers_total", "outcome=\"busy\"", "Answers sent.");
    static struct metric depth =
        METRIC(METRIC_GAUGE, "test_depth", NULL, "Back\\slash\nline \"q\".");
    static struct metric done =
        METRIC(METRIC_COUNTER, "test_answers_total", "outcome=\"done\"", "Answers sent.");
    metric_register(&busy);
    metric_register(&depth);
    metric_register(&done);
    metric_register(&busy);
    metric_add(&busy, 2);
    metric_add(&busy, 1);
    metric_set(&depth, -4);
    assert_int_equal(metric_get(&busy), 3);
    char *page = scrape();
    assert_has(page, "# HELP test_answers_total Answers sent.\n"
                     "# TYPE test_answers_total counter\n"
                     "test_answers_total{outcome=\"busy\"} 3\n"
                     "test_answers_total{outcome=\"done\"} 0\n"
                     "# HELP test_depth Back\\\\slash\\nline \"q\".\n"
                     "# TYPE test_depth gauge\n"
                     "test_depth -4\n");
    free(page);
}

static void histogram_is_cumulative(void **state)
{
    (void)state;
    static struct metric plain = METRIC(METRIC_HISTOGRAM, "test_wait_ms", NULL, "Wait.");
    static struct metric labelled =
        METRIC(METRIC_HISTOGRAM, "test_wait_ms", "kind=\"x\"", "Wait.");
    metric_register(&plain);
    metric_register(&labelled);
    /* Each bound belongs to its bucket, the next millisecond to the next one. */
    static const int64_t values[] = {-3, 0, 1, 2, 3, 300000, 300001, 9000000};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        metric_observe_ms(&plain, values[i]);
    metric_observe_ms(&labelled, 60000);
    char *page = scrape();
    assert_has(page, "# TYPE test_wait_ms histogram\n"
                     "test_wait_ms_bucket{le=\"1\"} 3\n"
                     "test_wait_ms_bucket{le=\"2\"} 4\n"
                     "test_wait_ms_bucket{le=\"5\"} 5\n"
                     "test_wait_ms_bucket{le=\"10\"} 5\n"
                     "test_wait_ms_bucket{le=\"25\"} 5\n"
                     "test_wait_ms_bucket{le=\"50\"} 5\n"
                     "test_wait_ms_bucket{le=\"100\"} 5\n"
                     "test_wait_ms_bucket{le=\"250\"} 5\n"
                     "test_wait_ms_bucket{le=\"500\"} 5\n"
                     "test_wait_ms_bucket{le=\"1000\"} 5\n"
                     "test_wait_ms_bucket{le=\"2500\"} 5\n"
                     "test_wait_ms_bucket{le=\"5000\"} 5\n"
                     "test_wait_ms_bucket{le=\"10000\"} 5\n"
                     "test_wait_ms_bucket{le=\"30000\"} 5\n"
                     "test_wait_ms_bucket{le=\"60000\"} 5\n"
                     "test_wait_ms_bucket{le=\"300000\"} 6\n"
                     "test_wait_ms_bucket{le=\"+Inf\"} 8\n"
                     "test_wait_ms_sum 9600007\n"
                     "test_wait_ms_count 8\n");
    assert_has(page, "test_wait_ms_bucket{kind=\"x\",le=\"30000\"} 0\n"
                     "test_wait_ms_bucket{kind=\"x\",le=\"60000\"} 1\n"
                     "test_wait_ms_bucket{kind=\"x\",le=\"300000\"} 1\n"
                     "test_wait_ms_bucket{kind=\"x\",le=\"+Inf\"} 1\n"
                     "test_wait_ms_sum{kind=\"x\"} 60000\n"
                     "test_wait_ms_count{kind=\"x\"} 1\n");
    free(page);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct buf labels;
    buf_init(&labels, 256);
    metrics_append_label(&labels, "bot", BYTES_LIT("a\"b\\c\nd"));
    metrics_append_label(&labels, "kind", BYTES_LIT("中"));
    assert_true(bytes_eq_str(buf_bytes(&labels), "bot=\"a\\\"b\\\\c\\nd\",kind=\"中\""));
    buf_free(&labels);
}

static struct metric refreshed = METRIC(METRIC_GAUGE, "test_refreshed", NULL, "Refreshed.");

static void refresh(void *arg)
{
    metric_set(&refreshed, ++*(int *)arg);
}

static void refresh_before_every_scrape(void **state)
{
    (void)state;
    int calls = 40;
    metric_register(&refreshed);
    metrics_on_scrape(refresh, &calls);
    for (int wanted = 41; wanted <= 42; wanted++) {
        char *page = scrape();
        assert_int_equal(value_of(page, "test_refreshed"), wanted);
        free(page);
    }
    metrics_off_scrape(refresh, &calls);
    free(scrape());
    assert_int_equal(calls, 42);
}

static void process_figures(void **state)
{
    (void)state;
    char *page = scrape();
    assert_has(page, "# TYPE botbridge_build_info gauge\n"
                     "botbridge_build_info{version=\"" BOTBRIDGE_VERSION "\"} 1\n");
    assert_has(page, "# TYPE botbridge_log_lines_dropped_total counter\n"
                     "botbridge_log_lines_dropped_total 0\n");
    int64_t fds = value_of(page, "process_open_fds");
    assert_true(value_of(page, "process_resident_memory_bytes") > 500000);
    free(page);

    int more[2] = {dup(STDERR_FILENO), dup(STDERR_FILENO)};
    page = scrape();
    assert_int_equal(value_of(page, "process_open_fds"), fds + 2);
    free(page);
    (void)close(more[0]);
    (void)close(more[1]);
}

static void over_the_limit_is_seen(void **state)
{
    (void)state;
    struct buf page;
    buf_init(&page, 200);
    metrics_write(&page);
    assert_true(page.overflowed);
    buf_free(&page);
}

enum { THREADS = 4, OBSERVATIONS = 20000 };

static void *observe_many(void *arg)
{
    for (int i = 0; i < OBSERVATIONS; i++)
        metric_observe_ms(arg, 3);
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    (void)state;
    static struct metric shared = METRIC(METRIC_HISTOGRAM, "test_shared_ms", NULL, "Shared.");
    metric_register(&shared);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, observe_many, &shared), 0);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    char *page = scrape();
    assert_int_equal(value_of(page, "test_shared_ms_count"), THREADS * OBSERVATIONS);
    assert_int_equal(value_of(page, "test_shared_ms_sum"), 3 * THREADS * OBSERVATIONS);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges),
        cmocka_unit_test(histogram_is_cumulative),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(refresh_before_every_scrape),
        cmocka_unit_test(process_figures),
        cmocka_unit_test(over_the_limit_is_seen),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
