/* The encrypted frame and its signature, shared by the two sides of the codec; private to this
 * directory. */
#pragma once

#include "platform/wecom.h"

enum { WECOM_SIGNATURE_CHARS = 2 * CRYPTO_SHA1_BYTES };

/* Lower-case hex of SHA-1 over the four strings in ascending byte order. */
void wecom_sign(struct crypto *c, const char *token, struct bytes timestamp, struct bytes nonce,
                struct bytes encrypt, char out[WECOM_SIGNATURE_CHARS]);

enum { WECOM_RANDOM_BYTES = 16 };

/* Completes the frame around the plaintext in `plain`, encrypts it there and appends it as
 * base64 to `out`; returns a view of the base64, valid until `out` grows. When either buffer
 * meets its maximum, `out->overflowed` is set and nothing is appended. */
struct bytes wecom_frame_seal(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                              struct bytes receive_id, struct buf *plain, struct buf *out);
/* The same with chosen random bytes, which known answers need. */
struct bytes wecom_frame_seal_with(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                                   struct bytes receive_id,
                                   const uint8_t random[WECOM_RANDOM_BYTES], struct buf *plain,
                                   struct buf *out);

/* Base64 text to plaintext (a view into `plain`); false whatever the reason, `plain` is empty
 * then. */
bool wecom_frame_open(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                      struct bytes receive_id, struct bytes encrypt, struct buf *plain,
                      struct bytes *text);
