/* Answers written as they come.
 *
 * libmicrohttpd sends the head and what was written so far, and the end. In between, whenever
 * its reader has nothing, the connection is suspended, and chunks are written to the socket
 * from here: a resume would make libmicrohttpd (both versions) walk through all suspended
 * connections each time, which at 10,000 streams costs a millisecond a turn. While it is
 * suspended nothing of libmicrohttpd's is under way on the socket, so the chunks fit in
 * seamlessly, and the socket is ours to watch for the client's going away. Clients of HTTP/1.0,
 * who get no chunks, go the slow way. */
#include "http/http_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { SIZE_LINE_BYTES = 20 }; /* hexadecimal 64 bits, CRLF, NUL */

static void hand_back(struct http_request *req)
{
    loop_fd_free(req->watcher);
    req->watcher = NULL;
    http_server_resume(req);
}

static void cut(struct http_request *req)
{
    req->is_aborted = true;
    hand_back(req);
}

static void watch(struct http_request *req)
{
    unsigned events = req->is_deaf ? 0 : (unsigned)LOOP_READ;
    if (req->stream.len > 0)
        events |= LOOP_WRITE;
    loop_fd_watch(req->watcher, events);
}

/* Number of bytes sent, 0 when there is no room, -1 when the connection is broken. */
static ssize_t send_parts(int fd, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent;
}

static void flush(struct http_request *req)
{
    struct iovec part = {req->stream.ptr, req->stream.len};
    ssize_t sent = send_parts(req->fd, &part, 1);
    if (sent < 0) {
        cut(req);
        return;
    }
    buf_consume(&req->stream, (size_t)sent);
    if (req->stream.len == 0 && req->is_ended)
        hand_back(req);
    else
        watch(req);
}

static void on_readable(struct http_request *req)
{
    char byte;
    ssize_t n = recv(req->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        cut(req);
        return;
    }
    /* The next request: libmicrohttpd's to read, after this one. */
    req->is_deaf = true;
    watch(req);
}

static void on_socket(struct loop_fd *watcher, unsigned events, void *arg)
{
    struct http_request *req = arg;
    (void)watcher;
    if (events & LOOP_READ)
        on_readable(req);
    if (req->watcher && events & LOOP_WRITE)
        flush(req);
}

static void take_over(struct http_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int on = 1;
    BRG_CHECK(info);
    req->fd = info->connect_fd;
    (void)setsockopt(req->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    req->watcher = loop_fd_new(req->server->loop, req->fd, on_socket, req);
    watch(req);
}

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max)
{
    struct http_request *req = cls;
    (void)position;
    if (req->is_aborted)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t len = req->stream.len < max ? req->stream.len : max;
    if (len > 0) {
        memcpy(out, req->stream.ptr, len);
        buf_consume(&req->stream, len);
        return (ssize_t)len;
    }
    if (req->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    /* Suspending is allowed from the reader (microhttpd.h, both versions); without it, an empty
     * read makes libmicrohttpd ask again at once, for ever. */
    req->is_suspended = true;
    MHD_suspend_connection(req->connection);
    if (req->is_chunked)
        take_over(req);
    return 0;
}

static void keep_rest(struct buf *out, const struct iovec *parts, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        buf_append(out,
                   bytes_of((const char *)parts[i].iov_base + skip, parts[i].iov_len - skip));
        sent -= skip;
    }
}

static void write_chunk(struct http_request *req, struct bytes data)
{
    char size[SIZE_LINE_BYTES];
    int size_len = snprintf(size, sizeof(size), "%zx\r\n", data.len);
    struct iovec parts[] = {
        {size, (size_t)size_len}, {(void *)data.ptr, data.len}, {(void *)"\r\n", 2}};
    enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
    bool was_empty = req->stream.len == 0;
    ssize_t sent = was_empty ? send_parts(req->fd, parts, PARTS) : 0;
    if (sent >= 0)
        keep_rest(&req->stream, parts, PARTS, (size_t)sent);
    if (sent < 0 || req->stream.overflowed)
        cut(req); /* gone, or a client that does not read */
    else if (was_empty && req->stream.len > 0)
        watch(req);
}

void http_stream_begin(struct http_request *req, int status, const char *content_type)
{
    /* Only HTTP/1.0 clients are read into a block of this size; others into the connection's
     * own memory. */
    enum { BLOCK_BYTES = 1024 };
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, req, NULL);
    BRG_CHECK(response);
    if (content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    req->is_stream = true;
    http_reply_set(req, status, response, false);
}

void http_stream_write(struct http_request *req, struct bytes data)
{
    BRG_CHECK(req->is_stream && !req->is_ended);
    if (data.len == 0 || req->is_aborted)
        return;
    if (req->watcher) {
        write_chunk(req, data);
        return;
    }
    buf_append(&req->stream, data);
    req->is_aborted = req->stream.overflowed;
    http_server_resume(req);
}

void http_stream_end(struct http_request *req)
{
    BRG_CHECK(req->is_stream);
    req->is_ended = true;
    /* The rest goes out first; then libmicrohttpd ends the body. */
    if (req->watcher && req->stream.len == 0)
        hand_back(req);
    else if (!req->watcher)
        http_server_resume(req);
}

void http_stream_abort(struct http_request *req)
{
    BRG_CHECK(req->is_stream);
    cut(req);
}
