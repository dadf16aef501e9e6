#include "crypto/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* 32 frames' worth: one call of the generator costs as much as 0.5 KB of decryption. */
enum { RANDOM_BUFFER_BYTES = 512 };

/* Bots are few and use their keys again and again: making a context ready for a key costs as
 * much as encrypting 1 KB, giving it another initialization vector nearly nothing. */
struct keyed {
    EVP_CIPHER_CTX *context;
    bool has_key;
    uint8_t key[CRYPTO_AES_KEY_BYTES];
};

enum { DECRYPT = 0, ENCRYPT = 1 }; /* as the library counts */

struct crypto {
    EVP_MD *sha1;
    EVP_MD *sha256;
    EVP_CIPHER *aes;
    EVP_MD_CTX *digest;
    struct keyed ciphers[2]; /* DECRYPT, ENCRYPT */
    size_t random_left;
    uint8_t random[RANDOM_BUFFER_BYTES];
};

struct crypto *crypto_new(void)
{
    struct crypto *c = BRG_NEW(struct crypto);
    c->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    c->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    c->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    c->digest = EVP_MD_CTX_new();
    c->ciphers[DECRYPT].context = EVP_CIPHER_CTX_new();
    c->ciphers[ENCRYPT].context = EVP_CIPHER_CTX_new();
    BRG_CHECK(c->sha1 && c->sha256 && c->aes && c->digest);
    BRG_CHECK(c->ciphers[DECRYPT].context && c->ciphers[ENCRYPT].context);
    return c;
}

void crypto_free(struct crypto *c)
{
    if (!c)
        return;
    for (int way = DECRYPT; way <= ENCRYPT; way++) {
        EVP_CIPHER_CTX_free(c->ciphers[way].context);
        OPENSSL_cleanse(c->ciphers[way].key, sizeof c->ciphers[way].key);
    }
    EVP_MD_CTX_free(c->digest);
    EVP_CIPHER_free(c->aes);
    EVP_MD_free(c->sha256);
    EVP_MD_free(c->sha1);
    OPENSSL_cleanse(c->random, sizeof c->random);
    free(c);
}

static void digest_parts(struct crypto *c, const EVP_MD *md, const struct bytes *parts,
                         size_t count, uint8_t *out)
{
    BRG_CHECK(EVP_DigestInit_ex2(c->digest, md, NULL) == 1);
    for (size_t i = 0; i < count; i++)
        BRG_CHECK(EVP_DigestUpdate(c->digest, parts[i].ptr, parts[i].len) == 1);
    BRG_CHECK(EVP_DigestFinal_ex(c->digest, out, NULL) == 1);
}

void crypto_sha1(struct crypto *c, const struct bytes *parts, size_t count,
                 uint8_t out[CRYPTO_SHA1_BYTES])
{
    digest_parts(c, c->sha1, parts, count, out);
}

void crypto_sha256(struct crypto *c, const struct bytes *parts, size_t count,
                   uint8_t out[CRYPTO_SHA256_BYTES])
{
    digest_parts(c, c->sha256, parts, count, out);
}

static void set_key(struct crypto *c, struct keyed *k, const uint8_t *key, int way)
{
    if (k->has_key && CRYPTO_memcmp(k->key, key, sizeof k->key) == 0)
        return;
    BRG_CHECK(EVP_CipherInit_ex2(k->context, c->aes, key, NULL, way, NULL) == 1);
    /* With padding on, the library would hold the last block back when decrypting. */
    BRG_CHECK(EVP_CIPHER_CTX_set_padding(k->context, 0) == 1);
    memcpy(k->key, key, sizeof k->key);
    k->has_key = true;
}

static void aes(struct crypto *c, int way, const uint8_t *key, const uint8_t *iv,
                const void *in, size_t len, void *out)
{
    int written = 0;
    struct keyed *k = &c->ciphers[way];
    BRG_CHECK(len % CRYPTO_AES_BLOCK_BYTES == 0 && len <= INT_MAX);
    set_key(c, k, key, way);
    BRG_CHECK(EVP_CipherInit_ex2(k->context, NULL, NULL, iv, way, NULL) == 1);
    BRG_CHECK(EVP_CipherUpdate(k->context, out, &written, in, (int)len) == 1);
    BRG_CHECK((size_t)written == len);
}

void crypto_aes_encrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                        const uint8_t iv[CRYPTO_AES_IV_BYTES], const void *in, size_t len,
                        void *out)
{
    aes(c, ENCRYPT, key, iv, in, len, out);
}

void crypto_aes_decrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                        const uint8_t iv[CRYPTO_AES_IV_BYTES], const void *in, size_t len,
                        void *out)
{
    aes(c, DECRYPT, key, iv, in, len, out);
}

size_t crypto_pkcs7_length(const uint8_t *data, size_t len, size_t block)
{
    if (len == 0 || len % block != 0)
        return 0;
    size_t pad = data[len - 1];
    /* Differences of small numbers: their sign bit says "less than" without a branch. */
    size_t wrong = (pad - 1) >> (sizeof pad * CHAR_BIT - 1);
    wrong |= (block - pad) >> (sizeof pad * CHAR_BIT - 1);
    for (size_t i = 0; i < block; i++) {
        size_t is_padding = (i - pad) >> (sizeof pad * CHAR_BIT - 1);
        wrong |= (0 - is_padding) & (data[len - 1 - i] ^ pad);
    }
    return wrong ? 0 : pad;
}

void crypto_random(struct crypto *c, void *out, size_t len)
{
    if (len > sizeof c->random) {
        BRG_CHECK(len <= INT_MAX && RAND_bytes(out, (int)len) == 1);
        return;
    }
    if (c->random_left < len) {
        BRG_CHECK(RAND_bytes(c->random, sizeof c->random) == 1);
        c->random_left = sizeof c->random;
    }
    c->random_left -= len;
    memcpy(out, c->random + c->random_left, len);
    memset(c->random + c->random_left, 0, len);
}

bool crypto_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

void crypto_wipe(void *ptr, size_t len)
{
    OPENSSL_cleanse(ptr, len);
}
