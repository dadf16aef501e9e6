/* The HTTP client when things go wrong, and when it is told to stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support_fetch.h"

#include <unistd.h>

static void notices_cuts(void **state)
{
    static const char *const answers[] = {
        OK_HEAD "Content-Length: 10\r\n\r\nhalf",
        OK_HEAD "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        OK_HEAD "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        OK_HEAD,
        "",
        "+OK this is no HTTP\r\n",
    };
    struct fetch_fixture *f = *state;
    struct transfer t;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        transfer_run_raw(f, &t, answers[i], PLAIN);
        if (t.result != FETCH_CUT)
            fail_msg("%s: %d %s", answers[i], t.result, t.detail);
        assert_string_not_equal(t.detail, "");
        transfer_end(&t);
    }
    t = (struct transfer){0};
    char url[128];
    (void)snprintf(url, sizeof(url), "%s/stream", f->base);
    transfer_begin(&t, f, &(struct fetch_request){.url = url});
    while (t.body.len == 0)
        run_turns(f, 1);
    http_stream_abort(f->streams[0]);
    loop_until(f->loop, is_all_done, f);
    assert_int_equal(t.result, FETCH_CUT);
    assert_int_equal(t.heads, 1);
    transfer_end(&t);
}

/* Takes a request on a connection that is kept, then another one there, and hangs up. */
struct hang_up {
    struct fetch_fixture *f;
    int fd;
    bool is_alone; /* nobody listens any more when the connection ends */
    struct buf first, second, repeated;
};

static void answer_first(void *arg)
{
    struct hang_up *h = arg;
    h->fd = peer_accept(h->f->listener);
    (void)peer_read_until(h->fd, &h->first, "first");
    (void)peer_send(h->fd, BYTES_LIT(OK_HEAD "Content-Length: 1\r\n\r\nx"));
}

static void hang_up_on_second(void *arg)
{
    struct hang_up *h = arg;
    (void)peer_read_until(h->fd, &h->second, "second");
    if (h->is_alone)
        (void)close(h->f->listener);
    (void)close(h->fd);
    if (h->is_alone)
        return;
    h->fd = peer_accept(h->f->listener);
    (void)peer_read_until(h->fd, &h->repeated, "second");
    (void)peer_send(h->fd, BYTES_LIT(OK_HEAD "Content-Length: 1\r\n\r\ny"));
    (void)close(h->fd);
}

static void post_by_peer(struct hang_up *h, struct transfer *t, bool is_once, const char *body,
                         void (*peer)(void *arg))
{
    struct fetch_request request = {
        .url = h->f->raw_base, .body = bytes_of_str(body), .send_once = is_once};
    *t = (struct transfer){0};
    transfer_begin(t, h->f, &request);
    peer_run(h->f->loop, peer, h);
    loop_until(h->f->loop, is_all_done, h->f);
    transfer_end(t);
}

static void assert_hang_up(struct fetch_fixture *f, bool is_once, bool is_alone, int result,
                           size_t repeats)
{
    struct hang_up h = {.f = f, .is_alone = is_alone};
    struct transfer t;
    buf_init(&h.first, LIMIT);
    buf_init(&h.second, LIMIT);
    buf_init(&h.repeated, LIMIT);
    post_by_peer(&h, &t, is_once, "first", answer_first);
    assert_int_equal(t.result, FETCH_OK);
    post_by_peer(&h, &t, is_once, "second", hang_up_on_second);
    assert_int_equal(count_text(&h.second, "second"), 1);
    assert_int_equal(count_text(&h.repeated, "POST"), repeats);
    if (t.result != result)
        fail_msg("%d %s", t.result, t.detail);
    assert_true(result == FETCH_OK || t.detail[0]);
    buf_free(&h.first);
    buf_free(&h.second);
    buf_free(&h.repeated);
}

static void repeats_where_a_kept_connection_ends(void **state)
{
    assert_hang_up(*state, false, false, FETCH_OK, 1);
}

static void sends_once_where_that_is_asked(void **state)
{
    assert_hang_up(*state, true, false, FETCH_CUT, 0);
}

/* The repeat finds no connection, but the request was sent. */
static void sent_is_not_unconnected(void **state)
{
    assert_hang_up(*state, false, true, FETCH_CUT, 0);
}

static void sent_once_is_not_unconnected(void **state)
{
    assert_hang_up(*state, true, true, FETCH_CUT, 0);
}

static void times_out(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t;
    int64_t before_ms = clock_mono_ms();
    transfer_run(f, &t, "/hold?code=s3cret", (struct fetch_request){.total_timeout_ms = 100});
    assert_int_equal(t.result, FETCH_TIMEOUT);
    assert_int_equal(t.heads, 0);
    assert_in_range(clock_mono_ms() - before_ms, 99, 2000);
    transfer_end(&t);
    transfer_run(f, &t, "/stream", (struct fetch_request){.total_timeout_ms = 100});
    assert_int_equal(t.result, FETCH_TIMEOUT);
    assert_int_equal(t.heads, 1);
    transfer_end(&t);
}

static void times_out_connecting(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t = {0};
    unsigned port;
    char url[64];
    int full = peer_listen(&port, 0);
    int first = peer_connect(port); /* takes the only place in the backlog */
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
    transfer_begin(&t, f,
                   &(struct fetch_request){
                       .url = url, .connect_timeout_ms = 100, .total_timeout_ms = 10000});
    loop_until(f->loop, is_all_done, f);
    assert_int_equal(t.result, FETCH_CONNECT);
    transfer_end(&t);
    (void)close(first);
    (void)close(full);
}

static int result_for(struct fetch_fixture *f, const char *url, const char *header)
{
    const char *headers[] = {header, NULL};
    struct transfer t = {0};
    transfer_begin(&t, f, &(struct fetch_request){.url = url, .headers = headers});
    assert_int_equal(t.result, NEVER_DONE); /* never on the spot */
    loop_until(f->loop, is_all_done, f);
    int result = t.result;
    assert_string_not_equal(t.detail, "");
    transfer_end(&t);
    return result;
}

static void names_what_failed(void **state)
{
    struct fetch_fixture *f = *state;
    char tls[128];
    (void)snprintf(tls, sizeof(tls), "https%s/?code=s3cret", f->base + strlen("http"));
    assert_int_equal(result_for(f, tls, NULL), FETCH_CONNECT);
    assert_int_equal(result_for(f, "http://127.0.0.1:1/?code=s3cret", NULL), FETCH_CONNECT);
    assert_int_equal(result_for(f, "ftp://127.0.0.1/?code=s3cret", NULL), FETCH_BAD_REQUEST);
    assert_int_equal(result_for(f, "file:///etc/passwd", NULL), FETCH_BAD_REQUEST);
    assert_int_equal(result_for(f, "", NULL), FETCH_BAD_REQUEST);
    assert_int_equal(result_for(f, "http://a b/?code=s3cret", NULL), FETCH_BAD_REQUEST);
    assert_int_equal(result_for(f, "http://h/\r\nX: s3cret", NULL), FETCH_BAD_REQUEST);
    assert_int_equal(result_for(f, f->base, "X: 1\r\nY: s3cret"), FETCH_BAD_REQUEST);
}

static bool is_pool_idle(void *arg)
{
    return fetch_pool_running(((struct fetch_fixture *)arg)->pool) == 0;
}

static bool is_stream_gone(void *arg)
{
    struct fetch_fixture *f = arg;
    if (f->streams[0])
        http_stream_write(f->streams[0], BYTES_LIT("data: x\n\n"));
    return f->gone == 1;
}

static void assert_cancelled(struct fetch_fixture *f, struct transfer *t, int heads)
{
    run_turns(f, 20);
    assert_int_equal(t->result, NEVER_DONE);
    assert_int_equal(t->heads, heads);
    assert_int_equal(fetch_pool_running(f->pool), 0);
    transfer_end(t);
}

static void cancels(struct fetch_fixture *f, struct transfer t, int heads)
{
    char url[128];
    (void)snprintf(url, sizeof(url), "%s/stream", f->base);
    transfer_begin(&t, f, &(struct fetch_request){.url = url});
    loop_until(f->loop, is_pool_idle, f);
    if (t.cancels_on_data)
        assert_true(t.body.len > 0);
    assert_cancelled(f, &t, heads);
    loop_until(f->loop, is_stream_gone, f); /* the connection was closed */
}

static void cancels_on_head(void **state)
{
    cancels(*state, (struct transfer){.cancels_on_head = true}, 1);
}

static void cancels_on_data(void **state)
{
    cancels(*state, (struct transfer){.cancels_on_data = true}, 1);
}

static void cancels_outside(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t = {0};
    char url[128];
    (void)snprintf(url, sizeof(url), "%s/stream", f->base);
    transfer_begin(&t, f, &(struct fetch_request){.url = url});
    fetch_cancel(t.fetch); /* before libcurl has heard of it */
    assert_int_equal(fetch_pool_running(f->pool), 0);
    assert_cancelled(f, &t, 0);
    assert_int_equal(f->stream_count, 0);

    t = (struct transfer){0};
    transfer_begin(&t, f, &(struct fetch_request){.url = url});
    while (f->stream_count == 0)
        run_turns(f, 1);
    fetch_cancel(t.fetch);
    int heads = t.heads;
    assert_cancelled(f, &t, heads);
}

/* Both fail in the same turn: the second's end is already known when it is cancelled. */
static void cancels_another_from_on_done(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer second = {0};
    struct transfer first = {.victim = &second};
    struct fetch_request refused = {.url = "http://127.0.0.1:1/"};
    transfer_begin(&first, f, &refused);
    transfer_begin(&second, f, &refused);
    loop_until(f->loop, is_pool_idle, f);
    assert_int_equal(first.result, FETCH_CONNECT);
    transfer_end(&first);
    assert_cancelled(f, &second, 0);
}

static void pool_ends_with_transfers_running(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer running = {0};
    struct transfer waiting = {0};
    char url[128];
    (void)snprintf(url, sizeof(url), "%s/stream", f->base);
    transfer_begin(&running, f, &(struct fetch_request){.url = url});
    while (f->stream_count == 0)
        run_turns(f, 1);
    transfer_begin(&waiting, f, &(struct fetch_request){.url = url});
    fetch_pool_free(f->pool);
    f->pool = NULL;
    assert_int_equal(f->done, 0);
    transfer_end(&running);
    transfer_end(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FETCH_TEST(notices_cuts),
        FETCH_TEST(repeats_where_a_kept_connection_ends),
        FETCH_TEST(sends_once_where_that_is_asked),
        FETCH_TEST(sent_is_not_unconnected),
        FETCH_TEST(sent_once_is_not_unconnected),
        FETCH_TEST(times_out),
        FETCH_TEST(times_out_connecting),
        FETCH_TEST(names_what_failed),
        FETCH_TEST(cancels_on_head),
        FETCH_TEST(cancels_on_data),
        FETCH_TEST(cancels_outside),
        FETCH_TEST(cancels_another_from_on_done),
        FETCH_TEST(pool_ends_with_transfers_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
