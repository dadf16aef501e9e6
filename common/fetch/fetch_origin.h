/* How many kept connections each server has, as far as we can tell.
 *
 * libcurl 7.88 looks through all connections of a host, busy ones too, for an idle one: n
 * transfers started at once cost n * n / 2 looks, seconds of a loop at 10,000. So libcurl is
 * told to look only when there is something to find. Too high a count costs a look in vain; too
 * low a one, a connection that is not reused. */
#pragma once

#include "base/map.h"

struct origin {
    struct map_node node; /* the key's memory belongs to the origin */
    unsigned idle;
};

/* The entry of the URL's scheme, host and port; NULL when the table is full. Lives until
 * origins_free. */
struct origin *origin_of(struct map *origins, const char *url);
void origins_free(struct map *origins);

/* True when a connection was there to take. */
bool origin_claim(struct origin *o);
void origin_release(struct origin *o);
