/* The platform's memory: chats, messages, tokens, uuids; and what it answers to one call of the
 * API. No network, the time is passed in. Single-threaded; messages live as long as the
 * platform. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "bsim_journal.h"
#include "bsim_rules.h"

enum { BSIM_TOKEN_CHARS = 42, BSIM_TRACE_CHARS = 20 };

struct bsim_app {
    const char *app_id, *app_secret, *verification_token;
    const char *encrypt_key; /* "": bodies are plain */
};

/* When the last ones were, to tell how many lie within a second. */
struct bsim_pace {
    int64_t at_ms[BSIM_PACE_MAX];
    size_t next;
};

struct bsim_chat {
    struct map_node node; /* by id */
    char *id, *tenant;
    struct bsim_pace pace;
};

struct bsim_edit {
    int64_t wall_ms;
    struct buf text;
};

struct bsim_message {
    struct map_node node; /* by id */
    struct list order;
    char *id, *msg_type, *uuid, *reply_to;
    struct bsim_chat *chat;
    bool is_bots;
    bool is_updating; /* an update is not answered */
    int64_t wall_ms;
    struct buf text;
    struct bsim_edit *edits;
    size_t edit_count;
    struct bsim_pace pace;
};

struct bsim_watcher {
    /* New, or with one more edit. */
    void (*on_message)(const struct bsim_message *m, void *arg);
    void *arg;
};

struct bsim_token;

struct bsim_platform {
    struct bsim_app app;
    struct bsim_settings settings;
    struct bsim_journal journal;
    struct bsim_watcher watcher; /* NULL functions allowed */
    int64_t clock_scale;
    struct map chats, messages, uuids, addresses;
    struct list order; /* of messages */
    struct bsim_token *tokens;
    size_t token_count;
};

enum bsim_call { BSIM_TOKEN, BSIM_SEND, BSIM_REPLY, BSIM_UPDATE, BSIM_NO_CALL };

struct bsim_request {
    enum bsim_call call;
    struct bytes message_id;            /* of the path */
    struct bytes authorization;         /* header */
    struct bytes receive_id_type, uuid; /* of the query */
    const struct json *body;            /* an object, or NULL */
    int64_t now_ms;
};

struct bsim_result {
    int status;
    struct bsim_verdict verdict;
    int64_t code;               /* the verdict's, or a setting's */
    int64_t reset_s;            /* of the pace; 0: none */
    struct bsim_message *about; /* made, updated, or meant; NULL when unknown */
    bool is_repeat;
    bool is_new_token;
    const char *token;
    int64_t expire_s;
};

void bsim_platform_init(struct bsim_platform *p, const struct bsim_app *app,
                        int64_t clock_scale);
void bsim_platform_free(struct bsim_platform *p);

/* Which call a POST to the path is; `message_id` becomes a view into it. */
enum bsim_call bsim_route(const struct bsim_platform *p, struct bytes path,
                          struct bytes *message_id);

/* Does the work of a call and journals it; `fault` is what is played with it, or "". */
void bsim_serve(struct bsim_platform *p, const struct bsim_request *request, const char *fault,
                struct bsim_result *result);
/* A call that was refused by a fault. */
void bsim_journal_refused(struct bsim_platform *p, const struct bsim_request *request,
                          const char *fault, int status, int64_t code);

/* The whole answer. */
void bsim_result_write(const struct bsim_platform *p, const struct bsim_result *result,
                       enum bsim_call call, struct buf *out);

void bsim_expire_tokens(struct bsim_platform *p);

/* A user's message and where answers to it may go: the chat, and the sender's ids if any. */
struct bsim_address {
    struct bytes chat_id, tenant, open_id, union_id, user_id;
};
void bsim_user_says(struct bsim_platform *p, const struct bsim_address *address,
                    struct bytes message_id, struct bytes msg_type, struct bytes text);
struct bsim_message *bsim_message_find(const struct bsim_platform *p, struct bytes id);

/* "5e37…0c02~" of 32 hex digits and the tilde that BOSSHI's ids have. */
enum { BSIM_ID_BYTES = 34 };
void bsim_make_id(char out[BSIM_ID_BYTES], bool has_tilde);
