/* WeCom AI bot codec: between the platform's bytes and ours. No I/O; the time is passed in. Any
 * thread, with its own `struct crypto` and buffers.
 *
 * Protocol facts: callbacks and replies are {"encrypt"} envelopes, AES-256-CBC over
 * random(16) | length(4, big endian) | text | receive_id, PKCS#7 to 32 bytes; signed by SHA-1
 * over the sorted strings token, timestamp, nonce, encrypt. (developer.work.weixin.qq.com
 * 101033, 100719, 101027, 101031.) */
#pragma once

#include "base/buf.h"
#include "crypto/crypto.h"
#include "json/json.h"

#define WECOM_CONTENT_MAX_BYTES 20480
#define WECOM_STREAM_ID_MAX 64 /* ours are 22; what a refresh may carry */
#define WECOM_MSGID_MAX_BYTES 256
#define WECOM_AES_KEY_CHARS 43
/* Maxima for buffers: `plain` holds any reply whose content keeps its limit, were every byte of
 * it escaped, and any callback of 256 KiB; `out` holds its envelope. */
#define WECOM_PLAIN_MAX_BYTES ((size_t)(256 * 1024))
#define WECOM_REPLY_MAX_BYTES ((size_t)(384 * 1024))

/* The secrets of one bot. Tokens and keys rotate independently. */
struct wecom_keys {
    char *tokens[SECRET_ROTATION_MAX];
    size_t token_count;
    uint8_t aes_keys[SECRET_ROTATION_MAX][CRYPTO_AES_KEY_BYTES];
    size_t aes_key_count;
    char *receive_id; /* "" for a bot made inside the enterprise */
};

/* BRG_REJECT when an AES key is not 43 base64 characters ("43 characters expected, 42 given").
 */
enum brg_err wecom_aes_key_decode(const char *text, uint8_t out[CRYPTO_AES_KEY_BYTES],
                                  struct brg_error *error) BRG_MUST_CHECK;
void wecom_keys_wipe(struct wecom_keys *keys); /* frees strings, cleanses keys */

/* The three query parameters; all required. */
struct wecom_query {
    struct bytes signature, timestamp, nonce;
};

/* Which of the bot's keys a callback used; the reply uses the same. */
struct wecom_keyring {
    size_t token;
    size_t aes_key;
};

enum wecom_verdict {
    WECOM_GENUINE,
    WECOM_BAD_SIGNATURE,
    WECOM_BAD_CIPHERTEXT, /* base64, length, padding, length field or receive_id: not told apart
                           */
};

/* Verifies and decrypts `encrypt` (GET's echostr or POST's member). Every token is tried, then
 * every key. On WECOM_GENUINE `*text` is a view into `plain`; else `plain` is empty. */
enum wecom_verdict wecom_open(struct crypto *c, const struct wecom_keys *keys,
                              const struct wecom_query *query, struct bytes encrypt,
                              struct buf *plain, struct bytes *text,
                              struct wecom_keyring *used);

/* The "encrypt" (or "Encrypt") string of a POST body; BRG_REJECT for anything else. `*encrypt`
 * lives as long as *root and the body; *root may be NULL. */
enum brg_err wecom_parse_body(struct bytes body, struct json **root,
                              struct bytes *encrypt) BRG_MUST_CHECK;

enum wecom_kind {
    WECOM_TEXT,    /* a question */
    WECOM_REFRESH, /* msgtype "stream": read the text of stream_id, as it came: any string */
    WECOM_EVENT,   /* msgtype "event" */
    WECOM_OTHER,   /* any other msgtype: passed on raw */
    WECOM_BROKEN,  /* no JSON object, or members missing that its type needs */
};

/* Views into root, or for a refresh, which may have none, into the text it was parsed from. */
struct wecom_callback {
    enum wecom_kind kind;
    struct json *root; /* owned by the caller: json_free */
    struct bytes msgid, aibotid, chat_id, user_id, msgtype, response_url;
    bool is_group;
    struct bytes text;       /* WECOM_TEXT */
    struct bytes stream_id;  /* WECOM_REFRESH */
    struct bytes event_type; /* WECOM_EVENT */
};

void wecom_parse(struct bytes text, struct wecom_callback *out);

/* Replies. A plaintext is written into `plain` behind room for the frame's head:
 *     wecom_reply_begin(plain);  wecom_write_stream(plain, …);
 *     wecom_reply_seal(c, keys, used, plain, now_s, nonce, out);
 * Seal encrypts `plain` in place (it is ciphertext afterwards) and appends the envelope
 * {"encrypt","msgsignature","timestamp","nonce"} to `out`. When either buffer meets its
 * maximum, `out->overflowed` is set. No allocation but the buffers' own growth. */
void wecom_reply_begin(struct buf *plain);
void wecom_write_stream(struct buf *plain, struct bytes stream_id, bool finish,
                        struct bytes content);
void wecom_write_empty(struct buf *plain); /* {} : nothing to say */
void wecom_reply_seal(struct crypto *c, const struct wecom_keys *keys,
                      struct wecom_keyring used, struct buf *plain, int64_t now_s,
                      struct bytes nonce, struct buf *out);

/* The platform's side, for the simulator; both use the current token and key. A callback:
 * `body` gets {"encrypt"}, `query` the three parameters, percent-encoded. The URL check:
 * `query` gets echostr as well. `plain` is begun with wecom_reply_begin. */
void wecom_callback_seal(struct crypto *c, const struct wecom_keys *keys, struct buf *plain,
                         int64_t now_s, struct bytes nonce, struct buf *body,
                         struct buf *query);
void wecom_echo_seal(struct crypto *c, const struct wecom_keys *keys, struct buf *plain,
                     int64_t now_s, struct bytes nonce, struct buf *query);

/* Opens a reply as strictly as the platform would; `error` says which rule was broken. `*text`,
 * a JSON object, is a view into `plain`. */
#define WECOM_REPLY_AGE_MAX_S 600
enum brg_err wecom_reply_open_at(struct crypto *c, const struct wecom_keys *keys, int64_t now_s,
                                 struct bytes body, struct bytes nonce, struct buf *plain,
                                 struct bytes *text, struct brg_error *error) BRG_MUST_CHECK;
/* The same by the wall clock. */
enum brg_err wecom_reply_open(struct crypto *c, const struct wecom_keys *keys,
                              struct bytes body, struct bytes nonce, struct buf *plain,
                              struct bytes *text, struct brg_error *error) BRG_MUST_CHECK;
