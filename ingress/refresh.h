/* Answering a stream refresh (and everything else whose answer is "how the stream stands now"):
 * read, close what is due, render; from memory when the store is away too long.
 *
 * A poll owns its reply and itself: it is freed by the last of {answer, outstanding answer of
 * the store}. Loop thread. */
#pragma once

#include "reply.h"

/* A refresh for `id` as the platform sent it: 1..64 of [A-Za-z0-9_-] is looked up, anything
 * else is answered encrypted {}. */
void refresh_start(struct ingress *in, const struct reply_source *source, struct bytes id);

/* Takes the reply over and answers it by what the store just said of `id`; `from` is as good as
 * answered (reply_pass). */
void refresh_continue(struct reply *from, struct bytes id, const struct store_reply *seen);

/* The store came back: held polls ask it. */
void refresh_store_up(struct ingress *in);

void refresh_register_metrics(void);
