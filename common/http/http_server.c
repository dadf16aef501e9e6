#include "http/http_internal.h"

#include "http/http_listen.h"
#include "log/log.h"

#include <unistd.h>

enum {
    /* Head and read buffer of a connection; a longer head is refused. libmicrohttpd zeroes all
     * of it between two requests. Above 32 KiB it would be an mmap for each connection. */
    CONNECTION_BYTES = 16384,
    RUNS_A_TURN = 8,
    /* libmicrohttpd is run at least so often while it has connections: whatever its epoll mode
     * may have left waiting (it has been seen to) waits no longer than this; and slow clients
     * are looked for so often. */
    PULSE_MS = 1000,
    CLOSING_RUNS = 64,
    STATUS_CLASSES = 4,
};

#define REQUESTS(class)                                                            \
    METRIC(METRIC_COUNTER, "botbridge_http_requests_total", "class=\"" class "\"", \
           "Answers given")

static struct metric requests[STATUS_CLASSES] = {REQUESTS("2xx"), REQUESTS("3xx"),
                                                 REQUESTS("4xx"), REQUESTS("5xx")};
static struct metric latency =
    METRIC(METRIC_HISTOGRAM, "botbridge_http_request_ms", NULL, "From request line to answer");
static struct metric open_requests =
    METRIC(METRIC_GAUGE, "botbridge_http_open_requests", NULL, "Requests in hand");
static struct metric open_connections =
    METRIC(METRIC_GAUGE, "botbridge_http_open_connections", NULL, "Connections of clients");
static struct metric body_bytes = METRIC(METRIC_GAUGE, "botbridge_http_body_bytes", NULL,
                                         "Bytes of the bodies of requests in hand");
static struct metric body_limit =
    METRIC(METRIC_GAUGE, "botbridge_http_body_bytes_limit", NULL, "Bound of the above");
static struct metric connection_limit =
    METRIC(METRIC_GAUGE, "botbridge_http_open_connections_limit", NULL, "Bound of the above");

static void register_metrics(void)
{
    for (size_t i = 0; i < STATUS_CLASSES; i++)
        metric_register(&requests[i]);
    metric_register(&latency);
    metric_register(&open_requests);
    metric_register(&open_connections);
    metric_register(&connection_limit);
    metric_register(&body_bytes);
    metric_register(&body_limit);
}

void http_count_answer(const struct http_server *s, int status, int64_t ms)
{
    int class = status / 100 - 2;
    if (s->is_uncounted || class < 0 || class >= STATUS_CLASSES)
        return;
    metric_add(&requests[class], 1);
    metric_observe_ms(&latency, ms);
}

void http_count_open(const struct http_server *s, int change)
{
    if (!s->is_uncounted)
        metric_add(&open_requests, change);
}

void http_count_connection(const struct http_server *s, int change)
{
    if (!s->is_uncounted)
        metric_add(&open_connections, change);
}

void http_count_body(struct http_server *s, ptrdiff_t change)
{
    s->bodies_bytes += (size_t)change;
    if (!s->is_uncounted)
        metric_add(&body_bytes, change);
}

/* Only the format is logged: the arguments may be a peer's. */
static void on_library_log(void *cls, const char *format, va_list args)
{
    (void)cls;
    (void)args;
    if (strstr(format, "resource limit"))
        log_warn("http", "out-of-descriptors", "detail=\"%.*s\"", (int)strcspn(format, "\n"),
                 format);
    else
        log_debug("http", "library", "detail=\"%.*s\"", (int)strcspn(format, "\n"), format);
}

/* Targets are decoded in http_target.c. */
static size_t leave_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

/* In external epoll mode a resume does not make the descriptor readable, and a connection whose
 * data is already here does not either: so it is run until it says that it waits for the
 * outside, but not for ever. */
static void run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    http_connection_cut_slow(s);
    for (unsigned i = 0; i < RUNS_A_TURN; i++) {
        s->is_due = false;
        BRG_CHECK(MHD_run(s->daemon) == MHD_YES);
        if (MHD_get_timeout(s->daemon, &wait_ms) != MHD_YES || wait_ms > PULSE_MS)
            wait_ms = PULSE_MS;
        if (wait_ms > 0 && !s->is_due)
            break;
    }
    if (wait_ms == 0)
        s->is_due = true;
    if (s->is_due || s->connections > 0)
        loop_timer_set(s->loop, &s->timer, s->is_due ? 0 : (int64_t)wait_ms);
    else
        loop_timer_cancel(s->loop, &s->timer);
}

static void on_epoll(struct loop_fd *fd, unsigned events, void *arg)
{
    (void)fd;
    (void)events;
    run(arg);
}

static void on_timer(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    run(arg);
}

/* What other modules answered in this turn goes out at its end, in one run. A run may hand over
 * requests that came in behind the answered ones; their work must not wait for the next event.
 */
static bool on_turn(void *arg)
{
    struct http_server *s = arg;
    if (!s->is_due)
        return false;
    unsigned delivered = s->delivered;
    run(s);
    return s->is_due || s->delivered != delivered;
}

void http_server_resume(struct http_request *req)
{
    struct http_server *s = req->server;
    if (!req->is_suspended)
        return;
    req->is_suspended = false;
    MHD_resume_connection(req->connection);
    if (s->is_due)
        return;
    s->is_due = true;
    /* For the case that our hook has had its turn already. */
    loop_timer_set(s->loop, &s->timer, 0);
}

static struct MHD_Daemon *start_daemon(struct http_server *s, const struct http_options *o,
                                       int fd)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_library_log, s},
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)o->max_connections, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)o->idle_timeout_s, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_request_completed, s},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_connection_notice, s},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_request_begin, s},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escapes, s},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                            NULL, NULL, http_request_step, s, MHD_OPTION_ARRAY, options,
                            MHD_OPTION_END);
}

static struct http_server *server_of(struct loop *loop, const struct http_options *options,
                                     const struct http_callbacks *callbacks)
{
    struct http_server *s = BRG_NEW(struct http_server);
    s->loop = loop;
    s->callbacks = *callbacks;
    s->max_body_bytes = options->max_body_bytes;
    s->max_bodies_bytes = options->max_bodies_bytes;
    s->max_connections = options->max_connections;
    s->is_uncounted = options->is_uncounted;
    metric_add(&connection_limit, s->is_uncounted ? 0 : options->max_connections);
    metric_add(&body_limit, s->is_uncounted ? 0 : (int64_t)options->max_bodies_bytes);
    wheel_timer_init(&s->timer, on_timer, s);
    list_init(&s->open);
    list_init(&s->spare);
    list_init(&s->lingering);
    list_init(&s->receiving);
    s->receive_ms = (int64_t)options->idle_timeout_s * HTTP_RECEIVE_IDLES * 1000;
    return s;
}

struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    const struct http_callbacks *callbacks,
                                    struct brg_error *error)
{
    int fd;
    unsigned port;
    if (http_listen(options->listen, options->share_port, &fd, &port, error) != BRG_OK)
        return NULL;
    struct http_server *s = server_of(loop, options, callbacks);
    s->port = port;
    s->daemon = start_daemon(s, options, fd);
    if (!s->daemon) {
        (void)brg_fail(error, BRG_STOP, "listen %s: libmicrohttpd %s does not start",
                       options->listen, MHD_get_version());
        (void)close(fd);
        free(s);
        return NULL;
    }
    if (!s->is_uncounted)
        register_metrics();
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    BRG_CHECK(info);
    s->epoll = loop_fd_new(loop, info->epoll_fd, on_epoll, s);
    loop_fd_watch(s->epoll, LOOP_READ);
    s->turn = loop_turn_new(loop, on_turn, s);
    return s;
}

unsigned http_server_port(const struct http_server *s)
{
    return s->port;
}

size_t http_server_open_requests(const struct http_server *s)
{
    return s->open_count;
}

void http_server_quiesce(struct http_server *s)
{
    if (s->is_quiesced)
        return;
    s->is_quiesced = true;
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    BRG_CHECK(fd != MHD_INVALID_SOCKET);
    (void)close(fd);
}

static void answer_open(struct http_server *s)
{
    for (struct list *node = s->open.next; node != &s->open; node = node->next) {
        struct http_request *req = LIST_ENTRY(node, struct http_request, node);
        if (req->is_stream)
            http_stream_abort(req);
        else if (req->state == REQUEST_CALLER)
            http_reply_plain(req, MHD_HTTP_SERVICE_UNAVAILABLE);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_quiesce(s);
    s->is_closing = true;
    loop_turn_free(s->turn);
    loop_fd_free(s->epoll);
    answer_open(s);
    /* Stopping with suspended connections leaks them; what a client does not take at once is
     * cut. */
    for (unsigned i = 0; i < CLOSING_RUNS && s->open_count > 0; i++)
        (void)MHD_run(s->daemon);
    MHD_stop_daemon(s->daemon);
    loop_timer_cancel(s->loop, &s->timer);
    http_lingering_free(s);
    http_request_spares_free(s);
    http_kept_free(s);
    free(s);
}
