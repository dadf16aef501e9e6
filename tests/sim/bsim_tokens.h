/* Tokens of the API: given for the app's secret, the same one again while it is good for long
 * enough, the old one good to its end beside the new. (page tenant_access_token_internal)
 * Not scaled: the answer tells the seconds, and a bot takes them by its own clock. */
#pragma once

#include "bsim_platform.h"

struct bsim_token {
    char text[BSIM_TOKEN_CHARS + 1];
    char tenant[64];
    int64_t until_ms;
};

bool bsim_tokens_give(struct bsim_platform *p, const struct bsim_request *q,
                      struct bsim_result *r);
/* The token of the call's Authorization, or NULL with the refusal in `r`. */
const struct bsim_token *bsim_tokens_check(struct bsim_platform *p,
                                           const struct bsim_request *q, struct bsim_result *r);
void bsim_tokens_refuse(const struct bsim_platform *p, struct bsim_result *r, const char *why);
