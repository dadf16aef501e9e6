/* BOTBRIDGE_<SECTION>_<KEY>: scalars of the sections from the environment. */
#include "config/config_keys.h"

#include <ctype.h>
#include <unistd.h>

static const char env_prefix[] = "BOTBRIDGE_";

void config_env_name(char out[CONFIG_ENV_NAME_BYTES], const char *section, const char *key)
{
    int len = snprintf(out, CONFIG_ENV_NAME_BYTES, "%s%s_%s", env_prefix, section, key);
    BRG_CHECK(len > 0 && len < CONFIG_ENV_NAME_BYTES);
    for (char *c = out; *c; c++)
        *c = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
}

const char *config_env_get(const char *section, const char *key)
{
    char name[CONFIG_ENV_NAME_BYTES];
    config_env_name(name, section, key);
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* "BOTBRIDGE_KAFKA_SASL_PASSWORD=x" with group kafka gives "SASL_PASSWORD", else empty. */
static struct bytes rest_of(const struct config_group *g, const char *entry)
{
    char start[CONFIG_ENV_NAME_BYTES];
    config_env_name(start, g->section, "");
    const char *equals = strchr(entry, '=');
    if (!equals || equals[1] == 0)
        return bytes_of(NULL, 0);
    struct bytes name = {entry, (size_t)(equals - entry)};
    struct bytes prefix = bytes_of_str(start);
    if (!bytes_starts_with(name, prefix))
        return bytes_of(NULL, 0);
    return bytes_of(name.ptr + prefix.len, name.len - prefix.len);
}

/* Kubernetes sets BOTBRIDGE_INGRESS_SERVICE_HOST, BOTBRIDGE_KAFKA_PORT_9092_TCP and the like in
 * every container beside services of these names. */
static bool is_service_link(struct bytes rest)
{
    return bytes_starts_with(rest, BYTES_LIT("SERVICE_")) || bytes_eq_str(rest, "PORT") ||
           bytes_starts_with(rest, BYTES_LIT("PORT_"));
}

static bool is_key_of(const struct config_group *g, const char *variable)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        char name[CONFIG_ENV_NAME_BYTES];
        config_env_name(name, g->section, k->name);
        if (config_is_scalar(k->type) && strcmp(name, variable) == 0)
            return true;
    }
    return false;
}

static void set_property(struct reader *r, struct bytes rest, const char *variable,
                         const char *text)
{
    char *property = bytes_dup(rest);
    for (char *c = property; *c; c++)
        *c = (char)(*c == '_' ? '.' : tolower((unsigned char)*c));
    char *value = config_expand(r, variable, bytes_of_str(text));
    if (value)
        config_add_setting(r, variable, property, value, false);
    free(property);
}

static void report_unknown(struct reader *r, const struct config_group *g, struct bytes rest,
                           const char *variable)
{
    char *name = bytes_dup(rest);
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *names[64];
    size_t count = 0;
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        BRG_CHECK(count + 1 < sizeof names / sizeof names[0]);
        names[count++] = k->name;
    }
    names[count] = NULL;
    const char *nearest = config_nearest(bytes_of_str(name), names);
    char meant[CONFIG_ENV_NAME_BYTES] = "";
    if (nearest)
        config_env_name(meant, g->section, nearest);
    config_mistake(r, variable, "names no key of section %s%s%s", g->section,
                   nearest ? ", did you mean " : "", meant);
    free(name);
}

static void read_variable(struct reader *r, const struct config_group *g, const char *entry)
{
    struct bytes rest = rest_of(g, entry);
    if (rest.len == 0 || is_service_link(rest))
        return;
    const char *equals = strchr(entry, '=');
    char *variable = bytes_dup(bytes_of(entry, (size_t)(equals - entry)));
    if (is_key_of(g, variable))
        ; /* read with its section */
    else if (g->is_open)
        set_property(r, rest, variable, equals + 1);
    else
        report_unknown(r, g, rest, variable);
    free(variable);
}

void config_env_rest(struct reader *r)
{
    for (char **entry = environ; *entry; entry++) {
        for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
            if (g->kind == GROUP_SECTION)
                read_variable(r, g, *entry);
        }
    }
}
