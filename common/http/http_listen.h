/* Listening sockets from "host:port" text. */
#pragma once

#include "base/error.h"

/* Binds and listens, non-blocking, IPv4 or IPv6 ("[::1]:80"); port 0 takes a free one. On
 * BRG_OK the caller owns *fd. Errors name the address and the reason: BRG_RETRY when it is in
 * use, else BRG_STOP. */
enum brg_err http_listen(const char *address, bool share_port, int *fd, unsigned *port,
                         struct brg_error *error) BRG_MUST_CHECK;
