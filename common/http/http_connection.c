/* The connections of a server: how many there are, and how long each may take for one request.
 *
 * libmicrohttpd's timeout starts again with every byte, and of a connection whose headers are
 * still coming in its handler hears nothing. So each connection that owes us a request stands
 * in a queue; the bound is the same for all, and so the queue is in the order of their ends. */
#include "http/http_internal.h"

#include <sys/socket.h>

void http_connection_awaited(struct http_server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *c = info ? info->socket_context : NULL;
    if (!c)
        return;
    list_remove(&c->node);
    c->since_ms = loop_now_ms(s->loop);
    list_push_back(&s->receiving, &c->node);
}

void http_connection_received(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *c = info ? info->socket_context : NULL;
    if (c)
        list_remove(&c->node);
}

static void start(struct http_server *s, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    BRG_CHECK(info);
    struct http_connection *c = BRG_NEW(struct http_connection);
    c->fd = info->connect_fd;
    c->since_ms = loop_now_ms(s->loop);
    list_init(&c->node);
    list_push_back(&s->receiving, &c->node);
    *context = c;
}

static void end(void **context)
{
    struct http_connection *c = *context;
    if (!c)
        return;
    list_remove(&c->node);
    free(c);
    *context = NULL;
}

void http_connection_notice(void *server, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = server;
    bool is_new = what == MHD_CONNECTION_NOTIFY_STARTED;
    if (is_new)
        start(s, connection, context);
    else
        end(context);
    /* A listener that was put aside at the limit is taken up in the run after the close. */
    if (!is_new && s->connections >= s->max_connections)
        s->is_due = true;
    s->connections += is_new ? 1U : -1U;
    http_count_connection(s, is_new ? 1 : -1);
}

void http_connection_cut_slow(struct http_server *s)
{
    int64_t latest_ms = loop_now_ms(s->loop) - s->receive_ms;
    while (s->receive_ms > 0 && !list_is_empty(&s->receiving)) {
        struct http_connection *c = LIST_ENTRY(s->receiving.next, struct http_connection, node);
        if (c->since_ms > latest_ms)
            return;
        list_remove(&c->node);
        /* The descriptor is libmicrohttpd's, which sees the end and closes. */
        (void)shutdown(c->fd, SHUT_RDWR);
    }
}
