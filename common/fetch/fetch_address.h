/* Which addresses lie in the public Internet. Inside common/fetch only. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* False for everything that IANA's special-purpose registries do not call globally reachable
 * (loopback, private, link-local, shared, documentation, multicast, reserved), for IPv6
 * addresses that carry such an IPv4 address, and for families other than IPv4 and IPv6. */
bool address_is_public(const struct sockaddr *address);
