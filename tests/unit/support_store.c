#include "support_store.h"

#include <string.h>

enum { ANSWERS = 8, ANSWER_BYTES = 4 << 20, PATIENCE_MS = 10000 };

/* --- driving the loop --- */

static void on_patience(struct wheel_timer *t, void *arg)
{
    struct rig *rig = arg;
    (void)t;
    rig->is_out_of_patience = true;
    loop_stop(rig->loop);
}

static bool on_turn(void *arg)
{
    struct rig *rig = arg;
    if (rig->is_done && rig->is_done(rig->is_done_arg))
        loop_stop(rig->loop);
    return false;
}

bool rig_run(struct rig *rig, bool (*is_done)(void *arg), void *arg, int64_t limit_ms)
{
    rig->is_done = is_done;
    rig->is_done_arg = arg;
    rig->is_out_of_patience = false;
    loop_timer_set(rig->loop, &rig->patience, limit_ms);
    loop_run(rig->loop);
    loop_timer_cancel(rig->loop, &rig->patience);
    rig->is_done = NULL;
    return !rig->is_out_of_patience;
}

struct rig *rig_new_away(const char *url, unsigned max_outstanding)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct store_options options = {.url = url,
                                    .connect_timeout_ms = RIG_CONNECT_MS,
                                    .command_timeout_ms = RIG_COMMAND_MS,
                                    .max_outstanding = max_outstanding,
                                    .max_outstanding_bytes = 32 << 20};
    struct brg_error error;
    rig->loop = loop_new();
    wheel_timer_init(&rig->patience, on_patience, rig);
    rig->store = store_new(rig->loop, &options, &error);
    BRG_CHECK(rig->store);
    rig->turn = loop_turn_new(rig->loop, on_turn, rig);
    return rig;
}

struct rig *rig_new(const char *url)
{
    struct rig *rig = rig_new_away(url, RIG_OUTSTANDING);
    BRG_CHECK(rig_run_until_up(rig, true));
    return rig;
}

void rig_free(struct rig *rig)
{
    if (!rig)
        return;
    store_free(rig->store);
    loop_turn_free(rig->turn);
    loop_free(rig->loop);
    free(rig);
}

static bool is_up(void *arg)
{
    return store_is_up(arg);
}

static bool is_away(void *arg)
{
    return !store_is_up(arg);
}

bool rig_run_until_up(struct rig *rig, bool wanted)
{
    return rig_run(rig, wanted ? is_up : is_away, rig->store, PATIENCE_MS);
}

/* --- answers --- */

static void keep(struct rig_answer *a, struct bytes *view)
{
    size_t at = a->copy.len;
    buf_append(&a->copy, *view);
    view->ptr = (const char *)at; /* made a pointer when the buffer does not move any more */
}

static void find(const struct rig_answer *a, struct bytes *view)
{
    view->ptr = a->copy.ptr + (size_t)view->ptr;
}

void hear(bool is_up, bool is_loss, void *arg)
{
    struct heard *h = arg;
    h->ups += is_up;
    h->downs += !is_up;
    h->losses += is_loss;
}

bool is_up_again(void *arg)
{
    const struct heard *h = arg;
    return h->ups > 0;
}

bool is_loss_told(void *arg)
{
    const struct heard *h = arg;
    return h->losses > 0;
}

bool never(void *arg)
{
    (void)arg;
    return false;
}

void answer_take(const struct store_reply *reply, void *arg)
{
    struct rig_answer *a = arg;
    a->calls++;
    a->reply = *reply;
    if (!a->copy.max)
        buf_init(&a->copy, ANSWER_BYTES);
    buf_reset(&a->copy);
    buf_append_char(&a->copy, ' '); /* so that there is memory to point at */
    struct bytes *views[] = {&a->reply.bot, &a->reply.text, &a->reply.extras, &a->reply.owed,
                             &a->reply.notes};
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        keep(a, views[i]);
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        find(a, views[i]);
}

bool answer_is_there(void *arg)
{
    const struct rig_answer *a = arg;
    return a->calls > 0;
}

void rig_answer_free(struct rig_answer *a)
{
    buf_free(&a->copy);
    *a = (struct rig_answer){0};
}

static struct rig_answer *next_answer(void)
{
    static struct rig_answer answers[ANSWERS];
    static unsigned next;
    struct rig_answer *a = &answers[next++ % ANSWERS];
    rig_answer_free(a);
    return a;
}

static struct store_reply await(struct rig *rig, struct rig_answer *a)
{
    BRG_CHECK(a->calls == 0); /* never inside the call */
    BRG_CHECK(rig_run(rig, answer_is_there, a, PATIENCE_MS));
    BRG_CHECK(a->calls == 1);
    return a->reply;
}

/* --- operations --- */

struct store_reply rig_read(struct rig *rig, const struct store_stream *stream)
{
    struct rig_answer *a = next_answer();
    store_read(rig->store, stream->id, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_open(struct rig *rig, const struct store_stream *stream,
                            enum stream_state as)
{
    struct rig_answer *a = next_answer();
    store_open(rig->store, stream, as, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_open_queued(struct rig *rig, const struct store_stream *stream,
                                   const char *text)
{
    struct rig_answer *a = next_answer();
    store_open_queued(rig->store, stream, bytes_of_str(text), answer_take, a);
    return await(rig, a);
}

struct store_reply rig_close(struct rig *rig, const struct store_stream *stream,
                             enum stream_reason reason)
{
    struct rig_answer *a = next_answer();
    store_close(rig->store, stream, reason, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_shown(struct rig *rig, const struct store_stream *stream)
{
    struct rig_answer *a = next_answer();
    store_shown(rig->store, stream->id, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_claim(struct rig *rig, const struct store_stream *stream,
                             const char *owner, int64_t lease_ms)
{
    struct rig_answer *a = next_answer();
    store_claim(rig->store, stream, bytes_of_str(owner), lease_ms, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_put(struct rig *rig, const struct store_stream *stream, uint64_t epoch,
                           const char *text, int64_t lease_ms)
{
    struct rig_answer *a = next_answer();
    store_put(rig->store, stream, epoch, bytes_of_str(text), lease_ms, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_note(struct rig *rig, const struct store_stream *stream, uint64_t epoch,
                            const char *field, const char *value)
{
    struct rig_answer *a = next_answer();
    store_note(rig->store, stream, epoch, bytes_of_str(field), bytes_of_str(value), answer_take,
               a);
    return await(rig, a);
}

struct store_reply rig_finish(struct rig *rig, const struct store_stream *stream,
                              uint64_t epoch, enum stream_reason reason, const char *text,
                              const char *extras, const char *owed, int64_t lease_ms)
{
    struct rig_answer *a = next_answer();
    store_finish(rig->store, stream, epoch, reason, bytes_of_str(text), bytes_of_str(extras),
                 bytes_of_str(owed), lease_ms, answer_take, a);
    return await(rig, a);
}

struct store_reply rig_settle(struct rig *rig, const struct store_stream *stream,
                              uint64_t epoch, const char *item)
{
    struct rig_answer *a = next_answer();
    store_settle(rig->store, stream, epoch, bytes_of_str(item), answer_take, a);
    return await(rig, a);
}

struct store_reply rig_release(struct rig *rig, const struct store_stream *stream,
                               uint64_t epoch)
{
    struct rig_answer *a = next_answer();
    store_release(rig->store, stream, epoch, answer_take, a);
    return await(rig, a);
}
