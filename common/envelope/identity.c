#include "envelope/identity.h"

struct stream_id stream_id_of(struct crypto *c, struct bytes bot, struct bytes message_id)
{
    const struct bytes parts[] = {BYTES_LIT("botbridge/1\n"), bot, BYTES_LIT("\n"), message_id};
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char text[(CRYPTO_SHA256_BYTES * 4 + 2) / 3];
    struct stream_id id;
    crypto_sha256(c, parts, sizeof parts / sizeof parts[0], digest);
    crypto_base64url_encode(digest, sizeof digest, text);
    memcpy(id.text, text, STREAM_ID_CHARS);
    id.text[STREAM_ID_CHARS] = 0;
    return id;
}

bool stream_id_parse(struct bytes text, struct stream_id *id)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (text.len != STREAM_ID_CHARS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!memchr(alphabet, text.ptr[i], sizeof alphabet - 1))
            return false;
    }
    memcpy(id->text, text.ptr, STREAM_ID_CHARS);
    id->text[STREAM_ID_CHARS] = 0;
    return true;
}

void traceparent_new(struct crypto *c, char out[TRACEPARENT_CHARS + 1])
{
    enum { TRACE_BYTES = 16, SPAN_BYTES = 8 };
    uint8_t random[TRACE_BYTES + SPAN_BYTES];
    crypto_random(c, random, sizeof random);
    /* An id of zeros means "none"; the highest bit keeps clear of it. */
    random[0] |= 0x80;
    random[TRACE_BYTES] |= 0x80;
    char hex[2 * sizeof random];
    crypto_hex(random, sizeof random, hex);
    snprintf(out, TRACEPARENT_CHARS + 1, "00-%.*s-%.*s-01", 2 * TRACE_BYTES, hex,
             2 * SPAN_BYTES, hex + (size_t)2 * TRACE_BYTES);
}
