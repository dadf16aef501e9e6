/* The operations face that both programs have: /livez, /readyz, /metrics on the admin port. */
#pragma once

#include "http/http_server.h"

struct http_admin;

/* Appends the reason to `why` and returns false while the process should get no traffic. */
typedef bool http_ready_fn(void *arg, struct buf *why);

struct http_admin *http_admin_new(struct loop *loop, const char *listen, http_ready_fn *ready,
                                  void *arg, struct brg_error *error);
unsigned http_admin_port(const struct http_admin *a);
void http_admin_free(struct http_admin *a);
