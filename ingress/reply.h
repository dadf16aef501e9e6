/* The way back to one genuine callback: answered at most once.
 *
 * Embedded in the struct that serves the callback. While it is unanswered the HTTP request
 * points at it, so it stays put, or is moved by reply_pass. It holds a reference to the
 * configuration under which the callback was verified: a reload changes nothing for it. When
 * the connection broke, answering does nothing. */
#pragma once

#include "ingress.h"

struct reply {
    struct ingress *in;
    struct http_request *req; /* NULL: answered, or the connection is gone */
    struct config *config;
    const struct config_bot *bot;
    struct wecom_keyring keys; /* WeCom: which of the bot's keys the callback used */
    struct bytes nonce;        /* WeCom: lives as long as req */
    int64_t received_ms;       /* loop time */
};

/* A callback as it was received: a view for the length of one call. */
struct reply_source {
    struct http_request *req;
    const struct config_bot *bot;
    struct wecom_keyring keys;
    struct bytes nonce;
    int64_t sent_at_s; /* WeCom: the URL's timestamp */
};

void reply_init(struct reply *r, struct ingress *in, const struct reply_source *source);
/* `to` answers from now on; `from` is as good as answered but keeps its bot. */
void reply_pass(struct reply *to, struct reply *from);
void reply_done(struct reply *r); /* gives the configuration back; last use */

/* The connection broke or the server closed it (http on_gone). */
void reply_gone(struct reply *r);

void reply_stream(struct reply *r, struct bytes stream_id, bool finish, struct bytes content);
void reply_empty(struct reply *r); /* encrypted {} */

/* BOSSHI: 200 {}, and 503 by which the platform is asked to repeat. */
void reply_taken(struct reply *r);
void reply_repeat(struct reply *r);

/* Milliseconds since receipt. */
int64_t reply_age_ms(const struct reply *r);

/* An answer outside the protocol's envelope: status and a short plain text. */
void reply_refuse(struct http_request *req, int status);
