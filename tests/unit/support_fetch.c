#include "support_fetch.h"

#include <sys/socket.h>
#include <unistd.h>

static void on_stream(struct fetch_fixture *f, struct http_request *req)
{
    f->streams[f->stream_count++] = req;
    http_stream_begin(req, 200, "text/event-stream");
    http_stream_write(req, BYTES_LIT("data: first\n\n"));
}

static void on_request(struct http_request *req, void *arg)
{
    struct fetch_fixture *f = arg;
    struct bytes path = http_path(req);
    if (bytes_eq_str(path, "/stream")) {
        on_stream(f, req);
    } else if (bytes_eq_str(path, "/hold")) {
        f->streams[f->stream_count++] = req;
    } else if (bytes_eq_str(path, "/echo")) {
        http_reply_header(req, "X-Other", "1");
        http_reply_text(req, 200, "Text/JSON; charset=UTF-8", http_body(req));
    } else if (bytes_eq_str(path, "/header")) {
        struct bytes name = BYTES_LIT("");
        char text[64] = {0};
        if (http_query(req, "name", &name) && name.len < sizeof(text))
            memcpy(text, name.ptr, name.len);
        http_reply_text(req, 200, "text/plain", http_header(req, text));
    } else if (bytes_eq_str(path, "/method")) {
        static const char *const names[] = {"GET", "HEAD", "POST", "OTHER"};
        http_reply_text(req, 200, "text/plain", bytes_of_str(names[http_method(req)]));
    } else if (bytes_eq_str(path, "/moved")) {
        http_reply_header(req, "Location", "/echo");
        http_reply_text(req, 302, NULL, BYTES_LIT(""));
    } else {
        struct bytes after = BYTES_LIT("");
        (void)http_query(req, "after", &after);
        char *text = bytes_dup(after);
        http_reply_header(req, "Retry-After", text);
        http_reply_text(req, 429, "text/plain", BYTES_LIT("slow"));
        free(text);
    }
}

static void on_gone(struct http_request *req, void *arg)
{
    struct fetch_fixture *f = arg;
    f->gone++;
    for (size_t i = 0; i < f->stream_count; i++) {
        if (f->streams[i] == req)
            f->streams[i] = NULL;
    }
}

int fetch_set_up(void **state)
{
    struct fetch_fixture *f = BRG_NEW(struct fetch_fixture);
    struct http_callbacks callbacks = {.on_request = on_request, .on_gone = on_gone, .arg = f};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .max_body_bytes = LIMIT,
                                   .max_connections = MANY + 10,
                                   .idle_timeout_s = 30};
    unsigned port;
    f->loop = loop_new();
    f->server = http_server_new(f->loop, &options, &callbacks, NULL);
    f->pool = fetch_pool_new(f->loop, &(struct fetch_options){.max_idle_connections = MANY});
    (void)snprintf(f->base, sizeof(f->base), "http://127.0.0.1:%u",
                   http_server_port(f->server));
    f->listener = peer_listen(&port, 16);
    (void)snprintf(f->raw_base, sizeof(f->raw_base), "http://127.0.0.1:%u/?code=s3cret", port);
    buf_init(&f->raw_in, LIMIT);
    *state = f;
    return 0;
}

int fetch_tear_down(void **state)
{
    struct fetch_fixture *f = *state;
    fetch_pool_free(f->pool);
    http_server_free(f->server);
    loop_free(f->loop);
    (void)close(f->listener);
    buf_free(&f->raw_in);
    free(f);
    return 0;
}

static void on_head(const struct fetch_head *head, void *arg)
{
    struct transfer *t = arg;
    t->heads++;
    t->status = head->status;
    t->retry_after_ms = head->retry_after_ms;
    (void)snprintf(t->type, sizeof(t->type), BYTES_FMT, BYTES_ARG(head->content_type));
    if (t->cancels_on_head)
        fetch_cancel(t->fetch);
}

static void on_data(struct bytes data, void *arg)
{
    struct transfer *t = arg;
    t->is_data_first |= t->heads == 0;
    buf_append(&t->body, data);
    if (t->cancels_on_data)
        fetch_cancel(t->fetch);
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct transfer *t = arg;
    BRG_CHECK(t->result == NEVER_DONE);
    t->result = (int)result;
    (void)snprintf(t->detail, sizeof(t->detail), "%s", detail);
    t->f->done++;
    if (t->victim)
        fetch_cancel(t->victim->fetch);
    if (t->next) {
        char url[128];
        (void)snprintf(url, sizeof(url), "%s/method", t->f->base);
        transfer_begin(t->next, t->f, &(struct fetch_request){.url = url});
    }
}

void transfer_begin(struct transfer *t, struct fetch_fixture *f,
                    const struct fetch_request *request)
{
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    t->f = f;
    t->result = NEVER_DONE;
    buf_init(&t->body, LIMIT);
    f->wanted++;
    t->fetch = fetch_start(f->pool, request, &callbacks, t);
}

bool is_all_done(void *arg)
{
    struct fetch_fixture *f = arg;
    return f->done == f->wanted;
}

void transfer_end(struct transfer *t)
{
    BRG_CHECK(!t->is_data_first);
    BRG_CHECK(!strstr(t->detail, "s3cret"));
    BRG_CHECK(!strchr(t->detail, '?'));
    buf_free(&t->body);
}

void transfer_run(struct fetch_fixture *f, struct transfer *t, const char *path,
                  struct fetch_request request)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "%s%s", f->base, path);
    request.url = url;
    *t = (struct transfer){0};
    transfer_begin(t, f, &request);
    loop_until(f->loop, is_all_done, f);
}

static void raw_server(void *arg)
{
    struct fetch_fixture *f = arg;
    int fd = peer_accept(f->listener);
    (void)peer_read_until(fd, &f->raw_in, "\r\n\r\n");
    (void)peer_send(fd, bytes_of_str(f->raw_answer));
    (void)shutdown(fd, SHUT_WR);
    (void)peer_read_all(fd, &f->raw_in);
    (void)close(fd);
}

void transfer_serve_raw(struct fetch_fixture *f, const char *answer)
{
    buf_reset(&f->raw_in);
    f->raw_answer = answer;
    peer_run(f->loop, raw_server, f);
    loop_until(f->loop, is_all_done, f);
}

void transfer_run_raw(struct fetch_fixture *f, struct transfer *t, const char *answer,
                      struct fetch_request request)
{
    request.url = f->raw_base;
    *t = (struct transfer){0};
    transfer_begin(t, f, &request);
    transfer_serve_raw(f, answer);
}

static bool has_a_turn_passed(void *arg)
{
    unsigned *left = arg;
    return (*left)-- == 0;
}

void run_turns(struct fetch_fixture *f, unsigned turns)
{
    loop_until(f->loop, has_a_turn_passed, &turns);
}
