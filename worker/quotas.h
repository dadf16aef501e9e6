/* What each bot, or each pipeline, has in hand: records and their bytes, counted by name and
 * capped, so that one flood leaves room for the others.
 *
 * A name exists while something of it is in hand. Loop thread only. */
#pragma once

#include "base/map.h"

struct quota;

/* A record's part; owned by the caller. */
struct quota_share {
    struct quota *quota; /* NULL while it has none */
    size_t bytes;
};

struct quotas {
    struct map by_name;
    size_t max_records, max_bytes; /* of each name */
};

void quotas_init(struct quotas *q, size_t max_records, size_t max_bytes);
void quotas_free(struct quotas *q); /* after every share was given back */

/* False: over a cap; nothing was taken. One record always fits, whatever its size. */
bool quotas_take(struct quotas *q, struct quota_share *share, struct bytes name, size_t bytes);
void quotas_give(struct quotas *q, struct quota_share *share); /* safe when it has none */

/* Of the name that has most. */
struct quota_use {
    size_t records, bytes;
};
struct quota_use quotas_fullest(struct quotas *q);
