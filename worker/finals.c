#include "finals.h"

#include "base/crash_point.h"
#include "base/error.h"

struct final {
    int64_t added_ms;
    uint64_t epoch;
    enum stream_reason reason;
    struct store_stream stream; /* views into `bytes` */
    size_t text_len;
    size_t size;
    char bytes[]; /* id, bot, text */
};

void finals_init(struct finals *f, size_t max_count, size_t max_bytes)
{
    *f = (struct finals){.max_count = max_count, .max_bytes = max_bytes};
    f->ring = brg_calloc(max_count, sizeof(struct final *));
}

static struct final *kept_at(const struct finals *f, size_t index)
{
    return f->ring[(f->first + index) % f->max_count];
}

static void drop_oldest(struct finals *f)
{
    struct final *dropped = kept_at(f, 0);
    f->first = (f->first + 1) % f->max_count;
    f->count--;
    f->bytes -= dropped->size;
    free(dropped);
}

void finals_free(struct finals *f)
{
    while (f->count > 0)
        drop_oldest(f);
    free(f->ring);
}

void finals_expire(struct finals *f, int64_t now_ms)
{
    while (f->count > 0 && now_ms - kept_at(f, 0)->added_ms >= FINALS_KEPT_MS)
        drop_oldest(f);
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
    finals_expire(f, now_ms);
    while (f->count == f->max_count || (f->count > 0 && f->bytes + size > f->max_bytes))
        drop_oldest(f);
    f->ring[(f->first + f->count) % f->max_count] = added;
    f->count++;
    f->bytes += size;
}

/* Nothing waits for it: a store that goes away again comes back as yet another run. */
static void on_written(const struct store_reply *reply, void *arg)
{
    (void)reply;
    (void)arg;
    crash_point("final.answered");
}

void finals_write(struct finals *f, struct store *store, int64_t lease_ms)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct final *kept = kept_at(f, i);
        size_t head = kept->stream.id.len + kept->stream.bot.len;
        store_finish(store, &kept->stream, kept->epoch, kept->reason,
                     bytes_of(kept->bytes + head, kept->text_len), BYTES_LIT(""), BYTES_LIT(""),
                     lease_ms, on_written, NULL);
        crash_point("final.sent");
    }
}
