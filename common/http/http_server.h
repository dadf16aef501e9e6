/* HTTP/1.1 server on the loop (the only directory that includes microhttpd.h).
 *
 * libmicrohttpd runs in external-epoll mode inside the loop: no threads. A request is handed to
 * on_request with its whole body and answered once, in the callback or later; an unanswered
 * request is suspended. Everything runs on the loop's thread.
 *
 * Refused here: a body over the limit (413), or for which there is no room (503); and before
 * the caller sees anything Transfer-Encoding
 * other than a single "chunked" or together with Content-Length, folded headers (400, closed:
 * request smuggling behind a proxy, not refused by libmicrohttpd 0.9.75), headers over the
 * connection's memory (431).
 *
 * A suspended request has no timeout and a client that goes away is not noticed: whoever does
 * not answer in the callback owns a deadline. */
#pragma once

#include "base/buf.h"
#include "loop/loop.h"

struct http_server;
struct http_request;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

struct http_callbacks {
    /* Headers are known: 0 reads the body, any other status refuses at once with its reason
     * phrase as text (http_reply_header may add to it). A refused request with a body costs the
     * connection. NULL accepts all. */
    int (*on_head)(struct http_request *req, void *arg);
    /* The request is complete. */
    void (*on_request)(struct http_request *req, void *arg);
    /* The request is about to be freed (answered, or its connection broke); last use of `req`.
     * NULL when the caller keeps nothing. */
    void (*on_gone)(struct http_request *req, void *arg);
    void *arg;
};

struct http_options {
    const char
        *listen; /* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"; port 0 takes a free one */
    size_t max_body_bytes;   /* of one request, unless http_limit_body says otherwise */
    size_t max_bodies_bytes; /* of all requests in hand, past it 503; 0: not bounded */
    unsigned max_connections;
    unsigned idle_timeout_s; /* of a connection that is not suspended (slow clients); from the
                              * last answer to the end of the next request it may take twice
                              * that, however steadily its bytes drip; 0 bounds neither */
    bool share_port;         /* SO_REUSEPORT: several processes on one host */
    bool is_uncounted;       /* not in the http metrics (operations' own port) */
};

/* NULL with a reason (BRG_RETRY: address in use; BRG_STOP: malformed, no permission). */
struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    const struct http_callbacks *callbacks,
                                    struct brg_error *error);
unsigned http_server_port(const struct http_server *s);
/* Stops accepting; open requests go on. */
void http_server_quiesce(struct http_server *s);
size_t http_server_open_requests(const struct http_server *s);
/* Answers what is still open with 503 and closes everything. */
void http_server_free(struct http_server *s);

/* What the client sent; views live until the request is answered. */
enum http_method http_method(const struct http_request *req);
struct bytes http_path(const struct http_request *req); /* percent-decoded */
bool http_query(const struct http_request *req, const char *name,
                struct bytes *value);                                       /* decoded */
struct bytes http_header(const struct http_request *req, const char *name); /* or empty */
struct bytes http_body(const struct http_request *req);

/* In on_head: the bound of this request's body. */
void http_limit_body(struct http_request *req, size_t bytes);

/* One pointer for the caller's own state. */
void http_set_context(struct http_request *req, void *context);
void *http_context(const struct http_request *req);

/* Answers. `body` is moved: the server owns its memory afterwards and `body` is empty. */
void http_reply(struct http_request *req, int status, const char *content_type,
                struct buf *body);
void http_reply_text(struct http_request *req, int status, const char *content_type,
                     struct bytes body); /* copied */
/* Adds a header to the answer that follows. At most 4; name and value are copied. */
void http_reply_header(struct http_request *req, const char *name, const char *value);

/* A body of unknown length, written as it comes (Server-Sent Events). on_gone tells the end,
 * also when the client leaves: at once, or at a later write if it speaks HTTP/1.0 or has sent
 * another request behind. A stream that the client does not read is cut at 1 MiB, and what is
 * written between the cut and on_gone is dropped. Writing after on_gone is an error of the
 * caller. */
void http_stream_begin(struct http_request *req, int status, const char *content_type);
void http_stream_write(struct http_request *req, struct bytes data); /* copied, bounded 1 MiB */
void http_stream_end(struct http_request *req);
void http_stream_abort(struct http_request *req); /* cuts the connection in mid-body */
