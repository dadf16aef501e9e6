#include "json/json_writer.h"
#include "platform/wecom_frame.h"

void wecom_write_stream(struct buf *plain, struct bytes stream_id, bool finish,
                        struct bytes content)
{
    struct json_writer w;
    json_begin(&w, plain);
    json_open(&w, NULL, '{');
    json_str(&w, "msgtype", BYTES_LIT("stream"));
    json_open(&w, "stream", '{');
    json_str(&w, "id", stream_id);
    json_boolean(&w, "finish", finish);
    json_str(&w, "content", content);
    json_close(&w, '}');
    json_close(&w, '}');
}

void wecom_write_empty(struct buf *plain)
{
    buf_append(plain, BYTES_LIT("{}"));
}

enum { DECIMAL_BYTES = 24 };

static struct bytes decimal(int64_t value, char text[DECIMAL_BYTES])
{
    int len = snprintf(text, DECIMAL_BYTES, "%lld", (long long)value);
    return bytes_of(text, (size_t)len);
}

void wecom_reply_seal(struct crypto *c, const struct wecom_keys *keys,
                      struct wecom_keyring used, struct buf *plain, int64_t now_s,
                      struct bytes nonce, struct buf *out)
{
    char digits[DECIMAL_BYTES];
    char signature[WECOM_SIGNATURE_CHARS];
    struct bytes timestamp = decimal(now_s, digits);
    buf_append(out, BYTES_LIT("{\"encrypt\":\""));
    struct bytes encrypt = wecom_frame_seal(c, keys->aes_keys[used.aes_key],
                                            bytes_of_str(keys->receive_id), plain, out);
    if (out->overflowed)
        return;
    wecom_sign(c, keys->tokens[used.token], timestamp, nonce, encrypt, signature);
    buf_append(out, BYTES_LIT("\",\"msgsignature\":\""));
    buf_append(out, bytes_of(signature, sizeof signature));
    buf_append(out, BYTES_LIT("\",\"timestamp\":"));
    buf_append(out, timestamp);
    buf_append(out, BYTES_LIT(",\"nonce\":\""));
    json_escape(out, nonce);
    buf_append(out, BYTES_LIT("\"}"));
}
