/* What libmicrohttpd itself costs: takes a request whole and answers it with bytes made before.
 *
 *     empty_http PORT BYTES
 *
 * One thread with an epoll of its own, the library's fastest way. Runs until it is killed. */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct MHD_Response *response;

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **request)
{
    static char seen;
    (void)cls, (void)url, (void)method, (void)version, (void)data;
    if (!*request) {
        *request = &seen;
        return MHD_YES;
    }
    if (*size > 0) {
        *size = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: empty_http PORT BYTES\n");
        return 64;
    }
    unsigned long port = strtoul(argv[1], NULL, 10), size = strtoul(argv[2], NULL, 10);
    char *body = malloc(size + 1);
    if (!body || port > UINT16_MAX)
        return 64;
    memset(body, 'x', size);
    response = MHD_create_response_from_buffer(size, body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)port, NULL, NULL, handle,
                         NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_END);
    if (!daemon)
        return 75;
    fprintf(stderr, "ready\n");
    for (;;)
        (void)pause();
}
