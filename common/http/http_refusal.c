/* Refusing a request whose body has not been read.
 *
 * libmicrohttpd 0.9.75 and 1.0.1 take no answer while a body is coming in, and after an answer
 * to the headers they close the socket with the body unread: the kernel then resets the
 * connection, and a client that is still writing may never see why. So the answer is written
 * here, straight to the socket (all earlier answers are out: the next request is not read
 * before), libmicrohttpd is told to cut, which shuts down the sending side only, and a
 * duplicate of the descriptor swallows what still comes, within bounds. */
#include "http/http_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINGER_MS = 5000,
    LINGER_BYTES = 67108864,
    LINGER_TURN_BYTES = 1048576, /* swallowed before others get their turn */
    LINGER_SOCKETS = 256,        /* beyond that connections are cut without grace */
    ANSWER_BYTES = 2048,
};

struct lingering {
    struct list node;
    struct http_server *server;
    struct loop_fd *watcher;
    struct wheel_timer timer;
    int fd;
    size_t left;
};

static void linger_free(struct lingering *l)
{
    loop_timer_cancel(l->server->loop, &l->timer);
    loop_fd_free(l->watcher);
    (void)close(l->fd);
    free(l);
}

static void linger_end(struct lingering *l)
{
    list_remove(&l->node);
    l->server->lingering_count--;
    linger_free(l);
}

static void on_linger_timeout(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    linger_end(arg);
}

static void on_linger_data(struct loop_fd *fd, unsigned events, void *arg)
{
    struct lingering *l = arg;
    (void)fd;
    (void)events;
    size_t turn = LINGER_TURN_BYTES;
    while (turn > 0) {
        /* MSG_TRUNC on TCP throws the bytes away inside the kernel. */
        ssize_t n = recv(l->fd, NULL, turn, MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || (size_t)n >= l->left) {
            linger_end(l);
            return;
        }
        l->left -= (size_t)n;
        turn -= (size_t)n;
    }
}

static void linger(struct http_server *s, int fd)
{
    if (s->lingering_count >= LINGER_SOCKETS)
        return;
    int copy = dup(fd);
    if (copy < 0)
        return;
    struct lingering *l = BRG_NEW(struct lingering);
    l->server = s;
    l->fd = copy;
    l->left = LINGER_BYTES;
    l->watcher = loop_fd_new(s->loop, copy, on_linger_data, l);
    wheel_timer_init(&l->timer, on_linger_timeout, l);
    loop_timer_set(s->loop, &l->timer, LINGER_MS);
    loop_fd_watch(l->watcher, LOOP_READ);
    list_push_back(&s->lingering, &l->node);
    s->lingering_count++;
}

void http_lingering_free(struct http_server *s)
{
    struct list *next;
    for (struct list *node = s->lingering.next; node != &s->lingering; node = next) {
        next = node->next;
        linger_free(LIST_ENTRY(node, struct lingering, node));
    }
    list_init(&s->lingering);
}

static void write_answer(const struct http_request *req, int status, struct buf *out)
{
    const char *reason = MHD_get_reason_phrase_for((unsigned)status);
    buf_printf(out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\n",
               status, reason);
    for (size_t i = 0; i < req->header_count; i++)
        buf_printf(out, "%s: %s\r\n", req->headers[i].name, req->headers[i].value);
    buf_printf(out, "Content-Length: %zu\r\n\r\n", strlen(reason) + 1);
    if (req->method != HTTP_HEAD)
        buf_printf(out, "%s\n", reason);
}

enum MHD_Result http_refuse(struct http_request *req, int status)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct buf answer;
    buf_init(&answer, ANSWER_BYTES);
    write_answer(req, status, &answer);
    if (info && !answer.overflowed) {
        /* The send buffer is empty but for what an earlier answer left; when it has no room the
         * client does not read, and there is nobody to tell. */
        (void)send(info->connect_fd, answer.ptr, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        linger(req->server, info->connect_fd);
    }
    buf_free(&answer);
    http_count_answer(req->server, status, loop_now_ms(req->server->loop) - req->started_ms);
    req->state = REQUEST_QUEUED;
    return MHD_NO;
}
