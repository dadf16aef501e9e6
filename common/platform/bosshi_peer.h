/* The platform's side of BOSSHI's callbacks: sealed bodies and signatures, for the simulator
 * and tests. Fresh random IV each time, so that a repeat never looks like the first delivery.
 */
#pragma once

#include "base/buf.h"
#include "crypto/crypto.h"

enum { BOSSHI_PEER_SIGNATURE_CHARS = 2 * CRYPTO_SHA256_BYTES };

/* Appends {"encrypt":"…"}: base64 of IV and AES-256-CBC with PKCS#7 to 16, under
 * SHA-256(encrypt_key). */
void bosshi_peer_seal(struct crypto *c, struct bytes encrypt_key, struct bytes plain,
                      struct buf *body);

/* Lower-case hex of SHA-256(timestamp || nonce || encrypt_key || body); Feishu's rule, not seen
 * on a page of BOSSHI. */
void bosshi_peer_sign(struct crypto *c, struct bytes timestamp, struct bytes nonce,
                      struct bytes encrypt_key, struct bytes body,
                      char out[BOSSHI_PEER_SIGNATURE_CHARS]);
