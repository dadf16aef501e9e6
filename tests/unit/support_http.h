/* A server on loopback with one path for each thing that tests want of it, and raw requests to
 * it. */
#pragma once

#include "http/http_server.h"
#include "support_peer.h"

enum { HTTP_LIMIT = 262144, HTTP_HELD = 8 };

struct http_fixture {
    struct loop *loop;
    struct http_server *server;
    struct loop_turn *early_turn; /* registered before the server's own */
    struct loop_turn *late_turn;  /* and after it */
    unsigned turns;
    struct wheel_timer timer;
    struct http_request *held[HTTP_HELD]; /* waiting for their answer */
    size_t held_count;
    struct http_request *for_early_turn;
    struct http_request *for_late_turn;
    struct http_request *stream;
    unsigned delivered;
    unsigned gone;
    int head_status; /* what on_head gives */
    /* For peers. */
    const char *text;
    size_t chunk;
    bool was_open;  /* the server did not close */
    bool was_reset; /* sending failed */
    struct buf in;
};

extern const struct http_options http_usual;

int http_set_up(void **state);
int http_tear_down(void **state);
void http_start(struct http_fixture *f, struct http_options options);

/* Sends `text` on one connection and takes all until the server closes it. */
const char *http_exchange(struct http_fixture *f, const char *text);
void http_answer_held(struct http_fixture *f);
bool http_is_one_held(void *fixture);
bool http_is_all_gone(void *fixture);
void http_fixture_request(struct http_request *req, void *fixture);

#define CLOSE "Connection: close\r\n\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\nHost: h\r\n"
#define POST(target) "POST " target " HTTP/1.1\r\nHost: h\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define HTTP_TEST(name) cmocka_unit_test_setup_teardown(name, http_set_up, http_tear_down)
