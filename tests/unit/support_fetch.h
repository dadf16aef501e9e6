/* An HTTP client on loopback, our server with a path for each thing that tests want, a listener
 * for peers that misbehave, and what the client's callbacks told. */
#pragma once

#include "fetch/fetch.h"
#include "http/http_server.h"
#include "support_peer.h"

enum { MANY = 1000, NEVER_DONE = -1, LIMIT = 2097152 };

struct fetch_fixture;

/* One transfer and all that its callbacks told. */
struct transfer {
    struct fetch_fixture *f;
    struct fetch *fetch;
    struct transfer *next;   /* started when this one is done */
    struct transfer *victim; /* cancelled when this one is done */
    struct buf body;
    int64_t retry_after_ms;
    int result; /* enum fetch_result, or NEVER_DONE */
    int heads;
    int status;
    bool is_data_first; /* data before the head */
    bool cancels_on_head;
    bool cancels_on_data;
    char type[64];
    char detail[256];
};

struct fetch_fixture {
    struct loop *loop;
    struct fetch_pool *pool;
    struct http_server *server;
    char base[64];
    struct http_request *streams[MANY];
    size_t stream_count;
    unsigned gone;
    unsigned wanted; /* transfers that have to be done */
    unsigned done;
    /* A raw server's part. */
    int listener;
    char raw_base[64];
    const char *raw_answer;
    struct buf raw_in;
};

int fetch_set_up(void **state);
int fetch_tear_down(void **state);

void transfer_begin(struct transfer *t, struct fetch_fixture *f,
                    const struct fetch_request *request);
/* Runs one request on our server to its end; `path` replaces request.url. */
void transfer_run(struct fetch_fixture *f, struct transfer *t, const char *path,
                  struct fetch_request request);
/* The same with a peer that reads the request's head, says `answer` and closes. */
void transfer_run_raw(struct fetch_fixture *f, struct transfer *t, const char *answer,
                      struct fetch_request request);
/* That peer alone, until the transfers are done. */
void transfer_serve_raw(struct fetch_fixture *f, const char *answer);
/* Checks what holds for every transfer and frees what it got. */
void transfer_end(struct transfer *t);
bool is_all_done(void *fixture);
void run_turns(struct fetch_fixture *f, unsigned turns);

#define PLAIN ((struct fetch_request){0})
#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define FETCH_TEST(name) cmocka_unit_test_setup_teardown(name, fetch_set_up, fetch_tear_down)
