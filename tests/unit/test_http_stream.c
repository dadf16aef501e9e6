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

static int open_stream(struct http_fixture *f)
{
    int fd = peer_connect(http_server_port(f->server));
    (void)peer_send(fd, bytes_of_str(GET("/stream") "\r\n"));
    loop_until(f->loop, is_streaming, f);
    return fd;
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
        HTTP_TEST(streams_end_early),
        HTTP_TEST(cuts_streams_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
