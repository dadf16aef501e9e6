/* BOSSHI codec: between the platform's bytes and ours. No I/O; the time is passed in. Any
 * thread, with its own `struct crypto` and buffers.
 *
 * Protocol facts: POSTs of JSON, {"schema","header","event"} or the URL check
 * {"challenge","token","type"}; with an Encrypt Key {"encrypt"} instead, base64 of iv(16) |
 * AES-256-CBC under SHA-256(Encrypt Key), PKCS#7 to 16 bytes. (histatic.zhipin.com,
 * bosshi-mp-docs: reqAddr, dealEvent, encryptKey, message event; the decryption as Feishu
 * describes it, with which BOSSHI's own sample opens.) */
#pragma once

#include "base/buf.h"
#include "crypto/crypto.h"
#include "json/json.h"

/* What shows that a callback comes from the platform. Tokens and keys rotate independently. */
struct bosshi_keys {
    char *app_id;
    char *tokens[SECRET_ROTATION_MAX];
    size_t token_count;
    char *encrypt_keys[SECRET_ROTATION_MAX];
    size_t encrypt_key_count; /* 0: bodies come plain, and encrypted ones are refused */
    uint8_t aes_keys[SECRET_ROTATION_MAX][CRYPTO_AES_KEY_BYTES]; /* bosshi_keys_derive */
};

/* The AES keys from the Encrypt Keys, once they are known. */
void bosshi_keys_derive(struct bosshi_keys *keys);
