/* HTTP client on the loop: libcurl multi (the only directory that includes curl).
 *
 * Thousands of concurrent transfers on one thread. HTTP/1.1 only, no redirects, no proxy unless
 * set. Callbacks run on the loop; after on_done, or fetch_cancel, no callback of that transfer
 * comes any more and the handle is gone. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "loop/loop.h"

struct fetch_pool;
struct fetch;

enum fetch_result {
    FETCH_OK,          /* whole body received; look at the status for the server's opinion */
    FETCH_CONNECT,     /* no connection, name or TLS: nothing was sent */
    FETCH_CUT,         /* connection broke before the whole answer */
    FETCH_TIMEOUT,     /* total_timeout_ms */
    FETCH_TOO_LARGE,   /* more than max_body_bytes */
    FETCH_BAD_REQUEST, /* the URL or a header cannot be used */
    FETCH_NOT_PUBLIC,  /* public_only, and the host has no public address that answers */
};

struct fetch_head {
    int status;
    struct bytes content_type; /* lower case, without parameters */
    int64_t retry_after_ms; /* -1 when absent or unusable; seconds and HTTP dates understood */
};

struct fetch_callbacks {
    void (*on_head)(const struct fetch_head *head, void *arg); /* NULL allowed */
    void (*on_data)(struct bytes data, void *arg);             /* any split of the body */
    void (*on_done)(enum fetch_result result, const char *detail, void *arg); /* exactly once */
};

struct fetch_request {
    const char *url;
    const char *method;         /* NULL: POST when there is a body, else GET */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL for none */
    /* A further name for Retry-After, of the server's own; the longer wait counts. A literal.
     */
    const char *retry_header;
    struct bytes body; /* copied */
    int64_t connect_timeout_ms;
    int64_t total_timeout_ms; /* 0: none */
    size_t max_body_bytes;    /* 0: none */
    bool fresh_connection;    /* a new connection that is closed afterwards */
    /* Else a request whose kept connection is closed before any byte of an answer is sent again
     * by itself, at once, though the server may have read it. With this it ends as FETCH_CUT,
     * though the server may have read nothing: where that is no harm. A request on a fresh
     * connection is sent once in any case. */
    bool send_once;
    /* No connection to an address outside the public Internet, whatever the name stands for at
     * that moment. Implies fresh_connection: a kept one may have been made without asking. */
    bool public_only;
};

struct fetch_options {
    unsigned max_idle_connections; /* kept for reuse */
    const char *ca_file;           /* NULL: the system's */
};

struct fetch_pool *fetch_pool_new(struct loop *loop, const struct fetch_options *options);
void fetch_pool_free(struct fetch_pool *pool); /* cancels what runs */
size_t fetch_pool_running(const struct fetch_pool *pool);

/* Never fails on the spot: failures come by on_done, in a later turn. */
struct fetch *fetch_start(struct fetch_pool *pool, const struct fetch_request *request,
                          const struct fetch_callbacks *callbacks, void *arg);
/* Closes the connection. Allowed inside on_head and on_data. */
void fetch_cancel(struct fetch *f);
