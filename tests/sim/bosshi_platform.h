/* The platform's memory: chats, messages, tokens, uuids; and what it answers to one call of the
 * API. No network, the time is passed in. Single-threaded; messages live as long as the
 * platform. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "bosshi_journal.h"
#include "bosshi_rules.h"

enum { BOSSHI_TOKEN_CHARS = 42, BOSSHI_TRACE_CHARS = 20 };

struct bosshi_app {
    const char *app_id, *app_secret, *verification_token;
    const char *encrypt_key; /* "": bodies are plain */
};

/* When the last ones were, to tell how many lie within a second. */
struct bosshi_pace {
    int64_t at_ms[BOSSHI_PACE_MAX];
    size_t next;
};

struct bosshi_chat {
    struct map_node node; /* by id */
    char *id, *tenant;
    struct bosshi_pace pace;
};

struct bosshi_edit {
    int64_t wall_ms;
    struct buf text;
};

struct bosshi_message {
    struct map_node node; /* by id */
    struct list order;
    char *id, *msg_type, *uuid, *reply_to;
    struct bosshi_chat *chat;
    bool is_bots;
    bool is_updating; /* an update is not answered */
    int64_t wall_ms;
    struct buf text;
    struct bosshi_edit *edits;
    size_t edit_count;
    struct bosshi_pace pace;
};

struct bosshi_watcher {
    /* New, or with one more edit. */
    void (*on_message)(const struct bosshi_message *m, void *arg);
    void *arg;
};

struct bosshi_token;

struct bosshi_platform {
    struct bosshi_app app;
    struct bosshi_settings settings;
    struct bosshi_journal journal;
    struct bosshi_watcher watcher; /* NULL functions allowed */
    int64_t clock_scale;
    struct map chats, messages, uuids, addresses;
    struct list order; /* of messages */
    struct bosshi_token *tokens;
    size_t token_count;
};

enum bosshi_call { BOSSHI_TOKEN, BOSSHI_SEND, BOSSHI_REPLY, BOSSHI_UPDATE, BOSSHI_NO_CALL };

struct bosshi_request {
    enum bosshi_call call;
    struct bytes message_id;            /* of the path */
    struct bytes authorization;         /* header */
    struct bytes receive_id_type, uuid; /* of the query */
    const struct json *body;            /* an object, or NULL */
    int64_t now_ms;
};

struct bosshi_result {
    int status;
    struct bosshi_verdict verdict;
    int64_t code;                 /* the verdict's, or a setting's */
    int64_t reset_s;              /* of the pace; 0: none */
    struct bosshi_message *about; /* made, updated, or meant; NULL when unknown */
    bool is_repeat;
    bool is_new_token;
    const char *token;
    int64_t expire_s;
};

void bosshi_platform_init(struct bosshi_platform *p, const struct bosshi_app *app,
                          int64_t clock_scale);
void bosshi_platform_free(struct bosshi_platform *p);

/* Which call a POST to the path is; `message_id` becomes a view into it. */
enum bosshi_call bosshi_route(const struct bosshi_platform *p, struct bytes path,
                              struct bytes *message_id);

/* Does the work of a call and journals it; `fault` is what is played with it, or "". */
void bosshi_serve(struct bosshi_platform *p, const struct bosshi_request *request,
                  const char *fault, struct bosshi_result *result);
/* A call that was refused by a fault. */
void bosshi_journal_refused(struct bosshi_platform *p, const struct bosshi_request *request,
                            const char *fault, int status, int64_t code);

/* The whole answer. */
void bosshi_result_write(const struct bosshi_platform *p, const struct bosshi_result *result,
                         enum bosshi_call call, struct buf *out);

void bosshi_expire_tokens(struct bosshi_platform *p);

/* A user's message and where answers to it may go: the chat, and the sender's ids if any. */
struct bosshi_address {
    struct bytes chat_id, tenant, open_id, union_id, user_id;
};
void bosshi_user_says(struct bosshi_platform *p, const struct bosshi_address *address,
                      struct bytes message_id, struct bytes msg_type, struct bytes text);
struct bosshi_message *bosshi_message_find(const struct bosshi_platform *p, struct bytes id);

/* "5e37…0c02~" of 32 hex digits and the tilde that BOSSHI's ids have. */
enum { BOSSHI_ID_BYTES = 34 };
void bosshi_make_id(char out[BOSSHI_ID_BYTES], bool has_tilde);
