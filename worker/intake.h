/* The consumers' side of the worker: records become sessions, revoked partitions drop what is
 * not begun, an empty queue is nobody's business. What waits here is bounded by the consumers'
 * windows: a record stays in its window until its session is terminal.
 *
 * Requests and late answers have a group each: in one group the assignor shares out the
 * partitions of both as if they were alike, and a worker may get late ones only. */
#pragma once

#include "base/error.h"
#include "bus/bus_consumer.h"

struct worker;

/* NULL before the start, and once they have left. */
struct intake {
    struct bus_consumer *requests, *late;
};

/* Joins the groups. BRG_STOP when a setting is refused. */
enum brg_err intake_start(struct worker *w, struct brg_error *error) BRG_MUST_CHECK;
bool intake_is_joined(const struct intake *in);
void intake_stop_reading(struct intake *in);
/* At most `timeout_ms` for each; safe to repeat. */
void intake_leave(struct intake *in, int64_t timeout_ms);
/* Which of the two it came by. */
bool intake_is_late(const struct worker *w, const struct bus_message *record);
/* This record's work is done; after leaving, who reads it next finds it final. */
void intake_complete(struct worker *w, const struct bus_message *record);
/* Of the oldest incomplete record. */
int64_t intake_frontier_age_ms(const struct intake *in);
