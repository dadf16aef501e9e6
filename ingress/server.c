#include "server.h"

#include "base/crash_point.h"
#include "bosshi_callback.h"
#include "reply.h"
#include "wecom_callback.h"

struct route {
    const char *prefix; /* the bot's name follows */
    const char *suffix; /* and then this */
    enum platform platform;
    /* NULL: not allowed */
    void (*get)(struct ingress *in, struct http_request *req, const struct config_bot *bot);
    void (*post)(struct ingress *in, struct http_request *req, const struct config_bot *bot);
};

static const struct route routes[] = {
    {"/wecom/", "", PLATFORM_WECOM, wecom_verification, wecom_callback},
    {"/bosshi/", "", PLATFORM_BOSSHI, NULL, bosshi_callback},
    {"/bosshi/", "/card", PLATFORM_BOSSHI, NULL, bosshi_card_callback},
};

/* The bot's name in a path of that form; no name holds a slash. */
static bool name_in(struct bytes path, const struct route *route, struct bytes *name)
{
    struct bytes prefix = bytes_of_str(route->prefix), suffix = bytes_of_str(route->suffix);
    if (path.len < prefix.len + suffix.len || !bytes_starts_with(path, prefix))
        return false;
    *name = bytes_of(path.ptr + prefix.len, path.len - prefix.len - suffix.len);
    return bytes_eq(bytes_of(name->ptr + name->len, suffix.len), suffix);
}

/* NULL when the path is nobody's. */
static const struct route *find_route(const struct ingress *in, const struct http_request *req,
                                      const struct config_bot **bot)
{
    struct bytes path = http_path(req);
    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        struct bytes name;
        if (!name_in(path, &routes[i], &name))
            continue;
        *bot = config_bot(in->config, name);
        if (*bot && (*bot)->platform == routes[i].platform)
            return &routes[i];
    }
    return NULL;
}

static int on_head(struct http_request *req, void *arg)
{
    const struct config_bot *bot;
    const struct route *route = find_route(arg, req, &bot);
    if (!route)
        return 404;
    const struct config *c = ((struct ingress *)arg)->config;
    enum http_method method = http_method(req);
    if (route->platform == PLATFORM_BOSSHI)
        http_limit_body(req, (size_t)c->ingress.bosshi_max_body_bytes);
    if (method == HTTP_POST || (method == HTTP_GET && route->get))
        return 0;
    http_reply_header(req, "Allow", route->get ? "GET, POST" : "POST");
    return 405;
}

static void on_request(struct http_request *req, void *arg)
{
    struct ingress *in = arg;
    const struct config_bot *bot;
    const struct route *route = find_route(in, req, &bot);
    if (!route) /* a reload took the bot out since on_head */
        reply_refuse(req, 404);
    else if (http_method(req) == HTTP_GET && route->get)
        route->get(in, req, bot);
    else
        route->post(in, req, bot);
}

static void on_gone(struct http_request *req, void *arg)
{
    (void)arg;
    struct reply *reply = http_context(req);
    crash_point("reply.sent");
    if (reply)
        reply_gone(reply);
}

struct http_server *server_new(struct ingress *in, struct brg_error *error)
{
    const struct config *c = in->config;
    struct http_options options = {
        .listen = c->ingress.listen,
        .max_body_bytes = (size_t)c->ingress.max_body_bytes,
        .max_bodies_bytes = (size_t)c->ingress.bodies_bytes,
        .max_connections = (unsigned)c->ingress.max_connections,
        .idle_timeout_s = (unsigned)((c->ingress.idle_timeout_ms + 999) / 1000),
        .share_port = c->ingress.share_port,
    };
    struct http_callbacks callbacks = {
        .on_head = on_head,
        .on_request = on_request,
        .on_gone = on_gone,
        .arg = in,
    };
    return http_server_new(in->loop, &options, &callbacks, error);
}
