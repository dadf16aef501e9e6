/* What follows from the table without reading a file: look-ups, defaults, freeing. */
#include "config/config_keys.h"

const struct config_group *config_group_of(enum group_kind kind, const char *variant)
{
    CONFIG_EACH_GROUP(g)
    {
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
    CONFIG_EACH_KEY(k, g)
    {
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
}

void config_fields_init(const struct config_group *g, void *base)
{
    CONFIG_EACH_KEY(k, g)
    init_field(k, base);
}

static void free_field(const struct config_key *k, void *base)
{
    void *field = config_field(base, k->offset);
    if (config_is_text(k->type) || k->type == KEY_OBJECT) {
        config_text_free(*(char **)field);
        *(char **)field = NULL;
    } else if (k->type == KEY_STRINGS || k->type == KEY_HEADERS) {
        config_list_free(*(char ***)field);
        *(char ***)field = NULL;
    } else if (k->type == KEY_SECRETS) {
        for (size_t i = 0; i < WECOM_ROTATION_MAX; i++)
            config_text_free(((char **)field)[i]);
        memset(field, 0, sizeof(char *[WECOM_ROTATION_MAX]));
    } else if (k->type == KEY_AES_KEYS) {
        crypto_wipe(field, sizeof(uint8_t[WECOM_ROTATION_MAX][CRYPTO_AES_KEY_BYTES]));
    }
}

void config_fields_free(const struct config_group *g, void *base)
{
    CONFIG_EACH_KEY(k, g)
    free_field(k, base);
}
