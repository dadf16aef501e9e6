/* One message to a question's response_url (WeCom's active reply): which addresses may be
 * called, what is posted, and what the answer means.
 *
 * The address is a bearer secret that the platform takes once: no part of it is logged, and a
 * call whose outcome is unknown must not be made again. Who calls, when, and how often is the
 * session's business. Loop thread only. */
#pragma once

#include "config/config.h"
#include "fetch/fetch.h"

/* Why the address may not be called; NULL: it may, as far as it tells by itself. Strict: what
 * two parsers could read differently is refused. */
const char *delivery_refusal(const struct config *config, struct bytes url);

/* Appends the request's body: one markdown message, at most WECOM_CONTENT_MAX_BYTES. */
#define DELIVERY_BODY_MAX_BYTES (6 * WECOM_CONTENT_MAX_BYTES + 256)
void delivery_write(struct buf *out, struct bytes content);
/* What delivery_write was given, out of the body; appended to `out`. */
void delivery_read(struct bytes body, struct buf *out);

enum delivery_outcome {
    DELIVERY_ACCEPTED, /* the user has it */
    DELIVERY_REFUSED,  /* and will not be taken; the use counts as made */
    DELIVERY_UNKNOWN,  /* sent, but not answered, or by a failure of theirs */
    DELIVERY_UNSENT,   /* no connection: may be tried again */
    DELIVERY_OUTCOME_COUNT,
};
const char *delivery_outcome_name(enum delivery_outcome outcome);
bool delivery_outcome_from(struct bytes name, enum delivery_outcome *out) BRG_MUST_CHECK;

struct delivery;
/* `code`: errcode of the answer, or its HTTP status, 0: none; `detail` for the log. Comes in a
 * later turn, once; the handle is gone then. */
typedef void delivery_cb(enum delivery_outcome outcome, int64_t code, const char *detail,
                         void *arg);

/* `config`, `url` and `body` are read before this returns. */
struct delivery *delivery_start(struct fetch_pool *pool, const struct config *config,
                                struct bytes url, struct bytes body, delivery_cb *cb,
                                void *arg);
/* No callback comes; whether the message arrives is unknown. */
void delivery_cancel(struct delivery *d);

void delivery_metrics_register(void);
