/* One value of the file into its field, by the type its row names. */
#include "config/config_keys.h"

#include "json/json_writer.h"

#include <ctype.h>
#include <inttypes.h>

void config_accept_text(struct reader *r, const struct config_key *k, void *base,
                        const char *path, char *text)
{
    if (!text)
        return;
    if (!config_check_text(r, k, path, text)) {
        config_text_free(text);
        return;
    }
    char **field = config_field(base, k->offset);
    config_text_free(*field);
    *field = text;
}

static bool is_in_range(const struct config_key *k, int64_t value)
{
    return value >= k->min && value <= k->max;
}

static void set_number(struct reader *r, const struct config_key *k, void *base,
                       const char *path, const struct json *j)
{
    int64_t value = json_int(j, 0);
    if (json_type(j) != JSON_INT)
        config_mistake(r, path, "integer expected, %s given", config_type_name(j));
    else if (!is_in_range(k, value))
        config_mistake(r, path, "%" PRId64 " to %" PRId64 " expected, %" PRId64 " given",
                       k->min, k->max, value);
    else
        *(int64_t *)config_field(base, k->offset) = value;
}

/* A key or token of a rotation into slot `index`; an empty one is none, where that is allowed.
 */
static void set_secret(struct reader *r, const struct config_key *k, void *base, size_t index,
                       bool may_be_empty, const char *path, const struct json *j)
{
    char *text = config_string(r, path, j);
    if (!text)
        return;
    void *field = config_field(base, k->offset);
    struct brg_error error = {0};
    if (*text == 0) {
        if (!may_be_empty)
            config_mistake(r, path, "empty");
    } else if (k->type == KEY_AES_KEYS) {
        uint8_t(*keys)[CRYPTO_AES_KEY_BYTES] = field;
        if (wecom_aes_key_decode(text, keys[index], &error) != BRG_OK)
            config_mistake(r, path, "%s", error.text);
    } else {
        ((char **)field)[index] = text;
        text = NULL;
    }
    config_text_free(text);
}

static void set_rotation(struct reader *r, const struct config_key *k, void *base,
                         const char *path, const struct json *j)
{
    size_t *count = config_field(base, k->count_offset);
    if (json_type(j) == JSON_STRING) {
        set_secret(r, k, base, 0, !(k->flags & KEY_REQUIRED), path, j);
        bool is_none = k->type == KEY_SECRETS && !*(char **)config_field(base, k->offset);
        *count = is_none ? 0 : 1;
        return;
    }
    size_t given = json_length(j);
    if (json_type(j) != JSON_ARRAY || given == 0) {
        config_mistake(r, path, "string or [current, previous] expected, %s given",
                       json_type(j) == JSON_ARRAY ? "empty list" : config_type_name(j));
        return;
    }
    if (given > SECRET_ROTATION_MAX) {
        config_mistake(r, path, "at most %d entries (current, previous), %zu given",
                       SECRET_ROTATION_MAX, given);
        return;
    }
    for (size_t i = 0; i < given; i++) {
        char item[CONFIG_PATH_BYTES];
        config_path_index(item, path, i);
        set_secret(r, k, base, i, false, item, json_item(j, i));
    }
    *count = given;
}

static void add_string(struct reader *r, const struct config_key *k, char ***list,
                       const char *path, char *text)
{
    bool is_wrong_host = (k->flags & KEY_HOST) && !config_is_host(text);
    if (*text && !is_wrong_host) {
        config_list_add(list, text);
        return;
    }
    config_mistake(r, path, *text ? "name or IPv4 address of a host expected" : "empty");
    free(text);
}

static void set_strings(struct reader *r, const struct config_key *k, void *base,
                        const char *path, const struct json *j)
{
    if (json_type(j) != JSON_ARRAY) {
        config_mistake(r, path, "list of strings expected, %s given", config_type_name(j));
        return;
    }
    char ***list = config_field(base, k->offset);
    config_list_free(*list); /* the default */
    *list = NULL;
    for (size_t i = 0; i < json_length(j); i++) {
        char item[CONFIG_PATH_BYTES];
        config_path_index(item, path, i);
        char *text = config_string(r, item, json_item(j, i));
        if (text)
            add_string(r, k, list, item, text);
    }
}

struct members {
    struct reader *reader;
    const char *path;
    char ***list;     /* set_headers */
    struct buf *text; /* write_expanded */
    bool is_first;
};

static bool is_header_value(const char *value)
{
    for (; *value; value++)
        if ((unsigned char)*value < 0x20 && *value != '\t')
            return false;
    return true;
}

static void add_header(struct bytes name, const struct json *value, void *arg)
{
    const struct members *m = arg;
    char path[CONFIG_PATH_BYTES];
    config_path(path, m->path, name);
    if (!config_is_header_name(name)) {
        config_mistake(m->reader, path, "is no name of an HTTP header");
        return;
    }
    char *text = config_string(m->reader, path, value);
    if (text && is_header_value(text)) {
        struct buf line;
        buf_init(&line, name.len + strlen(text) + 3);
        buf_append(&line, name);
        buf_append_str(&line, ": ");
        buf_append_str(&line, text);
        config_list_add(m->list, bytes_dup(buf_bytes(&line)));
        crypto_wipe(line.ptr, line.len);
        buf_free(&line);
    } else if (text) {
        config_mistake(m->reader, path, "an HTTP header has no control characters");
    }
    config_text_free(text);
}

static void set_headers(struct reader *r, const struct config_key *k, void *base,
                        const char *path, const struct json *j)
{
    struct members m = {.reader = r, .path = path, .list = config_field(base, k->offset)};
    if (json_type(j) == JSON_OBJECT)
        json_each(j, add_header, &m);
    else
        config_mistake(r, path, "object of strings expected, %s given", config_type_name(j));
}

static void write_expanded(struct reader *r, const char *path, const struct json *j,
                           struct buf *out);

static void write_member(struct bytes name, const struct json *value, void *arg)
{
    struct members *m = arg;
    char path[CONFIG_PATH_BYTES];
    config_path(path, m->path, name);
    if (!m->is_first)
        buf_append_char(m->text, ',');
    m->is_first = false;
    buf_append_char(m->text, '"');
    json_escape(m->text, name);
    buf_append_str(m->text, "\":");
    write_expanded(m->reader, path, value, m->text);
}

/* JSON text of `j` with its strings expanded. Depth is the parser's (JSON_DEPTH_MAX). */
static void write_expanded(struct reader *r, const char *path, const struct json *j,
                           struct buf *out)
{
    enum json_type type = json_type(j);
    if (type == JSON_OBJECT) {
        struct members m = {.reader = r, .path = path, .text = out, .is_first = true};
        buf_append_char(out, '{');
        json_each(j, write_member, &m);
        buf_append_char(out, '}');
    } else if (type == JSON_ARRAY) {
        buf_append_char(out, '[');
        for (size_t i = 0; i < json_length(j); i++) {
            char item[CONFIG_PATH_BYTES];
            config_path_index(item, path, i);
            if (i > 0)
                buf_append_char(out, ',');
            write_expanded(r, item, json_item(j, i), out);
        }
        buf_append_char(out, ']');
    } else if (type == JSON_STRING) {
        char *text = config_expand(r, path, json_string(j));
        buf_append_char(out, '"');
        json_escape(out, bytes_of_str(text));
        buf_append_char(out, '"');
        config_text_free(text);
    } else {
        json_write_value(out, j);
    }
}

static void set_object(struct reader *r, const struct config_key *k, void *base,
                       const char *path, const struct json *j)
{
    if (json_type(j) != JSON_OBJECT) {
        config_mistake(r, path, "object expected, %s given", config_type_name(j));
        return;
    }
    struct buf out;
    buf_init(&out, CONFIG_VALUE_MAX_BYTES);
    write_expanded(r, path, j, &out);
    if (out.overflowed)
        config_mistake(r, path, "longer than %d bytes", CONFIG_VALUE_MAX_BYTES);
    else
        *(char **)config_field(base, k->offset) = bytes_dup(buf_bytes(&out));
    if (out.ptr)
        crypto_wipe(out.ptr, out.cap);
    buf_free(&out);
}

static void set_choice(struct reader *r, const struct config_key *k, void *base,
                       const char *path, const struct json *j)
{
    char *text = config_string(r, path, j);
    const struct config_choice *choice = text ? config_check_choice(r, k, path, text) : NULL;
    if (choice)
        *(int *)config_field(base, k->offset) = choice->value;
    config_text_free(text);
}

struct codes {
    struct reader *reader;
    const struct config_key *key;
    void *base;
    const char *path;
};

static void add_code(struct bytes name, const struct json *value, void *arg)
{
    const struct codes *codes = arg;
    const struct config_key *k = codes->key;
    char path[CONFIG_PATH_BYTES];
    struct config_code added = {0};
    config_path(path, codes->path, name);
    if (!bytes_to_i64(name, &added.code)) {
        config_mistake(codes->reader, path, "an integer expected as name");
        return;
    }
    char *text = config_string(codes->reader, path, value);
    const struct config_choice *choice =
        text ? config_check_choice(codes->reader, k, path, text) : NULL;
    config_text_free(text);
    if (!choice)
        return;
    added.value = choice->value;
    struct config_code **list = config_field(codes->base, k->offset);
    size_t *count = config_field(codes->base, k->count_offset);
    *list = brg_realloc(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = added;
}

static void set_codes(struct reader *r, const struct config_key *k, void *base,
                      const char *path, const struct json *j)
{
    struct codes codes = {.reader = r, .key = k, .base = base, .path = path};
    if (json_type(j) == JSON_OBJECT)
        json_each(j, add_code, &codes);
    else
        config_mistake(r, path, "object expected, %s given", config_type_name(j));
}

static void set_bool(struct reader *r, const struct config_key *k, void *base, const char *path,
                     const struct json *j)
{
    if (json_type(j) == JSON_BOOL)
        *(bool *)config_field(base, k->offset) = json_bool(j, false);
    else
        config_mistake(r, path, "true or false expected, %s given", config_type_name(j));
}

void config_set(struct reader *r, const struct config_key *k, void *base, const char *path,
                const struct json *j)
{
    switch (k->type) {
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_WORD:
    case KEY_SECRET:
    case KEY_LISTEN:
    case KEY_HTTP_URL:
    case KEY_STORE_URL:
        config_accept_text(r, k, base, path, config_string(r, path, j));
        break;
    case KEY_SECRETS:
    case KEY_AES_KEYS:
        set_rotation(r, k, base, path, j);
        break;
    case KEY_STRINGS:
        set_strings(r, k, base, path, j);
        break;
    case KEY_CHOICE:
        set_choice(r, k, base, path, j);
        break;
    case KEY_CODES:
        set_codes(r, k, base, path, j);
        break;
    case KEY_HEADERS:
        set_headers(r, k, base, path, j);
        break;
    case KEY_OBJECT:
        set_object(r, k, base, path, j);
        break;
    case KEY_INT:
    case KEY_MS:
        set_number(r, k, base, path, j);
        break;
    case KEY_BOOL:
        set_bool(r, k, base, path, j);
        break;
    case KEY_KIND:
    case KEY_SETTING:
        break; /* read where the object is: they say what else it holds */
    }
}

/* What a variable holds is not quoted: it may be a secret that went to the wrong place. */
static void set_scalar_text(struct reader *r, const struct config_key *k, void *base,
                            const char *path, const char *text)
{
    bool is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool is_false = strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
    int64_t number;
    void *field = config_field(base, k->offset);
    if (k->type == KEY_BOOL && (is_true || is_false))
        *(bool *)field = is_true;
    else if (k->type == KEY_BOOL)
        config_mistake(r, path, "true or false expected");
    else if (bytes_to_i64(bytes_of_str(text), &number) && is_in_range(k, number))
        *(int64_t *)field = number;
    else
        config_mistake(r, path, "integer from %" PRId64 " to %" PRId64 " expected", k->min,
                       k->max);
}

void config_set_text(struct reader *r, const struct config_key *k, void *base, const char *path,
                     const char *text)
{
    char *value = config_expand(r, path, bytes_of_str(text));
    if (value && config_is_text(k->type)) {
        config_accept_text(r, k, base, path, value);
        return;
    }
    if (value)
        set_scalar_text(r, k, base, path, value);
    config_text_free(value);
}
