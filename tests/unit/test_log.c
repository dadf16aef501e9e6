/* Log lines, read back from a pipe that stands in for stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 65536 }; /* what a pipe holds */

static char output[OUTPUT_BYTES + 1];
static int saved_stderr;
static int pipe_read;

/* Nothing may be asserted while stderr is captured: cmocka reports there. */
static void capture(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    saved_stderr = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    (void)close(ends[1]);
    pipe_read = ends[0];
}

static const char *captured(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    memset(output, 0, sizeof(output));
    size_t len = 0;
    ssize_t got = 0;
    do {
        got = read(pipe_read, output + len, OUTPUT_BYTES - len);
        len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    (void)close(pipe_read);
    return output;
}

static size_t count_of(const char *text, char c)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == c;
    return count;
}

/* What follows the timestamp, whose shape is checked here. */
static const char *after_timestamp(const char *line)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z ";
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        bool is_digit = line[i] >= '0' && line[i] <= '9';
        assert_true(shape[i] == '0' ? is_digit : line[i] == shape[i]);
    }
    return line + sizeof(shape) - 1;
}

static void line_form(void **state)
{
    (void)state;
    capture();
    log_info("store", "connected", "addr=%s db=%d", "127.0.0.1", 3);
    assert_string_equal(after_timestamp(captured()),
                        "info store connected addr=127.0.0.1 db=3\n");
    capture();
    log_error("bus", "lost", "");
    assert_string_equal(after_timestamp(captured()), "error bus lost\n");
}

static void levels(void **state)
{
    (void)state;
    enum log_level level = LOG_WARN;
    assert_true(log_level_from(BYTES_LIT("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_from(BYTES_LIT("Debug"), &level));
    assert_false(log_level_from(BYTES_LIT(""), &level));

    capture();
    log_set_level(LOG_WARN);
    log_debug("a", "b", "");
    log_info("a", "b", "");
    log_warn("a", "b", "");
    log_error("a", "b", "");
    log_set_level(LOG_DEBUG);
    log_debug("a", "c", "");
    log_set_level(LOG_INFO);
    const char *text = captured();
    assert_int_equal(count_of(text, '\n'), 3);
    assert_non_null(strstr(text, " warn a b\n"));
    assert_non_null(strstr(text, " error a b\n"));
    assert_non_null(strstr(text, " debug a c\n"));
}

static const char *logged_value(const char *value)
{
    struct log_site site = {0};
    capture();
    log_line(&site, LOG_WARN, "m", "e", " v=%s end=1", value);
    return after_timestamp(captured());
}

static void one_event_is_one_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\nb", "a\\nb"},
        {"\r\n\t", "\\r\\n\\t"},
        {"\x1b[31mred\x7f", "\\x1b[31mred\\x7f"},
        {"中文 🙂", "中文 🙂"},
        {"c1 \xC2\x9B\xC2\xA0", "c1 \\xc2\\x9b\xC2\xA0"},
        {"\xFF中", "\\xff\\xe4\\xb8\\xad"},
        {"%s%n", "%s%n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char wanted[128];
        (void)snprintf(wanted, sizeof(wanted), "warn m e v=%s end=1\n", cases[i][1]);
        assert_string_equal(logged_value(cases[i][0]), wanted);
    }
}

static void long_lines_are_cut(void **state)
{
    (void)state;
    char value[9000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(value, 'x', shift);
        for (size_t at = shift; at + 4 < sizeof(value); at += 4)
            memcpy(value + at, "🙂", 5);
        const char *line = logged_value(value);
        size_t len = strlen(line);
        assert_true(len > 1900 && len < 4096);
        assert_string_equal(line + len - 4, "...\n");
        assert_true(utf8_is_valid(bytes_of(line, len)));
        assert_int_equal(count_of(line, '\n'), 1);
    }
    /* Escapes make four bytes of one: 1500 fit before and not after. */
    memset(value, 1, 1500);
    value[1500] = '\0';
    const char *line = logged_value(value);
    size_t len = strlen(line);
    assert_true(len > 3900 && len + CLOCK_RFC3339_BYTES < 4096 + 8);
    assert_string_equal(line + len - 8, "\\x01...\n");
}

static void rate_is_limited_by_site(void **state)
{
    (void)state;
    long long second = 0;
    do {
        /* Repeated when the clock's second changed in the middle. */
        second = clock_mono_ms() / 1000;
        capture();
        struct log_site other = {0};
        for (int i = 0; i < 50; i++)
            log_info("m", "loud", "i=%d", i);
        log_line(&other, LOG_INFO, "m", "other", " ");
        (void)captured();
    } while (clock_mono_ms() / 1000 != second);
    assert_int_equal(count_of(output, '\n'), LOG_BURST + 1);
    assert_non_null(strstr(output, "loud i=9\n"));
    assert_non_null(strstr(output, " other\n"));
    assert_null(strstr(output, "swallowed"));
}

static void swallowed_lines_are_told(void **state)
{
    (void)state;
    struct log_site site = {.second = clock_mono_ms() / 1000 - 7, .count = LOG_BURST + 15};
    capture();
    log_line(&site, LOG_INFO, "m", "e", " a=%d", 1);
    log_line(&site, LOG_INFO, "m", "e", " a=%d", 2);
    const char *text = captured();
    assert_non_null(strstr(text, " a=1 swallowed=15\n"));
    assert_non_null(strstr(text, " a=2\n"));
}

/* A reader that has stopped must not stop the process: the alarm ends the test if it does. */
static void blocked_stderr_drops(void **state)
{
    (void)state;
    unsigned long long before = log_dropped();
    struct log_site sites[3] = {0};
    char block[4096] = {0};
    capture();
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    while (write(STDERR_FILENO, block, sizeof(block)) > 0)
        ;
    (void)fcntl(STDERR_FILENO, F_SETFL, flags);

    (void)alarm(10);
    log_line(&sites[0], LOG_WARN, "m", "lost", " ");
    log_line(&sites[1], LOG_WARN, "m", "lost", " ");
    unsigned long long lost = log_dropped() - before;
    (void)alarm(0);

    size_t drained = 0;
    while (drained < 2 * sizeof(block))
        drained += (size_t)read(pipe_read, block, sizeof(block));
    log_line(&sites[2], LOG_WARN, "m", "kept", " ");
    unsigned long long lost_at_end = log_dropped() - before;
    (void)captured();
    assert_int_equal(lost, 2);
    assert_int_equal(lost_at_end, 2);
    /* The filling is NUL bytes, the line comes after them. */
    const char *line = memchr(output, '2', OUTPUT_BYTES);
    assert_non_null(line);
    assert_string_equal(after_timestamp(line), "warn m kept\n");
}

static void unwritable_stderr_drops(void **state)
{
    (void)state;
    unsigned long long before = log_dropped();
    struct log_site site = {0};
    capture();
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)dup2(read_only, STDERR_FILENO);
    errno = 4711;
    log_line(&site, LOG_WARN, "m", "lost", " ");
    int errno_after = errno;
    (void)captured();
    (void)close(read_only);
    assert_int_equal(log_dropped() - before, 1);
    assert_int_equal(errno_after, 4711);
}

enum { THREADS = 4, LINES = 40 };

static void *log_many(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        struct log_site site = {0};
        log_line(&site, LOG_INFO, "m", "e", " thread=%s tail=abcdefghijklmnopqrstuvwxyz",
                 (const char *)arg);
    }
    return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
    (void)state;
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    capture();
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_create(&threads[i], NULL, log_many, names[i]);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    char *rest = NULL;
    (void)captured();
    size_t lines = 0;
    for (char *line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *text = after_timestamp(line);
        assert_int_equal(strlen(text), strlen("info m e thread=a tail=") + 26);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

static void ready_is_said_once(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    capture();
    log_ready("http=%s admin=%d", "127.0.0.1:1", 2);
    log_ready("http=again");
    const char *text = captured();
    log_set_level(LOG_INFO);
    assert_string_equal(text, "ready http=127.0.0.1:1 admin=2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_form),
        cmocka_unit_test(levels),
        cmocka_unit_test(one_event_is_one_line),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(rate_is_limited_by_site),
        cmocka_unit_test(swallowed_lines_are_told),
        cmocka_unit_test(blocked_stderr_drops),
        cmocka_unit_test(unwritable_stderr_drops),
        cmocka_unit_test(lines_of_threads_stay_whole),
        cmocka_unit_test(ready_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
