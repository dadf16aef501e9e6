/* Inside common/bus only: the two queues between consumer thread ("reader") and loop.
 *
 * Items go to the loop in order; of them only messages are limited, so that a revoke never
 * waits. Completions go back; they are bounded by what was handed over. Neither side ever
 * blocks on the other: a side that cannot go on says what it waits for and is signalled. */
#pragma once

#include "bus/bus_message.h"

#include <pthread.h>

enum bus_item_kind {
    BUS_ITEM_MESSAGE,
    BUS_ITEM_REVOKE, /* topic, partition, generation */
    BUS_ITEM_JOINED,
    BUS_ITEM_FATAL, /* text */
};

struct bus_item {
    enum bus_item_kind kind;
    struct bus_message *message;
    char *text; /* topic or reason; owned */
    int32_t partition;
    uint32_t generation;
};

struct bus_items {
    struct bus_item *list;
    size_t count;
    size_t cap;
};

struct bus_done {
    struct bus_origin origin;
    int64_t offset;
    size_t bytes;
};

struct bus_dones {
    struct bus_done *list;
    size_t count;
    size_t cap;
};

struct bus_channel {
    int reader_fd; /* eventfd of the reader, also signalled by librdkafka's queues */
    pthread_mutex_t lock;
    struct loop_wake *wake; /* NULL once the loop has gone */
    struct bus_items items;
    struct bus_dones dones;
    bool waits_for_room;
    bool waits_for_dones;
};

enum { BUS_CHANNEL_ITEMS = 1024 };

void bus_channel_init(struct bus_channel *ch);
void bus_channel_free(struct bus_channel *ch);
void bus_item_free(struct bus_item *item);
void bus_items_add(struct bus_items *items, struct bus_item item);

/* Reader: */
size_t bus_channel_room(struct bus_channel *ch);
void bus_channel_push(struct bus_channel *ch, struct bus_items *batch); /* empties batch */
void bus_channel_push_one(struct bus_channel *ch, struct bus_item item);
/* Swaps; `dones` comes back empty next time. */
void bus_channel_take_dones(struct bus_channel *ch, struct bus_dones *dones);
/* False when what the reader waits for is there already: then it must not sleep. */
bool bus_channel_may_sleep(struct bus_channel *ch, bool waits_for_room, bool waits_for_dones);

/* Loop: */
void bus_channel_take_items(struct bus_channel *ch, struct bus_items *items);
void bus_channel_done(struct bus_channel *ch, struct bus_done done);
void bus_channel_leave(struct bus_channel *ch); /* no wake is sent any more */
