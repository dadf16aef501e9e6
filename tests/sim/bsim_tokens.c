#include "bsim_tokens.h"

#include "base/random.h"

static struct bsim_token *add(struct bsim_platform *p, struct bytes tenant, int64_t now_ms)
{
    p->tokens = brg_realloc(p->tokens, (p->token_count + 1) * sizeof(*p->tokens));
    struct bsim_token *t = &p->tokens[p->token_count++];
    *t = (struct bsim_token){.until_ms = now_ms + p->settings.token_life_s * 1000};
    snprintf(t->text, sizeof t->text, "t-%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    snprintf(t->tenant, sizeof t->tenant, BYTES_FMT, BYTES_ARG(tenant));
    return t;
}

bool bsim_tokens_give(struct bsim_platform *p, const struct bsim_request *q,
                      struct bsim_result *r)
{
    struct bytes tenant = json_get_string(q->body, "tenant_key");
    if (!bytes_eq_str(json_get_string(q->body, "app_id"), p->app.app_id) ||
        !bytes_eq_str(json_get_string(q->body, "app_secret"), p->app.app_secret))
        return bsim_refuse(&r->verdict, BSIM_CODE_APP, "app_id or app_secret is wrong");
    if (p->settings.tokens_per_tenant && tenant.len == 0)
        return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER, "tenant_key is missing");
    int64_t enough_ms = q->now_ms + p->settings.token_renew_s * 1000;
    struct bsim_token *found = NULL;
    for (size_t i = 0; i < p->token_count; i++) {
        struct bsim_token *t = &p->tokens[i];
        if (bytes_eq_str(tenant, t->tenant) && t->until_ms > enough_ms)
            found = t;
    }
    r->is_new_token = !found;
    if (!found)
        found = add(p, tenant, q->now_ms);
    r->token = found->text;
    r->expire_s = (found->until_ms - q->now_ms) / 1000;
    return true;
}

void bsim_tokens_refuse(const struct bsim_platform *p, struct bsim_result *r, const char *why)
{
    snprintf(r->verdict.msg, sizeof r->verdict.msg, "%s", why);
    r->status = (int)p->settings.token_error_status;
    r->code = p->settings.token_error_code;
}

const struct bsim_token *bsim_tokens_check(struct bsim_platform *p,
                                           const struct bsim_request *q, struct bsim_result *r)
{
    struct bytes prefix = BYTES_LIT("Bearer "), text = q->authorization;
    if (bytes_starts_with(text, prefix))
        text = bytes_of(text.ptr + prefix.len, text.len - prefix.len);
    for (size_t i = 0; i < p->token_count; i++)
        if (bytes_eq_str(text, p->tokens[i].text) && p->tokens[i].until_ms > q->now_ms)
            return &p->tokens[i];
    bsim_tokens_refuse(p, r, "the tenant_access_token is missing, unknown or expired");
    return NULL;
}

void bsim_expire_tokens(struct bsim_platform *p)
{
    for (size_t i = 0; i < p->token_count; i++)
        p->tokens[i].until_ms = 0;
}
