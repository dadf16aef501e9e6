#include "http/http_internal.h"

/* RFC 9112 3.2.2: a server accepts the absolute form, whatever the host in it says. */
static struct bytes without_origin(struct bytes target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct bytes scheme = bytes_of_str(schemes[i]);
        if (!bytes_starts_with(target, scheme))
            continue;
        size_t at = scheme.len;
        while (at < target.len && target.ptr[at] != '/' && target.ptr[at] != '?')
            at++;
        return bytes_of(target.ptr + at, target.len - at);
    }
    return target;
}

static struct bytes take_until(struct bytes *rest, char separator)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes taken = bytes_of(rest->ptr, len);
    size_t skip = end ? len + 1 : len;
    *rest = bytes_of(rest->ptr + skip, rest->len - skip);
    return taken;
}

/* In place: decoding never grows. */
static bool decode(struct http_request *req, struct bytes raw, struct bytes *out)
{
    if (raw.len == 0) {
        *out = raw;
        return true;
    }
    char *to = req->target.ptr + (raw.ptr - req->target.ptr);
    size_t len = bytes_percent_decode(raw, to);
    if (len == SIZE_MAX)
        return false;
    *out = bytes_of(to, len);
    return true;
}

static bool parse_query(struct http_request *req, struct bytes query)
{
    while (query.len > 0) {
        struct bytes value = take_until(&query, '&');
        if (value.len == 0)
            continue;
        if (req->param_count == HTTP_PARAMS)
            return false;
        struct http_param *param = &req->params[req->param_count];
        struct bytes name = take_until(&value, '=');
        if (!decode(req, name, &param->name) || !decode(req, value, &param->value))
            return false;
        req->param_count++;
    }
    return true;
}

bool http_target_parse(struct http_request *req)
{
    if (req->target.overflowed)
        return false;
    struct bytes query = without_origin(buf_bytes(&req->target));
    struct bytes path = take_until(&query, '?');
    if (!decode(req, path, &req->path))
        return false;
    if (req->path.len == 0)
        req->path = BYTES_LIT("/");
    return !memchr(req->path.ptr, '\0', req->path.len) && parse_query(req, query);
}

bool http_query(const struct http_request *req, const char *name, struct bytes *value)
{
    for (size_t i = 0; i < req->param_count; i++) {
        if (!bytes_eq_str(req->params[i].name, name))
            continue;
        *value = req->params[i].value;
        return true;
    }
    return false;
}
