#include "platform/wecom_frame.h"

enum {
    HEAD_BYTES = WECOM_RANDOM_BYTES + 4, /* random, then the text's length */
    PAD_BLOCK_BYTES = 32,
};

static int compare(struct bytes a, struct bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

void wecom_sign(struct crypto *c, const char *token, struct bytes timestamp, struct bytes nonce,
                struct bytes encrypt, char out[WECOM_SIGNATURE_CHARS])
{
    struct bytes parts[] = {bytes_of_str(token), timestamp, nonce, encrypt};
    enum { COUNT = sizeof parts / sizeof parts[0] };
    for (size_t i = 1; i < COUNT; i++) {
        for (size_t k = i; k > 0 && compare(parts[k - 1], parts[k]) > 0; k--) {
            struct bytes later = parts[k - 1];
            parts[k - 1] = parts[k];
            parts[k] = later;
        }
    }
    uint8_t digest[CRYPTO_SHA1_BYTES];
    crypto_sha1(c, parts, COUNT, digest);
    crypto_hex(digest, sizeof digest, out);
}

void wecom_reply_begin(struct buf *plain)
{
    buf_reset(plain);
    if (buf_reserve(plain, HEAD_BYTES))
        plain->len = HEAD_BYTES;
}

/* Receive id, padding and head, around the text that begins behind the head. */
static void complete(struct buf *plain, struct bytes receive_id,
                     const uint8_t random[WECOM_RANDOM_BYTES])
{
    uint8_t pad[PAD_BLOCK_BYTES];
    size_t text_len = plain->len - HEAD_BYTES;
    buf_append(plain, receive_id);
    size_t pad_len = PAD_BLOCK_BYTES - plain->len % PAD_BLOCK_BYTES;
    memset(pad, (int)pad_len, pad_len);
    buf_append(plain, bytes_of(pad, pad_len));
    if (plain->overflowed)
        return;
    memcpy(plain->ptr, random, WECOM_RANDOM_BYTES);
    for (size_t i = 0; i < 4; i++)
        plain->ptr[WECOM_RANDOM_BYTES + i] = (char)(uint8_t)(text_len >> (24 - 8 * i));
}

struct bytes wecom_frame_seal_with(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                                   struct bytes receive_id,
                                   const uint8_t random[WECOM_RANDOM_BYTES], struct buf *plain,
                                   struct buf *out)
{
    size_t start = out->len;
    BRG_CHECK(plain->overflowed || plain->len >= HEAD_BYTES);
    if (!plain->overflowed)
        complete(plain, receive_id, random);
    if (plain->overflowed) {
        out->overflowed = true;
        return BYTES_LIT("");
    }
    crypto_aes_encrypt(c, key, key, plain->ptr, plain->len, plain->ptr);
    crypto_base64_encode(out, buf_bytes(plain));
    return bytes_of(out->ptr + start, out->len - start);
}

struct bytes wecom_frame_seal(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                              struct bytes receive_id, struct buf *plain, struct buf *out)
{
    uint8_t random[WECOM_RANDOM_BYTES];
    crypto_random(c, random, sizeof random);
    return wecom_frame_seal_with(c, key, receive_id, random, plain, out);
}

/* The frame after decryption. Length and sum are 64 bits wide: the field may say 4 GB. */
static bool read_frame(const uint8_t *frame, size_t len, struct bytes receive_id,
                       struct bytes *text)
{
    size_t pad = crypto_pkcs7_length(frame, len, PAD_BLOCK_BYTES);
    if (pad == 0 || len - pad < HEAD_BYTES)
        return false;
    uint64_t body = len - pad - HEAD_BYTES;
    uint64_t text_len = 0;
    for (size_t i = WECOM_RANDOM_BYTES; i < HEAD_BYTES; i++)
        text_len = text_len << 8 | frame[i];
    if (text_len > body)
        return false;
    *text = bytes_of(frame + HEAD_BYTES, (size_t)text_len);
    return crypto_equal(bytes_of(text->ptr + text->len, (size_t)(body - text_len)), receive_id);
}

bool wecom_frame_open(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                      struct bytes receive_id, struct bytes encrypt, struct buf *plain,
                      struct bytes *text)
{
    buf_reset(plain);
    uint8_t *frame = (uint8_t *)buf_reserve(plain, encrypt.len / 4 * 3);
    if (!frame)
        return false;
    size_t len = crypto_base64_decode(encrypt, frame);
    if (len == SIZE_MAX || len == 0 || len % PAD_BLOCK_BYTES != 0)
        return false;
    crypto_aes_decrypt(c, key, key, frame, len, frame);
    if (!read_frame(frame, len, receive_id, text))
        return false;
    plain->len = len;
    return true;
}
