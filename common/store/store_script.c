/* Scripts by their SHA-1; a server that does not know one (restart, failover, SCRIPT FLUSH)
 * gets its text, once, by EVAL with the same arguments. */
#include "log/log.h"
#include "store/store_impl.h"

#include <inttypes.h>

enum { SHA_CHARS = 40, NUMBER_BYTES = 24 };

static void on_script_reply(struct store *s, struct op *op, const struct redisReply *reply);

static void append_key(struct buf *out, struct bytes id, char kind)
{
    buf_append_char(out, '$');
    buf_append_u64(out, id.len + sizeof("bb:{}:m") - 1);
    buf_append_str(out, "\r\nbb:{");
    buf_append(out, id);
    buf_append_str(out, "}:");
    buf_append_char(out, kind);
    buf_append_str(out, "\r\n");
}

struct op *script_new(struct store *s, const struct store_script *script, struct bytes id,
                      unsigned count, store_cb *cb, void *arg)
{
    struct op *op = op_new(s, on_script_reply, cb, arg);
    op->script = script;
    op->words = 6 + count; /* EVALSHA, SHA, number of keys, three keys */
    resp_words(&op->kept, op->words);
    resp_word(&op->kept, BYTES_LIT("EVALSHA"));
    resp_word(&op->kept, bytes_of(script->sha, SHA_CHARS));
    op->head_bytes = op->kept.len;
    resp_word(&op->kept, BYTES_LIT("3"));
    append_key(&op->kept, id, 'm');
    append_key(&op->kept, id, 't');
    append_key(&op->kept, id, 'x');
    return op;
}

void script_arg(struct op *op, struct bytes value)
{
    resp_word(&op->kept, value);
}

void script_arg_i64(struct op *op, int64_t value)
{
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof(text), "%" PRId64, value);
    resp_word(&op->kept, bytes_of(text, (size_t)len));
}

void script_arg_u64(struct op *op, uint64_t value)
{
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof(text), "%" PRIu64, value);
    resp_word(&op->kept, bytes_of(text, (size_t)len));
}

void script_send(struct store *s, struct op *op)
{
    if (op->kept.overflowed) {
        log_error("store", "too_large", "op=%s", op->script->name);
        op_fail(s, op, STORE_REFUSED);
        return;
    }
    if (!op_admit(s, op, op->kept.len))
        return;
    conn_append(s, buf_bytes(&op->kept));
    conn_sent(s, op, 1);
}

static void send_text(struct store *s, struct op *op)
{
    struct bytes arguments =
        bytes_of(op->kept.ptr + op->head_bytes, op->kept.len - op->head_bytes);
    struct buf command;
    buf_init(&command, op->kept.len + strlen(op->script->body) + 128);
    resp_words(&command, op->words);
    resp_word(&command, BYTES_LIT("EVAL"));
    resp_word(&command, bytes_of_str(op->script->body));
    buf_append(&command, arguments);
    op->is_resent = true;
    conn_append(s, buf_bytes(&command));
    conn_sent(s, op, 1);
    buf_free(&command);
}

static void on_script_reply(struct store *s, struct op *op, const struct redisReply *reply)
{
    struct store_reply out;
    struct bytes code;
    if (!reply_is_error(reply)) {
        if (!reply_parse(reply, &out)) {
            log_error("store", "odd_answer", "op=%s", op->script->name);
            out = (struct store_reply){.outcome = STORE_REFUSED};
        }
        op_answer(s, op, &out);
        return;
    }
    struct bytes error = reply_bytes(reply);
    if (reply_classify(error, &code) == ERROR_NOSCRIPT && !op->is_resent)
        send_text(s, op);
    else
        op_refuse(s, op, op->script->name, error);
}
