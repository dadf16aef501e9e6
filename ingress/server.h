/* Routes of the ingress port: /wecom/{bot}. Unknown paths and bots are refused before their
 * body is read. */
#pragma once

#include "ingress.h"

/* NULL with a reason when the address cannot be had. */
struct http_server *server_new(struct ingress *in, struct brg_error *error);
