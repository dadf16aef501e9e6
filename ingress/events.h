/* Callbacks nobody waits for: published raw to {prefix}.events as well as can be, answered
 * encrypted {} whatever happens. Loop thread. */
#pragma once

#include "reply.h"

/* Takes callback->root over; any kind but text and refresh. `text` is what it was parsed from:
 * a broken one is published as kind "broken", under its msgid or else an id made of the text,
 * with `raw` the object or {"base64": text}. */
void events_start(struct ingress *in, const struct reply_source *source,
                  const struct wecom_callback *callback, struct bytes text);

void events_register_metrics(void);
