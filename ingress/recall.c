#include "recall.h"

struct entry {
    struct map_node node; /* key: id */
    struct list age;      /* in recall.ages, most recently used last */
    struct list text_age; /* in recall.texts, likewise, while it has a text */
    struct record record; /* text points at `text`; times are the loop's */
    char *text;
    size_t text_cap;
    size_t id_len, bot_len;
    char names[]; /* id, then bot */
};

struct recall {
    struct map entries;
    struct list ages, texts;
    size_t max_entries, max_bytes;
    size_t bytes;
};

struct recall *recall_new(size_t max_entries, size_t max_bytes)
{
    struct recall *r = BRG_NEW(struct recall);
    map_init(&r->entries);
    list_init(&r->ages);
    list_init(&r->texts);
    r->max_entries = max_entries;
    r->max_bytes = max_bytes;
    return r;
}

static size_t fixed_bytes(size_t id_len, size_t bot_len)
{
    return sizeof(struct entry) + id_len + bot_len;
}

static void forget_text(struct recall *r, struct entry *e)
{
    list_remove(&e->text_age);
    r->bytes -= e->text_cap;
    free(e->text);
    e->text = NULL;
    e->text_cap = 0;
    e->record.text = bytes_of(NULL, 0);
}

static void forget(struct recall *r, struct entry *e)
{
    forget_text(r, e);
    map_remove(&r->entries, &e->node);
    list_remove(&e->age);
    r->bytes -= fixed_bytes(e->id_len, e->bot_len);
    free(e);
}

void recall_free(struct recall *r)
{
    while (!list_is_empty(&r->ages))
        forget(r, LIST_ENTRY(r->ages.next, struct entry, age));
    map_free(&r->entries);
    free(r);
}

static struct entry *find(struct recall *r, struct bytes id)
{
    struct map_node *node = map_find(&r->entries, id);
    return node ? MAP_ENTRY(node, struct entry, node) : NULL;
}

static bool is_of_bot(const struct entry *e, struct bytes bot)
{
    return bytes_eq(bytes_of(e->names + e->id_len, e->bot_len), bot);
}

static struct record shifted(const struct record *r, int64_t by_ms)
{
    struct record out = *r;
    out.start_at_ms += by_ms;
    out.deadline_at_ms += by_ms;
    return out;
}

bool recall_find(struct recall *r, struct bytes id, struct bytes bot, int64_t ahead_ms,
                 struct record *out)
{
    struct entry *e = find(r, id);
    if (!e || !is_of_bot(e, bot))
        return false;
    *out = shifted(&e->record, ahead_ms);
    return true;
}

bool recall_is_foreign(struct recall *r, struct bytes id, struct bytes bot)
{
    struct entry *e = find(r, id);
    return e && !is_of_bot(e, bot);
}

/* A stream that lives is still ended in time by what is left; an answer that is over is nothing
 * without its text. */
static void forget_most(struct recall *r, struct entry *e)
{
    if (e->record.state == STREAM_FINAL && !e->record.by_ingress)
        forget(r, e);
    else
        forget_text(r, e);
}

/* Frees the oldest until `more` bytes fit; `keep` (the newest) stays. Texts go first. */
static void make_room(struct recall *r, size_t more, const struct entry *keep)
{
    while (r->bytes + more > r->max_bytes && !list_is_empty(&r->ages)) {
        struct entry *oldest = LIST_ENTRY(r->ages.next, struct entry, age);
        struct entry *text = LIST_ENTRY(r->texts.next, struct entry, text_age);
        if (!list_is_empty(&r->texts) && text != keep)
            forget_most(r, text);
        else if (oldest != keep)
            forget(r, oldest);
        else
            return;
    }
}

/* NULL when the bounds leave no room for even one entry. */
static struct entry *add(struct recall *r, struct bytes id, struct bytes bot)
{
    size_t size = fixed_bytes(id.len, bot.len);
    make_room(r, size, NULL);
    if (r->entries.count > 0 && r->entries.count >= r->max_entries)
        forget(r, LIST_ENTRY(r->ages.next, struct entry, age));
    if (r->bytes + size > r->max_bytes || r->max_entries == 0)
        return NULL;
    struct entry *e = brg_calloc(1, size);
    e->id_len = id.len;
    e->bot_len = bot.len;
    memcpy(e->names, id.ptr, id.len);
    memcpy(e->names + id.len, bot.ptr, bot.len);
    map_insert(&r->entries, &e->node, bytes_of(e->names, id.len));
    list_push_back(&r->ages, &e->age);
    list_init(&e->text_age);
    r->bytes += size;
    return e;
}

/* A text that does not fit into the whole memory is not kept; the older one stays. */
static void keep_text(struct recall *r, struct entry *e, struct bytes text)
{
    if (text.len > e->text_cap) {
        size_t more = text.len - e->text_cap;
        make_room(r, more, e);
        if (r->bytes + more > r->max_bytes)
            return;
        e->text = brg_realloc(e->text, text.len);
        e->text_cap = text.len;
        r->bytes += more;
    }
    if (e->text)
        memmove(e->text, text.ptr, text.len);
    e->record.text = bytes_of(e->text, text.len);
    list_remove(&e->text_age);
    list_push_back(&r->texts, &e->text_age);
}

static void take_over(struct recall *r, struct entry *e, const struct record *what)
{
    bool is_final = what->state == STREAM_FINAL;
    if (e->record.state == STREAM_FINAL && !is_final)
        return;
    bool is_better = is_final || what->text.len > e->record.text.len;
    if (what->text.len > 0 && what->text.ptr != e->text && is_better)
        keep_text(r, e, what->text);
    if (what->state == STREAM_UNKNOWN && e->record.state != STREAM_MISSING)
        return;
    struct bytes text = e->record.text;
    e->record = *what;
    e->record.text = text;
}

void recall_note(struct recall *r, struct bytes id, struct bytes bot, int64_t ahead_ms,
                 const struct record *what)
{
    struct entry *e = find(r, id);
    if (!e)
        e = add(r, id, bot);
    if (!e || !is_of_bot(e, bot))
        return;
    list_remove(&e->age);
    list_push_back(&r->ages, &e->age);
    if (e->text) {
        list_remove(&e->text_age);
        list_push_back(&r->texts, &e->text_age);
    }
    struct record here = shifted(what, -ahead_ms);
    take_over(r, e, &here);
}

size_t recall_entries(const struct recall *r)
{
    return r->entries.count;
}

size_t recall_bytes(const struct recall *r)
{
    return r->bytes;
}

size_t recall_entries_limit(const struct recall *r)
{
    return r->max_entries;
}

size_t recall_bytes_limit(const struct recall *r)
{
    return r->max_bytes;
}
