/* What the files of this directory share; nobody else includes it.
 *
 * A request is created when its request line arrives, is in server->open from the end of its
 * headers to its end, and is recycled when libmicrohttpd reports the end of the request.
 * libmicrohttpd takes an answer only inside its handler and only before or after the body; so
 * an answer given at another time is kept in the request, the connection is resumed, and the
 * handler, called again, queues it. */
#pragma once

#include "base/list.h"
#include "http/http_server.h"
#include "metrics/metrics.h"

#include <microhttpd.h>

enum {
    HTTP_PARAMS = 32,            /* more in one query is malformed */
    HTTP_REPLY_HEADERS = 4,      /* set by http_reply_header */
    HTTP_TARGET_BYTES = 16384,   /* all header memory of a connection: never reached */
    HTTP_STREAM_BYTES = 1048576, /* not yet taken by the client */
    HTTP_KEPT_BYTES = 16384,     /* buffers of a recycled request above this are freed */
    HTTP_SPARE_REQUESTS = 256,
    HTTP_RECEIVE_IDLES = 2, /* a whole request may take so many idle timeouts */
    HTTP_KEPT_ANSWERS = 16,
    HTTP_KEPT_ANSWER_BYTES = 64,
};

enum request_state {
    REQUEST_HEAD,     /* headers are coming in */
    REQUEST_BODY,     /* headers accepted, body is coming in */
    REQUEST_CALLER,   /* with the caller, who has not answered */
    REQUEST_ANSWERED, /* the answer is kept here until the handler is called */
    REQUEST_QUEUED,   /* libmicrohttpd has the answer, or the connection is being cut */
};

struct http_param {
    struct bytes name;
    struct bytes value;
};

struct reply_header {
    char *name;
    char *value;
};

/* Made and freed with libmicrohttpd's connection. */
struct http_connection {
    struct list node; /* in server->receiving while a request is awaited or coming in */
    int64_t since_ms; /* in there: since connecting or since the last answer */
    int fd;           /* libmicrohttpd's */
};

struct http_request {
    struct list node; /* in server->open or server->spare */
    struct http_server *server;
    struct MHD_Connection *connection;
    enum request_state state;
    enum http_method method;
    bool is_suspended;
    bool is_seen; /* the caller knows it and is told its end */
    int64_t started_ms;
    uint64_t content_length; /* of the body to come; 0 when chunked */
    bool has_body;

    struct buf target; /* raw at first; path and parameters are decoded in place */
    struct bytes path;
    struct http_param params[HTTP_PARAMS];
    size_t param_count;
    struct buf body;
    void *context;

    int status;
    struct MHD_Response *response; /* while REQUEST_ANSWERED */
    bool is_shared;                /* response belongs to server->kept */
    struct reply_header headers[HTTP_REPLY_HEADERS];
    size_t header_count;

    bool is_stream;
    bool is_chunked; /* as a stream: the client speaks HTTP/1.1 */
    bool is_ended;
    bool is_aborted;
    bool is_deaf; /* more than the request has come: its end cannot be seen by reading */
    struct buf stream;
    struct loop_fd *watcher; /* while the stream is written by us */
    int fd;
};

/* Small answers that repeat (errors, health): made once, shared by all connections. */
struct kept_answer {
    struct MHD_Response *response;
    const char *content_type;
    size_t len;
    char body[HTTP_KEPT_ANSWER_BYTES];
};

struct http_server {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    struct loop_fd *epoll;
    struct loop_turn *turn;
    struct wheel_timer timer;
    struct http_callbacks callbacks;
    size_t max_body_bytes;
    size_t max_bodies_bytes; /* 0: not bounded */
    size_t bodies_bytes;
    unsigned max_connections;
    unsigned port;
    bool is_uncounted;
    bool is_quiesced;
    bool is_closing;    /* http_server_free: nothing more goes to the caller */
    bool is_due;        /* run again: resumed, or left over from a bounded run */
    unsigned delivered; /* requests handed to the caller, wraps */
    unsigned connections;
    int64_t receive_ms;    /* bound of receiving one request */
    struct list receiving; /* connections, the longest waiting first */
    struct list open;
    size_t open_count;
    struct list spare;
    size_t spare_count;
    struct list lingering;
    size_t lingering_count;
    struct kept_answer kept[HTTP_KEPT_ANSWERS];
    size_t kept_count;
};

/* http_server.c */
void http_server_resume(struct http_request *req);
void http_count_answer(const struct http_server *s, int status, int64_t ms);
void http_count_open(const struct http_server *s, int change);
void http_count_connection(const struct http_server *s, int change);
void http_count_body(struct http_server *s, ptrdiff_t change);

/* http_connection.c */
void http_connection_notice(void *server, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode what);
/* The next request is awaited from now on; or it is complete and the answer is ours. */
void http_connection_awaited(struct http_server *s, struct MHD_Connection *connection);
void http_connection_received(struct MHD_Connection *connection);
void http_connection_cut_slow(struct http_server *s);

/* http_request.c: the three calls of libmicrohttpd about a request */
void *http_request_begin(void *server, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_request_step(void *server, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **request);
void http_request_completed(void *server, struct MHD_Connection *connection, void **request,
                            enum MHD_RequestTerminationCode how);
void http_request_spares_free(struct http_server *s);

/* http_target.c: false when malformed (400). */
bool http_target_parse(struct http_request *req);

/* http_framing.c: what the headers say about the body; false when they contradict each other or
 * the standard (400, connection closed). */
bool http_framing_read(struct http_request *req, const char *version);

/* http_refusal.c */
/* Answers before the body was read and cuts the connection; gives what the handler returns. */
enum MHD_Result http_refuse(struct http_request *req, int status);
void http_lingering_free(struct http_server *s);

/* http_reply.c */
void http_reply_set(struct http_request *req, int status, struct MHD_Response *response,
                    bool is_shared);
void http_reply_plain(struct http_request *req, int status); /* the reason phrase as body */
enum MHD_Result http_reply_queue(struct http_request *req);
void http_reply_drop(struct http_request *req); /* frees what was not queued */
void http_kept_free(struct http_server *s);
