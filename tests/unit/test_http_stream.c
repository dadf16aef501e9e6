/* Answers that are written as they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support_http.h"

#include <unistd.h>

static bool is_streaming(void *arg)
{
    return ((struct http_fixture *)arg)->stream != NULL;
}

struct expectation {
    struct http_fixture *f;
    int fd;
    const char *text;
};

static void await_text(void *arg)
{
    struct expectation *e = arg;
    (void)peer_read_until(e->fd, &e->f->in, e->text);
}

static void assert_arrives(struct http_fixture *f, int fd, const char *text)
{
    struct expectation e = {f, fd, text};
    peer_run(f->loop, await_text, &e);
    assert_true(has_text(&f->in, text));
}

static int open_stream_with(struct http_fixture *f, const char *request)
{
    int fd = peer_connect(http_server_port(f->server));
    buf_reset(&f->in);
    (void)peer_send(fd, bytes_of_str(request));
    loop_until(f->loop, is_streaming, f);
    return fd;
}

static int open_stream(struct http_fixture *f)
{
    return open_stream_with(f, GET("/stream") "\r\n");
}

static void streams(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    assert_arrives(f, fd, "Content-Type: text/event-stream\r\n"); /* before any data */
    assert_true(has_text(&f->in, "Transfer-Encoding: chunked\r\n"));
    http_stream_write(f->stream, BYTES_LIT("data: one\n\n"));
    assert_arrives(f, fd, "one\n\n");
    http_stream_write(f->stream, BYTES_LIT("data: two\n\n"));
    http_stream_write(f->stream, BYTES_LIT("data: three\n\n"));
    assert_arrives(f, fd, "three\n\n");
    http_stream_write(f->stream, BYTES_LIT("data: last\n\n"));
    http_stream_end(f->stream);
    assert_arrives(f, fd, "0\r\n\r\n");
    assert_null(f->stream);
    /* The connection is good for more. */
    (void)peer_send(fd, bytes_of_str(GET("/?q=after") "\r\n"));
    assert_arrives(f, fd, "after");
    (void)close(fd);
}

static bool is_some_time_over(void *arg)
{
    return clock_mono_ms() >= *(int64_t *)arg;
}

static void waits_without_turning(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    assert_arrives(f, fd, "\r\n\r\n");
    unsigned before = f->turns;
    int64_t until_ms = clock_mono_ms() + 100;
    loop_until(f->loop, is_some_time_over, &until_ms);
    assert_true(f->turns - before < 50); /* of which loop_until makes 10 */
    (void)close(fd);
}

static void streams_to_http_1_0(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream_with(f, "GET /stream HTTP/1.0\r\n\r\n");
    assert_arrives(f, fd, "\r\n\r\n");
    http_stream_write(f->stream, BYTES_LIT("data: one\n\n"));
    assert_arrives(f, fd, "one\n\n");
    http_stream_write(f->stream, BYTES_LIT("data: two\n\n"));
    http_stream_end(f->stream);
    loop_until(f->loop, http_is_all_gone, f);
    assert_true(peer_read_all(fd, &f->in));
    assert_true(has_text(&f->in, "\r\n\r\ndata: one\n\ndata: two\n\n"));
    (void)close(fd);
}

static void streams_before_a_pipelined_request(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream_with(f, GET("/stream") "\r\n");
    assert_arrives(f, fd, "\r\n\r\n");
    (void)peer_send(fd, bytes_of_str(GET("/?q=next") "\r\n"));
    http_stream_write(f->stream, BYTES_LIT("data: one\n\n"));
    assert_arrives(f, fd, "one\n\n");
    assert_false(has_text(&f->in, "next"));
    http_stream_write(f->stream, BYTES_LIT("data: two\n\n"));
    http_stream_end(f->stream);
    assert_arrives(f, fd, "next");
    assert_true(has_text(&f->in, "two\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"));
    (void)close(fd);
}

/* More than the socket takes, less than the bound: all of it arrives, in order. */
static void keeps_what_does_not_fit(void **state)
{
    enum { LINES = 60000, LINE_BYTES = 16 };
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    assert_arrives(f, fd, "\r\n\r\n");
    for (unsigned i = 0; i < LINES; i += 100) {
        char lines[100 * LINE_BYTES + 1];
        for (unsigned k = 0; k < 100; k++)
            (void)snprintf(lines + (size_t)k * LINE_BYTES, LINE_BYTES + 1, "line %09u.\n",
                           i + k);
        http_stream_write(f->stream, bytes_of(lines, sizeof(lines) - 1));
    }
    http_stream_end(f->stream);
    assert_arrives(f, fd, "\r\n0\r\n\r\n");
    assert_int_equal(count_text(&f->in, "line "), LINES);
    const char *at = f->in.ptr;
    for (unsigned i = 0; i < LINES; i += 1000) {
        char line[LINE_BYTES + 1];
        (void)snprintf(line, sizeof(line), "line %09u.\n", i);
        at = memmem(at, f->in.len - (size_t)(at - f->in.ptr), line, LINE_BYTES);
        assert_non_null(at);
    }
    (void)close(fd);
}

static void notices_clients_that_leave(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    assert_arrives(f, fd, "\r\n\r\n");
    (void)close(fd);
    int64_t before_ms = clock_mono_ms();
    loop_until(f->loop, http_is_all_gone, f); /* without a write */
    assert_true(clock_mono_ms() - before_ms < 900);
    assert_null(f->stream);
}

static bool is_stream_gone(void *arg)
{
    struct http_fixture *f = arg;
    if (f->stream)
        http_stream_write(f->stream, BYTES_LIT("data: x\n\n"));
    return f->stream == NULL;
}

static void streams_end_early(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    http_stream_write(f->stream, BYTES_LIT("data: one\n\n"));
    http_stream_abort(f->stream);
    loop_until(f->loop, http_is_all_gone, f);
    assert_true(peer_read_all(fd, &f->in));
    assert_false(has_text(&f->in, "\r\n0\r\n\r\n"));
    (void)close(fd);

    fd = open_stream(f);
    (void)close(fd);
    loop_until(f->loop, is_stream_gone, f);
    assert_int_equal(f->gone, 2);
}

static bool is_stream_full(void *arg)
{
    static char block[65536];
    struct http_fixture *f = arg;
    if (f->stream)
        http_stream_write(f->stream, bytes_of(block, sizeof(block)));
    return f->stream == NULL;
}

static void cuts_streams_nobody_reads(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int fd = open_stream(f);
    loop_until(f->loop, is_stream_full, f);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(streams),
        HTTP_TEST(waits_without_turning),
        HTTP_TEST(streams_to_http_1_0),
        HTTP_TEST(streams_before_a_pipelined_request),
        HTTP_TEST(keeps_what_does_not_fit),
        HTTP_TEST(notices_clients_that_leave),
        HTTP_TEST(streams_end_early),
        HTTP_TEST(cuts_streams_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
