/* Tenant tokens of BOSSHI apps, one per app and, where the bot asks for that, tenant.
 *
 * Kept until shortly before their end and renewed half an hour before it, while the old one is
 * still good; one call per token at a time, whoever waits for it. A call that failed is not
 * made again for a while. Tokens and secrets are never logged. Loop thread only. */
#pragma once

#include "base/list.h"
#include "config/config.h"
#include "fetch/fetch.h"

/* Seconds to wait after too many calls (Feishu's gateway; BOSSHI's pages are silent). */
#define BOSSHI_RETRY_HEADER "x-ogw-ratelimit-reset"

struct bosshi_tokens;

struct bosshi_tokens *bosshi_tokens_new(struct loop *loop, struct fetch_pool *pool);
/* Beyond it those that nobody waits for are forgotten. Once, before use. */
void bosshi_tokens_limit(struct bosshi_tokens *t, size_t max);
/* Nobody may be waiting. */
void bosshi_tokens_free(struct bosshi_tokens *t);

/* `token` is empty when there is none: `detail` tells why, and `retry_after_ms` how long it is
 * useless to ask. Both live during the call. */
typedef void bosshi_token_cb(struct bytes token, int64_t retry_after_ms, const char *detail,
                             void *arg);

/* Part of whoever waits. */
struct bosshi_token_wait {
    struct list node;
    bosshi_token_cb *cb;
    void *arg;
};

void bosshi_token_wait_init(struct bosshi_token_wait *wait, bosshi_token_cb *cb, void *arg);
/* The token at hand (a view, to be used at once), or empty: then `cb` is called once, in a
 * later turn. `app` is used during the call only. */
struct bytes bosshi_token_get(struct bosshi_tokens *t, const struct config_bosshi *app,
                              struct bytes tenant, struct bosshi_token_wait *wait);
void bosshi_token_leave(struct bosshi_token_wait *wait); /* safe when it waits for nothing */
/* The platform refused `token`: another one is fetched, unless that has happened. */
void bosshi_token_refused(struct bosshi_tokens *t, const struct config_bosshi *app,
                          struct bytes tenant, struct bytes token);
