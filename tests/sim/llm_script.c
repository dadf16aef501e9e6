#include "llm_script.h"

const struct llm_script llm_script_defaults = {.tokens = 24, .rate = 40};

static void set(struct llm_script *s, struct bytes name, struct bytes value)
{
    struct bytes times = {0};
    const char *x = memchr(value.ptr, 'x', value.len);
    if (x) {
        times = bytes_of(x + 1, value.len - (size_t)(x + 1 - value.ptr));
        value.len = (size_t)(x - value.ptr);
    }
    uint64_t v = 0, n = 1;
    if (!bytes_to_u64(value, &v) || (x && !bytes_to_u64(times, &n)))
        return;
    struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"tokens", &s->tokens},    {"size", &s->size}, {"rate", &s->rate},
                   {"delay", &s->delay_ms},   {"hang", &s->hang}, {"cut", &s->cut},
                   {"fail", &s->fail_status}, {"junk", &s->junk}, {"error", &s->error}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (bytes_eq_str(name, numbers[i].name))
            *numbers[i].to = v;
    if (bytes_eq_str(name, "fail"))
        s->fail_times = n;
    s->no_done |= bytes_eq_str(name, "done") && v == 0;
    s->usage |= bytes_eq_str(name, "usage") && v;
    s->think |= bytes_eq_str(name, "think") && v;
    s->json |= bytes_eq_str(name, "json") && v;
    s->vary |= bytes_eq_str(name, "vary") && v;
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

void llm_script_of(struct bytes question, const struct llm_script *defaults,
                   struct llm_script *out)
{
    *out = *defaults;
    struct bytes rest = directives_of(question);
    while (rest.len > 0) {
        const char *blank = memchr(rest.ptr, ' ', rest.len);
        struct bytes pair = bytes_of(rest.ptr, blank ? (size_t)(blank - rest.ptr) : rest.len);
        const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        if (equals) {
            size_t at = (size_t)(equals - pair.ptr);
            set(out, bytes_of(pair.ptr, at), bytes_of(equals + 1, pair.len - at - 1));
        }
        size_t used = pair.len + (blank ? 1 : 0);
        rest = bytes_of(rest.ptr + used, rest.len - used);
    }
    if (out->rate == 0)
        out->rate = 1;
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
