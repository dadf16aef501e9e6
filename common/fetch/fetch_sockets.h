/* Inside common/fetch only: the sockets of libcurl's connections, busy and idle: counted, and
 * made for public addresses only where that is asked. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

void sockets_register_metrics(void);
/* How many connections libcurl may have. */
void sockets_set_limit(long connections);

/* For every request. */
void sockets_count(CURL *easy);
/* Instead of it: no connection to another than a public address; `*is_refused` tells that there
 * was one. It has to live as long as the request. */
void sockets_public_only(CURL *easy, bool *is_refused);
