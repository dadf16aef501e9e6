/* Callbacks nobody waits for: published raw to {prefix}.events as well as can be, answered
 * encrypted {} whatever happens. Loop thread. */
#pragma once

#include "reply.h"

/* Takes callback->root over; any kind but text and refresh. A broken one is counted, not
 * published: there is nothing in it that a reader could rely on. */
void events_start(struct ingress *in, const struct reply_source *source,
                  const struct wecom_callback *callback);

void events_register_metrics(void);
