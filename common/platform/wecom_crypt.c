#include "platform/wecom_frame.h"

enum brg_err wecom_aes_key_decode(const char *text, uint8_t out[CRYPTO_AES_KEY_BYTES],
                                  struct brg_error *error)
{
    char padded[WECOM_AES_KEY_CHARS + 1];
    uint8_t decoded[CRYPTO_AES_KEY_BYTES + 1];
    size_t len = strlen(text);
    if (len != WECOM_AES_KEY_CHARS)
        return brg_fail(error, BRG_REJECT, "%d characters expected, %zu given",
                        WECOM_AES_KEY_CHARS, len);
    /* The platform leaves out the '=' of a 32-byte value. The last character has two bits to
     * spare, which are not always zero. */
    memcpy(padded, text, WECOM_AES_KEY_CHARS);
    padded[WECOM_AES_KEY_CHARS] = '=';
    bool is_key =
        text[WECOM_AES_KEY_CHARS - 1] != '=' &&
        crypto_base64_decode(bytes_of(padded, sizeof padded), decoded) == CRYPTO_AES_KEY_BYTES;
    if (is_key)
        memcpy(out, decoded, CRYPTO_AES_KEY_BYTES);
    crypto_wipe(padded, sizeof padded);
    crypto_wipe(decoded, sizeof decoded);
    if (!is_key)
        return brg_fail(error, BRG_REJECT, "letters, digits, '+' and '/' expected");
    return BRG_OK;
}

static void wipe_string(char *text)
{
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
}

void wecom_keys_wipe(struct wecom_keys *keys)
{
    for (size_t i = 0; i < keys->token_count; i++)
        wipe_string(keys->tokens[i]);
    wipe_string(keys->receive_id);
    crypto_wipe(keys, sizeof *keys);
}

/* All tokens are compared, whichever fits. */
static bool find_token(struct crypto *c, const struct wecom_keys *keys,
                       const struct wecom_query *query, struct bytes encrypt, size_t *token)
{
    bool found = false;
    for (size_t i = 0; i < keys->token_count; i++) {
        char expected[WECOM_SIGNATURE_CHARS];
        wecom_sign(c, keys->tokens[i], query->timestamp, query->nonce, encrypt, expected);
        if (!crypto_equal(query->signature, bytes_of(expected, sizeof expected)) || found)
            continue;
        *token = i;
        found = true;
    }
    return found;
}

enum wecom_verdict wecom_open(struct crypto *c, const struct wecom_keys *keys,
                              const struct wecom_query *query, struct bytes encrypt,
                              struct buf *plain, struct bytes *text, struct wecom_keyring *used)
{
    buf_reset(plain);
    if (!find_token(c, keys, query, encrypt, &used->token))
        return WECOM_BAD_SIGNATURE;
    struct bytes receive_id = bytes_of_str(keys->receive_id);
    for (size_t i = 0; i < keys->aes_key_count; i++) {
        if (!wecom_frame_open(c, keys->aes_keys[i], receive_id, encrypt, plain, text))
            continue;
        used->aes_key = i;
        return WECOM_GENUINE;
    }
    return WECOM_BAD_CIPHERTEXT;
}
