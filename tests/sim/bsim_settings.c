#include "bsim_settings.h"

enum kind { NUMBER, TRUTH, CHOICE, TEXT };
enum { CHOICES_MAX = 3 };

struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    int64_t otherwise, max;
    const char *text;                 /* default of TEXT */
    const char *choices[CHOICES_MAX]; /* by value */
};

#define AT(member) offsetof(struct bsim_settings, member)
#define NUM(member, otherwise, max)                        \
    {                                                      \
#member, NUMBER, AT(member), otherwise, max, NULL, \
        {                                                  \
            0                                              \
        }                                                  \
    }
#define BOOL(member)                            \
    {                                           \
#member, TRUTH, AT(member), 0, 1, NULL, \
        {                                       \
            0                                   \
        }                                       \
    }
#define PICK(member, ...)                        \
    {                                            \
#member, CHOICE, AT(member), 0, 0, NULL, \
        {                                        \
            __VA_ARGS__                          \
        }                                        \
    }
#define STR(member, otherwise)                      \
    {                                               \
#member, TEXT, AT(member), 0, 0, otherwise, \
        {                                           \
            0                                       \
        }                                           \
    }

static const struct setting table[] = {
    STR(url, ""),
    PICK(token_shape, "data", "top"),
    PICK(message_shape, "data", "top"),
    PICK(content, "any", "object", "string"),
    PICK(card_wrapper, "any", "none", "compressiveCardContent"),
    PICK(uuid_in, "any", "query", "body"),
    PICK(uuid_repeat, "same", "refuse"),
    STR(receive_ids, "any"),
    BOOL(tokens_per_tenant),
    BOOL(reply),
    {"cards", TRUTH, AT(cards), 1, 1, NULL, {0}},
    BOOL(header_required),
    NUM(updates_per_s, 5, BSIM_PACE_MAX),
    NUM(chat_per_s, 5, BSIM_PACE_MAX),
    NUM(text_limit, 5000, 1000000),
    NUM(card_limit, 5000, 1000000),
    PICK(limit_unit, "characters", "bytes"),
    NUM(updates_max, 0, 1000000),
    NUM(token_life_s, 7200, 1000000),
    NUM(token_renew_s, 1800, 1000000),
    NUM(token_error_code, 99991663, INT32_MAX),
    NUM(token_error_status, 400, 599),
    STR(token_path, "/open-apis/auth/tenant_access_token/internal"),
    STR(send_path, "/open-apis/im/v2/messages"),
    STR(reply_path, "/open-apis/im/v2/messages/{message_id}/reply"),
    STR(update_path, "/open-apis/im/messages/{message_id}/update"),
    STR(signature_header, "X-Lark-Signature"),
    STR(timestamp_header, "X-Lark-Request-Timestamp"),
    STR(nonce_header, "X-Lark-Request-Nonce"),
};
enum { SETTINGS = sizeof(table) / sizeof(table[0]) };

static int64_t *number_of(const struct bsim_settings *s, const struct setting *row)
{
    return (int64_t *)(void *)((char *)s + row->offset);
}

static char **text_of(const struct bsim_settings *s, const struct setting *row)
{
    return (char **)(void *)((char *)s + row->offset);
}

static const struct setting *find(struct bytes name)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (bytes_eq_str(name, table[i].name))
            return &table[i];
    return NULL;
}

void bsim_settings_init(struct bsim_settings *s)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (table[i].kind == TEXT)
            *text_of(s, &table[i]) = brg_strdup(table[i].text);
        else
            *number_of(s, &table[i]) = table[i].otherwise;
    }
}

void bsim_settings_free(struct bsim_settings *s)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (table[i].kind == TEXT)
            free(*text_of(s, &table[i]));
}

static bool read_number(const struct setting *row, struct bytes value, int64_t *out)
{
    int64_t number;
    if (row->kind == TRUTH) {
        *out = bytes_eq_str(value, "true");
        return *out || bytes_eq_str(value, "false");
    }
    if (row->kind == CHOICE) {
        for (int i = 0; i < CHOICES_MAX && row->choices[i]; i++) {
            *out = i;
            if (bytes_eq_str(value, row->choices[i]))
                return true;
        }
        return false;
    }
    if (!bytes_to_i64(value, &number) || number < 0 || number > row->max)
        return false;
    *out = number;
    return true;
}

static enum brg_err set(struct bsim_settings *s, struct bytes name, struct bytes value,
                        bool is_trial, struct brg_error *error)
{
    const struct setting *row = find(name);
    int64_t number = 0;
    if (!row)
        return brg_fail(error, BRG_REJECT, "no setting is called " BYTES_FMT, BYTES_ARG(name));
    if (row->kind != TEXT && !read_number(row, value, &number))
        return brg_fail(error, BRG_REJECT, "%s: not one of its values: " BYTES_FMT, row->name,
                        BYTES_ARG(value));
    if (is_trial)
        return BRG_OK;
    if (row->kind == TEXT) {
        free(*text_of(s, row));
        *text_of(s, row) = bytes_dup(value);
    } else {
        *number_of(s, row) = number;
    }
    return BRG_OK;
}

enum brg_err bsim_settings_set(struct bsim_settings *s, const char *text,
                               struct brg_error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return brg_fail(error, BRG_REJECT, "NAME=VALUE is wanted, not %s", text);
    return set(s, bytes_of(text, (size_t)(equals - text)), bytes_of_str(equals + 1), false,
               error);
}

struct reading {
    struct bsim_settings *settings;
    struct brg_error *error;
    enum brg_err err;
    bool is_trial;
};

static void read_member(struct bytes key, const struct json *value, void *arg)
{
    struct reading *r = arg;
    struct buf text;
    if (r->err != BRG_OK)
        return;
    buf_init(&text, 65536);
    if (json_type(value) == JSON_STRING)
        buf_append(&text, json_string(value));
    else
        json_write_value(&text, value);
    r->err = set(r->settings, key, buf_bytes(&text), r->is_trial, r->error);
    buf_free(&text);
}

enum brg_err bsim_settings_read(struct bsim_settings *s, const struct json *members,
                                struct brg_error *error)
{
    struct reading r = {.settings = s, .error = error, .is_trial = true};
    json_each(members, read_member, &r);
    r.is_trial = false;
    if (r.err == BRG_OK)
        json_each(members, read_member, &r);
    return r.err;
}

void bsim_settings_write(const struct bsim_settings *s, struct json_writer *w)
{
    json_open(w, NULL, '{');
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &table[i];
        if (row->kind == TEXT)
            json_str(w, row->name, bytes_of_str(*text_of(s, row)));
        else if (row->kind == TRUTH)
            json_boolean(w, row->name, *number_of(s, row) != 0);
        else if (row->kind == CHOICE)
            json_str(w, row->name, bytes_of_str(row->choices[*number_of(s, row)]));
        else
            json_i64(w, row->name, *number_of(s, row));
    }
    json_close(w, '}');
}
