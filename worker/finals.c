#include "finals.h"

#include "base/error.h"

struct final {
    struct list node;
    int64_t added_ms;
    uint64_t epoch;
    enum stream_reason reason;
    struct store_stream stream; /* views into `bytes` */
    size_t text_len;
    size_t size;
    char bytes[]; /* id, bot, text */
};

void finals_init(struct finals *f)
{
    *f = (struct finals){0};
    list_init(&f->kept);
}

static void drop_oldest(struct finals *f)
{
    struct final *oldest = LIST_ENTRY(f->kept.next, struct final, node);
    list_remove(&oldest->node);
    f->count--;
    f->bytes -= oldest->size;
    free(oldest);
}

void finals_free(struct finals *f)
{
    while (!list_is_empty(&f->kept))
        drop_oldest(f);
}

void finals_expire(struct finals *f, int64_t now_ms)
{
    while (!list_is_empty(&f->kept)) {
        struct final *oldest = LIST_ENTRY(f->kept.next, struct final, node);
        if (now_ms - oldest->added_ms < FINALS_KEPT_MS)
            return;
        drop_oldest(f);
    }
}

void finals_add(struct finals *f, const struct store_stream *stream, uint64_t epoch,
                enum stream_reason reason, struct bytes text, int64_t now_ms)
{
    size_t size = sizeof(struct final) + stream->id.len + stream->bot.len + text.len;
    struct final *added = brg_calloc(1, size);
    char *bot = added->bytes + stream->id.len;
    char *copy = bot + stream->bot.len;
    *added = (struct final){
        .added_ms = now_ms,
        .epoch = epoch,
        .reason = reason,
        .stream = *stream,
        .text_len = text.len,
        .size = size,
    };
    memcpy(added->bytes, stream->id.ptr, stream->id.len);
    if (stream->bot.len > 0)
        memcpy(bot, stream->bot.ptr, stream->bot.len);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    added->stream.id.ptr = added->bytes;
    added->stream.bot.ptr = bot;
    list_push_back(&f->kept, &added->node);
    f->count++;
    f->bytes += size;
    finals_expire(f, now_ms);
    while (f->count > FINALS_MAX_COUNT || f->bytes > FINALS_MAX_BYTES)
        drop_oldest(f);
}

/* Nothing waits for it: a store that goes away again comes back as yet another run. */
static void on_written(const struct store_reply *reply, void *arg)
{
    (void)reply;
    (void)arg;
}

void finals_write(struct finals *f, struct store *store, int64_t lease_ms)
{
    for (struct list *node = f->kept.next; node != &f->kept; node = node->next) {
        struct final *kept = LIST_ENTRY(node, struct final, node);
        size_t head = kept->stream.id.len + kept->stream.bot.len;
        store_finish(store, &kept->stream, kept->epoch, kept->reason,
                     bytes_of(kept->bytes + head, kept->text_len), BYTES_LIT(""), BYTES_LIT(""),
                     lease_ms, on_written, NULL);
    }
}
