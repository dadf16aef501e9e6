/* The API of the simulated platform on a port: reads a call, plays a fault, lets the platform
 * answer. */
#pragma once

#include "bosshi_fault.h"
#include "http/http_server.h"

struct bosshi_api;

/* Borrows all of its arguments. NULL with a reason. */
struct bosshi_api *bosshi_api_new(struct loop *loop, struct bosshi_platform *platform,
                                  struct bosshi_faults *faults, const char *listen,
                                  struct brg_error *error);
unsigned bosshi_api_port(const struct bosshi_api *a);
void bosshi_api_free(struct bosshi_api *a);
