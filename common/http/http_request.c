#include "http/http_internal.h"

static struct http_request *request_new(struct http_server *s)
{
    struct list *node = list_pop_front(&s->spare);
    if (node) {
        s->spare_count--;
        return LIST_ENTRY(node, struct http_request, node);
    }
    struct http_request *req = BRG_NEW(struct http_request);
    list_init(&req->node);
    req->server = s;
    buf_init(&req->target, HTTP_TARGET_BYTES);
    buf_init(&req->body, s->max_body_bytes);
    buf_init(&req->stream, HTTP_STREAM_BYTES);
    return req;
}

static void request_free(struct http_request *req)
{
    buf_free(&req->target);
    buf_free(&req->body);
    buf_free(&req->stream);
    free(req);
}

static void empty(struct buf *b)
{
    if (b->cap > HTTP_KEPT_BYTES)
        buf_free(b);
    else
        buf_reset(b);
}

static void request_recycle(struct http_request *req)
{
    struct http_server *s = req->server;
    http_reply_drop(req);
    BRG_CHECK(!req->watcher); /* only while suspended */
    list_remove(&req->node);
    http_count_body(s, -(ptrdiff_t)req->body.len);
    if (s->spare_count >= HTTP_SPARE_REQUESTS) {
        request_free(req);
        return;
    }
    empty(&req->target);
    empty(&req->body);
    req->body.max = s->max_body_bytes;
    empty(&req->stream);
    req->connection = NULL;
    req->is_suspended = req->is_seen = req->has_body = false;
    req->is_stream = req->is_ended = req->is_aborted = req->is_deaf = false;
    req->content_length = 0;
    req->param_count = 0;
    req->context = NULL;
    list_push_back(&s->spare, &req->node);
    s->spare_count++;
}

void http_request_spares_free(struct http_server *s)
{
    struct list *next;
    for (struct list *node = s->spare.next; node != &s->spare; node = next) {
        next = node->next;
        request_free(LIST_ENTRY(node, struct http_request, node));
    }
    list_init(&s->spare);
    s->spare_count = 0;
}

void *http_request_begin(void *server, const char *target, struct MHD_Connection *connection)
{
    struct http_request *req = request_new(server);
    req->connection = connection;
    req->state = REQUEST_HEAD;
    req->method = HTTP_OTHER;
    req->started_ms = loop_now_ms(req->server->loop);
    buf_append_str(&req->target, target);
    return req;
}

void http_request_completed(void *server, struct MHD_Connection *connection, void **request,
                            enum MHD_RequestTerminationCode how)
{
    struct http_server *s = server;
    struct http_request *req = *request;
    (void)how;
    http_connection_awaited(s, connection);
    if (!req)
        return;
    *request = NULL;
    if (!list_is_empty(&req->node)) {
        s->open_count--;
        http_count_open(s, -1);
    }
    req->state = REQUEST_QUEUED;
    if (req->is_seen && s->callbacks.on_gone)
        s->callbacks.on_gone(req, s->callbacks.arg);
    request_recycle(req);
}

static enum http_method method_of(const char *name)
{
    if (strcmp(name, MHD_HTTP_METHOD_POST) == 0)
        return HTTP_POST;
    if (strcmp(name, MHD_HTTP_METHOD_GET) == 0)
        return HTTP_GET;
    return strcmp(name, MHD_HTTP_METHOD_HEAD) == 0 ? HTTP_HEAD : HTTP_OTHER;
}

static int judge_head(struct http_request *req)
{
    struct http_server *s = req->server;
    if (!http_target_parse(req))
        return MHD_HTTP_BAD_REQUEST;
    if (s->is_closing)
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    int status = 0;
    req->is_seen = s->callbacks.on_head != NULL;
    if (s->callbacks.on_head)
        status = s->callbacks.on_head(req, s->callbacks.arg);
    if (status == 0 && req->content_length > req->body.max)
        status = MHD_HTTP_CONTENT_TOO_LARGE;
    return status;
}

static enum MHD_Result take_head(struct http_request *req, const char *method,
                                 const char *version)
{
    struct http_server *s = req->server;
    req->method = method_of(method);
    req->is_chunked = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    list_push_back(&s->open, &req->node);
    s->open_count++;
    http_count_open(s, 1);
    /* Where the message ends is in doubt: nothing after it can be trusted. */
    if (!http_framing_read(req, version))
        return http_refuse(req, MHD_HTTP_BAD_REQUEST);
    int status = judge_head(req);
    if (status != 0 && req->has_body)
        return http_refuse(req, status);
    req->state = REQUEST_BODY;
    if (status != 0)
        http_reply_plain(req, status);
    return MHD_YES;
}

static enum MHD_Result take_body(struct http_request *req, const char *data, size_t *size)
{
    struct http_server *s = req->server;
    if (*size > req->body.max - req->body.len)
        return http_refuse(req, MHD_HTTP_CONTENT_TOO_LARGE);
    if (s->max_bodies_bytes > 0 && *size > s->max_bodies_bytes - s->bodies_bytes)
        return http_refuse(req, MHD_HTTP_SERVICE_UNAVAILABLE);
    if (req->body.len == 0 && req->content_length > req->body.cap)
        (void)buf_reserve(&req->body, (size_t)req->content_length);
    buf_append(&req->body, bytes_of(data, *size));
    if (req->body.overflowed) /* no memory */
        return http_refuse(req, MHD_HTTP_SERVICE_UNAVAILABLE);
    http_count_body(s, (ptrdiff_t)*size);
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result deliver(struct http_request *req)
{
    struct http_server *s = req->server;
    req->state = REQUEST_CALLER;
    http_connection_received(req->connection);
    if (s->is_closing) {
        http_reply_plain(req, MHD_HTTP_SERVICE_UNAVAILABLE);
    } else {
        req->is_seen = true;
        s->delivered++;
        s->callbacks.on_request(req, s->callbacks.arg);
    }
    if (req->state == REQUEST_ANSWERED)
        return http_reply_queue(req);
    req->is_suspended = true;
    MHD_suspend_connection(req->connection);
    return MHD_YES;
}

enum MHD_Result http_request_step(void *server, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **request)
{
    struct http_request *req = *request;
    (void)server;
    (void)url;
    switch (req->state) {
    case REQUEST_HEAD:
        return take_head(req, method, version);
    case REQUEST_BODY:
        return *size > 0 ? take_body(req, data, size) : deliver(req);
    case REQUEST_ANSWERED:
        http_connection_received(connection);
        return http_reply_queue(req);
    case REQUEST_CALLER:
    case REQUEST_QUEUED:
        break;
    }
    BRG_CHECK(!"a suspended or answered request was stepped");
    return MHD_NO;
}

enum http_method http_method(const struct http_request *req)
{
    return req->method;
}

struct bytes http_path(const struct http_request *req)
{
    return req->path;
}

struct bytes http_header(const struct http_request *req, const char *name)
{
    return bytes_of_str(MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, name));
}

struct bytes http_body(const struct http_request *req)
{
    return buf_bytes(&req->body);
}

void http_limit_body(struct http_request *req, size_t bytes)
{
    BRG_CHECK(req->state == REQUEST_HEAD);
    req->body.max = bytes;
}

void http_set_context(struct http_request *req, void *context)
{
    req->context = context;
}

void *http_context(const struct http_request *req)
{
    return req->context;
}
