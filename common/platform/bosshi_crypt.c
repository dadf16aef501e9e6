#include "platform/bosshi.h"

#include "json/json_pick.h"
#include "json/json_writer.h"

#define SIGNATURE_CHARS ((size_t)(2 * CRYPTO_SHA256_BYTES))

void bosshi_keys_derive(struct bosshi_keys *keys)
{
    struct crypto *c = crypto_new();
    for (size_t i = 0; i < keys->encrypt_key_count; i++) {
        struct bytes text = bytes_of_str(keys->encrypt_keys[i]);
        crypto_sha256(c, &text, 1, keys->aes_keys[i]);
    }
    crypto_free(c);
}

/* iv | ciphertext of at least one block; the plain text may be empty. */
bool bosshi_decrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                    struct bytes encrypt, struct buf *plain)
{
    buf_reset(plain);
    uint8_t *raw = (uint8_t *)buf_reserve(plain, encrypt.len / 4 * 3 + 1);
    if (!raw)
        return false;
    size_t len = crypto_base64_decode(encrypt, raw);
    if (len == SIZE_MAX || len < CRYPTO_AES_IV_BYTES + CRYPTO_AES_BLOCK_BYTES ||
        len % CRYPTO_AES_BLOCK_BYTES != 0)
        return false;
    uint8_t iv[CRYPTO_AES_IV_BYTES];
    memcpy(iv, raw, sizeof iv);
    len -= sizeof iv;
    memmove(raw, raw + sizeof iv, len);
    crypto_aes_decrypt(c, key, iv, raw, len, raw);
    size_t padding = crypto_pkcs7_length(raw, len, CRYPTO_AES_BLOCK_BYTES);
    if (padding == 0)
        return false;
    plain->len = len - padding;
    return true;
}

static bool is_token(const struct bosshi_keys *keys, struct bytes token)
{
    bool found = false;
    for (size_t i = 0; i < keys->token_count; i++)
        found = crypto_equal(token, bytes_of_str(keys->tokens[i])) || found;
    return found;
}

/* The older layout has the token on top and may name the app in the event; the URL check knows
 * no app. */
static bool is_ours(const struct bosshi_keys *keys, const struct json *root)
{
    const struct json *header = json_get(root, "header");
    struct bytes challenge;
    struct bytes app_id = bytes_of_str(keys->app_id);
    if (bosshi_is_challenge(root, &challenge))
        return is_token(keys, json_get_string(root, "token"));
    if (header)
        return is_token(keys, json_get_string(header, "token")) &&
               crypto_equal(json_get_string(header, "app_id"), app_id);
    const struct json *named = json_at(root, "/event/app_id");
    return is_token(keys, json_get_string(root, "token")) &&
           (!named || crypto_equal(json_string(named), app_id));
}

/* Lower-case hex of SHA-256(timestamp | nonce | Encrypt Key | body as it came). The URL check
 * is not signed. */
static bool is_signature_right(struct crypto *c, const struct bosshi_keys *keys,
                               const struct bosshi_post *post, const struct json *root)
{
    struct bytes challenge;
    bool found = false;
    if (post->signature.len == 0 || post->timestamp.len == 0 || post->nonce.len == 0 ||
        bosshi_is_challenge(root, &challenge))
        return true;
    for (size_t i = 0; i < keys->encrypt_key_count; i++) {
        const struct bytes parts[] = {post->timestamp, post->nonce,
                                      bytes_of_str(keys->encrypt_keys[i]), post->body};
        uint8_t digest[CRYPTO_SHA256_BYTES];
        char expected[SIGNATURE_CHARS];
        crypto_sha256(c, parts, sizeof parts / sizeof parts[0], digest);
        crypto_hex(digest, sizeof digest, expected);
        found = crypto_equal(post->signature, bytes_of(expected, sizeof expected)) || found;
    }
    return found;
}

static struct json *parse_object(struct bytes text)
{
    struct json *root = json_parse(text, JSON_PEER, NULL);
    if (json_type(root) == JSON_OBJECT)
        return root;
    json_free(root);
    return NULL;
}

/* The object of a genuine text, or NULL. */
static struct json *accept(struct crypto *c, const struct bosshi_keys *keys,
                           const struct bosshi_post *post, struct json *root)
{
    if (root && is_ours(keys, root) && is_signature_right(c, keys, post, root))
        return root;
    json_free(root);
    return NULL;
}

static enum bosshi_verdict open_encrypted(struct crypto *c, const struct bosshi_keys *keys,
                                          const struct bosshi_post *post, struct bytes encrypt,
                                          struct buf *plain, struct bytes *text,
                                          struct json **root)
{
    for (size_t i = 0; i < keys->encrypt_key_count && !*root; i++) {
        if (!bosshi_decrypt(c, keys->aes_keys[i], encrypt, plain))
            continue;
        *root = accept(c, keys, post, parse_object(buf_bytes(plain)));
        *text = buf_bytes(plain);
    }
    if (*root)
        return BOSSHI_GENUINE;
    buf_reset(plain);
    *text = bytes_of(NULL, 0);
    return BOSSHI_REFUSED;
}

enum bosshi_verdict bosshi_open(struct crypto *c, const struct bosshi_keys *keys,
                                const struct bosshi_post *post, struct buf *plain,
                                struct bytes *text, struct json **root)
{
    struct json_pick pick[] = {{.key = "encrypt"}};
    bool is_plain_key = json_pick(post->body, pick, 1);
    struct bytes encrypt = pick[0].string;
    struct json *body = NULL;
    *root = NULL;
    *text = bytes_of(NULL, 0);
    buf_reset(plain);
    if (!is_plain_key || !encrypt.ptr) { /* written in an unusual way, or not encrypted */
        body = parse_object(post->body);
        if (!body)
            return BOSSHI_MALFORMED;
        encrypt = json_get_string(body, "encrypt");
    }
    enum bosshi_verdict verdict = BOSSHI_REFUSED;
    bool is_encrypted = encrypt.ptr && (!body || json_get(body, "encrypt"));
    if (is_encrypted) {
        verdict = open_encrypted(c, keys, post, encrypt, plain, text, root);
        json_free(body);
    } else if (keys->encrypt_key_count == 0) {
        *root = accept(c, keys, post, body);
        *text = *root ? post->body : *text;
        verdict = *root ? BOSSHI_GENUINE : BOSSHI_REFUSED;
    } else {
        json_free(body);
    }
    return verdict;
}

bool bosshi_is_challenge(const struct json *root, struct bytes *challenge)
{
    *challenge = json_get_string(root, "challenge");
    return bytes_eq_str(json_get_string(root, "type"), "url_verification");
}

void bosshi_write_challenge(struct buf *out, struct bytes challenge)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "challenge", challenge);
    json_close(&w, '}');
}
