#include "fetch/fetch_origin.h"

#include "base/error.h"

/* Servers are named by the configuration, which has fewer. */
enum { MAX_ORIGINS = 1024 };

static struct bytes key_of(const char *url)
{
    const char *authority = strstr(url, "://");
    const char *start = authority ? authority + strlen("://") : url;
    return bytes_of(url, (size_t)(start - url) + strcspn(start, "/?#"));
}

struct origin *origin_of(struct map *origins, const char *url)
{
    struct bytes key = key_of(url);
    struct map_node *node = map_find(origins, key);
    if (node)
        return MAP_ENTRY(node, struct origin, node);
    if (origins->count == MAX_ORIGINS)
        return NULL;
    struct origin *o = BRG_NEW(struct origin);
    map_insert(origins, &o->node, bytes_of(bytes_dup(key), key.len));
    return o;
}

static void free_origin(struct map_node *node, void *arg)
{
    struct origin *o = MAP_ENTRY(node, struct origin, node);
    map_remove(arg, node);
    free((void *)o->node.key.ptr);
    free(o);
}

void origins_free(struct map *origins)
{
    map_each(origins, free_origin, origins);
    map_free(origins);
}

bool origin_claim(struct origin *o)
{
    if (!o)
        return true;
    if (o->idle == 0)
        return false;
    o->idle--;
    return true;
}

void origin_release(struct origin *o)
{
    if (o)
        o->idle++;
}
