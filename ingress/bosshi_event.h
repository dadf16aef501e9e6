/* A genuine BOSSHI event's way to its answer: 200 {} once Kafka has acknowledged what it
 * became, or 503 within the budget, so that the platform repeats it (15 s, 5 min, 1 h, 6 h).
 *
 * A question is read in the store first: what a worker has or had is not produced again. It is
 * not opened there, because a deadline counted from a delivery that was refused would be over
 * when the repeat comes; the worker's claim makes the record, with the times of the delivery
 * that was accepted, and makes one run of several records. What can never be used is
 * dead-lettered and answered 200. Everything else is published to the events topic.
 *
 * An event owns its reply and itself: freed by the last of {answer, outstanding calls}. Loop
 * thread. */
#pragma once

#include "reply.h"

enum bosshi_route { BOSSHI_ROUTE_EVENT, BOSSHI_ROUTE_CARD };

/* Takes the root over; its text is only read here. */
void bosshi_event_start(struct ingress *in, const struct reply_source *source,
                        enum bosshi_route route, const struct bosshi_opened *opened);

void bosshi_event_register_metrics(void);
