#include "wecom_args.h"

#include <arpa/inet.h>
#include <stdarg.h>

enum { POLL_MS_MIN = 10, POLL_MS_MAX = 60000, HOST_MAX_BYTES = 256 };

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void wecom_args_init(struct wecom_args *args, const char *command)
{
    *args = (struct wecom_args){
        .command = command,
        .token = from_environment("BOTBRIDGE_SIM_TOKEN"),
        .aes_key = from_environment("BOTBRIDGE_SIM_AES_KEY"),
        .receive_id = from_environment("BOTBRIDGE_SIM_RECEIVE_ID"),
        .user = "sim-user",
        .poll_ms = 1000,
    };
    opterr = 0;
}

bool wecom_args_complain(const struct wecom_args *args, const char *fmt, ...)
{
    va_list list;
    fprintf(stderr, "botbridge-sim wecom %s: ", args->command);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr, "\n(botbridge-sim wecom %s --help tells more)\n", args->command);
    return false;
}

bool wecom_args_number(const struct wecom_args *args, const char *name, const char *text,
                       int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (!bytes_to_i64(bytes_of_str(text), &value) || value < min || value > max)
        return wecom_args_complain(args, "--%s: a number from %lld to %lld is wanted", name,
                                   (long long)min, (long long)max);
    *out = value;
    return true;
}

bool wecom_args_take(struct wecom_args *args, int option, char **argv)
{
    const char **const strings[] = {&args->url,        &args->token, &args->aes_key,
                                    &args->receive_id, &args->user,  &args->group};
    if (option >= 1 && option < WECOM_POLL_MS) {
        *strings[option - 1] = optarg;
        return true;
    }
    if (option == WECOM_POLL_MS)
        return wecom_args_number(args, "poll-ms", optarg, POLL_MS_MIN, POLL_MS_MAX,
                                 &args->poll_ms);
    return wecom_args_complain(args, "unknown option, or one without its value: %s",
                               argv[optind - 1]);
}

static bool has_scheme(const char *url)
{
    struct bytes u = bytes_of_str(url);
    return bytes_starts_with(u, BYTES_LIT("http://")) ||
           bytes_starts_with(u, BYTES_LIT("https://"));
}

struct wecom_link *wecom_args_link(const struct wecom_args *args, struct loop *loop,
                                   bool keep_alive)
{
    struct wecom_link_options options = {.url = args->url, .keep_alive = keep_alive};
    struct brg_error error = {0};
    if (!args->url || !has_scheme(args->url)) {
        wecom_args_complain(args, "--url http://… or https://… is wanted");
        return NULL;
    }
    if (!args->token || !args->aes_key) {
        wecom_args_complain(args, "the bot's token and key are wanted: --token and --aes-key, "
                                  "or BOTBRIDGE_SIM_TOKEN and BOTBRIDGE_SIM_AES_KEY");
        return NULL;
    }
    if (wecom_aes_key_decode(args->aes_key, options.keys.aes_keys[0], &error) != BRG_OK) {
        wecom_args_complain(args, "--aes-key: %s", error.text);
        return NULL;
    }
    options.keys.aes_key_count = 1;
    options.keys.tokens[0] = brg_strdup(args->token);
    options.keys.token_count = 1;
    options.keys.receive_id = brg_strdup(args->receive_id ? args->receive_id : "");
    return wecom_link_new(loop, &options);
}

/* Between "://" (and a user's name) and the port or path; brackets are left out. */
static bool host_of(const char *url, char out[HOST_MAX_BYTES])
{
    const char *host = strstr(url, "://");
    if (!host)
        return false;
    host += 3;
    size_t len = strcspn(host, "/?#\\");
    const char *at = memrchr(host, '@', len);
    if (at) {
        len -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    if (len > 0 && host[0] == '[') {
        host++;
        len = strcspn(host, "]");
    } else {
        const char *colon = memchr(host, ':', len);
        len = colon ? (size_t)(colon - host) : len;
    }
    if (len >= HOST_MAX_BYTES)
        return false;
    memcpy(out, host, len);
    out[len] = '\0';
    return true;
}

bool wecom_args_is_loopback(const struct wecom_args *args)
{
    char host[HOST_MAX_BYTES];
    struct in_addr v4;
    struct in6_addr v6;
    if (!args->url || !host_of(args->url, host))
        return false;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(host, "localhost") == 0;
}
