/* The configuration: one JSON file, one typed table of keys (config_keys.c) from which come
 * defaults, range checks, documentation, schema and the masked dump.
 *
 * A `struct config` is immutable after loading and reference-counted: a reload makes a new one,
 * and a session keeps the one it began with. Loop thread only. */
#pragma once

#include "base/buf.h"
#include "envelope/envelope.h"
#include "platform/bosshi.h"
#include "platform/wecom.h"

struct config_kafka_setting {
    char *name;
    char *value;
};

/* How a code of the platform's API is met. */
enum bosshi_error_class {
    BOSSHI_ERROR_RETRY,    /* later, with the same uuid */
    BOSSHI_ERROR_REFRESH,  /* with a new token */
    BOSSHI_ERROR_STOP,     /* never: dead letter */
    BOSSHI_ERROR_DONE,     /* as if it had succeeded */
    BOSSHI_ERROR_NO_CARD,  /* the card is refused, text may pass */
    BOSSHI_ERROR_TOO_LONG, /* the same text in shorter messages may pass */
};
struct config_code {
    int64_t code;
    int value; /* of the key's choices */
};

enum bosshi_reply_mode { BOSSHI_SEND, BOSSHI_REPLY };
enum bosshi_id { BOSSHI_OPEN_ID, BOSSHI_UNION_ID, BOSSHI_USER_ID, BOSSHI_CHAT_ID };
enum bosshi_encoding { BOSSHI_CONTENT_OBJECT, BOSSHI_CONTENT_STRING };
enum bosshi_wrapper { BOSSHI_WRAPPER_NONE, BOSSHI_WRAPPER_COMPRESSIVE };
enum bosshi_uuid_place { BOSSHI_UUID_IN_QUERY, BOSSHI_UUID_IN_BODY };
enum bosshi_nesting { BOSSHI_TOKEN_AUTO, BOSSHI_TOKEN_IN_DATA, BOSSHI_TOKEN_ON_TOP };
enum bosshi_stream { BOSSHI_STREAM_AUTO, BOSSHI_STREAM_CARD, BOSSHI_STREAM_FINAL };
enum bosshi_unit {
    BOSSHI_CHARACTERS,
    BOSSHI_UTF16, /* as Java and JavaScript count: a character outside the BMP is two */
    BOSSHI_BYTES,
};

/* What replaces the id of the message in a path. */
#define BOSSHI_PATH_MESSAGE_ID "{message_id}"

struct config_bosshi {
    struct bosshi_keys keys;
    char *app_secret;
    /* callbacks */
    bool check_signature;
    enum bosshi_proof card_proof;
    char *signature_header, *timestamp_header, *nonce_header;
    char **event_types;
    enum conversation_scope conversation;
    enum bosshi_id sender_id;
    char *bot_open_id; /* "" not said */
    char **bot_names;  /* NULL-terminated, or NULL */
    int64_t max_age_ms, dedup_ttl_ms;
    /* API */
    char *api_base, *token_path, *send_path, *reply_path, *update_path;
    enum bosshi_reply_mode reply_mode;
    enum bosshi_id receive_id_type;
    enum bosshi_encoding content_encoding;
    enum bosshi_wrapper card_wrapper;
    enum bosshi_uuid_place uuid_in;
    enum bosshi_nesting token_nesting;
    bool token_with_tenant;
    int64_t api_connect_timeout_ms, api_timeout_ms, api_attempts;
    struct config_code *api_errors; /* values: enum bosshi_error_class */
    size_t api_error_count;
    /* answers */
    enum bosshi_stream stream;
    int64_t update_interval_ms, updates_max, chat_interval_ms;
    int64_t text_limit, card_limit;
    enum bosshi_unit text_limit_unit; /* of both */
    char *card_header;                /* "" none */
    char *late_text;                  /* "" none */
    int64_t late_after_ms;
};

/* Fields that a platform has no key for are zero or NULL. */
struct config_bot {
    char *name;
    enum platform platform;
    char *pipeline; /* name; checked to exist */
    size_t pipeline_index;
    struct wecom_keys wecom;
    struct config_bosshi bosshi;
    char *aibotid;        /* "" not said */
    char **mention_names; /* NULL-terminated, or NULL */
    /* texts shown to users */
    char *welcome; /* "" none */
    char *placeholder, *busy_text, *lost_text, *notice_text, *apology_text;
    char *more_text, *cut_text;
    char *queue_text;          /* "" none */
    int64_t user_rate_per_min; /* 0: any */
    int64_t stream_deadline_ms, handover_margin_ms;
    int64_t late_limit_ms; /* 50 min from the callback: generation for response_url */
};

enum pipeline_type { PIPELINE_ECHO, PIPELINE_OPENAI };

struct config_pipeline {
    char *name;
    enum pipeline_type type;
    int64_t connect_timeout_ms, first_text_timeout_ms, gap_timeout_ms, total_timeout_ms;
    int64_t attempts, concurrency;
    size_t bot_count; /* whose pipeline it is */
    int64_t breaker_failures, breaker_open_ms;
    /* openai */
    char *url, *model, *api_key, *system;
    char *extra;    /* JSON object text merged into the body, or NULL */
    char **headers; /* "Name: value", NULL-terminated, or NULL */
    /* echo */
    int64_t rate; /* code points per second */
};

struct config {
    unsigned references;
    struct {
        char *listen, *admin;
        bool share_port;
        int64_t max_body_bytes, bosshi_max_body_bytes, bodies_bytes;
        int64_t max_connections, idle_timeout_ms;
        int64_t publish_budget_ms; /* 3000: past it the busy text */
        int64_t bosshi_budget_ms;  /* 700: past it 503, and the platform repeats */
        int64_t store_gate_ms;     /* 50: longest an answer waits for the store */
        int64_t poll_hold_ms;      /* 2000: longest a poll waits for the store to come back */
        int64_t unknown_ms;        /* 60000: how long an unknown id gets the placeholder */
        int64_t memory_entries, memory_bytes; /* what answers while the store is away */
        int64_t queue_messages, queue_kbytes; /* producer */
        int64_t owed_opens, owed_closes, rate_users;
    } ingress;
    struct {
        char *admin;
        char *slot; /* "" none */
        char *group;
        int64_t lease_ms, drain_ms;
        int64_t window_records, window_bytes, total_bytes;
        int64_t flush_ms, flush_large_ms, flush_large_bytes; /* 250, 1000, 8192 */
        int64_t max_sessions;
        int64_t bot_max_records, bot_max_bytes, pipeline_max_records, pipeline_max_bytes;
        int64_t lane_max_records, lane_max_bytes;
        int64_t alone_ms;
        int64_t answer_max_bytes, event_max_bytes, response_max_bytes;
        int64_t finals_entries, finals_bytes;
        int64_t puts_in_flight;
        int64_t queue_messages, queue_kbytes; /* producer */
        int64_t idle_connections;
        int64_t bosshi_tokens, bosshi_chats;
        int64_t shown_wait_ms; /* 20000 */
    } worker;
    struct {
        char **hosts; /* suffixes, NULL-terminated; NULL: none may be called */
        bool allow_http, allow_private;
        int64_t connect_timeout_ms, timeout_ms;
        int64_t useful_ms; /* 55 min from the callback */
    } response_url;
    struct {
        char *topic_prefix;
        bool allow_unsafe_durability;
        struct config_kafka_setting *settings; /* bootstrap.servers and pass-through */
        size_t setting_count;
    } kafka;
    struct {
        char *url;
        int64_t connect_timeout_ms, command_timeout_ms;
        int64_t max_outstanding, max_outstanding_bytes;
        int64_t stream_ttl_ms; /* 2 h for WeCom */
    } store;
    struct {
        char *level;
    } log;
    struct config_bot *bots;
    size_t bot_count;
    const struct config_bot **bots_by_name; /* sorted, for config_bot() */
    struct config_pipeline *pipelines;
    size_t pipeline_count;
};

/* Every mistake found, one per line, each with its path: "bots[1].aes_key: 43 characters
 * expected, 42 given". */
#define CONFIG_REPORT_MAX_BYTES 65536

/* Reads the file, expands ${ENV} and ${file:PATH}, applies BOTBRIDGE_<SECTION>_<KEY>, checks.
 * NULL with the mistakes in `report`. The report never holds a secret. */
struct config *config_load(const char *path, struct buf *report);
struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL allowed; wipes secrets */

/* Names ("worker.lease_ms, …") of the sections' keys that differ: a reload does not change
 * them. Nothing is appended when all are equal. */
void config_restart_keys(const struct config *before, const struct config *after,
                         struct buf *out);

void config_set_log_level(const struct config *c);
/* Reads the file again (SIGHUP). True: `*current` is the new configuration, the reference to
 * the old one is given up, and the log names keys that wait for a restart. False: the file has
 * mistakes, each in the log as `reload_refused`, and nothing has changed. */
bool config_reload(struct config **current, const char *path);

const struct config_bot *config_bot(const struct config *c, struct bytes name); /* or NULL */

/* What stands in `queue_text` for how many are before. */
#define CONFIG_QUEUE_NUMBER "{n}"
bool config_has_queue_text(const struct config_bot *bot);
/* Appends what a user is shown who has `ahead` before him. */
void config_write_queue_text(const struct config_bot *bot, size_t ahead, struct buf *out);
/* Whether a shown text only tells a place in the queue: it is no part of an answer. */
bool config_is_queue_text(const struct config_bot *bot, struct bytes text);

/* From the table of keys. */
void config_write_reference(struct buf *out);                    /* Markdown */
void config_write_schema(struct buf *out);                       /* JSON schema */
void config_write_dump(struct buf *out, const struct config *c); /* effective, secrets masked */
