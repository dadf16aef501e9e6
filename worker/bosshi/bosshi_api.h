/* Calls of BOSSHI's API: messages into a chat, and the replacement of a card.
 *
 * One call gets its token, is repeated once with another where the platform refuses that, and
 * falls back from reply to send where reply is not found. Whether it is made again after that
 * is the caller's business: a send by its `uuid`, with which the platform makes one message of
 * all repeats within an hour; an update because it carries all of the card. The codes of
 * answers are Feishu's, as hints, under those of the configuration (dossier 6.9). No text of a
 * message and no token is logged. Loop thread only. */
#pragma once

#include "bosshi/bosshi_token.h"

struct bosshi_api;
struct bosshi_call;

struct bosshi_api *bosshi_api_new(struct loop *loop, struct fetch_pool *pool);
void bosshi_api_free(struct bosshi_api *api); /* after its calls */
/* Chats whose pace is kept, and tokens: beyond it what is unused is forgotten. Once, before
 * use. */
void bosshi_api_limit(struct bosshi_api *api, size_t max_chats, size_t max_tokens);

enum bosshi_outcome {
    BOSSHI_CALL_DONE,
    BOSSHI_CALL_RETRY,    /* not done: later */
    BOSSHI_CALL_REFRESH,  /* not done: the new token was refused too */
    BOSSHI_CALL_NO_CARD,  /* refused for good because it is a card, or may be: text may pass */
    BOSSHI_CALL_TOO_LONG, /* refused for its length: less of it may pass */
    BOSSHI_CALL_STOP,     /* refused for good */
    BOSSHI_CALL_UNKNOWN,  /* perhaps done: repeat it as it was */
    BOSSHI_OUTCOME_COUNT,
};
const char *bosshi_outcome_name(enum bosshi_outcome outcome);

enum { BOSSHI_DETAIL_BYTES = 160 };

/* Views live during the callback. */
struct bosshi_result {
    enum bosshi_outcome outcome;
    int64_t code;            /* of the answer, else its HTTP status; 0: none came */
    bool is_known;           /* it is in a table: what it means is no guess */
    int64_t retry_after_ms;  /* -1: not said */
    struct bytes message_id; /* of a send; empty where the answer has none */
    const char *detail;      /* for a person: code, traceId, then the platform's words, */
    size_t log_bytes;        /* which may quote the message: a log has no more than this */
};
/* Once, in a later turn; the handle is gone then. */
typedef void bosshi_cb(const struct bosshi_result *result, void *arg);

struct bosshi_outgoing {
    bool is_card;
    struct bytes content; /* JSON object */
    enum bosshi_id receive_id_type;
    struct bytes receive_id;
    struct bytes reply_to; /* message that is answered, for reply_mode reply; may be empty */
    struct bytes uuid;     /* at most BOSSHI_UUID_MAX */
};
enum { BOSSHI_UUID_MAX = 50 };

/* `app` has to live as long as the call; all else is copied. */
struct bosshi_call *bosshi_send(struct bosshi_api *api, const struct config_bosshi *app,
                                struct bytes tenant, const struct bosshi_outgoing *message,
                                bosshi_cb *cb, void *arg);
struct bosshi_call *bosshi_update(struct bosshi_api *api, const struct config_bosshi *app,
                                  struct bytes tenant, struct bytes message_id,
                                  struct bytes card, bosshi_cb *cb, void *arg);
/* What was sent may have been taken. */
void bosshi_cancel(struct bosshi_call *call);

/* When the next call for `chat` may be made (monotonic), which is booked. */
int64_t bosshi_pace(struct bosshi_api *api, const struct config_bosshi *app, struct bytes chat);
/* It is over: the next one comes so much later than its end, so that both arrive so far apart.
 */
void bosshi_pace_over(struct bosshi_api *api, const struct config_bosshi *app,
                      struct bytes chat);

/* Whether this app's cards were refused lately; kept for an hour, in this process. */
bool bosshi_has_no_cards(struct bosshi_api *api, const struct config_bosshi *app);
/* One was, and its text was taken; `is_known`: by a code that is known to mean that. */
void bosshi_card_refused(struct bosshi_api *api, const struct config_bosshi *app,
                         bool is_known);
void bosshi_card_taken(struct bosshi_api *api, const struct config_bosshi *app);
