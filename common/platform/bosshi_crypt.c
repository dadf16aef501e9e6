#include "platform/bosshi.h"

#include "json/json_pick.h"
#include "json/json_writer.h"

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

/* The older layout has the token on top and may name the app in the event. */
static bool has_token(const struct bosshi_keys *keys, const struct json *root)
{
    const struct json *header = json_get(root, "header");
    return is_token(keys, json_get_string(header ? header : root, "token"));
}

/* The header has to name the app; elsewhere it may. */
static bool is_for_app(const struct bosshi_keys *keys, const struct json *root)
{
    const struct json *header = json_get(root, "header");
    const struct json *named = json_at(root, "/event/app_id");
    struct bytes app_id = bytes_of_str(keys->app_id);
    if (header)
        return crypto_equal(json_get_string(header, "app_id"), app_id);
    return !named || crypto_equal(json_string(named), app_id);
}

static bool is_equal_hex(struct bytes given, const uint8_t *digest, size_t len)
{
    char expected[2 * CRYPTO_SHA256_BYTES];
    crypto_hex(digest, len, expected);
    return crypto_equal(given, bytes_of(expected, 2 * len));
}

/* Lower-case hex of SHA-256(timestamp | nonce | Encrypt Key | body as it came). Of a click on a
 * card also SHA-1 with the Verification Token in place of the key: what Feishu's own kits check
 * for its older cards (larksuite/oapi-sdk-go, card/handlers/handlers.go). */
static bool is_signature_right(struct crypto *c, const struct bosshi_keys *keys,
                               const struct bosshi_post *post)
{
    uint8_t digest[CRYPTO_SHA256_BYTES];
    struct bytes parts[] = {post->timestamp, post->nonce, {NULL, 0}, post->body};
    const size_t count = sizeof parts / sizeof parts[0];
    bool found = false;
    for (size_t i = 0; i < keys->encrypt_key_count; i++) {
        parts[2] = bytes_of_str(keys->encrypt_keys[i]);
        crypto_sha256(c, parts, count, digest);
        found = is_equal_hex(post->signature, digest, CRYPTO_SHA256_BYTES) || found;
    }
    for (size_t i = 0; i < keys->token_count && post->is_card; i++) {
        parts[2] = bytes_of_str(keys->tokens[i]);
        crypto_sha1(c, parts, count, digest);
        found = is_equal_hex(post->signature, digest, CRYPTO_SHA1_BYTES) || found;
    }
    return found;
}

/* The URL check names no app and is not signed, and nothing but the token proves it. */
static bool is_ours(struct crypto *c, const struct bosshi_keys *keys,
                    const struct bosshi_post *post, const struct json *root)
{
    struct bytes challenge;
    bool is_signed = post->signature.len > 0 && post->timestamp.len > 0 && post->nonce.len > 0;
    if (bosshi_is_challenge(root, &challenge))
        return is_token(keys, json_get_string(root, "token"));
    if (!is_for_app(keys, root))
        return false;
    switch (post->proof) {
    case BOSSHI_PROOF_TOKEN:
        return has_token(keys, root) && (!is_signed || is_signature_right(c, keys, post));
    case BOSSHI_PROOF_SIGNATURE:
        return is_signed && is_signature_right(c, keys, post);
    case BOSSHI_PROOF_NONE:
        return true;
    }
    return false;
}

/* Of text that is too deep or too full for a tree, the members of its header that prove and
 * name it. NULL when they are not to be seen. */
static struct json *parse_header(struct bytes text)
{
    static const char *const names[] = {"token",      "app_id",      "event_id",
                                        "event_type", "create_time", "tenant_key"};
    enum { COUNT = sizeof names / sizeof names[0], FRAME_BYTES = 256 };
    struct json_pick picks[COUNT];
    struct json_writer w;
    struct buf cut;
    for (size_t i = 0; i < COUNT; i++)
        picks[i] = (struct json_pick){.object = "header", .key = names[i]};
    if (!json_pick_deep(text, picks, COUNT))
        return NULL;
    buf_init(&cut, 6 * text.len + FRAME_BYTES); /* were every byte escaped */
    json_begin(&w, &cut);
    json_open(&w, NULL, '{');
    json_open(&w, "header", '{');
    for (size_t i = 0; i < COUNT; i++)
        if (picks[i].string.ptr)
            json_str(&w, names[i], picks[i].string);
    json_close(&w, '}');
    json_close(&w, '}');
    struct json *root = json_parse(buf_bytes(&cut), JSON_PEER, NULL);
    buf_free(&cut);
    return root;
}

static struct json *parse_object(struct bytes text, bool *is_cut)
{
    struct json *root = json_parse(text, JSON_CALLBACK, NULL);
    *is_cut = !root;
    if (!root)
        root = parse_header(text);
    if (json_type(root) == JSON_OBJECT)
        return root;
    json_free(root);
    return NULL;
}

static bool open_encrypted(struct crypto *c, const struct bosshi_keys *keys,
                           const struct bosshi_post *post, struct bytes encrypt,
                           struct buf *plain, struct bosshi_opened *out)
{
    for (size_t i = 0; i < keys->encrypt_key_count; i++) {
        if (!bosshi_decrypt(c, keys->aes_keys[i], encrypt, plain))
            continue;
        out->text = buf_bytes(plain);
        out->root = parse_object(out->text, &out->is_cut);
        if (out->root && is_ours(c, keys, post, out->root))
            return true;
        json_free(out->root);
    }
    buf_reset(plain);
    return false;
}

/* The body's own object, and what it has under "encrypt", if anything. */
static struct json *parse_body(struct bytes body, bool *is_cut, bool *is_encrypted,
                               struct bytes *encrypt)
{
    struct json *root = parse_object(body, is_cut);
    *is_encrypted = json_get(root, "encrypt") != NULL;
    *encrypt = json_get_string(root, "encrypt");
    return root;
}

enum bosshi_verdict bosshi_open(struct crypto *c, const struct bosshi_keys *keys,
                                const struct bosshi_post *post, struct buf *plain,
                                struct bosshi_opened *out)
{
    struct json_pick pick[] = {{.key = "encrypt"}};
    bool is_plain_key = json_pick(post->body, pick, 1);
    struct bytes encrypt = pick[0].string;
    bool is_encrypted = is_plain_key && encrypt.ptr;
    bool may_be_plain = keys->encrypt_key_count == 0 || post->proof != BOSSHI_PROOF_TOKEN;
    bool is_genuine = false, is_cut = false;
    struct json *body = NULL;
    *out = (struct bosshi_opened){0};
    buf_reset(plain);
    if (!is_encrypted) { /* or written in an unusual way */
        body = parse_body(post->body, &is_cut, &is_encrypted, &encrypt);
        if (!body)
            return BOSSHI_MALFORMED;
    }
    if (is_encrypted)
        is_genuine = open_encrypted(c, keys, post, encrypt, plain, out);
    else if (may_be_plain)
        is_genuine = is_ours(c, keys, post, body);
    if (is_genuine && !is_encrypted)
        *out = (struct bosshi_opened){post->body, body, is_cut};
    else
        json_free(body);
    if (is_genuine)
        return BOSSHI_GENUINE;
    *out = (struct bosshi_opened){0};
    return BOSSHI_REFUSED;
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
