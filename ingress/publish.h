/* A new message's way to its first answer: open in the store, produce, answer when Kafka has
 * acknowledged; or say busy, after the store was told.
 *
 * One after the other and not both at once: the store's round trip (about 0.2 ms, never more
 * than store_gate_ms) buys that a repeat of a message which is already being answered does not
 * become a second record. Budget and ceiling are counted from the receipt by own timers.
 *
 * A message owns its reply and itself: freed by the last of {answer, outstanding calls}. Loop
 * thread. */
#pragma once

#include "reply.h"

/* Takes callback->root over; `callback` is a WECOM_TEXT. */
void publish_start(struct ingress *in, const struct reply_source *source,
                   const struct wecom_callback *callback);

void publish_register_metrics(void);
