/* From a file to a checked struct config. Every mistake is reported, not only the first; a
 * config with mistakes is never handed out. */
#include "config/config_keys.h"

#include <errno.h>
#include <stdlib.h>

enum { GROUPS_PER_OBJECT = 2, NAMES_MAX = 96 };

/* The object being read and the groups whose keys it may have. */
struct object {
    struct reader *reader;
    const char *path;
    const struct config_group *groups[GROUPS_PER_OBJECT];
    size_t group_count;
    bool is_open;
};

static bool is_listed(const char *const *names, struct bytes name)
{
    for (; names && *names; names++)
        if (bytes_eq_str(name, *names))
            return true;
    return false;
}

/* A null looks like an absent member everywhere else. */
static void check_null(struct reader *r, const char *path, const struct json *value)
{
    if (json_type(value) == JSON_NULL)
        config_mistake(r, path, "null given, leave the key out for its default");
}

static void report_unknown(struct reader *r, const char *path, struct bytes name,
                           const char *const *names)
{
    const char *nearest = config_nearest(name, names);
    if (nearest)
        config_mistake(r, path, "unknown key, did you mean \"%s\"?", nearest);
    else
        config_mistake(r, path, "unknown key");
}

/* A member that no key of the object's groups names. */
static void check_member(struct bytes name, const struct json *value, void *arg)
{
    const struct object *o = arg;
    const char *names[NAMES_MAX];
    size_t count = 0;
    char path[CONFIG_PATH_BYTES];
    config_path(path, o->path, name);
    for (size_t i = 0; i < o->group_count; i++) {
        const struct config_group *g = o->groups[i];
        if (is_listed(g->later, name)) {
            config_mistake(o->reader, path, "is not supported by this version");
            return;
        }
        for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
            BRG_CHECK(count + 1 < NAMES_MAX);
            names[count++] = k->name;
        }
    }
    names[count] = NULL;
    if (is_listed(names, name))
        check_null(o->reader, path, value);
    else if (!o->is_open)
        report_unknown(o->reader, path, name, names);
}

static void read_key(const struct object *o, const struct config_group *g,
                     const struct config_key *k, void *base, const struct json *j)
{
    char path[CONFIG_PATH_BYTES], variable[CONFIG_ENV_NAME_BYTES];
    const struct json *value = json_get(j, k->name);
    const char *env = NULL;
    if (k->type == KEY_SETTING || k->type == KEY_KIND)
        return;
    if (g->kind == GROUP_SECTION && config_is_scalar(k->type))
        env = config_env_get(g->section, k->name);
    config_path(path, o->path, bytes_of_str(k->name));
    if (env) {
        config_env_name(variable, g->section, k->name);
        config_set_text(o->reader, k, base, variable, env);
    } else if (value) {
        config_set(o->reader, k, base, path, value);
    } else if (k->flags & KEY_REQUIRED) {
        config_mistake(o->reader, path, "missing");
    }
}

/* `j` may be NULL: an absent section has its defaults and variables. */
static void read_object(const struct object *o, void *base, const struct json *j)
{
    for (size_t i = 0; i < o->group_count; i++) {
        const struct config_group *g = o->groups[i];
        for (const struct config_key *k = g->keys; k < config_keys_end(g); k++)
            read_key(o, g, k, base, j);
    }
    if (j)
        json_each(j, check_member, (void *)o);
}

/* --- kafka: what librdkafka is told --- */

void config_add_setting(struct reader *r, const char *path, const char *name, char *value,
                        bool is_shown)
{
    struct config *c = r->config;
    config_check_setting(r, path, name, value, is_shown);
    for (size_t i = 0; i < c->kafka.setting_count; i++) {
        struct config_kafka_setting *s = &c->kafka.settings[i];
        if (strcmp(s->name, name) != 0)
            continue;
        config_text_free(s->value);
        s->value = value;
        return;
    }
    size_t count = c->kafka.setting_count + 1;
    c->kafka.settings = brg_realloc(c->kafka.settings, count * sizeof *c->kafka.settings);
    c->kafka.settings[count - 1] =
        (struct config_kafka_setting){.name = brg_strdup(name), .value = value};
    c->kafka.setting_count = count;
}

static bool is_own_key(const struct config_group *g, struct bytes name)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        if (k->type != KEY_SETTING && bytes_eq_str(name, k->name))
            return true;
    }
    return false;
}

static void read_property(struct bytes name, const struct json *value, void *arg)
{
    const struct object *o = arg;
    char path[CONFIG_PATH_BYTES];
    if (is_own_key(o->groups[0], name))
        return;
    config_path(path, o->path, name);
    char *property = bytes_dup(name);
    enum json_type type = json_type(value);
    /* What a variable overrides is not looked at: its own variables may be unset. */
    bool is_overridden = name.len < CONFIG_ENV_NAME_BYTES / 2 &&
                         config_env_get(o->groups[0]->section, property) != NULL;
    if (type == JSON_STRING && !is_overridden) {
        char *text = config_string(o->reader, path, value);
        if (text)
            config_add_setting(o->reader, path, property, text,
                               bytes_eq_str(json_string(value), text));
    } else if (type == JSON_INT || type == JSON_DOUBLE || type == JSON_BOOL) {
        struct buf text;
        buf_init(&text, CONFIG_VALUE_MAX_BYTES);
        json_write_value(&text, value);
        config_add_setting(o->reader, path, property, bytes_dup(buf_bytes(&text)), true);
        buf_free(&text);
    } else if (type != JSON_STRING) {
        config_mistake(o->reader, path, "string, number or boolean expected, %s given",
                       config_type_name(value));
    }
    free(property);
}

static bool is_object(struct reader *r, const char *path, const struct json *j)
{
    if (json_type(j) == JSON_OBJECT)
        return true;
    config_mistake(r, path, "object expected, %s given", config_type_name(j));
    return false;
}

static void read_section(struct reader *r, const struct config_group *g,
                         const struct json *root)
{
    const struct json *j = json_get(root, g->section);
    struct object o = {.reader = r,
                       .path = g->section,
                       .groups = {g},
                       .group_count = 1,
                       .is_open = g->is_open};
    if (j && !is_object(r, g->section, j))
        j = NULL;
    read_object(&o, r->config, j);
    if (j && g->is_open)
        json_each(j, read_property, &o);
}

/* --- bots and pipelines --- */

/* "wecom", "openai, echo": what this version has of a kind. */
static void supported_kinds(enum group_kind kind, struct buf *out)
{
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == kind && g->variant)
            buf_printf(out, "%s%s", out->len > 0 ? ", " : "", g->variant);
    }
}

/* The choice that `platform` or `type` makes, or NULL with the mistake reported. */
static const struct config_choice *read_kind(struct reader *r, enum group_kind kind,
                                             const char *parent, const struct json *j)
{
    const struct config_key *k = config_kind_key(kind);
    const struct json *given = json_get(j, k->name);
    char path[CONFIG_PATH_BYTES];
    config_path(path, parent, bytes_of_str(k->name));
    if (!given) {
        config_mistake(r, path, "missing");
        return NULL;
    }
    char *text = config_string(r, path, given);
    if (!text)
        return NULL;
    const struct config_choice *choice = k->choices;
    while (choice->name && strcmp(choice->name, text) != 0)
        choice++;
    config_text_free(text);
    if (choice->name && config_group_of(kind, choice->name))
        return choice;
    struct buf names;
    buf_init(&names, 256);
    supported_kinds(kind, &names);
    if (choice->name)
        config_mistake(r, path, "\"%s\" is not supported by this version (" BYTES_FMT ")",
                       choice->name, BYTES_ARG(buf_bytes(&names)));
    else
        config_mistake(r, path, "one of " BYTES_FMT " expected", BYTES_ARG(buf_bytes(&names)));
    buf_free(&names);
    return NULL;
}

/* Reads the keys of every kind, and those of `choice`; without one the rest is not judged. */
static void read_variant(struct reader *r, enum group_kind kind, const char *path,
                         const struct config_choice *choice, void *base, const struct json *j)
{
    struct object o = {.reader = r,
                       .path = path,
                       .groups = {config_group_of(kind, NULL)},
                       .group_count = 1,
                       .is_open = !choice};
    if (choice)
        o.groups[o.group_count++] = config_group_of(kind, choice->name);
    for (size_t i = 0; i < o.group_count; i++)
        config_fields_init(o.groups[i], base);
    read_object(&o, base, j);
}

static void read_pipeline(struct bytes name, const struct json *j, void *arg)
{
    struct reader *r = arg;
    struct config *c = r->config;
    char path[CONFIG_PATH_BYTES];
    config_path(path, "pipelines", name);
    bool is_named = config_check_name(r, path, name);
    if (!is_object(r, path, j) || !is_named)
        return;
    size_t count = c->pipeline_count + 1;
    c->pipelines = brg_realloc(c->pipelines, count * sizeof *c->pipelines);
    c->pipeline_count = count;
    struct config_pipeline *pipeline = &c->pipelines[count - 1];
    memset(pipeline, 0, sizeof *pipeline);
    pipeline->name = bytes_dup(name);
    const struct config_choice *choice = read_kind(r, GROUP_PIPELINE, path, j);
    if (choice)
        pipeline->type = (enum pipeline_type)choice->value;
    read_variant(r, GROUP_PIPELINE, path, choice, pipeline, j);
}

static void read_pipelines(struct reader *r, const struct json *root)
{
    const struct json *j = json_get(root, "pipelines");
    if (!j)
        config_mistake(r, "pipelines", "missing");
    else if (is_object(r, "pipelines", j))
        json_each(j, read_pipeline, r);
}

/* `source` is the name as the file has it, before expansion, and may be shown. */
static void find_pipeline(struct reader *r, struct config_bot *bot, const char *parent,
                          struct bytes source)
{
    struct config *c = r->config;
    for (size_t i = 0; i < c->pipeline_count; i++) {
        if (strcmp(c->pipelines[i].name, bot->pipeline) == 0) {
            bot->pipeline_index = i;
            c->pipelines[i].bot_count++;
            return;
        }
    }
    char path[CONFIG_PATH_BYTES];
    config_path(path, parent, BYTES_LIT("pipeline"));
    const char **names = brg_calloc(c->pipeline_count + 1, sizeof *names);
    for (size_t i = 0; i < c->pipeline_count; i++)
        names[i] = c->pipelines[i].name;
    const char *nearest = config_nearest(source, names);
    if (nearest)
        config_mistake(r, path, "no pipeline \"" BYTES_FMT "\", did you mean \"%s\"?",
                       BYTES_ARG(source), nearest);
    else
        config_mistake(r, path, "no pipeline \"" BYTES_FMT "\" under pipelines",
                       BYTES_ARG(source));
    free(names);
}

static void read_bot(struct reader *r, size_t index, const struct json *j)
{
    struct config_bot *bot = &r->config->bots[index];
    char path[CONFIG_PATH_BYTES];
    config_path_index(path, "bots", index);
    if (!is_object(r, path, j))
        return;
    const struct config_choice *choice = read_kind(r, GROUP_BOT, path, j);
    if (choice)
        bot->platform = (enum platform)choice->value;
    read_variant(r, GROUP_BOT, path, choice, bot, j);
    if (bot->pipeline)
        find_pipeline(r, bot, path, json_get_string(j, "pipeline"));
}

static void read_bots(struct reader *r, const struct json *root)
{
    struct config *c = r->config;
    const struct json *j = json_get(root, "bots");
    size_t count = json_length(j);
    if (!j)
        config_mistake(r, "bots", "missing");
    else if (json_type(j) != JSON_ARRAY)
        config_mistake(r, "bots", "list of objects expected, %s given", config_type_name(j));
    else if (count == 0)
        config_mistake(r, "bots", "at least one bot expected");
    if (count == 0)
        return;
    c->bots = brg_calloc(count, sizeof *c->bots);
    c->bot_count = count;
    for (size_t i = 0; i < count; i++)
        read_bot(r, i, json_item(j, i));
}

/* --- the file --- */

static void check_section(struct bytes name, const struct json *value, void *arg)
{
    struct reader *r = arg;
    const char *names[NAMES_MAX];
    size_t count = 0;
    char path[CONFIG_PATH_BYTES];
    config_path(path, NULL, name);
    if (is_listed(config_later_sections, name)) {
        config_mistake(r, path, "is not supported by this version");
        return;
    }
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        BRG_CHECK(count + 2 < NAMES_MAX);
        if (!g->variant)
            names[count++] = g->section;
    }
    names[count++] = "$schema"; /* for editors */
    names[count] = NULL;
    if (is_listed(names, name))
        check_null(r, path, value);
    else
        report_unknown(r, path, name, names);
}

static void read_root(struct reader *r, const struct json *root)
{
    json_each(root, check_section, r);
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == GROUP_SECTION)
            read_section(r, g, root);
    }
    config_env_rest(r);
    read_pipelines(r, root);
    read_bots(r, root);
    config_check(r);
}

static bool read_text(struct reader *r, const char *path, struct buf *text)
{
    int error = config_read_file(path, text);
    if (error == EFBIG)
        config_mistake(r, path, "larger than %d bytes", CONFIG_FILE_MAX_BYTES);
    else if (error)
        config_mistake(r, path, "cannot read: %s", strerror(error));
    return error == 0;
}

struct config *config_load(const char *path, struct buf *report)
{
    struct reader r = {.config = config_new(), .report = report};
    struct buf text;
    struct brg_error error = {0};
    buf_init(&text, CONFIG_FILE_MAX_BYTES);
    if (read_text(&r, path, &text)) {
        struct json *root = json_parse(buf_bytes(&text), JSON_CONFIG, &error);
        if (!root)
            config_mistake(&r, path, "%s", error.text);
        else if (is_object(&r, path, root))
            read_root(&r, root);
        json_free(root);
    }
    if (text.ptr)
        crypto_wipe(text.ptr, text.cap);
    buf_free(&text);
    if (r.mistakes > 0) {
        config_unref(r.config);
        return NULL;
    }
    config_finish(r.config);
    return r.config;
}
