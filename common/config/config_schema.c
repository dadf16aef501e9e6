/* The table as a JSON schema (draft 7, which editors know). It checks names and types; what a
 * ${…} stands for is only known to the program. */
#include "config/config_keys.h"

#include "json/json_writer.h"

static void text(struct json_writer *w, const char *key, const char *value)
{
    json_str(w, key, bytes_of_str(value));
}

static void write_rotation(struct json_writer *w)
{
    json_open(w, "anyOf", '[');
    json_open(w, NULL, '{');
    text(w, "type", "string");
    json_close(w, '}');
    json_open(w, NULL, '{');
    text(w, "type", "array");
    json_open(w, "items", '{');
    text(w, "type", "string");
    json_close(w, '}');
    json_i64(w, "minItems", 1);
    json_i64(w, "maxItems", SECRET_ROTATION_MAX);
    json_close(w, '}');
    json_close(w, ']');
}

static void write_container(struct json_writer *w, const char *type, const char *member)
{
    text(w, "type", type);
    if (!member)
        return;
    json_open(w, member, '{');
    text(w, "type", "string");
    json_close(w, '}');
}

static void write_text(struct json_writer *w, const struct config_key *k)
{
    text(w, "type", "string");
    if (k->choices) {
        json_open(w, "enum", '[');
        for (const struct config_choice *c = k->choices; c->name; c++)
            text(w, NULL, c->name);
        json_close(w, ']');
    }
    if (k->text)
        text(w, "default", k->text);
}

static void write_codes(struct json_writer *w, const struct config_key *k)
{
    text(w, "type", "object");
    json_open(w, "additionalProperties", '{');
    write_text(w, k);
    json_close(w, '}');
}

static void write_value(struct json_writer *w, const struct config_key *k)
{
    switch (k->type) {
    case KEY_SECRETS:
    case KEY_AES_KEYS:
        write_rotation(w);
        break;
    case KEY_STRINGS:
        write_container(w, "array", "items");
        if (k->text) {
            json_open(w, "default", '[');
            text(w, NULL, k->text);
            json_close(w, ']');
        }
        break;
    case KEY_CODES:
        write_codes(w, k);
        break;
    case KEY_HEADERS:
        write_container(w, "object", "additionalProperties");
        break;
    case KEY_OBJECT:
        write_container(w, "object", NULL);
        break;
    case KEY_INT:
    case KEY_MS:
        text(w, "type", "integer");
        json_i64(w, "minimum", k->min);
        json_i64(w, "maximum", k->max);
        json_i64(w, "default", k->number);
        break;
    case KEY_BOOL:
        text(w, "type", "boolean");
        json_boolean(w, "default", k->number != 0);
        break;
    default:
        write_text(w, k);
    }
}

/* `variant`: the only value that a KEY_KIND has there. */
static void write_keys(struct json_writer *w, const struct config_group *g, const char *variant)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        json_open(w, k->name, '{');
        text(w, "description", k->help);
        if (k->type == KEY_KIND)
            text(w, "const", variant);
        else
            write_value(w, k);
        json_close(w, '}');
    }
}

static void write_required(struct json_writer *w, const struct config_group *g)
{
    for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
        if (k->flags & KEY_REQUIRED)
            text(w, NULL, k->name);
    }
}

/* Nothing is required in a section: variables may give it. */
static void write_section(struct json_writer *w, const struct config_group *g)
{
    json_open(w, g->section, '{');
    text(w, "description", g->help);
    text(w, "type", "object");
    json_open(w, "properties", '{');
    write_keys(w, g, NULL);
    json_close(w, '}');
    if (g->is_open) {
        json_open(w, "additionalProperties", '{');
        json_open(w, "type", '[');
        text(w, NULL, "string");
        text(w, NULL, "number");
        text(w, NULL, "boolean");
        json_close(w, ']');
        json_close(w, '}');
    } else {
        json_boolean(w, "additionalProperties", false);
    }
    json_close(w, '}');
}

static void write_variants(struct json_writer *w, enum group_kind kind)
{
    const struct config_group *shared = config_group_of(kind, NULL);
    json_open(w, "anyOf", '[');
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind != kind || !g->variant)
            continue;
        json_open(w, NULL, '{');
        text(w, "title", g->variant);
        text(w, "type", "object");
        json_open(w, "properties", '{');
        write_keys(w, shared, g->variant);
        write_keys(w, g, g->variant);
        json_close(w, '}');
        json_open(w, "required", '[');
        write_required(w, shared);
        write_required(w, g);
        json_close(w, ']');
        json_boolean(w, "additionalProperties", false);
        json_close(w, '}');
    }
    json_close(w, ']');
}

static void write_root(struct json_writer *w)
{
    json_open(w, "properties", '{');
    json_open(w, "$schema", '{');
    text(w, "type", "string");
    json_close(w, '}');
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == GROUP_SECTION)
            write_section(w, g);
    }
    json_open(w, "bots", '{');
    text(w, "type", "array");
    json_i64(w, "minItems", 1);
    json_open(w, "items", '{');
    write_variants(w, GROUP_BOT);
    json_close(w, '}');
    json_close(w, '}');
    json_open(w, "pipelines", '{');
    text(w, "type", "object");
    json_open(w, "additionalProperties", '{');
    write_variants(w, GROUP_PIPELINE);
    json_close(w, '}');
    json_close(w, '}');
    json_close(w, '}');
}

void config_write_schema(struct buf *out)
{
    struct buf compact;
    struct json_writer w;
    buf_init(&compact, CONFIG_DOCUMENT_MAX_BYTES);
    json_begin(&w, &compact);
    json_open(&w, NULL, '{');
    text(&w, "$schema", "http://json-schema.org/draft-07/schema#");
    text(&w, "title", "botbridge");
    text(&w, "type", "object");
    write_root(&w);
    json_open(&w, "required", '[');
    text(&w, NULL, "bots");
    text(&w, NULL, "pipelines");
    json_close(&w, ']');
    json_boolean(&w, "additionalProperties", false);
    json_close(&w, '}');
    BRG_CHECK(!compact.overflowed);
    config_pretty(out, buf_bytes(&compact));
    buf_free(&compact);
}
