#include "store/store_url.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <string.h>

enum { DEFAULT_PORT = 6379, DB_MAX = 1000000 };

static char *decode(struct bytes in)
{
    char *out = brg_calloc(1, in.len + 1);
    size_t len = bytes_percent_decode(in, out);
    if (len == SIZE_MAX || len == 0 || memchr(out, '\0', len)) {
        free(out);
        return NULL;
    }
    return out;
}

static enum brg_err parse_login(struct bytes login, struct store_url *url,
                                struct brg_error *error)
{
    const char *colon = memchr(login.ptr, ':', login.len);
    if (!colon)
        return brg_fail(error, BRG_STOP, "store URL: user without a password before '@'");
    struct bytes user = bytes_of(login.ptr, (size_t)(colon - login.ptr));
    struct bytes password = bytes_of(colon + 1, login.len - user.len - 1);
    if (user.len > 0) {
        url->user = decode(user);
        if (!url->user)
            return brg_fail(error, BRG_STOP, "store URL: malformed escape in the user");
    }
    url->password = decode(password);
    if (!url->password)
        return brg_fail(error, BRG_STOP,
                        "store URL: password empty or with a malformed escape");
    return BRG_OK;
}

static enum brg_err parse_port(struct bytes text, struct store_url *url,
                               struct brg_error *error)
{
    uint64_t port = 0;
    if (!bytes_to_u64(text, &port) || port < 1 || port > UINT16_MAX)
        return brg_fail(error, BRG_STOP, "store URL: port must be a number from 1 to 65535");
    url->port = (uint16_t)port;
    return BRG_OK;
}

static bool is_address(const char *host)
{
    struct in6_addr scratch;
    return inet_pton(AF_INET, host, &scratch) == 1 || inet_pton(AF_INET6, host, &scratch) == 1;
}

static enum brg_err parse_host(struct bytes text, struct store_url *url,
                               struct brg_error *error)
{
    struct bytes host = text;
    struct bytes port = {0};
    if (text.len > 0 && text.ptr[0] == '[') {
        const char *end = memchr(text.ptr, ']', text.len);
        if (!end)
            return brg_fail(error, BRG_STOP, "store URL: '[' without ']'");
        host = bytes_of(text.ptr + 1, (size_t)(end - text.ptr) - 1);
        port = bytes_of(end + 1, text.len - host.len - 2);
    } else {
        const char *colon = memchr(text.ptr, ':', text.len);
        host.len = colon ? (size_t)(colon - text.ptr) : text.len;
        port = bytes_of(text.ptr + host.len, text.len - host.len);
    }
    if (host.len == 0 || memchr(host.ptr, '\0', host.len))
        return brg_fail(error, BRG_STOP, "store URL: no host");
    url->host = bytes_dup(host);
    url->is_numeric = is_address(url->host);
    url->port = DEFAULT_PORT;
    if (port.len == 0)
        return BRG_OK;
    if (port.ptr[0] != ':')
        return brg_fail(error, BRG_STOP, "store URL: ':' and a port expected after ']'");
    return parse_port(bytes_of(port.ptr + 1, port.len - 1), url, error);
}

static enum brg_err parse_db(struct bytes text, struct store_url *url, struct brg_error *error)
{
    uint64_t db = 0;
    if (text.len > 0 && (!bytes_to_u64(text, &db) || db > DB_MAX))
        return brg_fail(error, BRG_STOP, "store URL: '/' and a database number at the end");
    url->db = (unsigned)db;
    return BRG_OK;
}

static enum brg_err parse(struct bytes rest, struct store_url *url, struct brg_error *error)
{
    const char *slash = memchr(rest.ptr, '/', rest.len);
    struct bytes authority = bytes_of(rest.ptr, slash ? (size_t)(slash - rest.ptr) : rest.len);
    struct bytes db = {0};
    if (slash)
        db = bytes_of(slash + 1, rest.len - authority.len - 1);
    const char *at = memrchr(authority.ptr, '@', authority.len);
    enum brg_err err = BRG_OK;
    if (at) {
        struct bytes login = bytes_of(authority.ptr, (size_t)(at - authority.ptr));
        err = parse_login(login, url, error);
        authority = bytes_of(at + 1, authority.len - login.len - 1);
    }
    if (err == BRG_OK)
        err = parse_host(authority, url, error);
    return err == BRG_OK ? parse_db(db, url, error) : err;
}

enum brg_err store_url_parse(const char *text, struct store_url *url, struct brg_error *error)
{
    static const struct bytes scheme = BYTES_LIT("redis://");
    *url = (struct store_url){0};
    struct bytes all = bytes_of_str(text ? text : "");
    if (!bytes_starts_with(all, scheme))
        return brg_fail(error, BRG_STOP,
                        "store URL: redis://[user:password@]host:port[/db] expected");
    struct bytes rest = bytes_of(all.ptr + scheme.len, all.len - scheme.len);
    enum brg_err err = parse(rest, url, error);
    if (err != BRG_OK)
        store_url_free(url);
    return err;
}

void store_url_free(struct store_url *url)
{
    if (url->password)
        explicit_bzero(url->password, strlen(url->password));
    free(url->user);
    free(url->password);
    free(url->host);
    *url = (struct store_url){0};
}
