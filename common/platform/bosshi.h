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

/* Decrypts the base64 text into `plain`; false, with `plain` empty, when length, alphabet or
 * any padding byte is wrong. */
bool bosshi_decrypt(struct crypto *c, const uint8_t key[CRYPTO_AES_KEY_BYTES],
                    struct bytes encrypt, struct buf *plain);

/* What has to show that a POST is the platform's. The URL check always has the token. */
enum bosshi_proof {
    BOSSHI_PROOF_TOKEN,     /* the Verification Token in the body */
    BOSSHI_PROOF_SIGNATURE, /* the three headers */
    BOSSHI_PROOF_NONE,
};

/* One POST. The headers are empty where they are not given or not to be checked. */
struct bosshi_post {
    struct bytes body, signature, timestamp, nonce;
    bool is_card; /* came to the URL for clicks on cards */
    enum bosshi_proof proof;
};

enum bosshi_verdict {
    BOSSHI_GENUINE,
    BOSSHI_MALFORMED, /* no JSON object */
    BOSSHI_REFUSED, /* plain or encrypted against the keys, ciphertext, token, app or signature:
                       not told apart */
};

/* What a genuine POST holds. */
struct bosshi_opened {
    struct bytes text; /* plain JSON, a view into `plain` or the body */
    struct json *root; /* its object, the caller's (json_free) */
    bool is_cut;       /* too deep or too full: of the object only what proves and names it */
};

/* Decrypts and verifies; every key and every token is tried. But on BOSSHI_GENUINE `*out` is
 * empty. CBC has no integrity: what opens under a wrong key is told by its JSON and token.
 * Where the token is no proof, plain bodies are taken although there is a key. */
enum bosshi_verdict bosshi_open(struct crypto *c, const struct bosshi_keys *keys,
                                const struct bosshi_post *post, struct buf *plain,
                                struct bosshi_opened *out);

/* The URL check: `*challenge` is what has to come back. */
bool bosshi_is_challenge(const struct json *root, struct bytes *challenge);
void bosshi_write_challenge(struct buf *out, struct bytes challenge);

#define BOSSHI_EVENT_ID_MAX_BYTES 256

/* Views into root; empty where absent. Schema 1.0, 2.0 or none, and the older layout without
 * header (uuid, event.type). */
struct bosshi_event {
    struct bytes id, type, app_id, tenant;
    int64_t created_ms; /* 0: not said */
};
/* False without a usable id: no identity, so no record of its own. */
bool bosshi_parse_event(const struct json *root, struct bosshi_event *out);
/* `wanted` (NULL-terminated) has the type; "_v<digits>" at the end of either is nothing. */
bool bosshi_is_wanted(struct bytes type, char *const *wanted);

struct bosshi_ids {
    struct bytes open_id, union_id, user_id;
};

struct bosshi_message {
    struct bytes id, root_id, parent_id, chat_id, type, content;
    bool is_group;   /* whatever is not "p2p" */
    bool is_by_user; /* no sender_type counts as "user", its only value so far */
    struct bosshi_ids sender;
    struct bytes sender_tenant;
    int64_t created_ms; /* 0: not said */
    const struct json *mentions;
};
/* NULL, or what is wrong with the message for good. */
const char *bosshi_parse_message(const struct json *root, struct bosshi_message *out);

/* The bot, as messages mention it. */
struct bosshi_self {
    const char *open_id; /* "" not known */
    char *const *names;  /* NULL-terminated, or NULL */
};

struct bosshi_content {
    struct buf text;     /* whole readable text, mentions by name, the bot's own left out */
    struct buf parts;    /* JSON array; empty for a plain text */
    struct buf mentions; /* JSON array; empty without any */
};
/* Each with its maximum. */
void bosshi_content_init(struct bosshi_content *content, size_t max);
void bosshi_content_free(struct bosshi_content *content);
/* NULL, or what is wrong with the content for good (its JSON, or its size). Types that are not
 * known are named in brackets; their content is in the raw object all the same. */
const char *bosshi_read_content(const struct bosshi_message *m, const struct bosshi_self *self,
                                struct bosshi_content *out);

/* Appends the object without its tokens: on top, in the header, and in the event, where it is
 * for updating the card that was clicked on. */
void bosshi_write_raw(struct buf *out, const struct json *root);
