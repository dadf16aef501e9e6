/* BOSSHI's API in the test's hand, for a worker on a stage (support_worker.h): every call is
 * kept and answered by a plan, beyond its end well. A uuid that is known makes no second
 * message. */
#pragma once

#include "support_worker.h"

enum { CHAT_CALLS = 64, CHAT_TEXT_BYTES = 2048 };

enum chat_call_kind { CHAT_SEND, CHAT_UPDATE };

struct chat_call {
    enum chat_call_kind kind;
    bool is_card;
    char uuid[64];       /* of a send, less the stream's id */
    char message_id[64]; /* of an update; of a send, what it was answered */
    char text[CHAT_TEXT_BYTES];
};

/* How one call is answered. */
struct chat_plan {
    int status;       /* 0: never */
    const char *body; /* NULL: well */
    const char *retry_after;
};

struct chat {
    struct stage *stage;
    struct http_server *api;
    struct buf bots;
    struct chat_call calls[CHAT_CALLS];
    size_t call_count, token_count;
    const struct chat_plan *plan; /* from call planned_from on */
    size_t plan_count, planned_from;
};

/* The stage's worker is replaced by one whose bot "erp" is on BOSSHI, with these members. */
struct chat *chat_open(struct stage *s, const char *members);
void chat_close(struct chat *c); /* and the stage */
/* For the next worker. */
void chat_configure(struct chat *c, const char *members);

void chat_ask(struct chat *c, struct stage_question *q);
void chat_await_calls(struct chat *c, size_t count);

#define CHAT_PLAN(c, list)                                  \
    do {                                                    \
        (c)->plan = (list);                                 \
        (c)->plan_count = sizeof(list) / sizeof((list)[0]); \
        (c)->planned_from = (c)->call_count;                \
    } while (0)
