/* Primitives on EVP (the only directory that includes openssl).
 *
 * A `struct crypto` holds fetched algorithms and their contexts, one per thread, never made per
 * request. What the library refuses other than bad input is a broken invariant. */
#pragma once

#include "base/buf.h"

#include <stdint.h>

enum { CRYPTO_SHA1_BYTES = 20, CRYPTO_SHA256_BYTES = 32, CRYPTO_MD5_BYTES = 16 };
enum { CRYPTO_AES_KEY_BYTES = 32, CRYPTO_AES_IV_BYTES = 16, CRYPTO_AES_BLOCK_BYTES = 16 };

enum { SECRET_ROTATION_MAX = 2 }; /* [current, previous] while a secret is being changed */

struct crypto;
struct crypto *crypto_new(void);
void crypto_free(struct crypto *c);

/* Digest of the concatenation of `parts`. */
void crypto_sha1(struct crypto *c, const struct bytes *parts, size_t count,
                 uint8_t out[CRYPTO_SHA1_BYTES]);
void crypto_sha256(struct crypto *c, const struct bytes *parts, size_t count,
                   uint8_t out[CRYPTO_SHA256_BYTES]);

/* AES-256-CBC without padding; len must be a multiple of 16. in == out is allowed. */
void crypto_aes_encrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                        const uint8_t iv[CRYPTO_AES_IV_BYTES], const void *in, size_t len,
                        void *out);
void crypto_aes_decrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                        const uint8_t iv[CRYPTO_AES_IV_BYTES], const void *in, size_t len,
                        void *out);

/* Length of PKCS#7 padding at the end of `data` for the given block (16 or 32), or 0 when it is
 * wrong or `len` is no multiple of `block`. Every padding byte is checked, in time that does
 * not depend on where it is wrong. */
size_t crypto_pkcs7_length(const uint8_t *data, size_t len, size_t block);

/* From the system's generator; buffered, so 16 bytes are cheap. */
void crypto_random(struct crypto *c, void *out, size_t len);

/* Constant time for equal lengths. */
bool crypto_equal(struct bytes a, struct bytes b);
void crypto_wipe(void *ptr, size_t len);

/* Standard alphabet with '='. Encoding appends to `out`. */
#define CRYPTO_BASE64_BYTES(n) (((n) + 2) / 3 * 4)
void crypto_base64_encode(struct buf *out, struct bytes data);
/* Strict alphabet and length; `out` needs room for text.len / 4 * 3 bytes. Returns the decoded
 * length, or SIZE_MAX. Spare bits of the last character are ignored (WeCom keys have them set).
 */
size_t crypto_base64_decode(struct bytes text, uint8_t *out);
/* URL alphabet, no padding; `out` needs (len * 4 + 2) / 3 bytes; returns that length. */
size_t crypto_base64url_encode(const uint8_t *data, size_t len, char *out);
void crypto_hex(const uint8_t *data, size_t len, char *out); /* lower case, 2*len, no NUL */
