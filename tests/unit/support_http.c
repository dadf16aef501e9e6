#include "support_http.h"

#include <unistd.h>

static void answer_in_turn(struct http_request **req)
{
    if (*req)
        http_reply_text(*req, 200, "text/plain", BYTES_LIT("in turn"));
    *req = NULL;
}

static bool on_early_turn(void *arg)
{
    struct http_fixture *f = arg;
    f->turns++;
    answer_in_turn(&f->for_early_turn);
    return false;
}

static bool on_late_turn(void *arg)
{
    struct http_fixture *f = arg;
    answer_in_turn(&f->for_late_turn);
    return false;
}

void http_answer_held(struct http_fixture *f)
{
    size_t count = f->held_count;
    f->held_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct buf body;
        buf_init(&body, HTTP_LIMIT);
        buf_append_str(&body, "later ");
        buf_append(&body, http_path(f->held[i]));
        http_reply(f->held[i], 200, "text/plain", &body);
    }
}

static void on_timer(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    http_answer_held(arg);
}

static int on_head(struct http_request *req, void *arg)
{
    struct http_fixture *f = arg;
    if (bytes_eq_str(http_path(req), "/large"))
        http_limit_body(req, 2 * HTTP_LIMIT);
    else if (bytes_eq_str(http_path(req), "/small"))
        http_limit_body(req, 1);
    if (f->head_status == 405)
        http_reply_header(req, "Allow", "POST");
    return f->head_status;
}

void http_fixture_request(struct http_request *req, void *arg)
{
    struct http_fixture *f = arg;
    struct bytes path = http_path(req);
    struct bytes query = BYTES_LIT("");
    f->delivered++;
    if (bytes_starts_with(path, BYTES_LIT("/later"))) {
        f->held[f->held_count++] = req;
        loop_timer_set(f->loop, &f->timer, 5);
    } else if (bytes_eq_str(path, "/hold")) {
        f->held[f->held_count++] = req;
    } else if (bytes_eq_str(path, "/early")) {
        f->for_early_turn = req;
    } else if (bytes_eq_str(path, "/late")) {
        f->for_late_turn = req;
    } else if (bytes_eq_str(path, "/stream")) {
        f->stream = req;
        http_stream_begin(req, 200, "text/event-stream");
    } else if (bytes_eq_str(path, "/header")) {
        http_reply_header(req, "X-One", "1");
        http_reply_text(req, 201, NULL, http_header(req, "x-ask"));
    } else if (http_query(req, "q", &query)) {
        http_reply_text(req, 200, "text/plain", query);
    } else if (bytes_eq_str(path, "/echo")) {
        http_reply_text(req, 200, "application/json", http_body(req));
    } else if (bytes_eq_str(path, "/size") || bytes_eq_str(path, "/large")) {
        struct buf body;
        buf_init(&body, 64);
        buf_printf(&body, "got %zu", http_body(req).len);
        http_reply(req, 200, "text/plain", &body);
    } else {
        http_reply_text(req, 404, "text/plain", path);
    }
}

static void on_gone(struct http_request *req, void *arg)
{
    struct http_fixture *f = arg;
    if (f->stream == req)
        f->stream = NULL;
    f->gone++;
}

void http_start(struct http_fixture *f, struct http_options options)
{
    struct http_callbacks callbacks = {on_head, http_fixture_request, on_gone, f};
    struct brg_error error = {0};
    f->early_turn = loop_turn_new(f->loop, on_early_turn, f);
    f->server = http_server_new(f->loop, &options, &callbacks, &error);
    if (!f->server)
        (void)fprintf(stderr, "%s\n", error.text);
    BRG_CHECK(f->server && http_server_port(f->server) > 0);
    f->late_turn = loop_turn_new(f->loop, on_late_turn, f);
}

const struct http_options http_usual = {.listen = "127.0.0.1:0",
                                        .max_body_bytes = HTTP_LIMIT,
                                        .max_connections = 1000,
                                        .idle_timeout_s = 10};

int http_set_up(void **state)
{
    struct http_fixture *f = BRG_NEW(struct http_fixture);
    f->loop = loop_new();
    wheel_timer_init(&f->timer, on_timer, f);
    buf_init(&f->in, PEER_BYTES);
    *state = f;
    return 0;
}

int http_tear_down(void **state)
{
    struct http_fixture *f = *state;
    http_server_free(f->server);
    loop_turn_free(f->early_turn);
    loop_turn_free(f->late_turn);
    loop_timer_cancel(f->loop, &f->timer);
    loop_free(f->loop);
    buf_free(&f->in);
    free(f);
    return 0;
}

static void connection(void *arg)
{
    struct http_fixture *f = arg;
    int fd = peer_connect(http_server_port(f->server));
    (void)peer_send(fd, bytes_of_str(f->text));
    f->was_open = !peer_read_all(fd, &f->in);
    (void)close(fd);
}

const char *http_exchange(struct http_fixture *f, const char *text)
{
    buf_reset(&f->in);
    f->text = text;
    peer_run(f->loop, connection, f);
    buf_append_char(&f->in, '\0');
    f->in.len--;
    BRG_CHECK(!f->was_open);
    return f->in.ptr;
}

bool http_is_one_held(void *arg)
{
    return ((struct http_fixture *)arg)->held_count == 1;
}

bool http_is_all_gone(void *arg)
{
    return http_server_open_requests(((struct http_fixture *)arg)->server) == 0;
}
