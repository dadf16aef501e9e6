/* The effective values as JSON. A secret shows only whether it is set. */
#include "config/config_keys.h"

#include "json/json_writer.h"

#include <inttypes.h>

static const char mask[] = "***";

static void write_secret(struct json_writer *w, const char *key, const char *value)
{
    json_str(w, key, bytes_of_str(value && *value ? mask : ""));
}

/* Without what may be a secret in it: user and password, and the query. */
static void write_url(struct json_writer *w, const char *key, const char *url)
{
    struct buf shown;
    buf_init(&shown, CONFIG_VALUE_MAX_BYTES + sizeof mask * 2);
    const char *scheme = strstr(url, "://");
    const char *authority = scheme ? scheme + 3 : url;
    size_t len = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', len);
    const char *query = strchr(url, '?');
    const char *start = at ? at : authority;
    buf_append(&shown, bytes_of(url, (size_t)(authority - url)));
    if (at)
        buf_append_str(&shown, mask);
    buf_append(&shown, bytes_of(start, query ? (size_t)(query - start) + 1 : strlen(start)));
    if (query)
        buf_append_str(&shown, mask);
    json_str(w, key, buf_bytes(&shown));
    buf_free(&shown);
}

/* A free object may hold keys for a peer in any string of it: only numbers and booleans of its
 * first level are shown. */
static void write_member(struct bytes name, const struct json *value, void *arg)
{
    struct json_writer *w = arg;
    enum json_type type = json_type(value);
    struct buf key, text;
    buf_init(&key, CONFIG_VALUE_MAX_BYTES);
    buf_init(&text, CONFIG_VALUE_MAX_BYTES);
    json_escape(&key, name);
    buf_append_char(&key, 0);
    json_write_value(&text, value);
    if (type == JSON_STRING || type == JSON_OBJECT || type == JSON_ARRAY)
        write_secret(w, key.ptr, mask);
    else
        json_raw(w, key.ptr, buf_bytes(&text));
    buf_free(&text);
    buf_free(&key);
}

static void write_object(struct json_writer *w, const char *key, const char *value)
{
    struct json *root = value ? json_parse(bytes_of_str(value), JSON_PEER, NULL) : NULL;
    json_open(w, key, '{');
    json_each(root, write_member, w);
    json_close(w, '}');
    json_free(root);
}

static void write_headers(struct json_writer *w, const char *key, char *const *list)
{
    json_open(w, key, '{');
    for (; list && *list; list++) {
        char *name = bytes_dup(bytes_of(*list, strcspn(*list, ":")));
        write_secret(w, name, mask);
        free(name);
    }
    json_close(w, '}');
}

static void write_strings(struct json_writer *w, const char *key, char *const *list)
{
    json_open(w, key, '[');
    for (; list && *list; list++)
        json_str(w, NULL, bytes_of_str(*list));
    json_close(w, ']');
}

static void write_rotation(struct json_writer *w, const char *key, size_t count)
{
    json_open(w, key, '[');
    for (size_t i = 0; i < count; i++)
        write_secret(w, NULL, mask);
    json_close(w, ']');
}

static void write_codes(struct json_writer *w, const struct config_key *k, const void *base)
{
    const struct config_code *codes =
        *(struct config_code *const *)config_field_const(base, k->offset);
    size_t count = *(const size_t *)config_field_const(base, k->count_offset);
    json_open(w, k->name, '{');
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof name, "%" PRId64, codes[i].code);
        json_str(w, name, bytes_of_str(config_choice_of(k->choices, codes[i].value)->name));
    }
    json_close(w, '}');
}

static void write_field(struct json_writer *w, const struct config_key *k, const void *base)
{
    const void *field = config_field_const(base, k->offset);
    switch (k->type) {
    case KEY_SECRET:
        write_secret(w, k->name, *(char *const *)field);
        break;
    case KEY_HTTP_URL:
    case KEY_STORE_URL:
        write_url(w, k->name, *(char *const *)field);
        break;
    case KEY_SECRETS:
    case KEY_AES_KEYS:
        write_rotation(w, k->name, *(const size_t *)config_field_const(base, k->count_offset));
        break;
    case KEY_STRINGS:
        write_strings(w, k->name, *(char *const *const *)field);
        break;
    case KEY_HEADERS:
        write_headers(w, k->name, *(char *const *const *)field);
        break;
    case KEY_OBJECT:
        write_object(w, k->name, *(char *const *)field);
        break;
    case KEY_INT:
    case KEY_MS:
        json_i64(w, k->name, *(const int64_t *)field);
        break;
    case KEY_BOOL:
        json_boolean(w, k->name, *(const bool *)field);
        break;
    case KEY_CODES:
        write_codes(w, k, base);
        break;
    case KEY_CHOICE:
    case KEY_KIND:
        json_str(w, k->name,
                 bytes_of_str(config_choice_of(k->choices, *(const int *)field)->name));
        break;
    case KEY_SETTING:
        break;
    default:
        json_str(w, k->name, bytes_of_str(*(char *const *)field));
    }
}

static void write_fields(struct json_writer *w, const struct config_group *g, const void *base)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++)
        write_field(w, k, base);
}

static void write_settings(struct json_writer *w, const struct config *c)
{
    for (size_t i = 0; i < c->kafka.setting_count; i++) {
        const struct config_kafka_setting *s = &c->kafka.settings[i];
        if (config_setting_is_secret(s->name))
            write_secret(w, s->name, s->value);
        else
            json_str(w, s->name, bytes_of_str(s->value));
    }
}

static void write_section(struct json_writer *w, const struct config_group *g,
                          const struct config *c)
{
    json_open(w, g->section, '{');
    write_fields(w, g, c);
    if (g->is_open)
        write_settings(w, c);
    json_close(w, '}');
}

/* A bot or pipeline: the shared keys, then those of its variant. */
static void write_entry(struct json_writer *w, enum group_kind kind, const char *key,
                        const void *base)
{
    const struct config_key *k = config_kind_key(kind);
    int value = *(const int *)config_field_const(base, k->offset);
    json_open(w, key, '{');
    write_fields(w, config_group_of(kind, NULL), base);
    write_fields(w, config_group_of(kind, config_choice_of(k->choices, value)->name), base);
    json_close(w, '}');
}

void config_write_dump(struct buf *out, const struct config *c)
{
    struct buf compact;
    struct json_writer w;
    buf_init(&compact, CONFIG_DOCUMENT_MAX_BYTES);
    json_begin(&w, &compact);
    json_open(&w, NULL, '{');
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == GROUP_SECTION)
            write_section(&w, g, c);
    }
    json_open(&w, "bots", '[');
    for (size_t i = 0; i < c->bot_count; i++)
        write_entry(&w, GROUP_BOT, NULL, &c->bots[i]);
    json_close(&w, ']');
    json_open(&w, "pipelines", '{');
    for (size_t i = 0; i < c->pipeline_count; i++)
        write_entry(&w, GROUP_PIPELINE, c->pipelines[i].name, &c->pipelines[i]);
    json_close(&w, '}');
    json_close(&w, '}');
    if (compact.overflowed)
        out->overflowed = true;
    else
        config_pretty(out, buf_bytes(&compact));
    buf_free(&compact);
}
