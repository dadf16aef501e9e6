#include "quotas.h"

#include "base/error.h"

struct quota {
    struct map_node node;
    size_t records, bytes;
    char name[];
};

void quotas_init(struct quotas *q, size_t max_records, size_t max_bytes)
{
    *q = (struct quotas){.max_records = max_records, .max_bytes = max_bytes};
    map_init(&q->by_name);
}

void quotas_free(struct quotas *q)
{
    BRG_CHECK(q->by_name.count == 0);
    map_free(&q->by_name);
}

static struct quota *quota_new(struct quotas *q, struct bytes name)
{
    struct quota *quota = brg_calloc(1, sizeof(*quota) + name.len + 1);
    if (name.len > 0)
        memcpy(quota->name, name.ptr, name.len);
    map_insert(&q->by_name, &quota->node, bytes_of(quota->name, name.len));
    return quota;
}

bool quotas_take(struct quotas *q, struct quota_share *share, struct bytes name, size_t bytes)
{
    BRG_CHECK(!share->quota);
    struct map_node *found = map_find(&q->by_name, name);
    struct quota *quota = found ? MAP_ENTRY(found, struct quota, node) : quota_new(q, name);
    bool is_over = quota->records > 0 &&
                   (quota->records >= q->max_records || quota->bytes + bytes > q->max_bytes);
    if (is_over)
        return false;
    quota->records++;
    quota->bytes += bytes;
    *share = (struct quota_share){quota, bytes};
    return true;
}

void quotas_give(struct quotas *q, struct quota_share *share)
{
    struct quota *quota = share->quota;
    if (!quota)
        return;
    share->quota = NULL;
    quota->records--;
    quota->bytes -= share->bytes;
    if (quota->records > 0)
        return;
    map_remove(&q->by_name, &quota->node);
    free(quota);
}

static void look(struct map_node *node, void *arg)
{
    struct quota_use *most = arg;
    const struct quota *quota = MAP_ENTRY(node, struct quota, node);
    most->records = quota->records > most->records ? quota->records : most->records;
    most->bytes = quota->bytes > most->bytes ? quota->bytes : most->bytes;
}

struct quota_use quotas_fullest(struct quotas *q)
{
    struct quota_use most = {0};
    map_each(&q->by_name, look, &most);
    return most;
}
