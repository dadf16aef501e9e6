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

/* The whole answer of the pipeline's call, when that comes. */
void chat_answer(struct chat *c, size_t call, const char *text);
/* When it is written. */
const struct stage_letter *chat_letter_of(struct chat *c, bool is_dead,
                                          const struct stage_question *q);
/* The answer's event has this, and nothing is left to do. */
void chat_expect_reply(struct chat *c, const struct stage_question *q, const char *member);
void chat_expect_undelivered(struct chat *c, const struct stage_question *q);
/* These are all calls. */
void chat_expect_sends(struct chat *c, const char *const *uuids, size_t count);
const char *chat_last_text(const struct chat *c);

#define CHAT_EXPECT_SENDS(c, ...)                                        \
    do {                                                                 \
        static const char *const uuids[] = {__VA_ARGS__};                \
        chat_expect_sends(c, uuids, sizeof(uuids) / sizeof((uuids)[0])); \
    } while (0)

/* Another owner has claimed the stream, without a worker here; and has written the end. */
struct store_reply chat_rival(struct chat *c, struct stage_question *q);
struct store_reply chat_rival_end(struct chat *c, struct stage_question *q, const char *text);
void chat_rig_note(struct chat *c, const struct stage_question *q, uint64_t epoch,
                   const char *field, const char *value);
/* What is noted before a send that may have been made so long ago. */
void chat_rig_note_ago(struct chat *c, const struct stage_question *q, uint64_t epoch,
                       const char *field, const char *place, int64_t age_ms);
