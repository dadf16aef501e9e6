#include "http/http_admin.h"

#include "metrics/metrics.h"

enum {
    ADMIN_CONNECTIONS = 64,
    ADMIN_IDLE_S = 15,
    REASON_BYTES = 1024,
    METRICS_BYTES = 1048576,
};

struct http_admin {
    struct http_server *server;
    http_ready_fn *ready;
    void *arg;
};

static void answer_ready(struct http_request *req, const struct http_admin *a)
{
    struct buf why;
    buf_init(&why, REASON_BYTES);
    bool is_ready = a->ready(a->arg, &why);
    if (is_ready) {
        buf_free(&why);
        http_reply_text(req, 200, "text/plain", BYTES_LIT("ok\n"));
        return;
    }
    buf_append_char(&why, '\n');
    http_reply(req, 503, "text/plain", &why);
}

static void answer_metrics(struct http_request *req)
{
    struct buf text;
    buf_init(&text, METRICS_BYTES);
    metrics_write(&text);
    http_reply(req, 200, "text/plain; version=0.0.4", &text);
}

static void on_request(struct http_request *req, void *arg)
{
    struct bytes path = http_path(req);
    bool is_live = bytes_eq_str(path, "/livez");
    bool is_ready = bytes_eq_str(path, "/readyz");
    bool is_metrics = bytes_eq_str(path, "/metrics");
    if (!is_live && !is_ready && !is_metrics) {
        http_reply_text(req, 404, "text/plain", BYTES_LIT("Not Found\n"));
    } else if (http_method(req) != HTTP_GET && http_method(req) != HTTP_HEAD) {
        http_reply_header(req, "Allow", "GET, HEAD");
        http_reply_text(req, 405, "text/plain", BYTES_LIT("Method Not Allowed\n"));
    } else if (is_live) {
        http_reply_text(req, 200, "text/plain", BYTES_LIT("ok\n"));
    } else if (is_ready) {
        answer_ready(req, arg);
    } else {
        answer_metrics(req);
    }
}

struct http_admin *http_admin_new(struct loop *loop, const char *listen, http_ready_fn *ready,
                                  void *arg, struct brg_error *error)
{
    struct http_admin *a = BRG_NEW(struct http_admin);
    a->ready = ready;
    a->arg = arg;
    struct http_options options = {.listen = listen,
                                   .max_connections = ADMIN_CONNECTIONS,
                                   .idle_timeout_s = ADMIN_IDLE_S,
                                   .is_uncounted = true};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = a};
    a->server = http_server_new(loop, &options, &callbacks, error);
    if (a->server)
        return a;
    free(a);
    return NULL;
}

unsigned http_admin_port(const struct http_admin *a)
{
    return http_server_port(a->server);
}

void http_admin_free(struct http_admin *a)
{
    if (!a)
        return;
    http_server_free(a->server);
    free(a);
}
