/* What WeCom sends to /wecom/{bot}: URL verification (GET) and callbacks (POST).
 *
 * Missing parameters and bodies that are no envelope are 400; a wrong signature and every
 * failure to decrypt are one and the same 401, so that nobody can learn from the difference.
 * What passes is answered 200 whatever happens. Loop thread. */
#pragma once

#include "ingress.h"

/* Needs neither Kafka nor the store: the platform waits one second. */
void wecom_verification(struct ingress *in, struct http_request *req,
                        const struct config_bot *bot);

void wecom_callback(struct ingress *in, struct http_request *req, const struct config_bot *bot);

void wecom_callback_register_metrics(void);
