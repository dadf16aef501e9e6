/* What the HTTP server refuses, and that clients get to read why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_http.h"

#include <unistd.h>

enum { FLOOD_BYTES = 8388608 };

static bool send_block(int fd, bool is_chunked, struct bytes block)
{
    char size[32];
    if (!is_chunked)
        return peer_send(fd, block);
    (void)snprintf(size, sizeof(size), "%zx\r\n", block.len);
    return peer_send(fd, bytes_of_str(size)) && peer_send(fd, block) &&
           peer_send(fd, BYTES_LIT("\r\n"));
}

/* Sends a body of f->chunk bytes whatever the server answers, then reads. */
static void flood(struct http_fixture *f, bool is_chunked)
{
    static char block[65536];
    int fd = peer_connect(http_server_port(f->server));
    f->was_reset = !peer_send(fd, bytes_of_str(f->text));
    for (size_t left = f->chunk; left > 0;) {
        size_t n = left < sizeof(block) ? left : sizeof(block);
        f->was_reset |= !send_block(fd, is_chunked, bytes_of(block, n));
        left -= n;
    }
    if (is_chunked)
        f->was_reset |= !peer_send(fd, BYTES_LIT("0\r\n\r\n"));
    f->was_open = !peer_read_all(fd, &f->in);
    (void)close(fd);
}

static void flood_plain(void *arg)
{
    flood(arg, false);
}

static void flood_chunked(void *arg)
{
    flood(arg, true);
}

static void assert_flood(struct http_fixture *f, const char *head, bool is_chunked,
                         size_t bytes, const char *answer)
{
    buf_reset(&f->in);
    f->text = head;
    f->chunk = bytes;
    peer_run(f->loop, is_chunked ? flood_chunked : flood_plain, f);
    assert_false(f->was_open);
    assert_false(f->was_reset);
    assert_true(has_text(&f->in, answer));
    assert_int_equal(count_text(&f->in, "HTTP/1.1"), 1);
}

static void bounds_bodies(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    assert_flood(f, POST("/size") "Content-Length: 262144\r\n" CLOSE, false, HTTP_LIMIT,
                 "got 262144");
    assert_flood(f, POST("/size") CHUNKED CLOSE, true, HTTP_LIMIT, "got 262144");
    assert_int_equal(f->delivered, 2);
    assert_flood(f, POST("/size") "Content-Length: 262145\r\n\r\n", false, HTTP_LIMIT + 1,
                 " 413 ");
    assert_flood(f, POST("/size") CHUNKED "\r\n", true, HTTP_LIMIT + 1, " 413 ");
    /* Clients that do not stop at the refusal are not reset, and so still read it. */
    assert_flood(f, POST("/size") "Content-Length: 262145\r\n\r\n", false, FLOOD_BYTES,
                 " 413 ");
    assert_flood(f, POST("/size") "Content-Length: 8388608\r\n\r\n", false, FLOOD_BYTES,
                 " 413 ");
    assert_flood(f, POST("/size") CHUNKED "\r\n", true, FLOOD_BYTES, " 413 ");
    assert_true(has_text(&f->in, "Connection: close\r\n"));
    assert_int_equal(f->delivered, 2);
    assert_int_equal(http_server_open_requests(f->server), 0);
}

static void bounds_a_body_by_its_route(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    for (int i = 0; i < 2; i++) { /* a request that is used again has the usual bound again */
        assert_flood(f, POST("/large") "Content-Length: 524288\r\n" CLOSE, false,
                     2 * HTTP_LIMIT, "got 524288");
        assert_flood(f, POST("/large") CHUNKED CLOSE, true, 2 * HTTP_LIMIT, "got 524288");
        assert_flood(f, POST("/large") "Content-Length: 524289\r\n\r\n", false,
                     2 * HTTP_LIMIT + 1, " 413 ");
        assert_flood(f, POST("/large") CHUNKED "\r\n", true, 2 * HTTP_LIMIT + 1, " 413 ");
        assert_flood(f, POST("/size") "Content-Length: 262145\r\n\r\n", false, HTTP_LIMIT + 1,
                     " 413 ");
        assert_flood(f, POST("/small") "Content-Length: 2\r\n\r\n", false, 2, " 413 ");
        assert_flood(f, POST("/size") CHUNKED CLOSE, true, HTTP_LIMIT, "got 262144");
    }
    assert_int_equal(f->delivered, 6);
}

static void bounds_bodies_together(void **state)
{
    struct http_fixture *f = *state;
    struct http_options options = http_usual;
    options.max_bodies_bytes = HTTP_LIMIT;
    http_start(f, options);
    for (int i = 0; i < 3; i++) { /* what was answered makes room */
        assert_flood(f, POST("/size") CHUNKED CLOSE, true, HTTP_LIMIT, "got 262144");
        assert_flood(f, POST("/large") "Content-Length: 262145\r\n\r\n", false, HTTP_LIMIT + 1,
                     " 503 ");
        assert_flood(f, POST("/large") CHUNKED "\r\n", true, HTTP_LIMIT + 1, " 503 ");
    }
    assert_int_equal(http_server_open_requests(f->server), 0);
}

#define HIDDEN "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"

static const char *const smuggling_heads[] = {
    "Content-Length: 5\r\n" CHUNKED,
    CHUNKED "Content-Length: 5\r\n",
    CHUNKED CHUNKED,
    "Content-Length: 0\r\nContent-Length: 36\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    "Content-Length : 5\r\n",
    "Content-Length:\r\n 41\r\n",
    "Content-Length: \r\n\t41\r\n",
    "Content-Length: 1\r\n 0\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding:\r\n\tchun\r\n ked\r\n",
    "Transfer-Encoding: chunked,\r\n gzip\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n",
};

/* libmicrohttpd refuses these itself, and 0.9.75 says so twice before it closes. */
static const char *const bad_lengths[] = {
    "+5", "-1", "0x5", "5, 5", "5 5", "", "99999999999999999999999",
};

static void assert_nothing_behind(struct http_fixture *f, const char *head)
{
    char text[512];
    (void)snprintf(text, sizeof(text), POST("/echo") "%s\r\n0\r\n\r\n" HIDDEN, head);
    (void)http_exchange(f, text);
    size_t refusals = count_text(&f->in, "HTTP/1.1 4");
    if (refusals == 0 || count_text(&f->in, "HTTP/1.1") != refusals || f->delivered > 0)
        fail_msg("%s: %s", head, f->in.ptr);
}

static void refuses_smuggling(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    for (size_t i = 0; i < sizeof(smuggling_heads) / sizeof(smuggling_heads[0]); i++) {
        assert_nothing_behind(f, smuggling_heads[i]);
        assert_int_equal(count_text(&f->in, "HTTP/1.1 400 "), 1);
    }
    for (size_t i = 0; i < sizeof(bad_lengths) / sizeof(bad_lengths[0]); i++) {
        char head[64];
        (void)snprintf(head, sizeof(head), "Content-Length: %s\r\n", bad_lengths[i]);
        assert_nothing_behind(f, head);
    }
    (void)http_exchange(f, "POST /echo HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" HIDDEN);
    assert_true(has_text(&f->in, " 400 "));
    assert_int_equal(f->delivered, 0);
}

/* Folds of other headers may be refused (0.9.75) or read for what they are (1.0.1), but never
 * for a length or a coding. */
static void reads_no_framing_into_folds(void **state)
{
    static const char *const heads[] = {
        "Content: 5\r\n -Length\r\n",
        "C: 5\r\n ontent-Length\r\n",
        "Content-Lengt:       5\r\n h\r\n",
        "Transfer: chunked\r\n -Encoding\r\n",
    };
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), POST("/size") "%s" CLOSE "0\r\n\r\n", heads[i]);
        (void)http_exchange(f, text);
        if (!has_text(&f->in, " 400 ") && !has_text(&f->in, "got 0"))
            fail_msg("%s: %s", heads[i], f->in.ptr);
        assert_int_equal(count_text(&f->in, "HTTP/1.1 "), 1);
    }
    /* Blanks around a value are none. */
    assert_non_null(strstr(
        http_exchange(f, GET("/header") "X-Ask:\t  far\r\nX-None:\r\n" CLOSE), "\r\n\r\nfar"));
    assert_non_null(
        strstr(http_exchange(f, POST("/size") "Content-Length:5\r\n" CLOSE "12345"), "got 5"));
}

static void refuses_large_headers(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    struct buf text;
    buf_init(&text, HTTP_LIMIT);
    buf_append_str(&text, GET("/echo") "X-Large: ");
    for (size_t i = 0; i < 200000; i++)
        buf_append_char(&text, 'x');
    buf_append_str(&text, "\r\n\r\n");
    buf_append_char(&text, '\0');
    (void)http_exchange(f, text.ptr);
    assert_false(has_text(&f->in, " 200 "));
    assert_int_equal(f->delivered, 0);
    buf_free(&text);
    assert_non_null(strstr(http_exchange(f, GET("/?q=alive") CLOSE), "alive"));
}

static void expects_continue(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    const char *in = http_exchange(
        f, POST("/echo") "Expect: 100-continue\r\nContent-Length: 2\r\n" CLOSE "ok");
    assert_non_null(strstr(in, "\r\n\r\nok"));
    in = http_exchange(f,
                       POST("/echo") "Expect: 100-continue\r\nContent-Length: 262145\r\n\r\n");
    assert_null(strstr(in, " 100 "));
    assert_non_null(strstr(in, " 413 "));
}

static void head_callback_refuses(void **state)
{
    struct http_fixture *f = *state;
    http_start(f, http_usual);
    f->head_status = 405;
    /* Without a body the connection goes on. */
    const char *in = http_exchange(f, GET("/a") "\r\n" GET("/b") CLOSE);
    assert_int_equal(count_text(&f->in, "HTTP/1.1 405 "), 2);
    assert_non_null(strstr(in, "Allow: POST\r\n"));
    /* With one it is refused without waiting for it. */
    (void)http_exchange(f, POST("/a") "Content-Length: 10\r\n\r\n");
    assert_int_equal(count_text(&f->in, "HTTP/1.1 405 "), 1);
    assert_true(has_text(&f->in, "Allow: POST\r\n"));
    assert_int_equal(f->delivered, 0);
    assert_int_equal(f->gone, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(bounds_bodies),
        HTTP_TEST(bounds_a_body_by_its_route),
        HTTP_TEST(bounds_bodies_together),
        HTTP_TEST(refuses_smuggling),
        HTTP_TEST(reads_no_framing_into_folds),
        HTTP_TEST(refuses_large_headers),
        HTTP_TEST(expects_continue),
        HTTP_TEST(head_callback_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
