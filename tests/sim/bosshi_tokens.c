#include "bosshi_tokens.h"

#include "base/random.h"

static int64_t scaled_ms(const struct bosshi_platform *p, int64_t s)
{
    return s * 1000 / p->clock_scale;
}

static struct bosshi_token *add(struct bosshi_platform *p, struct bytes tenant, int64_t now_ms)
{
    p->tokens = brg_realloc(p->tokens, (p->token_count + 1) * sizeof(*p->tokens));
    struct bosshi_token *t = &p->tokens[p->token_count++];
    *t = (struct bosshi_token){.until_ms = now_ms + scaled_ms(p, p->settings.token_life_s)};
    snprintf(t->text, sizeof t->text, "t-%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    snprintf(t->tenant, sizeof t->tenant, BYTES_FMT, BYTES_ARG(tenant));
    return t;
}

bool bosshi_tokens_give(struct bosshi_platform *p, const struct bosshi_request *q,
                        struct bosshi_result *r)
{
    struct bytes tenant = json_get_string(q->body, "tenant_key");
    if (!bytes_eq_str(json_get_string(q->body, "app_id"), p->app.app_id) ||
        !bytes_eq_str(json_get_string(q->body, "app_secret"), p->app.app_secret))
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_APP, "app_id or app_secret is wrong");
    if (p->settings.tokens_per_tenant && tenant.len == 0)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER, "tenant_key is missing");
    int64_t enough_ms = q->now_ms + scaled_ms(p, p->settings.token_renew_s);
    struct bosshi_token *found = NULL;
    for (size_t i = 0; i < p->token_count; i++) {
        struct bosshi_token *t = &p->tokens[i];
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

void bosshi_tokens_refuse(const struct bosshi_platform *p, struct bosshi_result *r,
                          const char *why)
{
    snprintf(r->verdict.msg, sizeof r->verdict.msg, "%s", why);
    r->status = (int)p->settings.token_error_status;
    r->code = p->settings.token_error_code;
}

const struct bosshi_token *bosshi_tokens_check(struct bosshi_platform *p,
                                               const struct bosshi_request *q,
                                               struct bosshi_result *r)
{
    struct bytes prefix = BYTES_LIT("Bearer "), text = q->authorization;
    if (bytes_starts_with(text, prefix))
        text = bytes_of(text.ptr + prefix.len, text.len - prefix.len);
    for (size_t i = 0; i < p->token_count; i++)
        if (bytes_eq_str(text, p->tokens[i].text) && p->tokens[i].until_ms > q->now_ms)
            return &p->tokens[i];
    bosshi_tokens_refuse(p, r, "the tenant_access_token is missing, unknown or expired");
    return NULL;
}

void bosshi_expire_tokens(struct bosshi_platform *p)
{
    for (size_t i = 0; i < p->token_count; i++)
        p->tokens[i].until_ms = 0;
}
