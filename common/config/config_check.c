/* What makes a value right: the text types, and what spans several keys. */
#include "config/config_keys.h"

#include "bus/bus.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>

enum { NAME_MAX_BYTES = 64, HOST_MAX_BYTES = 253, PORT_MAX = 65535, DB_MAX = 1000000 };

bool config_check_name(struct reader *r, const char *path, struct bytes name)
{
    bool is_right = name.len >= 1 && name.len <= NAME_MAX_BYTES;
    for (size_t i = 0; i < name.len && is_right; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        is_right = c < 0x80 && (isalnum(c) || c == '-' || c == '_' || c == '.');
    }
    /* "." and ".." are taken out of paths by clients and proxies. */
    if (!is_right || bytes_eq_str(name, ".") || bytes_eq_str(name, "..")) {
        config_mistake(r, path, "1 to %d letters, digits, '-', '_' or '.' expected",
                       NAME_MAX_BYTES);
        return false;
    }
    return true;
}

static bool is_port(struct bytes text)
{
    uint64_t port;
    return text.len <= 5 && bytes_to_u64(text, &port) && port <= PORT_MAX;
}

bool config_is_host(const char *host)
{
    struct in6_addr address;
    if (host[strspn(host, "0123456789.")] == 0)
        return inet_pton(AF_INET, host, &address) == 1;
    for (; *host; host++)
        if (!isalnum((unsigned char)*host) && *host != '-' && *host != '.')
            return false;
    return true;
}

/* "1.2.3.4:80", "[::1]:80" or "localhost:80". */
static bool is_listen(const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[HOST_MAX_BYTES + 1];
    if (!colon || !is_port(bytes_of_str(colon + 1)))
        return false;
    size_t len = (size_t)(colon - text);
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (host[0] != '[')
        return config_is_host(host);
    struct in6_addr address;
    if (host[len - 1] != ']')
        return false;
    host[len - 1] = 0;
    return inet_pton(AF_INET6, host + 1, &address) == 1;
}

static bool is_visible(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
            return false;
    return true;
}

/* host[:port] */
static bool is_host_port(struct bytes text)
{
    const char *end = text.ptr + text.len;
    const char *host_end = memchr(text.ptr, ':', text.len);
    if (text.len > 0 && *text.ptr == '[') {
        const char *bracket = memchr(text.ptr, ']', text.len);
        host_end = bracket ? bracket + 1 : text.ptr;
    } else if (!host_end) {
        host_end = end;
    }
    if (host_end == text.ptr)
        return false;
    if (host_end == end)
        return true;
    struct bytes port = {host_end + 1, (size_t)(end - host_end) - 1};
    return *host_end == ':' && is_port(port) && !bytes_eq_str(port, "0");
}

struct url {
    struct bytes login; /* before '@'; ptr NULL without one */
    struct bytes rest;  /* from the path on */
};

static bool split_url(const char *text, const char *scheme, struct url *url)
{
    struct bytes all = bytes_of_str(text), start = bytes_of_str(scheme);
    *url = (struct url){0};
    if (!bytes_starts_with(all, start) || !is_visible(all))
        return false;
    const char *authority = text + start.len;
    size_t len = strcspn(authority, "/?#");
    url->rest = bytes_of_str(authority + len);
    const char *at = memrchr(authority, '@', len);
    if (!at)
        return is_host_port(bytes_of(authority, len));
    url->login = bytes_of(authority, (size_t)(at - authority));
    return is_host_port(bytes_of(at + 1, len - url->login.len - 1));
}

static bool check_http_url(struct reader *r, const char *path, const char *text)
{
    struct url url;
    bool is_right = split_url(text, "http://", &url) || split_url(text, "https://", &url);
    if (!is_right || strchr(text, '#')) {
        config_mistake(r, path, "http://host[:port]/path or https://… expected");
        return false;
    }
    return true;
}

/* user:password or :password, percent-encoded. */
static bool is_login(struct bytes login)
{
    const char *colon = memchr(login.ptr, ':', login.len);
    if (!colon || colon + 1 == login.ptr + login.len)
        return false;
    char *scratch = brg_calloc(1, login.len + 1);
    size_t len = bytes_percent_decode(login, scratch);
    bool is_right = len != SIZE_MAX && !memchr(scratch, 0, len);
    crypto_wipe(scratch, login.len);
    free(scratch);
    return is_right;
}

static bool check_store_url(struct reader *r, const char *path, const char *text)
{
    struct url url;
    uint64_t db = 0;
    if (bytes_starts_with(bytes_of_str(text), BYTES_LIT("rediss://"))) {
        config_mistake(r, path,
                       "rediss:// (TLS) is not supported by this version; "
                       "redis://[user:password@]host[:port][/db] expected");
        return false;
    }
    bool is_right = split_url(text, "redis://", &url);
    if (is_right && url.rest.len > 0)
        is_right = *url.rest.ptr == '/';
    if (is_right && url.rest.len > 1)
        is_right =
            bytes_to_u64(bytes_of(url.rest.ptr + 1, url.rest.len - 1), &db) && db <= DB_MAX;
    if (is_right && url.login.ptr)
        is_right = is_login(url.login);
    if (!is_right)
        config_mistake(r, path, "redis://[user:password@]host[:port][/db] expected");
    return is_right;
}

const struct config_choice *config_check_choice(struct reader *r, const struct config_key *k,
                                                const char *path, const char *text)
{
    const struct config_choice *choice = config_choice_named(k->choices, text);
    struct buf names;
    buf_init(&names, 1024);
    for (const struct config_choice *c = k->choices; c->name; c++)
        buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", c->name);
    if (!choice)
        config_mistake(r, path, "one of " BYTES_FMT " expected", BYTES_ARG(buf_bytes(&names)));
    buf_free(&names);
    return choice;
}

/* RFC 9110 token. */
bool config_is_header_name(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (!isalnum(c) && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return name.len > 0;
}

static bool is_path(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#' || *c == '?')
            return false;
    return *text == '/';
}

static bool check_form(struct reader *r, const struct config_key *k, const char *path,
                       const char *text)
{
    bool is_message_path = (k->flags & KEY_MESSAGE_PATH) != 0;
    if ((k->flags & KEY_HEADER_NAME) && !config_is_header_name(bytes_of_str(text)))
        config_mistake(r, path, "is no name of an HTTP header");
    else if ((k->flags & KEY_PATH) && !is_path(text))
        config_mistake(r, path, "/path without query expected");
    else if (is_message_path && !strstr(text, BOSSHI_PATH_MESSAGE_ID))
        config_mistake(r, path, "a path with " BOSSHI_PATH_MESSAGE_ID " expected");
    else
        return true;
    return false;
}

static bool check_plain(struct reader *r, const struct config_key *k, const char *path,
                        const char *text)
{
    if ((k->flags & KEY_NOT_EMPTY) && *text == 0)
        config_mistake(r, path, "empty");
    else if ((k->flags & KEY_SHOWN) && strlen(text) > CONFIG_SHOWN_MAX_BYTES)
        config_mistake(r, path, "at most %d bytes expected, %zu given", CONFIG_SHOWN_MAX_BYTES,
                       strlen(text));
    else
        return check_form(r, k, path, text);
    return false;
}

bool config_check_text(struct reader *r, const struct config_key *k, const char *path,
                       const char *text)
{
    switch (k->type) {
    case KEY_NAME:
        return config_check_name(r, path, bytes_of_str(text));
    case KEY_WORD:
        return config_check_choice(r, k, path, text) != NULL;
    case KEY_LISTEN:
        if (is_listen(text))
            return true;
        config_mistake(r, path, "HOST:PORT or [IPv6]:PORT expected");
        return false;
    case KEY_HTTP_URL:
        return check_http_url(r, path, text);
    case KEY_STORE_URL:
        return check_store_url(r, path, text);
    default:
        return check_plain(r, k, path, text);
    }
}

/* --- what spans several keys --- */

static void check_bosshi(struct reader *r, const struct config_bot *bot, const char *path)
{
    const struct config_bosshi *b = &bot->bosshi;
    char key[CONFIG_PATH_BYTES];
    if (b->check_signature && b->keys.encrypt_key_count == 0) {
        config_path(key, path, BYTES_LIT("check_signature"));
        config_mistake(r, key, "needs encrypt_key");
    }
}

static void check_bot(struct reader *r, size_t index)
{
    const struct config_bot *bot = &r->config->bots[index];
    char path[CONFIG_PATH_BYTES], key[CONFIG_PATH_BYTES];
    config_path_index(path, "bots", index);
    for (size_t i = 0; i < index && bot->name; i++) {
        const char *other = r->config->bots[i].name;
        if (!other || strcmp(other, bot->name) != 0)
            continue;
        config_path(key, path, BYTES_LIT("name"));
        config_mistake(r, key, "the same as bots[%zu].name", i);
        break;
    }
    if (bot->platform == PLATFORM_BOSSHI)
        check_bosshi(r, bot, path);
    if (bot->handover_margin_ms >= bot->stream_deadline_ms && bot->stream_deadline_ms > 0) {
        config_path(key, path, BYTES_LIT("handover_margin_ms"));
        config_mistake(r, key,
                       "less than stream_deadline_ms (%" PRId64 ") expected, %" PRId64 " given",
                       bot->stream_deadline_ms, bot->handover_margin_ms);
    }
}

/* Where to set what a property that is not the user's was meant for. */
static const char *instead_of(const char *property)
{
    static const char *const keys[][2] = {
        {"group.id", "worker.group"},
        {"group.instance.id", "worker.slot"},
        {"delivery.timeout.ms", "ingress.publish_budget_ms"},
        {"message.timeout.ms", "ingress.publish_budget_ms"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i][0], property) == 0)
            return keys[i][1];
    return NULL;
}

void config_check_setting(struct reader *r, const char *path, const char *name,
                          const char *value, bool is_shown)
{
    const struct bus_setting setting = {name, value};
    const char *instead = instead_of(name);
    struct brg_error error = {0};
    if (strcmp(name, "bootstrap.servers") == 0 && *value == 0) {
        config_mistake(r, path, "empty");
    } else if (instead) {
        config_mistake(r, path, "set %s instead", instead);
    } else if (bus_settings_check(&setting, 1, &error) != BRG_OK) {
        /* "kafka.NAME: reason". Reasons quote the value, except these two kinds. */
        const char *reason = strstr(error.text, ": ");
        bool is_free_of_value = strstr(error.text, "knows no such property") != NULL ||
                                strstr(error.text, "fixed by botbridge") != NULL;
        bool may_quote = is_shown && !config_setting_is_secret(name);
        config_mistake(r, path, "%s",
                       reason && (is_free_of_value || may_quote) ? reason + 2
                                                                 : "value not accepted");
    }
}

static void check_servers(struct reader *r)
{
    for (size_t i = 0; i < r->config->kafka.setting_count; i++)
        if (strcmp(r->config->kafka.settings[i].name, "bootstrap.servers") == 0)
            return;
    config_mistake(r, "kafka.bootstrap.servers", "missing");
}

/* Port 0 is any free one, another each time. */
static void check_listen(struct reader *r)
{
    const char *listen = r->config->ingress.listen, *admin = r->config->ingress.admin;
    const char *port = listen ? strrchr(listen, ':') : NULL;
    if (port && admin && strcmp(port, ":0") != 0 && strcmp(listen, admin) == 0)
        config_mistake(r, "ingress.listen", "the same as ingress.admin");
}

void config_check(struct reader *r)
{
    check_servers(r);
    check_listen(r);
    for (size_t i = 0; i < r->config->bot_count; i++)
        check_bot(r, i);
}
