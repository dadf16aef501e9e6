/* The HTTP client against our own server: what it sends and what it makes of answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support_fetch.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void assert_body(struct transfer *t, const char *text)
{
    assert_int_equal(t->result, FETCH_OK);
    assert_int_equal(t->heads, 1);
    assert_true(bytes_eq_str(buf_bytes(&t->body), text));
    transfer_end(t);
}

static void sends_and_receives(void **state)
{
    static const char *const headers[] = {"Authorization: Bearer x", "content-type: text/a",
                                          NULL};
    struct fetch_fixture *f = *state;
    struct transfer t;
    transfer_run(f, &t, "/echo", (struct fetch_request){.body = BYTES_LIT("{\"a\":1}")});
    assert_int_equal(t.status, 200);
    assert_string_equal(t.type, "text/json");
    assert_int_equal(t.retry_after_ms, -1);
    assert_string_equal(t.detail, "");
    assert_body(&t, "{\"a\":1}");
    transfer_run(f, &t, "/echo", PLAIN); /* an empty answer has a head too */
    assert_body(&t, "");
    transfer_run(f, &t, "/method", PLAIN);
    assert_body(&t, "GET");
    transfer_run(f, &t, "/method", (struct fetch_request){.body = BYTES_LIT("x")});
    assert_body(&t, "POST");
    transfer_run(f, &t, "/method", (struct fetch_request){.method = "POST"});
    assert_body(&t, "POST");
    transfer_run(f, &t, "/method", (struct fetch_request){.method = "DELETE"});
    assert_body(&t, "OTHER");
    transfer_run(f, &t, "/method",
                 (struct fetch_request){.method = "PUT", .body = BYTES_LIT("x")});
    assert_body(&t, "OTHER");
    transfer_run(f, &t, "/method", (struct fetch_request){.method = "HEAD"});
    assert_body(&t, "");
    transfer_run(f, &t, "/header?name=authorization",
                 (struct fetch_request){.headers = headers});
    assert_body(&t, "Bearer x");
    transfer_run(f, &t, "/header?name=content-type",
                 (struct fetch_request){.headers = headers, .body = BYTES_LIT("x")});
    assert_body(&t, "text/a");
    transfer_run(f, &t, "/header?name=content-type",
                 (struct fetch_request){.body = BYTES_LIT("x")});
    assert_body(&t, "");
    transfer_run(f, &t, "/header?name=accept-encoding", PLAIN);
    assert_body(&t, "");
}

static void sends_large_bodies_at_once(void **state)
{
    static char large[LIMIT];
    struct fetch_fixture *f = *state;
    struct transfer t;
    memset(large, 'x', sizeof(large));
    transfer_run(f, &t, "/header?name=expect",
                 (struct fetch_request){.body = bytes_of(large, sizeof(large))});
    assert_body(&t, "");
    transfer_run(f, &t, "/echo",
                 (struct fetch_request){.body = bytes_of(large, sizeof(large))});
    assert_int_equal(t.result, FETCH_OK);
    assert_int_equal(t.body.len, LIMIT);
    transfer_end(&t);
}

static int64_t retry_after(struct fetch_fixture *f, const char *path)
{
    struct transfer t;
    transfer_run(f, &t, path, PLAIN);
    assert_int_equal(t.status, 429);
    int64_t ms = t.retry_after_ms;
    assert_body(&t, "slow");
    return ms;
}

static void reads_retry_after(void **state)
{
    struct fetch_fixture *f = *state;
    assert_int_equal(retry_after(f, "/wait?after=7"), 7000);
    assert_int_equal(retry_after(f, "/wait?after=0"), 0);
    assert_int_equal(retry_after(f, "/wait?after=soon"), -1);
    assert_int_equal(retry_after(f, "/wait?after=-5"), -1);
    assert_int_equal(retry_after(f, "/wait?after=99999999999999999999"), 86400000);
    assert_int_equal(retry_after(f, "/wait?after=Sun,%2006%20Nov%201994%2008:49:37%20GMT"), 0);
    char path[128];
    char date[64];
    struct tm tm;
    time_t at = (time_t)(clock_wall_ms() / 1000) + 60;
    (void)strftime(date, sizeof(date), "%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT",
                   gmtime_r(&at, &tm));
    (void)snprintf(path, sizeof(path), "/wait?after=%s", date);
    int64_t ms = retry_after(f, path);
    assert_true(ms > 50000 && ms <= 60000);
}

static void reads_a_servers_own_name_for_it(void **state)
{
    static const struct {
        const char *name, *fields;
        int64_t wait_ms;
    } cases[] = {
        {NULL, "X-Reset: 9\r\n", -1},
        {"x-reset", "X-Reset: 9\r\n", 9000},
        {"x-reset", "X-Reset: 9\r\nRetry-After: 4\r\n", 9000},
        {"x-reset", "Retry-After: 12\r\nX-Reset: 9\r\n", 12000},
        {"x-reset", "Retry-After: 12\r\nX-Reset: soon\r\n", 12000},
    };
    struct fetch_fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct transfer t;
        char answer[256];
        (void)snprintf(answer, sizeof(answer),
                       "HTTP/1.1 429 Slow\r\n%sContent-Length: 0\r\n\r\n", cases[i].fields);
        transfer_run_raw(f, &t, answer, (struct fetch_request){.retry_header = cases[i].name});
        assert_int_equal(t.status, 429);
        assert_int_equal(t.retry_after_ms, cases[i].wait_ms);
        transfer_end(&t);
    }
}

static void goes_straight_to_what_is_named(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t;
    transfer_run(f, &t, "/moved", PLAIN);
    assert_int_equal(t.status, 302);
    assert_body(&t, "");
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1", 1), 0);
    transfer_run(f, &t, "/method", PLAIN);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("all_proxy"), 0);
    assert_body(&t, "GET");
}

static void skips_interim_heads_and_trailers(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t;
    transfer_run_raw(
        f, &t,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n"
        "Content-Type: early/hint\r\n\r\n" OK_HEAD
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nRetry-After: 5\r\n\r\n",
        PLAIN);
    assert_int_equal(t.status, 200);
    assert_string_equal(t.type, "text/plain");
    assert_int_equal(t.retry_after_ms, -1);
    assert_body(&t, "abc");
    transfer_run_raw(f, &t, "HTTP/1.0 200 OK\r\nContent-Type:;\r\n\r\nuntil the end", PLAIN);
    assert_string_equal(t.type, "");
    assert_body(&t, "until the end");
}

static void bounds_bodies(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t;
    struct fetch_request request = {.body = BYTES_LIT("12345"), .max_body_bytes = 5};
    transfer_run(f, &t, "/echo", request);
    assert_body(&t, "12345");
    request.max_body_bytes = 4;
    transfer_run(f, &t, "/echo", request);
    assert_int_equal(t.result, FETCH_TOO_LARGE);
    assert_int_equal(t.heads, 1);
    assert_int_equal(t.body.len, 0);
    transfer_end(&t);
}

static void starts_from_on_done(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer second = {0};
    struct transfer first = {.next = &second};
    transfer_begin(&first, f, &(struct fetch_request){.url = "bad://"});
    loop_until(f->loop, is_all_done, f);
    assert_int_equal(first.result, FETCH_BAD_REQUEST);
    assert_body(&second, "GET");
    transfer_end(&first);
}

struct late_start {
    struct fetch_fixture *f;
    struct transfer t;
    unsigned turns;
};

static bool start_in_third_turn(void *arg)
{
    struct late_start *late = arg;
    late->turns++;
    struct fetch_request request = {.url = late->f->raw_base, .fresh_connection = true};
    if (late->turns == 3)
        transfer_begin(&late->t, late->f, &request);
    return late->turns < 3;
}

/* The pool's own hook has run by then; the loop must not fall asleep on the new transfer. */
static void starts_from_a_later_turn_hook(void **state)
{
    struct fetch_fixture *f = *state;
    struct late_start late = {.f = f};
    struct loop_turn *turn = loop_turn_new(f->loop, start_in_third_turn, &late);
    int64_t before_ms = clock_mono_ms();
    transfer_serve_raw(f, OK_HEAD "Content-Length: 4\r\n\r\nlate");
    loop_turn_free(turn);
    assert_true(clock_mono_ms() - before_ms < 2000);
    assert_body(&late.t, "late");
}

static void reuses_connections(void **state)
{
    static const char answers[] = OK_HEAD "Content-Length: 1\r\n\r\nx";
    struct fetch_fixture *f = *state;
    struct transfer t;
    /* The raw server takes one connection a time: a second one would find nobody. */
    transfer_run_raw(f, &t, answers, (struct fetch_request){.fresh_connection = true});
    assert_body(&t, "x");
    for (size_t i = 0; i < 3; i++) {
        transfer_run(f, &t, "/method", PLAIN);
        assert_body(&t, "GET");
    }
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < 3; i++) {
        transfer_run(f, &t, "/method", PLAIN);
        assert_body(&t, "GET");
    }
    int after = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(after, probe + 1); /* no descriptor came in between */
    (void)close(probe);
    (void)close(after);
}

static bool are_all_streaming(void *arg)
{
    return ((struct fetch_fixture *)arg)->stream_count == MANY;
}

static void carries_many_streams(void **state)
{
    static struct transfer transfers[MANY];
    struct fetch_fixture *f = *state;
    char url[128];
    (void)snprintf(url, sizeof(url), "%s/stream", f->base);
    for (size_t i = 0; i < MANY; i++)
        transfer_begin(&transfers[i], f, &(struct fetch_request){.url = url});
    assert_int_equal(fetch_pool_running(f->pool), MANY);
    loop_until(f->loop, are_all_streaming, f);
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < MANY; i++)
            http_stream_write(f->streams[i], BYTES_LIT("data: more\n\n"));
        run_turns(f, 5);
    }
    for (size_t i = 0; i < MANY; i++)
        http_stream_end(f->streams[i]);
    loop_until(f->loop, is_all_done, f);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(count_text(&transfers[i].body, "more"), 5);
        assert_int_equal(transfers[i].result, FETCH_OK);
        transfer_end(&transfers[i]);
    }
    assert_int_equal(f->gone, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FETCH_TEST(sends_and_receives),
        FETCH_TEST(sends_large_bodies_at_once),
        FETCH_TEST(reads_retry_after),
        FETCH_TEST(reads_a_servers_own_name_for_it),
        FETCH_TEST(goes_straight_to_what_is_named),
        FETCH_TEST(skips_interim_heads_and_trailers),
        FETCH_TEST(bounds_bodies),
        FETCH_TEST(starts_from_on_done),
        FETCH_TEST(starts_from_a_later_turn_hook),
        FETCH_TEST(reuses_connections),
        FETCH_TEST(carries_many_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
