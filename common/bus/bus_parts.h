/* Inside common/bus only: the partitions that the consumer owns now, each with its queue,
 * tracker and window. Reader thread only.
 *
 * Slots are reused; `generation` tells ownerships apart, so a completion of an older one finds
 * nothing. The tracker starts at the first record that arrives: librdkafka itself resumes at
 * the committed offset, and what lies between that and the first record does not exist. */
#pragma once

#include "bus/bus_message.h"
#include "bus/offsets.h"

struct bus_part {
    bool is_used;
    bool is_started; /* a record arrived: offsets is valid */
    char *topic;
    int32_t partition;
    struct bus_origin origin;
    rd_kafka_queue_t *queue;
    struct offsets offsets;
    int64_t *stamps; /* record times in ms, a ring like the tracker's */
    size_t bytes;    /* of records not complete */
    int64_t end;     /* all below it was received or does not exist; -1: not told yet */
    int64_t committed;
    int64_t commit_sent;
    struct bus_message *parked; /* read, but beyond the window behind a gap */
};

struct bus_parts {
    struct bus_part *list;
    size_t count; /* slots */
    size_t bytes; /* sum over all */
    uint32_t window;
    size_t window_bytes;
    uint32_t last_generation;
};

/* Takes `queue` over. The result stays valid until the next add. */
struct bus_part *bus_parts_add(struct bus_parts *parts, const char *topic, int32_t partition,
                               rd_kafka_queue_t *queue);
struct bus_part *bus_parts_find(struct bus_parts *parts, const char *topic, int32_t partition);
void bus_parts_drop(struct bus_parts *parts, struct bus_part *part);
void bus_parts_free(struct bus_parts *parts);

bool bus_part_has_room(const struct bus_parts *parts, const struct bus_part *part);
/* Notes the record as in flight. False: it lies beyond the window now. */
bool bus_part_receive(struct bus_parts *parts, struct bus_part *part,
                      const struct bus_message *m);
/* The log was read up to here: what lies between the last record and this is none of ours to
 * get (a transaction's marker, what was aborted, compacted or deleted). */
void bus_part_note_end(struct bus_part *part, int64_t offset);
/* The log went back in time: retention or truncation passed our position, or the topic was made
 * anew. What follows is a new life of the partition. */
bool bus_part_is_rewound(const struct bus_part *part, int64_t offset);
void bus_part_restart(struct bus_parts *parts, struct bus_part *part);

/* False when the ownership has passed. */
bool bus_parts_complete(struct bus_parts *parts, struct bus_origin origin, int64_t offset,
                        size_t bytes);

/* Where a next owner has to begin; -1 when it is not known that anything was there. */
int64_t bus_part_frontier(const struct bus_part *part);
/* Is there an offset to commit? */
bool bus_part_is_dirty(const struct bus_part *part);
/* Time of the oldest incomplete record over all, 0 when none. */
int64_t bus_parts_oldest_ms(const struct bus_parts *parts);
/* Widest distance from frontier to head. */
int64_t bus_parts_widest(const struct bus_parts *parts);
/* Most bytes in flight of one partition. */
size_t bus_parts_fullest(const struct bus_parts *parts);
