/* Calls of BOSSHI's API against a server whose every answer the test decides. */
#pragma once

#include "bosshi/bosshi_api.h"
#include "support_config.h"
#include "support_fetch.h"

#define TOKEN_PATH "/open-apis/auth/tenant_access_token/internal"
#define SEND_PATH "/open-apis/im/v2/messages"
#define TOKEN(name, seconds)                                                 \
    "{\"code\":0,\"success\":true,\"data\":{\"tenant_access_token\":\"" name \
    "\",\"expire\":" seconds "}}"
#define SENT(id) "{\"code\":0,\"traceId\":\"t-1\",\"data\":{\"message_id\":\"" id "\"}}"

struct answer {
    int status;
    const char *body; /* NULL: none comes */
    const char *header, *value;
};

/* What came for one path, and what is said to it, in order; the last answer stays. */
struct route {
    const struct answer *answers;
    size_t answer_count, count;
    char path[128], query[128], authorization[64];
    struct buf body;
};

struct outcome {
    struct scene *scene;
    struct bosshi_call *call;
    bool is_done;
    enum bosshi_outcome outcome;
    int64_t code, retry_after_ms, log_bytes;
    char message_id[64];
    char detail[BOSSHI_DETAIL_BYTES];
};

struct scene {
    struct loop *loop;
    struct fetch_pool *pool;
    struct http_server *server;
    unsigned port; /* of api_base; the server's */
    struct config *config;
    const struct config_bosshi *app;
    struct bosshi_api *api;
    struct route token, send, other;
    size_t done, wanted;
};

#define ANSWERS(route, list)                                     \
    do {                                                         \
        (route).answers = (list);                                \
        (route).answer_count = sizeof(list) / sizeof((list)[0]); \
        (route).count = 0;                                       \
    } while (0)

/* What is answered where nothing else is said. */
extern const struct answer api_good_token[1], api_good_send[1];
extern const struct bosshi_outgoing api_text;

int api_set_up(void **state);
int api_tear_down(void **state);
/* The app anew, with these members. */
void api_configure(struct scene *s, const char *members);

void api_start(struct scene *s, struct outcome *o, const struct bosshi_outgoing *m);
bool api_are_all_done(void *arg);
struct outcome api_run(struct scene *s, const struct bosshi_outgoing *m);
void api_start_update(struct scene *s, struct outcome *o, const char *message_id);
struct outcome api_run_update(struct scene *s, const char *message_id);
void api_on_result(const struct bosshi_result *r, void *arg);

void api_expect(const struct outcome *o, enum bosshi_outcome outcome, int64_t code);
void api_expect_body(const struct route *r, const char *body);
