#include "store/store.h"

#include "base/clock.h"
#include "log/log.h"
#include "store/store_impl.h"

enum { ID_MAX_CHARS = 64, READ_MAX_BYTES = 256, COMMAND_MAX_BYTES = 16384 };
enum { STREAM_ARGS = 4 }; /* of each script: bot, start, deadline, TTL */

struct store *store_new(struct loop *loop, const struct store_options *options,
                        struct brg_error *error)
{
    struct store_url url;
    if (store_url_parse(options->url, &url, error) != BRG_OK)
        return NULL;
    struct store *s = BRG_NEW(struct store);
    s->loop = loop;
    s->url = url;
    s->connect_timeout_ms = options->connect_timeout_ms;
    s->command_timeout_ms = options->command_timeout_ms;
    s->max_outstanding = options->max_outstanding;
    s->max_held_bytes = options->max_outstanding_bytes;
    list_init(&s->sent);
    list_init(&s->failed);
    list_init(&s->spare);
    buf_init(&s->command, COMMAND_MAX_BYTES);
    conn_register_metrics();
    op_register_metrics(s);
    conn_start(s);
    return s;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    s->is_freeing = true;
    conn_stop(s);
    while (!list_is_empty(&s->failed))
        op_deliver_failed(s);
    loop_timer_cancel(s->loop, &s->kick);
    loop_timer_cancel(s->loop, &s->timer);
    for (struct list *node = list_pop_front(&s->spare); node; node = list_pop_front(&s->spare))
        op_release(s, LIST_ENTRY(node, struct op, node));
    loop_turn_free(s->turn);
    loop_wake_free(s->wake);
    buf_free(&s->command);
    store_url_free(&s->url);
    free(s);
}

bool store_is_up(const struct store *s)
{
    return s->state == CONN_UP;
}

void store_watch(struct store *s, store_watch_fn *fn, void *arg)
{
    BRG_CHECK(s->watcher_count < STORE_WATCHERS);
    s->watchers[s->watcher_count++] = (struct store_watcher){fn, arg};
}

int64_t store_now_ms(const struct store *s)
{
    if (!s->is_time_known)
        return clock_wall_ms();
    return loop_now_ms(s->loop) + s->time_offset_us / 1000;
}

int64_t store_ahead_ms(const struct store *s)
{
    return store_now_ms(s) - loop_now_ms(s->loop);
}

int64_t store_to_mono_ms(const struct store *s, int64_t store_ms)
{
    return store_ms - store_ahead_ms(s);
}

/* --- reading --- */

/* Braces would break the hash tag that keeps a stream's keys together. */
static bool is_id(struct bytes id)
{
    static const char others[] = "-_";
    if (id.len == 0 || id.len > ID_MAX_CHARS)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        bool is_alnum =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return true;
}

static bool refuse_bad_id(struct store *s, struct op *op, struct bytes id)
{
    if (is_id(id))
        return false;
    log_error("store", "bad_id", "bytes=%zu", id.len);
    op_fail(s, op, STORE_REFUSED);
    return true;
}

static const char hash_before[] = "*10\r\n$5\r\nHMGET\r\n$";
static const char hash_after[] =
    "}:m\r\n$5\r\nstate\r\n$3\r\nbot\r\n$6\r\nreason\r\n$2\r\nby\r\n"
    "$8\r\nstart_at\r\n$11\r\ndeadline_at\r\n$8\r\nshown_at\r\n"
    "$1\r\nx\r\n";
static const char get_before[] = "*2\r\n$3\r\nGET\r\n$";
static const char text_after[] = "}:t\r\n";
static const char extras_after[] = "}:x\r\n";

/* Reads are most of what a connection carries, so they are put together from pieces that are
 * known before: <before><length of the key>\r\nbb:{<id><after>. */
static void append_read(struct store *s, const char *before, struct bytes id, const char *after)
{
    char command[READ_MAX_BYTES];
    size_t key_len = id.len + sizeof("bb:{}:m") - 1;
    char *at = stpcpy(command, before);
    if (key_len >= 10)
        *at++ = (char)('0' + key_len / 10);
    *at++ = (char)('0' + key_len % 10);
    at = stpcpy(at, "\r\nbb:{");
    at = mempcpy(at, id.ptr, id.len);
    at = stpcpy(at, after);
    conn_append(s, bytes_of(command, (size_t)(at - command)));
}

static struct bytes kept_part(const struct op *op, size_t from, size_t len)
{
    return bytes_of(op->kept.ptr + from, len);
}

static void on_extras(struct store *s, struct op *op, const struct redisReply *reply)
{
    if (reply_is_error(reply)) {
        op_refuse(s, op, "read", reply_bytes(reply));
        return;
    }
    op->found.extras = reply_bytes(reply);
    op_answer(s, op, &op->found);
}

static void fetch_extras(struct store *s, struct op *op, struct bytes text)
{
    size_t bot_len = op->found.bot.len;
    buf_append(&op->kept, text);
    op->found.bot = kept_part(op, op->id_bytes, bot_len);
    op->found.text = kept_part(op, op->id_bytes + bot_len, text.len);
    op->on_reply = on_extras;
    append_read(s, get_before, kept_part(op, 0, op->id_bytes), extras_after);
    conn_sent(s, op, 1);
}

static void on_text(struct store *s, struct op *op, const struct redisReply *reply)
{
    if (reply_is_error(reply)) {
        op_refuse(s, op, "read", reply_bytes(reply));
        return;
    }
    if (op->has_extras) {
        fetch_extras(s, op, reply_bytes(reply));
        return;
    }
    if (op->found.state != STREAM_MISSING)
        op->found.text = reply_bytes(reply);
    op_answer(s, op, &op->found);
}

/* The second reply is still to come and answers the operation. */
static void note_record_error(struct op *op, struct bytes error)
{
    struct bytes code = {0};
    enum error_class class = reply_classify(error, &code);
    op->found.outcome = class == ERROR_REFUSED ? STORE_REFUSED : STORE_UNAVAILABLE;
    if (class == ERROR_REFUSED)
        op_log_refused("read", code, error);
}

/* The text is read after the record: one that is seen as final has its final text by then. */
static void on_record(struct store *s, struct op *op, const struct redisReply *reply)
{
    (void)s;
    op->on_reply = on_text;
    op->has_extras = false;
    op->found = (struct store_reply){0};
    if (reply_is_error(reply)) {
        note_record_error(op, reply_bytes(reply));
        return;
    }
    if (!reply_parse_read(reply, &op->found, &op->has_extras)) {
        log_error("store", "odd_answer", "op=read");
        op->has_extras = false;
        op->found = (struct store_reply){.outcome = STORE_REFUSED};
        return;
    }
    size_t bot_len = op->found.bot.len;
    buf_append(&op->kept, op->found.bot);
    op->found.bot = kept_part(op, op->id_bytes, bot_len);
}

void store_read(struct store *s, struct bytes id, store_cb *cb, void *arg)
{
    struct op *op = op_new(s, on_record, cb, arg);
    if (refuse_bad_id(s, op, id) || !op_admit(s, op, 0))
        return;
    op->id_bytes = id.len;
    buf_append(&op->kept, id);
    append_read(s, hash_before, id, hash_after);
    append_read(s, get_before, id, text_after);
    conn_sent(s, op, 2);
}

/* --- scripts --- */

static struct op *begin(struct store *s, const struct store_script *script,
                        const struct store_stream *stream, unsigned own_args, store_cb *cb,
                        void *arg)
{
    BRG_CHECK(stream->ttl_ms > 0);
    struct op *op = script_new(s, script, stream->id, STREAM_ARGS + own_args, cb, arg);
    script_arg(op, stream->bot);
    script_arg_i64(op, stream->start_at_ms);
    script_arg_i64(op, stream->deadline_at_ms);
    script_arg_i64(op, stream->ttl_ms);
    return op;
}

/* What an owner writes: fenced by its epoch, and by the connection that it comes through. */
static struct op *begin_owned(struct store *s, const struct store_script *script,
                              const struct store_stream *stream, uint64_t epoch,
                              unsigned own_args, store_cb *cb, void *arg)
{
    struct op *op = begin(s, script, stream, 2 + own_args, cb, arg);
    script_arg_u64(op, epoch);
    script_arg_u64(op, s->link);
    return op;
}

static void send(struct store *s, struct op *op, struct bytes id)
{
    if (!refuse_bad_id(s, op, id))
        script_send(s, op);
}

void store_open(struct store *s, const struct store_stream *stream, enum stream_state as,
                store_cb *cb, void *arg)
{
    BRG_CHECK(as == STREAM_OPEN || as == STREAM_UNKNOWN);
    struct op *op = begin(s, &store_script_open, stream, 1, cb, arg);
    script_arg(op, bytes_of_str(stream_state_name(as)));
    send(s, op, stream->id);
}

void store_open_queued(struct store *s, const struct store_stream *stream, struct bytes text,
                       store_cb *cb, void *arg)
{
    struct op *op = begin(s, &store_script_open, stream, 2, cb, arg);
    script_arg(op, bytes_of_str(stream_state_name(STREAM_OPEN)));
    script_arg(op, text);
    send(s, op, stream->id);
}

void store_close(struct store *s, const struct store_stream *stream, enum stream_reason reason,
                 store_cb *cb, void *arg)
{
    BRG_CHECK(reason != REASON_NONE);
    struct op *op = begin(s, &store_script_close, stream, 1, cb, arg);
    script_arg(op, bytes_of_str(stream_reason_name(reason)));
    send(s, op, stream->id);
}

void store_shown(struct store *s, struct bytes id, store_cb *cb, void *arg)
{
    send(s, script_new(s, &store_script_shown, id, 0, cb, arg), id);
}

void store_claim(struct store *s, const struct store_stream *stream, struct bytes owner,
                 int64_t lease_ms, store_cb *cb, void *arg)
{
    BRG_CHECK(owner.len > 0);
    struct op *op = begin(s, &store_script_claim, stream, 3, cb, arg);
    script_arg(op, owner);
    script_arg_u64(op, s->link);
    script_arg_i64(op, lease_ms);
    send(s, op, stream->id);
}

void store_put(struct store *s, const struct store_stream *stream, uint64_t epoch,
               struct bytes text, int64_t lease_ms, store_cb *cb, void *arg)
{
    struct op *op = begin_owned(s, &store_script_put, stream, epoch, 3, cb, arg);
    script_arg_i64(op, lease_ms);
    script_arg(op, text.ptr ? BYTES_LIT("1") : BYTES_LIT("0"));
    script_arg(op, text);
    send(s, op, stream->id);
}

void store_note(struct store *s, const struct store_stream *stream, uint64_t epoch,
                struct bytes field, struct bytes value, store_cb *cb, void *arg)
{
    struct op *op = begin_owned(s, &store_script_note, stream, epoch, 2, cb, arg);
    script_arg(op, field);
    script_arg(op, value);
    send(s, op, stream->id);
}

void store_finish(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  enum stream_reason reason, struct bytes text, struct bytes extras,
                  struct bytes owed, int64_t lease_ms, store_cb *cb, void *arg)
{
    BRG_CHECK(reason != REASON_NONE);
    struct op *op = begin_owned(s, &store_script_finish, stream, epoch, 5, cb, arg);
    script_arg(op, bytes_of_str(stream_reason_name(reason)));
    script_arg(op, text);
    script_arg(op, extras);
    script_arg(op, owed);
    script_arg_i64(op, lease_ms);
    send(s, op, stream->id);
}

void store_settle(struct store *s, const struct store_stream *stream, uint64_t epoch,
                  struct bytes item, store_cb *cb, void *arg)
{
    struct op *op = begin_owned(s, &store_script_settle, stream, epoch, 1, cb, arg);
    script_arg(op, item);
    send(s, op, stream->id);
}

void store_release(struct store *s, const struct store_stream *stream, uint64_t epoch,
                   store_cb *cb, void *arg)
{
    struct op *op = begin_owned(s, &store_script_release, stream, epoch, 0, cb, arg);
    send(s, op, stream->id);
}
