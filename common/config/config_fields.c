/* What follows from the table without reading a file: look-ups, defaults, freeing. */
#include "config/config_keys.h"

/* KEY_KIND fields are read through an int, so are those of KEY_CHOICE. */
_Static_assert(sizeof(enum platform) == sizeof(int), "enum platform");
_Static_assert(sizeof(enum pipeline_type) == sizeof(int), "enum pipeline_type");
_Static_assert(sizeof(enum bosshi_id) == sizeof(int), "enums");
_Static_assert(sizeof(enum bosshi_proof) == sizeof(int), "enums");

const struct config_group *config_group_of(enum group_kind kind, const char *variant)
{
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind != kind || !g->variant != !variant)
            continue;
        if (!variant || strcmp(g->variant, variant) == 0)
            return g;
    }
    return NULL;
}

const struct config_key *config_kind_key(enum group_kind kind)
{
    const struct config_group *g = config_group_of(kind, NULL);
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        if (k->type == KEY_KIND)
            return k;
    }
    BRG_CHECK(!"a kind without its key");
    return NULL;
}

const struct config_choice *config_choice_of(const struct config_choice *choices, int value)
{
    for (; choices->name; choices++)
        if (choices->value == value)
            return choices;
    BRG_CHECK(!"a value without a name");
    return NULL;
}

const struct config_choice *config_choice_named(const struct config_choice *choices,
                                                const char *name)
{
    for (; choices->name; choices++)
        if (strcmp(choices->name, name) == 0)
            return choices;
    return NULL;
}

bool config_is_text(enum key_type type)
{
    return type <= KEY_STORE_URL;
}

bool config_is_scalar(enum key_type type)
{
    return config_is_text(type) || type == KEY_INT || type == KEY_MS || type == KEY_BOOL;
}

bool config_setting_is_secret(const char *name)
{
    /* Substrings of librdkafka's property names; PEM text holds private keys, and the
     * oauthbearer configuration may hold a client's secret. */
    static const char *const marks[] = {"password", "secret",  "token",
                                        ".pem",     "ssl.key", "oauthbearer.config"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(name, marks[i]))
            return true;
    return false;
}

void config_text_free(char *text)
{
    if (!text)
        return;
    crypto_wipe(text, strlen(text));
    free(text);
}

void config_list_add(char ***list, char *item)
{
    size_t count = 0;
    while (*list && (*list)[count])
        count++;
    *list = brg_realloc(*list, (count + 2) * sizeof **list);
    (*list)[count] = item;
    (*list)[count + 1] = NULL;
}

void config_list_free(char **list)
{
    for (char **item = list; item && *item; item++)
        config_text_free(*item);
    free(list);
}

static void init_field(const struct config_key *k, void *base)
{
    void *field = config_field(base, k->offset);
    if (config_is_text(k->type))
        *(char **)field = k->text ? brg_strdup(k->text) : NULL;
    else if (k->type == KEY_INT || k->type == KEY_MS)
        *(int64_t *)field = k->number;
    else if (k->type == KEY_BOOL)
        *(bool *)field = k->number != 0;
    else if (k->type == KEY_CHOICE)
        *(int *)field = config_choice_named(k->choices, k->text)->value;
    else if (k->type == KEY_STRINGS && k->text)
        config_list_add(field, brg_strdup(k->text));
}

void config_fields_init(const struct config_group *g, void *base)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++)
        init_field(k, base);
}

static void free_field(const struct config_key *k, void *base)
{
    void *field = config_field(base, k->offset);
    if (k->type == KEY_CODES) {
        free(*(struct config_code **)field);
        *(struct config_code **)field = NULL;
    } else if (config_is_text(k->type) || k->type == KEY_OBJECT) {
        config_text_free(*(char **)field);
        *(char **)field = NULL;
    } else if (k->type == KEY_STRINGS || k->type == KEY_HEADERS) {
        config_list_free(*(char ***)field);
        *(char ***)field = NULL;
    } else if (k->type == KEY_SECRETS) {
        for (size_t i = 0; i < SECRET_ROTATION_MAX; i++)
            config_text_free(((char **)field)[i]);
        memset(field, 0, sizeof(char *[SECRET_ROTATION_MAX]));
    } else if (k->type == KEY_AES_KEYS) {
        crypto_wipe(field, sizeof(uint8_t[SECRET_ROTATION_MAX][CRYPTO_AES_KEY_BYTES]));
    }
}

void config_fields_free(const struct config_group *g, void *base)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++)
        free_field(k, base);
}

static bool is_equal_list(char *const *a, char *const *b)
{
    for (; a && b && *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return (!a || !*a) && (!b || !*b);
}

static bool is_equal(const struct config_key *k, const void *a, const void *b)
{
    const void *left = config_field_const(a, k->offset),
               *right = config_field_const(b, k->offset);
    if (config_is_text(k->type))
        return strcmp(*(char *const *)left, *(char *const *)right) == 0;
    if (k->type == KEY_BOOL)
        return *(const bool *)left == *(const bool *)right;
    if (k->type == KEY_INT || k->type == KEY_MS)
        return *(const int64_t *)left == *(const int64_t *)right;
    if (k->type == KEY_STRINGS)
        return is_equal_list(*(char *const *const *)left, *(char *const *const *)right);
    BRG_CHECK(k->type == KEY_SETTING); /* sections hold scalars and lists */
    return true;
}

static void append_name(struct buf *out, const char *section, const char *key)
{
    buf_printf(out, "%s%s.%s", out->len > 0 ? ", " : "", section, key);
}

static const char *setting_of(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->kafka.setting_count; i++)
        if (strcmp(c->kafka.settings[i].name, name) == 0)
            return c->kafka.settings[i].value;
    return NULL;
}

/* Settings of `a` that `b` has not, or (with `and_values`) otherwise. */
static void compare_settings(const struct config *a, const struct config *b, bool and_values,
                             struct buf *out)
{
    for (size_t i = 0; i < a->kafka.setting_count; i++) {
        const struct config_kafka_setting *s = &a->kafka.settings[i];
        const char *other = setting_of(b, s->name);
        if (!other || (and_values && strcmp(other, s->value) != 0))
            append_name(out, "kafka", s->name);
    }
}

void config_restart_keys(const struct config *before, const struct config *after,
                         struct buf *out)
{
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind != GROUP_SECTION)
            continue;
        for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
            if (!is_equal(k, before, after))
                append_name(out, g->section, k->name);
        }
    }
    compare_settings(before, after, true, out);
    compare_settings(after, before, false, out);
}
