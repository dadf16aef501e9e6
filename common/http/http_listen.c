#include "http/http_listen.h"

#include "base/bytes.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections that wait for accept; the kernel caps it at net.core.somaxconn. */
enum { BACKLOG = 4096, HOST_BYTES = 256, PORT_BYTES = 6 };

struct endpoint {
    char host[HOST_BYTES];
    char port[PORT_BYTES];
};

static bool copy_text(char *to, size_t size, struct bytes from)
{
    if (from.len == 0 || from.len >= size)
        return false;
    memcpy(to, from.ptr, from.len);
    to[from.len] = '\0';
    return true;
}

static bool split(const char *address, struct endpoint *out)
{
    const char *colon = address ? strrchr(address, ':') : NULL;
    uint64_t port;
    if (!colon || !bytes_to_u64(bytes_of_str(colon + 1), &port) || port > UINT16_MAX)
        return false;
    struct bytes host = bytes_of(address, (size_t)(colon - address));
    bool is_bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_bracketed)
        host = bytes_of(host.ptr + 1, host.len - 2);
    else if (host.len > 0 && memchr(host.ptr, ':', host.len))
        return false; /* an IPv6 address without brackets: where the port begins is a guess */
    return copy_text(out->host, sizeof(out->host), host) &&
           copy_text(out->port, sizeof(out->port), bytes_of_str(colon + 1));
}

static bool set_flag(int fd, int option)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, option, &on, sizeof(on)) == 0;
}

static bool read_port(int fd, unsigned *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t size = sizeof(bound);
    if (getsockname(fd, &bound.any, &size) != 0)
        return false;
    *port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return true;
}

/* -1 with errno. */
static int open_listener(const struct addrinfo *where, bool share_port, unsigned *port)
{
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set_flag(fd, SO_REUSEADDR) && (!share_port || set_flag(fd, SO_REUSEPORT)) &&
        bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
        read_port(fd, port))
        return fd;
    int reason = errno;
    (void)close(fd);
    errno = reason;
    return -1;
}

enum brg_err http_listen(const char *address, bool share_port, int *fd, unsigned *port,
                         struct brg_error *error)
{
    struct endpoint endpoint;
    if (!split(address, &endpoint))
        return brg_fail(error, BRG_STOP, "listen %s: want host:port or [ipv6]:port",
                        address ? address : "(nothing)");
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(endpoint.host, endpoint.port, &hints, &found);
    if (failure != 0)
        return brg_fail(error, BRG_STOP, "listen %s: %s", address, gai_strerror(failure));
    *fd = open_listener(found, share_port, port);
    int reason = errno;
    freeaddrinfo(found);
    if (*fd >= 0)
        return BRG_OK;
    if (reason == EADDRINUSE)
        return brg_fail(error, BRG_RETRY,
                        "listen %s: address in use: end the program that has it or configure "
                        "another address",
                        address);
    return brg_fail(error, BRG_STOP, "listen %s: %s", address, strerror(reason));
}
