#include "bus/bus_channel.h"

#include "bus/bus_conf.h"
#include "loop/loop.h"

#include <unistd.h>

enum { FIRST_CAP = 64 };

void bus_channel_init(struct bus_channel *ch)
{
    *ch = (struct bus_channel){.reader_fd = bus_eventfd_new()};
    pthread_mutex_init(&ch->lock, NULL);
}

void bus_item_free(struct bus_item *item)
{
    bus_message_free(item->message);
    free(item->text);
    *item = (struct bus_item){0};
}

void bus_channel_free(struct bus_channel *ch)
{
    for (size_t i = 0; i < ch->items.count; i++)
        bus_item_free(&ch->items.list[i]);
    free(ch->items.list);
    free(ch->dones.list);
    pthread_mutex_destroy(&ch->lock);
    close(ch->reader_fd);
}

void bus_items_add(struct bus_items *items, struct bus_item item)
{
    if (items->count == items->cap) {
        items->cap = items->cap ? items->cap * 2 : FIRST_CAP;
        items->list = brg_realloc(items->list, items->cap * sizeof *items->list);
    }
    items->list[items->count++] = item;
}

static void dones_add(struct bus_dones *dones, struct bus_done done)
{
    if (dones->count == dones->cap) {
        dones->cap = dones->cap ? dones->cap * 2 : FIRST_CAP;
        dones->list = brg_realloc(dones->list, dones->cap * sizeof *dones->list);
    }
    dones->list[dones->count++] = done;
}

size_t bus_channel_room(struct bus_channel *ch)
{
    pthread_mutex_lock(&ch->lock);
    size_t count = ch->items.count;
    pthread_mutex_unlock(&ch->lock);
    return count < BUS_CHANNEL_ITEMS ? BUS_CHANNEL_ITEMS - count : 0;
}

void bus_channel_push(struct bus_channel *ch, struct bus_items *batch)
{
    if (batch->count == 0)
        return;
    pthread_mutex_lock(&ch->lock);
    for (size_t i = 0; i < batch->count; i++)
        bus_items_add(&ch->items, batch->list[i]);
    if (ch->wake)
        loop_wake_send(ch->wake);
    pthread_mutex_unlock(&ch->lock);
    batch->count = 0;
}

void bus_channel_push_one(struct bus_channel *ch, struct bus_item item)
{
    struct bus_items one = {.list = &item, .count = 1, .cap = 1};
    bus_channel_push(ch, &one);
}

void bus_channel_take_dones(struct bus_channel *ch, struct bus_dones *dones)
{
    dones->count = 0;
    pthread_mutex_lock(&ch->lock);
    struct bus_dones swap = ch->dones;
    ch->dones = *dones;
    pthread_mutex_unlock(&ch->lock);
    *dones = swap;
}

bool bus_channel_may_sleep(struct bus_channel *ch, bool waits_for_room, bool waits_for_dones)
{
    pthread_mutex_lock(&ch->lock);
    bool is_served = (waits_for_room && ch->items.count < BUS_CHANNEL_ITEMS) ||
                     (waits_for_dones && ch->dones.count > 0);
    ch->waits_for_room = !is_served && waits_for_room;
    ch->waits_for_dones = !is_served && waits_for_dones;
    pthread_mutex_unlock(&ch->lock);
    return !is_served;
}

void bus_channel_take_items(struct bus_channel *ch, struct bus_items *items)
{
    items->count = 0;
    pthread_mutex_lock(&ch->lock);
    struct bus_items swap = ch->items;
    ch->items = *items;
    bool is_awaited = ch->waits_for_room;
    ch->waits_for_room = false;
    pthread_mutex_unlock(&ch->lock);
    *items = swap;
    if (is_awaited)
        bus_eventfd_signal(ch->reader_fd);
}

void bus_channel_done(struct bus_channel *ch, struct bus_done done)
{
    pthread_mutex_lock(&ch->lock);
    dones_add(&ch->dones, done);
    bool is_awaited = ch->waits_for_dones;
    ch->waits_for_dones = false;
    pthread_mutex_unlock(&ch->lock);
    if (is_awaited)
        bus_eventfd_signal(ch->reader_fd);
}

void bus_channel_leave(struct bus_channel *ch)
{
    pthread_mutex_lock(&ch->lock);
    ch->wake = NULL;
    pthread_mutex_unlock(&ch->lock);
}
