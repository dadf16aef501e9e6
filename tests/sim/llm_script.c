#include "llm_script.h"

const struct llm_script llm_script_defaults = {.tokens = 24, .rate = 40, .done = true};

enum { STATUS_MIN = 200, STATUS_MAX = 599 };

/* NUMBER; for "fail" STATUS or STATUSxTIMES. */
static bool read_value(struct bytes name, struct bytes value, uint64_t *v, uint64_t *times)
{
    bool is_fail = bytes_eq_str(name, "fail");
    const char *x = is_fail && value.len > 0 ? memchr(value.ptr, 'x', value.len) : NULL;
    *times = 1;
    if (x && !bytes_to_u64(bytes_of(x + 1, value.len - (size_t)(x + 1 - value.ptr)), times))
        return false;
    if (x)
        value.len = (size_t)(x - value.ptr);
    return bytes_to_u64(value, v) && (!is_fail || (*v >= STATUS_MIN && *v <= STATUS_MAX));
}

/* False: there is no such directive, or not with this value. */
static bool set(struct llm_script *s, struct bytes name, struct bytes value)
{
    uint64_t v, times;
    if (!read_value(name, value, &v, &times))
        return false;
    struct {
        const char *name;
        uint64_t *number;
        bool *flag;
    } known[] = {
        {"tokens", &s->tokens, NULL},    {"size", &s->size, NULL},   {"rate", &s->rate, NULL},
        {"delay", &s->delay_ms, NULL},   {"hang", &s->hang, NULL},   {"cut", &s->cut, NULL},
        {"fail", &s->fail_status, NULL}, {"junk", &s->junk, NULL},   {"error", &s->error, NULL},
        {"done", NULL, &s->done},        {"usage", NULL, &s->usage}, {"think", NULL, &s->think},
        {"json", NULL, &s->json},        {"vary", NULL, &s->vary}};
    size_t i = 0, count = sizeof(known) / sizeof(*known);
    while (i < count && !bytes_eq_str(name, known[i].name))
        i++;
    if (i == count || (known[i].flag && v > 1))
        return false;
    if (known[i].flag)
        *known[i].flag = v == 1;
    else
        *known[i].number = v;
    if (known[i].number == &s->fail_status)
        s->fail_times = times;
    return true;
}

/* The last "{…}" that holds only name=number pairs. */
static struct bytes directives_of(struct bytes question)
{
    struct bytes found = {0};
    for (size_t i = 0; i < question.len; i++) {
        if (question.ptr[i] != '{')
            continue;
        const char *end = memchr(question.ptr + i, '}', question.len - i);
        if (end)
            found = bytes_of(question.ptr + i + 1, (size_t)(end - question.ptr) - i - 1);
    }
    return found;
}

struct bytes llm_script_read(struct bytes directives, struct llm_script *script)
{
    struct bytes rest = directives, wrong = {0};
    while (rest.len > 0) {
        const char *blank = memchr(rest.ptr, ' ', rest.len);
        struct bytes pair = bytes_of(rest.ptr, blank ? (size_t)(blank - rest.ptr) : rest.len);
        const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        size_t at = equals ? (size_t)(equals - pair.ptr) : 0;
        bool is_set = equals && set(script, bytes_of(pair.ptr, at),
                                    bytes_of(equals + 1, pair.len - at - 1));
        if (pair.len > 0 && !is_set && !wrong.ptr)
            wrong = pair;
        size_t used = pair.len + (blank ? 1 : 0);
        rest = bytes_of(rest.ptr + used, rest.len - used);
    }
    if (script->rate == 0)
        script->rate = 1;
    return wrong;
}

void llm_script_of(struct bytes question, const struct llm_script *defaults,
                   struct llm_script *out)
{
    *out = *defaults;
    (void)llm_script_read(directives_of(question), out);
}

static void append_token(struct buf *out, const uint8_t digest[CRYPTO_SHA256_BYTES], size_t i)
{
    static const char *const words[] = {"数据", "报告", "summary", "结果",   "été",  "分析",
                                        "🚀",    "模型", "value",   "данные", "总结", "line"};
    uint8_t h = digest[i % CRYPTO_SHA256_BYTES];
    size_t word = (h + i * 7) % (sizeof(words) / sizeof(*words));
    buf_printf(out, "%s%02x%zu%s", words[word], h, i, i % 9 == 8 ? "。\n" : ",");
}

void llm_answer(struct crypto *c, struct bytes question, const struct llm_script *script,
                struct buf *out, size_t **ends, size_t *count)
{
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char nth[24];
    snprintf(nth, sizeof(nth), "\n%llu", (unsigned long long)script->nth);
    struct bytes source[] = {question, bytes_of_str(nth)};
    crypto_sha256(c, source, script->nth > 0 ? 2 : 1, digest);
    size_t room = 0, n = 0;
    size_t *at = NULL;
    for (bool is_last = false; !is_last; n++) {
        is_last = script->size ? out->len + 64 >= script->size : n + 1 >= script->tokens;
        if (is_last)
            buf_append_str(out, "完");
        else
            append_token(out, digest, n);
        if (n == room) {
            room = room ? room * 2 : 64;
            at = brg_realloc(at, room * sizeof(*at));
        }
        at[n] = out->len;
        is_last |= out->overflowed;
    }
    *ends = at;
    *count = n;
}
