/* Names that every process computes alike, without a look-up (design section 4). */
#pragma once

#include "base/buf.h"
#include "crypto/crypto.h"

#define STREAM_ID_CHARS 22
struct stream_id {
    char text[STREAM_ID_CHARS + 1];
};

/* First 22 characters of base64url(SHA-256("botbridge/1\n" bot "\n" message_id)). */
struct stream_id stream_id_of(struct crypto *c, struct bytes bot, struct bytes message_id);

/* 22 characters of that alphabet; false leaves *id alone. */
bool stream_id_parse(struct bytes text, struct stream_id *id) BRG_MUST_CHECK;

static inline struct bytes stream_id_bytes(const struct stream_id *id)
{
    return bytes_of(id->text, STREAM_ID_CHARS);
}

#define TRACEPARENT_CHARS 55
/* "00-<32 hex>-<16 hex>-01", W3C trace context, fresh. */
void traceparent_new(struct crypto *c, char out[TRACEPARENT_CHARS + 1]);
