/* Tokens of the API: given for the app's secret, the same one again while it is good for long
 * enough, the old one good to its end beside the new. (page tenant_access_token_internal) */
#pragma once

#include "bosshi_platform.h"

struct bosshi_token {
    char text[BOSSHI_TOKEN_CHARS + 1];
    char tenant[64];
    int64_t until_ms;
};

bool bosshi_tokens_give(struct bosshi_platform *p, const struct bosshi_request *q,
                        struct bosshi_result *r);
/* The token of the call's Authorization, or NULL with the refusal in `r`. */
const struct bosshi_token *bosshi_tokens_check(struct bosshi_platform *p,
                                               const struct bosshi_request *q,
                                               struct bosshi_result *r);
void bosshi_tokens_refuse(const struct bosshi_platform *p, struct bosshi_result *r,
                          const char *why);
