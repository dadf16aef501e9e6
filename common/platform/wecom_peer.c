/* The platform's side of the codec. */
#include "base/clock.h"
#include "platform/wecom_frame.h"

static const struct wecom_keyring CURRENT = {0, 0};

static void append_escaped(struct buf *out, struct bytes value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < value.len; i++) {
        if (memchr(plain, value.ptr[i], sizeof plain - 1))
            buf_append_char(out, value.ptr[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)value.ptr[i]);
    }
}

static void append_query(struct crypto *c, const struct wecom_keys *keys, int64_t now_s,
                         struct bytes nonce, struct bytes encrypt, struct buf *query)
{
    char digits[24];
    char signature[WECOM_SIGNATURE_CHARS];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)now_s);
    struct bytes timestamp = bytes_of(digits, (size_t)len);
    wecom_sign(c, keys->tokens[CURRENT.token], timestamp, nonce, encrypt, signature);
    buf_append(query, BYTES_LIT("msg_signature="));
    buf_append(query, bytes_of(signature, sizeof signature));
    buf_append(query, BYTES_LIT("&timestamp="));
    buf_append(query, timestamp);
    buf_append(query, BYTES_LIT("&nonce="));
    append_escaped(query, nonce);
}

void wecom_callback_seal(struct crypto *c, const struct wecom_keys *keys, struct buf *plain,
                         int64_t now_s, struct bytes nonce, struct buf *body, struct buf *query)
{
    buf_append(body, BYTES_LIT("{\"encrypt\":\""));
    struct bytes encrypt = wecom_frame_seal(c, keys->aes_keys[CURRENT.aes_key],
                                            bytes_of_str(keys->receive_id), plain, body);
    append_query(c, keys, now_s, nonce, encrypt, query);
    buf_append(body, BYTES_LIT("\"}"));
}

void wecom_echo_seal(struct crypto *c, const struct wecom_keys *keys, struct buf *plain,
                     int64_t now_s, struct bytes nonce, struct buf *query)
{
    struct buf encrypt;
    buf_init(&encrypt, WECOM_REPLY_MAX_BYTES);
    wecom_frame_seal(c, keys->aes_keys[CURRENT.aes_key], bytes_of_str(keys->receive_id), plain,
                     &encrypt);
    if (encrypt.overflowed)
        query->overflowed = true;
    append_query(c, keys, now_s, nonce, buf_bytes(&encrypt), query);
    buf_append(query, BYTES_LIT("&echostr="));
    append_escaped(query, buf_bytes(&encrypt));
    buf_free(&encrypt);
}

/* The four members of a reply; all views. */
struct reply {
    struct bytes encrypt, signature, timestamp, nonce;
    char digits[24]; /* of a timestamp that came as a number */
    size_t members;
};

static void count_member(struct bytes key, const struct json *value, void *arg)
{
    (void)key;
    (void)value;
    ((struct reply *)arg)->members++;
}

/* The platform's page shows a number, its own kits write a string: either is accepted. */
static enum brg_err read_timestamp(const struct json *member, int64_t now_s, struct reply *r,
                                   struct brg_error *error)
{
    int64_t value = json_int(member, -1);
    r->timestamp = json_string(member);
    if (json_type(member) == JSON_INT) {
        int len = snprintf(r->digits, sizeof r->digits, "%lld", (long long)value);
        r->timestamp = bytes_of(r->digits, (size_t)len);
    } else if (!bytes_to_i64(r->timestamp, &value)) {
        return brg_fail(error, BRG_REJECT, "timestamp is not a number of seconds");
    }
    if (value < now_s - WECOM_REPLY_AGE_MAX_S || value > now_s + WECOM_REPLY_AGE_MAX_S)
        return brg_fail(error, BRG_REJECT, "timestamp %lld is more than %d s from now",
                        (long long)value, WECOM_REPLY_AGE_MAX_S);
    return BRG_OK;
}

static enum brg_err read_reply(const struct json *root, int64_t now_s, struct reply *r,
                               struct brg_error *error)
{
    static const char *const names[] = {"encrypt", "msgsignature", "nonce"};
    struct bytes *const strings[] = {&r->encrypt, &r->signature, &r->nonce};
    if (json_type(root) != JSON_OBJECT)
        return brg_fail(error, BRG_REJECT, "the body is not a JSON object");
    for (size_t i = 0; i < 3; i++) {
        const struct json *member = json_get(root, names[i]);
        if (json_type(member) != JSON_STRING)
            return brg_fail(error, BRG_REJECT, "%s is missing or no string", names[i]);
        *strings[i] = json_string(member);
    }
    json_each(root, count_member, r);
    if (r->members != 4)
        return brg_fail(error, BRG_REJECT,
                        "the body has %zu members instead of encrypt, msgsignature, timestamp, "
                        "nonce",
                        r->members);
    return read_timestamp(json_get(root, "timestamp"), now_s, r, error);
}

static bool is_canonical_base64(struct bytes text)
{
    uint8_t *data = brg_calloc(1, text.len / 4 * 3 + 1);
    struct buf again;
    buf_init(&again, text.len);
    size_t len = crypto_base64_decode(text, data);
    if (len != SIZE_MAX)
        crypto_base64_encode(&again, bytes_of(data, len));
    bool same = len != SIZE_MAX && bytes_eq(buf_bytes(&again), text);
    buf_free(&again);
    free(data);
    return same;
}

static enum brg_err check_reply(struct crypto *c, const struct wecom_keys *keys,
                                const struct reply *r, struct bytes nonce,
                                struct brg_error *error)
{
    char expected[WECOM_SIGNATURE_CHARS];
    wecom_sign(c, keys->tokens[CURRENT.token], r->timestamp, r->nonce, r->encrypt, expected);
    if (!bytes_eq(r->nonce, nonce))
        return brg_fail(error, BRG_REJECT, "nonce is not that of the callback");
    if (!bytes_eq(r->signature, bytes_of(expected, sizeof expected)))
        return brg_fail(error, BRG_REJECT,
                        "msgsignature is not the SHA-1 over token, timestamp, nonce, encrypt");
    if (r->encrypt.len == 0 || !is_canonical_base64(r->encrypt))
        return brg_fail(error, BRG_REJECT, "encrypt is not canonical base64");
    return BRG_OK;
}

static enum brg_err check_text(struct bytes text, struct brg_error *error)
{
    struct brg_error detail = {0};
    struct json *root = json_parse(text, JSON_STRICT, &detail);
    bool is_object = json_type(root) == JSON_OBJECT;
    json_free(root);
    if (!root)
        return brg_fail(error, BRG_REJECT, "the plaintext is not JSON: %s", detail.text);
    if (!is_object)
        return brg_fail(error, BRG_REJECT, "the plaintext is not a JSON object");
    return BRG_OK;
}

static enum brg_err open_parsed(struct crypto *c, const struct wecom_keys *keys, int64_t now_s,
                                const struct json *root, struct bytes nonce, struct buf *plain,
                                struct bytes *text, struct brg_error *error)
{
    struct reply r = {.members = 0};
    if (read_reply(root, now_s, &r, error) != BRG_OK)
        return BRG_REJECT;
    if (check_reply(c, keys, &r, nonce, error) != BRG_OK)
        return BRG_REJECT;
    if (!wecom_frame_open(c, keys->aes_keys[CURRENT.aes_key], bytes_of_str(keys->receive_id),
                          r.encrypt, plain, text))
        return brg_fail(error, BRG_REJECT,
                        "encrypt does not decrypt: length (32), padding (32), length field or "
                        "receive id");
    return check_text(*text, error);
}

enum brg_err wecom_reply_open_at(struct crypto *c, const struct wecom_keys *keys, int64_t now_s,
                                 struct bytes body, struct bytes nonce, struct buf *plain,
                                 struct bytes *text, struct brg_error *error)
{
    struct brg_error detail = {0};
    buf_reset(plain);
    struct json *root = json_parse(body, JSON_STRICT, &detail);
    if (!root)
        return brg_fail(error, BRG_REJECT, "the body is not JSON: %s", detail.text);
    enum brg_err err = open_parsed(c, keys, now_s, root, nonce, plain, text, error);
    json_free(root);
    return err;
}

enum brg_err wecom_reply_open(struct crypto *c, const struct wecom_keys *keys,
                              struct bytes body, struct bytes nonce, struct buf *plain,
                              struct bytes *text, struct brg_error *error)
{
    return wecom_reply_open_at(c, keys, clock_wall_ms() / 1000, body, nonce, plain, text,
                               error);
}
