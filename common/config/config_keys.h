/* The table of keys, and what reads it (inside common/config only).
 *
 * A group is the keys of one JSON object: a section, or a bot or pipeline, where the group
 * without a variant holds what all kinds share and each kind adds a group of its own. Whatever
 * kind has no group is not supported by this version. */
#pragma once

#include "config/config.h"

enum key_type {
    KEY_TEXT,      /* char * */
    KEY_NAME,      /* char *; 1..64 of letters, digits, - _ . because it stands in URL paths */
    KEY_WORD,      /* char *; one of the choices */
    KEY_SECRET,    /* char * */
    KEY_LISTEN,    /* char *; numeric address and port */
    KEY_HTTP_URL,  /* char * */
    KEY_STORE_URL, /* char * */
    KEY_SECRETS,   /* char *[SECRET_ROTATION_MAX] and a count */
    KEY_AES_KEYS,  /* uint8_t[SECRET_ROTATION_MAX][CRYPTO_AES_KEY_BYTES] and a count */
    KEY_STRINGS,   /* char **, NULL-terminated, or NULL */
    KEY_CHOICE,    /* enum, one of the choices */
    KEY_CODES,     /* struct config_code * and a count; numbers to the choices */
    KEY_HEADERS,   /* char **, "Name: value", NULL-terminated, or NULL */
    KEY_OBJECT,    /* char *; JSON text, or NULL */
    KEY_INT,       /* int64_t */
    KEY_MS,        /* int64_t */
    KEY_BOOL,      /* bool */
    KEY_KIND,      /* enum, whose names and values are the choices; selects the variant */
    KEY_SETTING,   /* among config.kafka.settings, under its own name */
};

enum key_flag {
    KEY_REQUIRED = 1,
    KEY_NOT_EMPTY = 2,
    KEY_SHOWN =
        4, /* to users: at most CONFIG_SHOWN_MAX_BYTES, so that it fits beside an answer */
    KEY_HOST = 8,          /* each string is a host's name or address */
    KEY_PATH = 16,         /* begins with '/', printable ASCII */
    KEY_MESSAGE_PATH = 32, /* and holds BOSSHI_PATH_MESSAGE_ID */
    KEY_HEADER_NAME = 64,
};
#define CONFIG_SHOWN_MAX_BYTES 2048

struct config_choice {
    const char *name; /* NULL ends the list */
    int value;
};

struct config_key {
    const char *name;
    enum key_type type;
    unsigned flags;
    size_t offset; /* in struct config, config_bot or config_pipeline */
    size_t count_offset;
    const char *text; /* default of the text types, the one item of a list's; NULL: none */
    int64_t number;   /* default of the others */
    int64_t min, max; /* of numbers */
    const struct config_choice *choices;
    const char *help;
};

enum group_kind { GROUP_SECTION, GROUP_BOT, GROUP_PIPELINE };

struct config_group {
    const char *section; /* top-level key */
    const char *variant; /* "wecom", "openai"…; NULL: of all kinds */
    const char *const
        *later; /* names of the contract that this version does not have; or NULL */
    const char *help;
    const struct config_key *keys;
    size_t key_count;
    enum group_kind kind;
    bool is_open; /* other names pass through (kafka) */
};

extern const struct config_group config_groups[];
extern const size_t config_group_count;
/* Top-level names that this version does not have; NULL-terminated. */
extern const char *const config_later_sections[];

static inline const struct config_group *config_groups_end(void)
{
    return config_groups + config_group_count;
}
static inline const struct config_key *config_keys_end(const struct config_group *g)
{
    return g->keys + g->key_count;
}

/* The group of a kind and variant (NULL: the shared one), or NULL. */
const struct config_group *config_group_of(enum group_kind kind, const char *variant);
/* The key by which a kind's variants are told apart ("platform", "type"). */
const struct config_key *config_kind_key(enum group_kind kind);
const struct config_choice *config_choice_of(const struct config_choice *choices, int value);
/* By its name, or NULL. */
const struct config_choice *config_choice_named(const struct config_choice *choices,
                                                const char *name);

static inline void *config_field(void *base, size_t offset)
{
    return (char *)base + offset;
}
static inline const void *config_field_const(const void *base, size_t offset)
{
    return (const char *)base + offset;
}
/* True for every type kept as one char * that is read from one JSON string. */
bool config_is_text(enum key_type type);
bool config_is_scalar(enum key_type type); /* can be given by an environment variable */

/* Defaults into `base`, and everything in it wiped and freed. */
void config_fields_init(const struct config_group *g, void *base);
void config_fields_free(const struct config_group *g, void *base);
void config_list_free(char **list);             /* NULL allowed */
void config_text_free(char *text);              /* NULL allowed; wiped */
void config_list_add(char ***list, char *item); /* takes `item` */
/* Passwords among librdkafka's properties. */
bool config_setting_is_secret(const char *name);

struct config *config_new(void);      /* sections at their defaults, one reference */
void config_finish(struct config *c); /* what follows from the values: once, after checking */

/* --- documents --- */

/* Of a schema or dump: a file may grow by escapes, short keys and defaults. */
#define CONFIG_DOCUMENT_MAX_BYTES ((size_t)32 * CONFIG_FILE_MAX_BYTES)

/* Appends compact JSON with line breaks and indentation. */
void config_pretty(struct buf *out, struct bytes json);

/* --- reading --- */

#define CONFIG_FILE_MAX_BYTES 1048576
#define CONFIG_VALUE_MAX_BYTES 262144 /* of one string, after expansion */
#define CONFIG_PATH_BYTES 256

/* One run of config_load. */
struct reader {
    struct config *config;
    struct buf *report;
    size_t mistakes;
};

/* Adds "path: text" to the report. No argument may be the value of a key. */
void config_mistake(struct reader *r, const char *path, const char *fmt, ...) BRG_PRINTF(3, 4);
/* The nearest of `candidates` (NULL-terminated) to a mistyped name, or NULL. */
const char *config_nearest(struct bytes name, const char *const *candidates);
/* "parent.name", or "name" without a parent. */
void config_path(char out[CONFIG_PATH_BYTES], const char *parent, struct bytes name);
void config_path_index(char out[CONFIG_PATH_BYTES], const char *parent, size_t index);
const char *config_type_name(const struct json *j);

/* Appends the file's bytes; 0, or what went wrong as an errno (EFBIG: over the buffer's bound).
 */
int config_read_file(const char *name, struct buf *out);

/* Replaces ${NAME}, ${file:PATH} and $${ in `source`. NULL with the mistake reported; the
 * result is the caller's (config_text_free). */
char *config_expand(struct reader *r, const char *path, struct bytes source);
/* The same for a value that has to be a string. */
char *config_string(struct reader *r, const char *path, const struct json *j);

/* One value into its field; mistakes go to the report. */
void config_set(struct reader *r, const struct config_key *k, void *base, const char *path,
                const struct json *j);
/* The same from an environment variable's text, for the types of config_is_scalar. */
void config_set_text(struct reader *r, const struct config_key *k, void *base, const char *path,
                     const char *text);
/* Takes `text`; NULL is ignored. */
void config_accept_text(struct reader *r, const struct config_key *k, void *base,
                        const char *path, char *text);
/* Whether `text` is right for a text type; the mistake is reported. */
bool config_check_text(struct reader *r, const struct config_key *k, const char *path,
                       const char *text);
/* The choice of that name, or NULL with the mistake reported. */
const struct config_choice *config_check_choice(struct reader *r, const struct config_key *k,
                                                const char *path, const char *text);
bool config_check_name(struct reader *r, const char *path, struct bytes name);
bool config_is_header_name(struct bytes name);
bool config_is_host(const char *text); /* a name or IPv4 address, without a port */
/* A librdkafka property; takes `value`. `is_shown`: it stands in the file as it is, so that the
 * report may quote it. */
void config_add_setting(struct reader *r, const char *path, const char *name, char *value,
                        bool is_shown);
void config_check_setting(struct reader *r, const char *path, const char *name,
                          const char *value, bool is_shown);

#define CONFIG_ENV_NAME_BYTES 128
/* BOTBRIDGE_<SECTION>_<KEY>. */
void config_env_name(char out[CONFIG_ENV_NAME_BYTES], const char *section, const char *key);
/* The variable's value, or NULL when unset or empty. */
const char *config_env_get(const char *section, const char *key);
/* Variables that name a section but no key of it: Kafka properties, and mistakes. */
void config_env_rest(struct reader *r);

/* What can only be told when everything is read. */
void config_check(struct reader *r);
