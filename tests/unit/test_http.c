/* The HTTP server against raw sockets: what it answers and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_http.h"

#include "base/clock.h"
#include "http/http_admin.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The server runs its library every second in any case: what takes that long was forgotten. */
enum { BEFORE_PULSE_MS = 900 };

static void decodes_targets(void **state)
{
    static const char *const cases[][2] = {
        {GET("/a%20b%2Fc") CLOSE, "\r\n\r\n/a b/c"},
        {GET("/?q=a+b%2Bc%3d%26") CLOSE, "\r\n\r\na+b+c=&"},
        {GET("/?x&q=&y=1") CLOSE, " 200 OK\r\n"},
        {GET("/?q=first&q=second") CLOSE, "\r\n\r\nfirst"},
        {GET("/?%71=name") CLOSE, "\r\n\r\nname"},
        {GET("http://other/echo?q=absolute") CLOSE, "\r\n\r\nabsolute"},
        {GET("http://other") CLOSE, "\r\n\r\n/"},
        {GET("/?q=%zz") CLOSE, " 400 "},
        {GET("/?q=%4") CLOSE, " 400 "},
        {GET("/%") CLOSE, " 400 "},
        {GET("/a%00b") CLOSE, " 400 "},
        {GET("/?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17&18&19&20&21&22&23&24&25&26&27&28&29"
             "&30&31&32&33") CLOSE,
         " 400 "},
    };
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_non_null(strstr(http_exchange(f, cases[i][0]), cases[i][1]));
}

static void answers_headers_and_methods(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    const char *in = http_exchange(f, GET("/header") "X-Ask: what\r\n" CLOSE);
    assert_non_null(strstr(in, "HTTP/1.1 201 "));
    assert_non_null(strstr(in, "X-One: 1\r\n"));
    assert_null(strstr(in, "Content-Type"));
    assert_non_null(strstr(in, "\r\n\r\nwhat"));
    in = http_exchange(f, "HEAD /?q=four HTTP/1.1\r\nHost: h\r\n" CLOSE);
    assert_non_null(strstr(in, "Content-Length: 4\r\n"));
    assert_null(strstr(in, "four"));
    in = http_exchange(f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n" CLOSE "{}");
    assert_non_null(strstr(in, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(in, "\r\n\r\n{}"));
    in = http_exchange(f,
                       "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n" CLOSE
                       "2\r\nab\r\n3\r\ncde\r\n0\r\nTrailer: t\r\n\r\n");
    assert_non_null(strstr(in, "\r\n\r\nabcde"));
    assert_int_equal(f->gone, 4);
}

static void answers_pipelined_in_order(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    const char *in = http_exchange(
        f, GET("/later1") "\r\n" GET("/?q=now2") "\r\n" POST(
               "/later3") "Content-Length: 3\r\n\r\nabc" GET("/later4") "\r\n" GET("/?q=now5")
               CLOSE);
    static const char *const order[] = {"later /later1", "now2", "later /later3",
                                        "later /later4", "now5"};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        in = strstr(in, order[i]);
        assert_non_null(in);
    }
    assert_int_equal(count_text(&f->in, "HTTP/1.1 200"), 5);
    assert_int_equal(f->gone, 5);
}

/* Whatever the order of hooks, nothing waits for the next event. */
static void answers_from_turn_hooks(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int64_t before_ms = clock_mono_ms();
    (void)http_exchange(f, GET("/late") "\r\n" GET("/late") CLOSE);
    assert_int_equal(count_text(&f->in, "in turn"), 2);
    /* The second comes to the caller in the server's own hook. */
    (void)http_exchange(f, GET("/late") "\r\n" GET("/early") "\r\n" GET("/early") CLOSE);
    assert_int_equal(count_text(&f->in, "in turn"), 3);
    assert_true(clock_mono_ms() - before_ms < BEFORE_PULSE_MS);
}

static void ends_slow_clients(void **state)
{
    struct http_fixture *f = *state;
    struct http_options impatient = http_usual;
    impatient.idle_timeout_s = 1;
    http_start(f, impatient);
    assert_string_equal(http_exchange(f, "GET / HT"), "");
    assert_string_equal(http_exchange(f, POST("/echo") "Content-Length: 9\r\n\r\nabc"), "");
    assert_non_null(strstr(http_exchange(f, GET("/?q=kept-alive") "\r\n"), "kept-alive"));
    assert_int_equal(http_server_open_requests(f->server), 0);
}

/* The bound is 2 s, looked at every second. */
enum { DRIP_MS = 200, DRIP_LEAST_MS = 1900, DRIP_LIMIT_MS = 5000, HELD_MS = 3500 };

static const char *const dripped[] = {
    "GET /",
    POST("/echo") "Content-Length: 1000\r\n\r\n",
    GET("/?q=first") "\r\n" GET("/second") "X-Slow: ",
};
static int64_t drip_ms[sizeof(dripped) / sizeof(dripped[0])];

/* Sends a byte whenever nothing has come for a while; gives the time until the end. */
static int64_t drip(struct http_fixture *f, const char *begin)
{
    int64_t before_ms = clock_mono_ms();
    int fd = peer_connect(http_server_port(f->server));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char in[4096];
    bool is_open = peer_send(fd, bytes_of_str(begin));
    while (is_open && clock_mono_ms() - before_ms < DRIP_LIMIT_MS) {
        if (poll(&p, 1, DRIP_MS) > 0)
            is_open = recv(fd, in, sizeof(in), 0) > 0;
        else
            is_open = peer_send(fd, BYTES_LIT("x"));
    }
    (void)close(fd);
    return clock_mono_ms() - before_ms;
}

static void drip_all(void *arg)
{
    struct http_fixture *f = arg;
    int holder = peer_connect(http_server_port(f->server));
    (void)peer_send(holder, bytes_of_str(GET("/hold") CLOSE));
    for (size_t i = 0; i < sizeof(dripped) / sizeof(dripped[0]); i++)
        drip_ms[i] = drip(f, dripped[i]);
    f->was_open = !peer_read_all(holder, &f->in);
    (void)close(holder);
}

/* Bytes that keep coming do not keep a connection; waiting for our answer does. */
static void ends_dripping_clients(void **state)
{
    struct http_fixture *f = *state;
    struct http_options impatient = http_usual;
    impatient.idle_timeout_s = 1;
    http_start(f, impatient);
    loop_timer_set(f->loop, &f->timer, HELD_MS);
    peer_run(f->loop, drip_all, f);
    for (size_t i = 0; i < sizeof(dripped) / sizeof(dripped[0]); i++)
        if (drip_ms[i] < DRIP_LEAST_MS || drip_ms[i] >= DRIP_LIMIT_MS)
            fail_msg("%s: closed after %" PRId64 " ms", dripped[i], drip_ms[i]);
    assert_true(has_text(&f->in, "later /hold"));
    assert_int_equal(http_server_open_requests(f->server), 0);
}

static void two_then_one(void *arg)
{
    struct http_fixture *f = arg;
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = peer_connect(http_server_port(f->server));
    for (size_t i = 0; i < 2; i++) {
        (void)peer_send(fds[i], bytes_of_str(GET("/?q=first") "\r\n"));
        (void)peer_read_until(fds[i], &f->in, "first");
        buf_reset(&f->in);
    }
    (void)peer_send(fds[2], bytes_of_str(GET("/?q=third") "\r\n"));
    (void)close(fds[0]);
    (void)peer_read_until(fds[2], &f->in, "third");
    (void)close(fds[1]);
    (void)close(fds[2]);
}

static void waits_at_connection_limit(void **state)
{
    struct http_fixture *f = *state;
    struct http_options narrow = http_usual;
    narrow.max_connections = 2;
    http_start(f, narrow);
    int64_t before_ms = clock_mono_ms();
    peer_run(f->loop, two_then_one, f);
    assert_true(has_text(&f->in, "third"));
    assert_true(clock_mono_ms() - before_ms < BEFORE_PULSE_MS);
}

static void quiesces(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    unsigned port = http_server_port(f->server);
    int held = peer_connect(port);
    (void)peer_send(held, bytes_of_str(GET("/hold") "\r\n"));
    loop_until(f->loop, http_is_one_held, f);
    http_server_quiesce(f->server);
    http_server_quiesce(f->server);
    assert_int_equal(peer_connect(port), -1);
    assert_int_equal(http_server_open_requests(f->server), 1);
    http_answer_held(f);
    loop_until(f->loop, http_is_all_gone, f);
    assert_true(peer_read_all(held, &f->in));
    assert_true(has_text(&f->in, "later /hold"));
    assert_true(has_text(&f->in, "Connection: close\r\n"));
    (void)close(held);
}

static void free_answers_what_is_open(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    int held = peer_connect(http_server_port(f->server));
    int half = peer_connect(http_server_port(f->server));
    (void)peer_send(half, bytes_of_str(POST("/echo") "Content-Length: 9\r\n\r\nabc"));
    (void)peer_send(held, bytes_of_str(GET("/hold") "\r\n" GET("/hold") "\r\n"));
    loop_until(f->loop, http_is_one_held, f);
    http_server_free(f->server);
    f->server = NULL;
    assert_true(peer_read_all(held, &f->in));
    assert_true(count_text(&f->in, "HTTP/1.1 503 ") >= 1);
    assert_true(peer_read_all(half, &f->in));
    assert_true(f->gone >= 1);
    assert_int_equal(f->delivered, 1);
    (void)close(held);
    (void)close(half);
}

static void tells_why_it_cannot_listen(void **state)
{
    static const char *const malformed[] = {
        "",         "8080",  "127.0.0.1", "127.0.0.1:", ":8080",
        "::1:8080", "[::1]", "h:99999",   "h:port",     "127.0.0.1:-1"};
    struct http_fixture *f = *state;
    struct http_callbacks callbacks = {.on_request = http_fixture_request, .arg = f};
    struct http_options options = http_usual;
    struct brg_error error = {0};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        options.listen = malformed[i];
        assert_null(http_server_new(f->loop, &options, &callbacks, &error));
        assert_int_equal(error.code, BRG_STOP);
        assert_non_null(strstr(error.text, malformed[i]));
    }
    http_start(f, http_usual);
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f->server));
    options.listen = address;
    assert_null(http_server_new(f->loop, &options, &callbacks, &error));
    assert_int_equal(error.code, BRG_RETRY);
    assert_non_null(strstr(error.text, address));
    assert_non_null(strstr(error.text, "in use"));
}

static void shares_a_port_and_speaks_ipv6(void **state)
{
    struct http_fixture *f = *state;
    struct http_options options = http_usual;
    options.share_port = true;
    http_start(f, options);
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f->server));
    options.listen = address;
    struct http_callbacks callbacks = {.on_request = http_fixture_request, .arg = f};
    struct http_server *second = http_server_new(f->loop, &options, &callbacks, NULL);
    assert_non_null(second);
    http_server_free(second);
    options.listen = "[::1]:0";
    second = http_server_new(f->loop, &options, &callbacks, NULL);
    if (second) /* the host may have no IPv6 */
        assert_true(http_server_port(second) > 0);
    http_server_free(second);
}

static bool say_ready(void *arg, struct buf *why)
{
    bool is_ready = *(bool *)arg;
    if (!is_ready)
        buf_append_str(why, "broker away");
    return is_ready;
}

struct admin_case {
    unsigned port;
    const char *text;
    struct buf in;
};

static void ask_admin(void *arg)
{
    struct admin_case *c = arg;
    int fd = peer_connect(c->port);
    (void)peer_send(fd, bytes_of_str(c->text));
    (void)peer_read_all(fd, &c->in);
    (void)close(fd);
}

static void admin_answers(void **state)
{
    static const char *const cases[][2] = {
        {GET("/livez") CLOSE, "\r\n\r\nok\n"},
        {GET("/readyz") CLOSE, "HTTP/1.1 503 "},
        {GET("/readyz") CLOSE, "\r\n\r\nbroker away\n"},
        {GET("/metrics") CLOSE, "\nbotbridge_http_requests_total{class=\"2xx\"} "},
        {GET("/metrics") CLOSE, "Content-Type: text/plain; version=0.0.4\r\n"},
        {GET("/other") CLOSE, "HTTP/1.1 404 "},
        {"HEAD /livez HTTP/1.1\r\nHost: h\r\n" CLOSE, "HTTP/1.1 200 "},
        {"DELETE /livez HTTP/1.1\r\nHost: h\r\n" CLOSE, "Allow: GET, HEAD\r\n"},
        {POST("/livez") "Content-Length: 1\r\n" CLOSE "x", "HTTP/1.1 413 "},
    };
    struct http_fixture *f = *state;
    bool is_ready = false;
    http_start(f, http_usual);
    (void)http_exchange(f, GET("/?q=counted") CLOSE);
    struct http_admin *a = http_admin_new(f->loop, "127.0.0.1:0", say_ready, &is_ready, NULL);
    assert_non_null(a);
    struct admin_case c = {.port = http_admin_port(a)};
    buf_init(&c.in, PEER_BYTES);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_reset(&c.in);
        c.text = cases[i][0];
        peer_run(f->loop, ask_admin, &c);
        if (!has_text(&c.in, cases[i][1]))
            fail_msg("%s gave " BYTES_FMT, c.text, BYTES_ARG(buf_bytes(&c.in)));
    }
    is_ready = true;
    buf_reset(&c.in);
    c.text = GET("/readyz") CLOSE;
    peer_run(f->loop, ask_admin, &c);
    assert_true(has_text(&c.in, "HTTP/1.1 200 "));
    buf_free(&c.in);
    http_admin_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(decodes_targets),
        HTTP_TEST(answers_headers_and_methods),
        HTTP_TEST(answers_pipelined_in_order),
        HTTP_TEST(answers_from_turn_hooks),
        HTTP_TEST(ends_slow_clients),
        HTTP_TEST(ends_dripping_clients),
        HTTP_TEST(waits_at_connection_limit),
        HTTP_TEST(quiesces),
        HTTP_TEST(free_answers_what_is_open),
        HTTP_TEST(tells_why_it_cannot_listen),
        HTTP_TEST(shares_a_port_and_speaks_ipv6),
        HTTP_TEST(admin_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
