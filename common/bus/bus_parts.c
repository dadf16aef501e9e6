#include "bus/bus_parts.h"

enum { NO_OFFSET = -1 };

static struct bus_part *unused_slot(struct bus_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        if (!parts->list[i].is_used)
            return &parts->list[i];
    parts->list = brg_realloc(parts->list, (parts->count + 1) * sizeof *parts->list);
    return &parts->list[parts->count++];
}

struct bus_part *bus_parts_add(struct bus_parts *parts, const char *topic, int32_t partition,
                               rd_kafka_queue_t *queue)
{
    struct bus_part *part = unused_slot(parts);
    *part = (struct bus_part){
        .is_used = true,
        .topic = brg_strdup(topic),
        .partition = partition,
        .origin = {(uint32_t)(part - parts->list), ++parts->last_generation},
        .queue = queue,
        .end = NO_OFFSET,
        .committed = NO_OFFSET,
        .commit_sent = NO_OFFSET,
    };
    return part;
}

struct bus_part *bus_parts_find(struct bus_parts *parts, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < parts->count; i++) {
        struct bus_part *part = &parts->list[i];
        if (part->is_used && part->partition == partition && strcmp(part->topic, topic) == 0)
            return part;
    }
    return NULL;
}

/* Forgets what was read; the window is empty and not begun. */
static void forget(struct bus_parts *parts, struct bus_part *part)
{
    if (part->is_started)
        offsets_free(&part->offsets);
    free(part->stamps);
    bus_message_free(part->parked);
    parts->bytes -= part->bytes;
    part->bytes = 0;
    part->stamps = NULL;
    part->parked = NULL;
    part->is_started = false;
    part->end = NO_OFFSET;
    part->committed = NO_OFFSET;
    part->commit_sent = NO_OFFSET;
}

void bus_parts_drop(struct bus_parts *parts, struct bus_part *part)
{
    forget(parts, part);
    rd_kafka_queue_destroy(part->queue);
    free(part->topic);
    *part = (struct bus_part){0};
}

void bus_parts_free(struct bus_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        if (parts->list[i].is_used)
            bus_parts_drop(parts, &parts->list[i]);
    free(parts->list);
    *parts = (struct bus_parts){0};
}

bool bus_part_has_room(const struct bus_parts *parts, const struct bus_part *part)
{
    if (part->bytes >= parts->window_bytes)
        return false;
    return !part->is_started || offsets_has_room(&part->offsets);
}

static void start(struct bus_parts *parts, struct bus_part *part, int64_t offset)
{
    offsets_init(&part->offsets, offset, parts->window);
    part->stamps = brg_calloc(part->offsets.window, sizeof *part->stamps);
    part->is_started = true;
    part->committed = offset;
    part->commit_sent = offset;
}

bool bus_part_receive(struct bus_parts *parts, struct bus_part *part,
                      const struct bus_message *m)
{
    struct bus_message_info info;
    bus_message_info(m, &info);
    if (!part->is_started)
        start(parts, part, info.offset);
    if (!offsets_fits(&part->offsets, info.offset))
        return false;
    BRG_CHECK(offsets_receive(&part->offsets, info.offset));
    part->stamps[info.offset % part->offsets.window] = info.timestamp_ms;
    part->bytes += bus_message_bytes(m);
    parts->bytes += bus_message_bytes(m);
    return true;
}

bool bus_part_is_rewound(const struct bus_part *part, int64_t offset)
{
    return offset < part->end || (part->is_started && offset < part->offsets.head);
}

/* The beginning of a log that never held a record needs no commit. */
void bus_part_note_end(struct bus_part *part, int64_t offset)
{
    if (offset > 0)
        part->end = offset;
}

void bus_part_restart(struct bus_parts *parts, struct bus_part *part)
{
    forget(parts, part);
    part->origin.generation = ++parts->last_generation;
}

bool bus_parts_complete(struct bus_parts *parts, struct bus_origin origin, int64_t offset,
                        size_t bytes)
{
    struct bus_part *part = origin.slot < parts->count ? &parts->list[origin.slot] : NULL;
    if (!part || !part->is_used || part->origin.generation != origin.generation)
        return false;
    if (!part->is_started || !offsets_complete(&part->offsets, offset))
        return false;
    part->bytes -= bytes;
    parts->bytes -= bytes;
    return true;
}

int64_t bus_part_frontier(const struct bus_part *part)
{
    if (!part->is_started)
        return part->end;
    bool is_all_done = offsets_in_flight(&part->offsets) == 0;
    return is_all_done && part->end > part->offsets.base ? part->end : part->offsets.base;
}

bool bus_part_is_dirty(const struct bus_part *part)
{
    return part->is_used && bus_part_frontier(part) != part->committed;
}

int64_t bus_parts_oldest_ms(const struct bus_parts *parts)
{
    int64_t oldest = 0;
    for (size_t i = 0; i < parts->count; i++) {
        const struct bus_part *part = &parts->list[i];
        if (!part->is_used || !part->is_started || offsets_in_flight(&part->offsets) == 0)
            continue;
        int64_t stamp = part->stamps[part->offsets.base % part->offsets.window];
        if (stamp > 0 && (oldest == 0 || stamp < oldest))
            oldest = stamp;
    }
    return oldest;
}

int64_t bus_parts_widest(const struct bus_parts *parts)
{
    int64_t widest = 0;
    for (size_t i = 0; i < parts->count; i++) {
        const struct bus_part *part = &parts->list[i];
        int64_t width =
            part->is_used && part->is_started ? part->offsets.head - part->offsets.base : 0;
        widest = width > widest ? width : widest;
    }
    return widest;
}

size_t bus_parts_fullest(const struct bus_parts *parts)
{
    size_t fullest = 0;
    for (size_t i = 0; i < parts->count; i++) {
        const struct bus_part *part = &parts->list[i];
        fullest = part->is_used && part->bytes > fullest ? part->bytes : fullest;
    }
    return fullest;
}
