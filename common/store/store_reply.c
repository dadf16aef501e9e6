#include "store/store_impl.h"

#include <hiredis/hiredis.h>

/* Places in a script's answer (scripts/prelude.lua: brief, whole). */
enum {
    AT_VERDICT,
    AT_STATE,
    AT_REASON,
    AT_BY,
    AT_BOT,
    AT_START,
    AT_DEADLINE,
    AT_SHOWN,
    AT_EPOCH,
    AT_LEASE,
    AT_STARTS,
    AT_OWED,
    AT_TEXT,
    AT_EXTRAS,
    AT_NOTES,
};

static const char *const state_names[] = {"missing", "unknown", "open", "run", "final"};
static const char *const reason_names[] = {"none",     "done", "apology", "busy",
                                           "deadline", "lost", "sync",    "stopped"};
static const char *const verdict_names[] = {"ok",    "granted", "held",
                                            "final", "closed",  "fenced"};

#define COUNT_OF(names) (sizeof(names) / sizeof((names)[0]))

const char *stream_state_name(enum stream_state state)
{
    return (size_t)state < COUNT_OF(state_names) ? state_names[state] : "?";
}

const char *stream_reason_name(enum stream_reason reason)
{
    return (size_t)reason < COUNT_OF(reason_names) ? reason_names[reason] : "?";
}

static int find_name(struct bytes name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_eq_str(name, names[i]))
            return (int)i;
    return -1;
}

static bool take_state(struct bytes name, struct store_reply *out)
{
    int found = find_name(name, state_names, COUNT_OF(state_names));
    if (found < 0)
        return false;
    out->state = (enum stream_state)found;
    return true;
}

static enum stream_reason reason_of(struct bytes name)
{
    int found = find_name(name, reason_names, COUNT_OF(reason_names));
    return found < 0 ? REASON_NONE : (enum stream_reason)found;
}

static int64_t number_of(struct bytes text)
{
    int64_t value = 0;
    return bytes_to_i64(text, &value) ? value : 0;
}

static struct bytes error_code(struct bytes error)
{
    static const char in_script[] = ": -";
    struct bytes code = error;
    if (bytes_starts_with(error, BYTES_LIT("ERR Error running script"))) {
        const char *at = memmem(error.ptr, error.len, in_script, sizeof(in_script) - 1);
        if (at)
            code = bytes_of(at + 3, error.len - (size_t)(at + 3 - error.ptr));
    }
    const char *end = code.len > 0 ? memchr(code.ptr, ' ', code.len) : NULL;
    if (end)
        code.len = (size_t)(end - code.ptr);
    return code;
}

enum error_class reply_classify(struct bytes error, struct bytes *code)
{
    static const struct {
        const char *code;
        enum error_class class;
    } known[] = {
        {"LOADING", ERROR_AWAY},       {"MASTERDOWN", ERROR_AWAY}, {"CLUSTERDOWN", ERROR_AWAY},
        {"TRYAGAIN", ERROR_AWAY},      {"BUSY", ERROR_AWAY},       {"NOREPLICAS", ERROR_AWAY},
        {"READONLY", ERROR_ELSEWHERE}, {"NOAUTH", ERROR_LOGIN},    {"WRONGPASS", ERROR_LOGIN},
        {"NOSCRIPT", ERROR_NOSCRIPT},
    };
    *code = error_code(error);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (bytes_eq_str(*code, known[i].code))
            return known[i].class;
    return ERROR_REFUSED;
}

bool reply_is_error(const struct redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR;
}

struct bytes reply_bytes(const struct redisReply *reply)
{
    bool has_bytes = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                     reply->type == REDIS_REPLY_ERROR;
    return has_bytes ? bytes_of(reply->str, (size_t)reply->len) : (struct bytes){0};
}

struct bytes reply_element(const struct redisReply *reply, size_t at)
{
    bool is_there = reply->type == REDIS_REPLY_ARRAY && at < (size_t)reply->elements;
    return is_there ? reply_bytes(reply->element[at]) : (struct bytes){0};
}

bool reply_parse(const struct redisReply *reply, struct store_reply *out)
{
    *out = (struct store_reply){.outcome = STORE_DONE};
    int verdict =
        find_name(reply_element(reply, AT_VERDICT), verdict_names, COUNT_OF(verdict_names));
    if (verdict < 0 || !take_state(reply_element(reply, AT_STATE), out))
        return false;
    out->verdict = (enum store_verdict)verdict;
    out->reason = reason_of(reply_element(reply, AT_REASON));
    out->by_ingress = bytes_eq_str(reply_element(reply, AT_BY), "ingress");
    out->bot = reply_element(reply, AT_BOT);
    out->start_at_ms = number_of(reply_element(reply, AT_START));
    out->deadline_at_ms = number_of(reply_element(reply, AT_DEADLINE));
    out->shown_at_ms = number_of(reply_element(reply, AT_SHOWN));
    out->epoch = (uint64_t)number_of(reply_element(reply, AT_EPOCH));
    out->held_until_ms = number_of(reply_element(reply, AT_LEASE));
    out->starts = (unsigned)number_of(reply_element(reply, AT_STARTS));
    out->owed = reply_element(reply, AT_OWED);
    out->text = reply_element(reply, AT_TEXT);
    out->extras = reply_element(reply, AT_EXTRAS);
    out->notes = reply_element(reply, AT_NOTES);
    out->shown_bytes = out->text.len;
    return true;
}

bool reply_parse_read(const struct redisReply *reply, struct store_reply *out, bool *has_extras)
{
    *out = (struct store_reply){.outcome = STORE_DONE};
    *has_extras = false;
    struct bytes state = reply_element(reply, 0);
    if (state.len == 0)
        return reply->type == REDIS_REPLY_ARRAY;
    if (!take_state(state, out))
        return false;
    out->bot = reply_element(reply, 1);
    out->reason = reason_of(reply_element(reply, 2));
    out->by_ingress = bytes_eq_str(reply_element(reply, 3), "ingress");
    out->start_at_ms = number_of(reply_element(reply, 4));
    out->deadline_at_ms = number_of(reply_element(reply, 5));
    out->shown_at_ms = number_of(reply_element(reply, 6));
    *has_extras = out->state == STREAM_FINAL && reply_element(reply, 7).len > 0;
    return true;
}

void resp_words(struct buf *out, unsigned count)
{
    buf_append_char(out, '*');
    buf_append_u64(out, count);
    buf_append_str(out, "\r\n");
}

void resp_word(struct buf *out, struct bytes word)
{
    buf_append_char(out, '$');
    buf_append_u64(out, word.len);
    buf_append_str(out, "\r\n");
    buf_append(out, word);
    buf_append_str(out, "\r\n");
}
