/* The store's address, taken apart. Internal to the store. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct store_url {
    char *user;     /* NULL: the default user */
    char *password; /* NULL: no AUTH */
    char *host;     /* without the brackets of an IPv6 address */
    uint16_t port;
    unsigned db;
    bool is_numeric; /* `host` is an address, there is nothing to look up */
};

/* redis://[[user]:password@]host[:port][/db]; user and password may be percent-encoded. The
 * error's text never holds any part of the URL: it may hold the password. */
enum brg_err store_url_parse(const char *text, struct store_url *url,
                             struct brg_error *error) BRG_MUST_CHECK;
void store_url_free(struct store_url *url);
