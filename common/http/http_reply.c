#include "http/http_internal.h"

static struct MHD_Response *
response_of(void *body, size_t len, enum MHD_ResponseMemoryMode mode, const char *content_type)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);
    BRG_CHECK(response);
    if (content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    return response;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct MHD_Response *find_kept(const struct http_server *s, const char *content_type,
                                      struct bytes body)
{
    for (size_t i = 0; i < s->kept_count; i++) {
        const struct kept_answer *kept = &s->kept[i];
        if (bytes_eq(bytes_of(kept->body, kept->len), body) &&
            same_text(kept->content_type, content_type))
            return kept->response;
    }
    return NULL;
}

/* Never evicts: which texts repeat is known by the source, and it has fewer than the table. */
static struct MHD_Response *keep(struct http_server *s, const char *content_type,
                                 struct bytes body)
{
    if (s->kept_count == HTTP_KEPT_ANSWERS || body.len > HTTP_KEPT_ANSWER_BYTES)
        return NULL;
    struct kept_answer *kept = &s->kept[s->kept_count++];
    kept->len = body.len;
    if (body.len > 0)
        memcpy(kept->body, body.ptr, body.len);
    kept->content_type = content_type ? brg_strdup(content_type) : NULL;
    kept->response = response_of(kept->body, kept->len, MHD_RESPMEM_PERSISTENT, content_type);
    return kept->response;
}

void http_kept_free(struct http_server *s)
{
    for (size_t i = 0; i < s->kept_count; i++) {
        MHD_destroy_response(s->kept[i].response);
        free((void *)s->kept[i].content_type);
    }
    s->kept_count = 0;
}

void http_reply_set(struct http_request *req, int status, struct MHD_Response *response,
                    bool is_shared)
{
    BRG_CHECK(req->state < REQUEST_ANSWERED);
    req->state = REQUEST_ANSWERED;
    req->status = status;
    req->response = response;
    req->is_shared = is_shared;
    http_server_resume(req);
}

void http_reply(struct http_request *req, int status, const char *content_type,
                struct buf *body)
{
    if (body->len == 0) {
        buf_free(body);
        http_reply_text(req, status, content_type, BYTES_LIT(""));
        return;
    }
    size_t len;
    char *ptr = buf_take(body, &len);
    http_reply_set(req, status, response_of(ptr, len, MHD_RESPMEM_MUST_FREE, content_type),
                   false);
}

void http_reply_text(struct http_request *req, int status, const char *content_type,
                     struct bytes body)
{
    /* What carries headers of its own cannot be shared. */
    bool may_share = req->header_count == 0 && !req->server->is_quiesced;
    struct MHD_Response *kept = NULL;
    if (may_share && body.len <= HTTP_KEPT_ANSWER_BYTES)
        kept = find_kept(req->server, content_type, body);
    if (may_share && !kept)
        kept = keep(req->server, content_type, body);
    if (kept) {
        http_reply_set(req, status, kept, true);
        return;
    }
    http_reply_set(req, status,
                   response_of((void *)(body.len > 0 ? body.ptr : ""), body.len,
                               MHD_RESPMEM_MUST_COPY, content_type),
                   false);
}

void http_reply_plain(struct http_request *req, int status)
{
    char text[HTTP_KEPT_ANSWER_BYTES];
    int len = snprintf(text, sizeof(text), "%s\n", MHD_get_reason_phrase_for((unsigned)status));
    BRG_CHECK(len > 0 && (size_t)len < sizeof(text));
    http_reply_text(req, status, "text/plain", bytes_of(text, (size_t)len));
}

void http_reply_header(struct http_request *req, const char *name, const char *value)
{
    BRG_CHECK(req->header_count < HTTP_REPLY_HEADERS && req->state < REQUEST_ANSWERED);
    struct reply_header *header = &req->headers[req->header_count++];
    header->name = brg_strdup(name);
    header->value = brg_strdup(value);
}

void http_reply_drop(struct http_request *req)
{
    if (req->response && !req->is_shared)
        MHD_destroy_response(req->response);
    req->response = NULL;
    for (size_t i = 0; i < req->header_count; i++) {
        free(req->headers[i].name);
        free(req->headers[i].value);
    }
    req->header_count = 0;
}

enum MHD_Result http_reply_queue(struct http_request *req)
{
    struct http_server *s = req->server;
    for (size_t i = 0; i < req->header_count; i++)
        (void)MHD_add_response_header(req->response, req->headers[i].name,
                                      req->headers[i].value);
    if (s->is_quiesced && !req->is_shared)
        (void)MHD_add_response_header(req->response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result queued =
        MHD_queue_response(req->connection, (unsigned)req->status, req->response);
    req->state = REQUEST_QUEUED;
    http_count_answer(s, req->status, loop_now_ms(s->loop) - req->started_ms);
    http_reply_drop(req);
    return queued;
}
