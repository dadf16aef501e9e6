/* The consumer's side of the worker: records become sessions, revoked partitions drop what is
 * not begun, an empty queue is nobody's business. What waits here is bounded by the consumer's
 * windows: a record stays in its window until its session is terminal. */
#pragma once

#include "base/error.h"

struct worker;

/* Joins the group. BRG_STOP when a setting is refused. */
enum brg_err intake_start(struct worker *w, struct brg_error *error) BRG_MUST_CHECK;
