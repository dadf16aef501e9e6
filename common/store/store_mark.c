/* A key that is made where it is missing and that nobody changes: where it is another one than
 * before, the server lost its data, although it is the same run (FLUSHALL, a failover that kept
 * the connection). All processes share it. It is no measure for single keys: those that a
 * server evicts are not noticed. */
#include "base/random.h"
#include "store/store_impl.h"

#include <inttypes.h>

enum { MARK_EVERY_MS = 1000 };
#define MARK_KEY BYTES_LIT("bb:mark")
#define MARK_TTL_MS BYTES_LIT("86400000")

static void on_made(struct store *s, struct op *op, const struct redisReply *reply)
{
    struct bytes code;
    op_release(s, op);
    if (reply_is_error(reply) && reply_classify(reply_bytes(reply), &code) == ERROR_ELSEWHERE)
        conn_drop(s, "the server is a read-only replica");
}

static void on_kept(struct store *s, struct op *op, const struct redisReply *reply)
{
    (void)reply;
    op_release(s, op);
}

/* A server that does not tell it (no permission, no memory for it) is taken as it is. */
static void on_mark(struct store *s, struct op *op, const struct redisReply *reply)
{
    struct bytes mark = reply_is_error(reply) ? (struct bytes){0} : reply_bytes(reply);
    bool is_known = mark.len > 0 && mark.len < sizeof(s->mark);
    bool is_other = is_known && s->mark[0] != '\0' && !bytes_eq_str(mark, s->mark);
    if (is_known) {
        memcpy(s->mark, mark.ptr, mark.len);
        s->mark[mark.len] = '\0';
    }
    op_release(s, op);
    loop_timer_set(s->loop, &s->mark_timer, MARK_EVERY_MS);
    if (is_other && s->state == CONN_UP)
        conn_tell_loss(s);
    else
        s->is_mark_other = s->is_mark_other || is_other;
}

void mark_ask(struct store *s)
{
    char fresh[STORE_MARK_BYTES];
    int len = snprintf(fresh, sizeof(fresh), "%016" PRIx64, random_u64());
    struct bytes make[] = {BYTES_LIT("SET"), MARK_KEY,        bytes_of(fresh, (size_t)len),
                           BYTES_LIT("NX"),  BYTES_LIT("PX"), MARK_TTL_MS};
    struct bytes keep[] = {BYTES_LIT("PEXPIRE"), MARK_KEY, MARK_TTL_MS};
    struct bytes look[] = {BYTES_LIT("GET"), MARK_KEY};
    conn_command(s, on_made, make, 6);
    conn_command(s, on_kept, keep, 3);
    conn_command(s, on_mark, look, 2);
}
