#include "fetch/fetch_sockets.h"

#include "fetch/fetch_address.h"
#include "metrics/metrics.h"

#include <sys/socket.h>
#include <unistd.h>

static struct metric connections = METRIC(METRIC_GAUGE, "botbridge_fetch_connections", NULL,
                                          "Connections to other servers, busy and idle");
static struct metric limit =
    METRIC(METRIC_GAUGE, "botbridge_fetch_connections_limit", NULL,
           "Bound of the above: requests under way and idle_connections");

void sockets_register_metrics(void)
{
    metric_register(&connections);
    metric_register(&limit);
}

void sockets_set_limit(long count)
{
    metric_set(&limit, count);
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    metric_add(&connections, fd >= 0);
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* The address is looked at where the socket is made for it: between a look-up of ours and
 * libcurl's own the name's owner could change it. */
static curl_socket_t on_open_public(void *arg, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
    bool *is_refused = arg;
    if (purpose == CURLSOCKTYPE_IPCXN && address_is_public(&address->addr))
        return on_open(arg, purpose, address);
    *is_refused = true;
    return CURL_SOCKET_BAD;
}

/* The connection may outlive its request. */
static int on_close(void *arg, curl_socket_t fd)
{
    (void)arg;
    metric_add(&connections, -1);
    return close(fd);
}

void sockets_count(CURL *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
}

void sockets_public_only(CURL *easy, bool *is_refused)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_public);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, is_refused);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
}
