/* What BOSSHI sends to /bosshi/{app} (URL check and events) and to /bosshi/{app}/card (clicks
 * on cards, and the check of that URL): POST only.
 *
 * No JSON object is 400. Everything that is not genuine is one and the same 401: plain where
 * encrypted is demanded or the reverse, ciphertext, token, app or signature. Loop thread. */
#pragma once

#include "ingress.h"

/* The check needs neither Kafka nor the store: the platform waits one second. */
void bosshi_callback(struct ingress *in, struct http_request *req,
                     const struct config_bot *bot);
void bosshi_card_callback(struct ingress *in, struct http_request *req,
                          const struct config_bot *bot);

void bosshi_callback_register_metrics(void);
