#include "platform/bosshi_peer.h"

void bosshi_peer_seal(struct crypto *c, struct bytes encrypt_key, struct bytes plain,
                      struct buf *body)
{
    uint8_t key[CRYPTO_SHA256_BYTES];
    size_t pad = CRYPTO_AES_BLOCK_BYTES - plain.len % CRYPTO_AES_BLOCK_BYTES;
    size_t len = plain.len + pad;
    uint8_t *raw = brg_calloc(1, CRYPTO_AES_IV_BYTES + len);
    uint8_t *text = raw + CRYPTO_AES_IV_BYTES;
    crypto_sha256(c, &encrypt_key, 1, key);
    crypto_random(c, raw, CRYPTO_AES_IV_BYTES);
    if (plain.len > 0)
        memcpy(text, plain.ptr, plain.len);
    memset(text + plain.len, (int)pad, pad);
    crypto_aes_encrypt(c, key, raw, text, len, text);
    buf_append(body, BYTES_LIT("{\"encrypt\":\""));
    crypto_base64_encode(body, bytes_of(raw, CRYPTO_AES_IV_BYTES + len));
    buf_append(body, BYTES_LIT("\"}"));
    crypto_wipe(key, sizeof key);
    free(raw);
}

void bosshi_peer_sign(struct crypto *c, struct bytes timestamp, struct bytes nonce,
                      struct bytes encrypt_key, struct bytes body,
                      char out[BOSSHI_PEER_SIGNATURE_CHARS])
{
    const struct bytes parts[] = {timestamp, nonce, encrypt_key, body};
    uint8_t digest[CRYPTO_SHA256_BYTES];
    crypto_sha256(c, parts, 4, digest);
    crypto_hex(digest, sizeof digest, out);
}
