/* BOSSHI codec: opening callbacks, against the vectors and against whatever is not genuine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/bosshi.h"
#include "platform/bosshi_peer.h"
#include "support_wecom.h"

#define APP "bli_9f5343c580712544"
#define TOKEN "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV"
#define KEY "bosshi-bridge test key"

static struct crypto *crypto;
static struct json *vectors;
static struct buf plain, body;
static bool was_cut; /* what was opened last */

static int make(void **state)
{
    (void)state;
    crypto = crypto_new();
    vectors = vectors_read_file("bosshi-crypt.json");
    buf_init(&plain, 1 << 20);
    buf_init(&body, 1 << 20);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    buf_free(&body);
    buf_free(&plain);
    json_free(vectors);
    crypto_free(crypto);
    return 0;
}

static struct bosshi_keys keys_of_strings(const char *const *strings)
{
    struct bosshi_keys keys = {.app_id = (char *)(uintptr_t)strings[0]};
    keys.tokens[keys.token_count++] = (char *)(uintptr_t)strings[1];
    for (size_t i = 2; strings[i]; i++)
        keys.encrypt_keys[keys.encrypt_key_count++] = (char *)(uintptr_t)strings[i];
    bosshi_keys_derive(&keys);
    return keys;
}
#define KEYS(...) keys_of_strings((const char *const[]){__VA_ARGS__, NULL})

static enum bosshi_verdict open_post(const struct bosshi_keys *keys,
                                     const struct bosshi_post *post)
{
    struct bosshi_opened opened;
    enum bosshi_verdict verdict = bosshi_open(crypto, keys, post, &plain, &opened);
    assert_int_equal(opened.root != NULL, verdict == BOSSHI_GENUINE);
    assert_int_equal(opened.text.len > 0, verdict == BOSSHI_GENUINE);
    if (verdict != BOSSHI_GENUINE)
        assert_int_equal(plain.len, 0);
    json_free(opened.root);
    was_cut = opened.is_cut;
    return verdict;
}

static enum bosshi_verdict open_text(const struct bosshi_keys *keys, struct bytes text)
{
    return open_post(keys, &(struct bosshi_post){.body = text});
}

static enum bosshi_verdict open_sealed(const struct bosshi_keys *keys, const char *key,
                                       const char *text)
{
    buf_reset(&body);
    bosshi_peer_seal(crypto, bytes_of_str(key), bytes_of_str(text), &body);
    return open_text(keys, buf_bytes(&body));
}

static struct bosshi_keys keys_of_vector(const struct json *v, char **copy)
{
    *copy = bytes_dup(json_get_string(v, "encrypt_key"));
    return KEYS(APP, TOKEN, *copy);
}

static void published_and_made_ciphertexts(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "decrypt");
    assert_true(json_length(list) >= 6);
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        char *copy, hex[2 * CRYPTO_AES_KEY_BYTES];
        struct bosshi_keys keys = keys_of_vector(v, &copy);
        struct bytes expected = json_get_string(v, "plaintext_utf8");
        crypto_hex(keys.aes_keys[0], CRYPTO_AES_KEY_BYTES, hex);
        assert_true(bytes_eq(bytes_of(hex, sizeof hex), json_get_string(v, "key_sha256_hex")));
        if (!bosshi_decrypt(crypto, keys.aes_keys[0], json_get_string(v, "encrypt"), &plain) ||
            !bytes_eq(buf_bytes(&plain), expected))
            fail_msg(BYTES_FMT, BYTES_ARG(json_get_string(v, "id")));
        free(copy);
    }
}

static void ciphertexts_that_must_fail(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "decrypt_must_fail");
    assert_true(json_length(list) >= 6);
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        char *copy;
        struct bosshi_keys keys = keys_of_vector(v, &copy);
        struct bytes encrypt = json_get_string(v, "encrypt");
        buf_reset(&plain);
        buf_append_str(&plain, "what was before");
        if (bosshi_decrypt(crypto, keys.aes_keys[0], encrypt, &plain) || plain.len != 0)
            fail_msg(BYTES_FMT, BYTES_ARG(json_get_string(v, "id")));
        buf_reset(&body);
        buf_append_str(&body, "{\"encrypt\":\"");
        buf_append(&body, encrypt);
        buf_append_str(&body, "\"}");
        assert_int_equal(open_text(&keys, buf_bytes(&body)), BOSSHI_REFUSED);
        free(copy);
    }
}

/* Every one of the 16 lengths of padding, and every byte of it flipped. */
static void every_padding_byte_is_checked(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN, KEY);
    for (size_t pad = 1; pad <= 16; pad++) {
        uint8_t iv[16] = {0}, block[16];
        for (size_t wrong = 0; wrong <= pad; wrong++) {
            memset(block, 'x', sizeof block);
            memset(block + 16 - pad, (int)pad, pad);
            if (wrong < pad)
                block[16 - pad + wrong] ^= 0x40;
            uint8_t raw[32];
            memcpy(raw, iv, 16);
            crypto_aes_encrypt(crypto, keys.aes_keys[0], iv, block, 16, raw + 16);
            buf_reset(&body);
            crypto_base64_encode(&body, bytes_of(raw, sizeof raw));
            bool is_right = bosshi_decrypt(crypto, keys.aes_keys[0], buf_bytes(&body), &plain);
            assert_int_equal(is_right, wrong == pad);
            assert_int_equal(plain.len, is_right ? 16 - pad : 0);
        }
    }
}

#define EVENT(token, app)                                                              \
    "{\"header\":{\"event_id\":\"e\",\"token\":\"" token "\",\"app_id\":\"" app "\"}," \
    "\"event\":{}}"
/* Without its closing bracket. */
#define EVENT_HEADER(token, app) \
    "{\"header\":{\"event_id\":\"e\",\"token\":\"" token "\",\"app_id\":\"" app "\"}"
#define CHALLENGE(token) \
    "{\"challenge\":\"c\\\"1\",\"token\":\"" token "\",\"type\":\"url_verification\"}"

static void plain_bodies(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN);
    static const struct {
        const char *text;
        enum bosshi_verdict verdict;
    } cases[] = {
        {EVENT(TOKEN, APP), BOSSHI_GENUINE},
        {EVENT("x", APP), BOSSHI_REFUSED},
        {EVENT("", APP), BOSSHI_REFUSED},
        {EVENT(TOKEN "x", APP), BOSSHI_REFUSED},
        {EVENT(TOKEN, "bli_other"), BOSSHI_REFUSED},
        {EVENT(TOKEN, ""), BOSSHI_REFUSED},
        {"{\"header\":{\"token\":\"" TOKEN "\"}}", BOSSHI_REFUSED},
        {"{\"header\":{\"token\":[\"" TOKEN "\"],\"app_id\":\"" APP "\"}}", BOSSHI_REFUSED},
        {"{\"header\":null,\"token\":\"" TOKEN "\"}", BOSSHI_GENUINE},
        {"{\"token\":\"" TOKEN "\",\"event\":{\"app_id\":\"" APP "\"}}", BOSSHI_GENUINE},
        {"{\"token\":\"" TOKEN "\",\"event\":{\"app_id\":\"x\"}}", BOSSHI_REFUSED},
        {"{\"token\":\"" TOKEN "\",\"header\":{}}", BOSSHI_REFUSED},
        {CHALLENGE(TOKEN), BOSSHI_GENUINE},
        {CHALLENGE("y"), BOSSHI_REFUSED},
        {"{\"encrypt\":\"AAAA\"}", BOSSHI_REFUSED},
        {"{\"encrypt\":\"\",\"token\":\"" TOKEN "\"}", BOSSHI_REFUSED},
        {"{}", BOSSHI_REFUSED},
        {"", BOSSHI_MALFORMED},
        {"[]", BOSSHI_MALFORMED},
        {"\"x\"", BOSSHI_MALFORMED},
        {"{", BOSSHI_MALFORMED},
        {"{\"a\":\"\xff\"}", BOSSHI_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (open_text(&keys, bytes_of_str(cases[i].text)) != cases[i].verdict)
            fail_msg("%s", cases[i].text);
}

static void encrypted_bodies(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN, KEY, "old key");
    assert_int_equal(open_sealed(&keys, KEY, EVENT(TOKEN, APP)), BOSSHI_GENUINE);
    assert_int_equal(open_sealed(&keys, "old key", EVENT(TOKEN, APP)), BOSSHI_GENUINE);
    assert_int_equal(open_sealed(&keys, "another", EVENT(TOKEN, APP)), BOSSHI_REFUSED);
    assert_int_equal(open_sealed(&keys, KEY, EVENT("x", APP)), BOSSHI_REFUSED);
    assert_int_equal(open_sealed(&keys, KEY, "no json"), BOSSHI_REFUSED);
    assert_int_equal(open_sealed(&keys, KEY, "[]"), BOSSHI_REFUSED);
    assert_int_equal(open_sealed(&keys, KEY, ""), BOSSHI_REFUSED);
    /* Plain where encrypted is demanded. */
    assert_int_equal(open_text(&keys, BYTES_LIT(EVENT(TOKEN, APP))), BOSSHI_REFUSED);
    assert_int_equal(open_text(&keys, BYTES_LIT(CHALLENGE(TOKEN))), BOSSHI_REFUSED);
    assert_int_equal(open_text(&keys, BYTES_LIT("{\"encrypt\":3}")), BOSSHI_REFUSED);
    assert_int_equal(open_text(&keys, BYTES_LIT("{\"encrypt\":null}")), BOSSHI_REFUSED);
    assert_int_equal(open_text(&keys, BYTES_LIT("no json")), BOSSHI_MALFORMED);
    /* An unusual spelling of the same envelope. */
    buf_reset(&body);
    bosshi_peer_seal(crypto, BYTES_LIT(KEY), BYTES_LIT(EVENT(TOKEN, APP)), &body);
    buf_consume(&body, sizeof "{\"encrypt\"" - 1);
    struct buf other;
    buf_init(&other, 1 << 16);
    buf_append_str(&other, " { \"x\" : [1] , \"\\u0065ncrypt\" ");
    buf_append(&other, buf_bytes(&body));
    assert_int_equal(open_text(&keys, buf_bytes(&other)), BOSSHI_GENUINE);
    buf_free(&other);
}

/* About one in 255 wrong keys leaves something that looks padded: never more than refused. */
static void many_wrong_keys(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "key %u", i);
        struct bosshi_keys keys = KEYS(APP, TOKEN, name);
        assert_int_equal(open_sealed(&keys, KEY, EVENT(TOKEN, APP)), BOSSHI_REFUSED);
    }
}

static void tokens_rotate(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN);
    keys.tokens[keys.token_count++] = (char *)(uintptr_t) "old";
    assert_int_equal(open_text(&keys, BYTES_LIT(EVENT("old", APP))), BOSSHI_GENUINE);
    assert_int_equal(open_text(&keys, BYTES_LIT(EVENT(TOKEN, APP))), BOSSHI_GENUINE);
    assert_int_equal(open_text(&keys, BYTES_LIT(CHALLENGE("old"))), BOSSHI_GENUINE);
    assert_int_equal(open_text(&keys, BYTES_LIT(EVENT("older", APP))), BOSSHI_REFUSED);
}

static void signature_vectors(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "signature_feishu_inferred");
    assert_true(json_length(list) >= 2);
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        char out[BOSSHI_PEER_SIGNATURE_CHARS];
        bosshi_peer_sign(crypto, json_get_string(v, "timestamp"), json_get_string(v, "nonce"),
                         json_get_string(v, "encrypt_key"), json_get_string(v, "raw_body"),
                         out);
        assert_true(bytes_eq(bytes_of(out, sizeof out), json_get_string(v, "expected_hex")));
    }
}

static void signed_posts(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN, "new key", KEY);
    char signature[BOSSHI_PEER_SIGNATURE_CHARS];
    struct bytes time = BYTES_LIT("1700000000"), nonce = BYTES_LIT("n-1");
    buf_reset(&body);
    bosshi_peer_seal(crypto, BYTES_LIT(KEY), BYTES_LIT(EVENT(TOKEN, APP)), &body);
    bosshi_peer_sign(crypto, time, nonce, BYTES_LIT(KEY), buf_bytes(&body), signature);
    struct bosshi_post post = {.body = buf_bytes(&body),
                               .signature = bytes_of(signature, sizeof signature),
                               .timestamp = time,
                               .nonce = nonce};
    assert_int_equal(open_post(&keys, &post), BOSSHI_GENUINE);
    struct bosshi_post changed = post;
    changed.timestamp = BYTES_LIT("1700000001");
    assert_int_equal(open_post(&keys, &changed), BOSSHI_REFUSED);
    changed = post;
    changed.signature.len--;
    assert_int_equal(open_post(&keys, &changed), BOSSHI_REFUSED);
    changed.nonce = changed.signature = changed.timestamp = BYTES_LIT("");
    assert_int_equal(open_post(&keys, &changed), BOSSHI_GENUINE);
    /* The URL check is not signed. */
    buf_reset(&body);
    bosshi_peer_seal(crypto, BYTES_LIT(KEY), BYTES_LIT(CHALLENGE(TOKEN)), &body);
    post.body = buf_bytes(&body);
    assert_int_equal(open_post(&keys, &post), BOSSHI_GENUINE);
}

/* Nesting that no tree is built of: the header alone proves and names it. */
static void too_deep_bodies(void **state)
{
    (void)state;
    struct bosshi_keys open = KEYS(APP, TOKEN), sealed = KEYS(APP, TOKEN, KEY);
    static const struct {
        const char *header;
        int depth;
        enum bosshi_verdict verdict;
        bool is_cut;
    } cases[] = {
        {EVENT_HEADER(TOKEN, APP), 22, BOSSHI_GENUINE, false},
        {EVENT_HEADER(TOKEN, APP), 24, BOSSHI_GENUINE, true},
        {EVENT_HEADER(TOKEN, APP), 1000, BOSSHI_GENUINE, true},
        {EVENT_HEADER("x", APP), 100, BOSSHI_REFUSED, false},
        {EVENT_HEADER(TOKEN, "other"), 100, BOSSHI_REFUSED, false},
        {"{\"token\":\"" TOKEN "\"", 100, BOSSHI_REFUSED, false},
        {EVENT_HEADER(TOKEN, APP), 1100, BOSSHI_MALFORMED, false},
        {"{\"header\":{\"\\u0074oken\":\"" TOKEN "\"}", 100, BOSSHI_MALFORMED, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf text;
        buf_init(&text, 8192);
        buf_append_str(&text, cases[i].header);
        buf_append_str(&text, ",\"event\":");
        for (int k = 0; k < cases[i].depth; k++)
            buf_append_char(&text, '[');
        for (int k = 0; k < cases[i].depth; k++)
            buf_append_char(&text, ']');
        buf_append_char(&text, '}');
        if (open_text(&open, buf_bytes(&text)) != cases[i].verdict ||
            was_cut != cases[i].is_cut)
            fail_msg("case %zu", i);
        buf_append_char(&text, '\0');
        enum bosshi_verdict verdict = open_sealed(&sealed, KEY, text.ptr);
        if ((verdict == BOSSHI_GENUINE) != (cases[i].verdict == BOSSHI_GENUINE) ||
            was_cut != cases[i].is_cut)
            fail_msg("case %zu, sealed", i);
        buf_free(&text);
    }
}

#define CLICK "{\"open_id\":\"ou\",\"token\":\"c-credential\",\"action\":{\"tag\":\"button\"}}"
#define NEW_CLICK(app)                                                       \
    "{\"header\":{\"event_type\":\"card.action.trigger\",\"token\":\"" TOKEN \
    "\",\"app_id\":\"" app "\"},\"event\":{\"token\":\"c-credential\"}}"

static enum bosshi_verdict open_click(const struct bosshi_keys *keys, enum bosshi_proof proof,
                                      const char *text)
{
    return open_post(keys, &(struct bosshi_post){
                               .body = bytes_of_str(text), .is_card = true, .proof = proof});
}

/* What proves a click is a setting; the check of its URL needs the token whatever that is. */
static void clicks_on_cards(void **state)
{
    (void)state;
    struct bosshi_keys open = KEYS(APP, TOKEN), sealed = KEYS(APP, TOKEN, KEY);
    const enum bosshi_verdict yes = BOSSHI_GENUINE, no = BOSSHI_REFUSED;
    const struct {
        const char *text;
        enum bosshi_verdict with[3], with_key[3]; /* by proof: token, signature, none */
    } cases[] = {
        {CLICK, {no, no, yes}, {no, no, yes}},
        {"{\"token\":\"" TOKEN "\"}", {yes, no, yes}, {no, no, yes}},
        {NEW_CLICK(APP), {yes, no, yes}, {no, no, yes}},
        {NEW_CLICK("other"), {no, no, no}, {no, no, no}},
        {CHALLENGE(TOKEN), {yes, yes, yes}, {no, yes, yes}},
        {CHALLENGE("x"), {no, no, no}, {no, no, no}},
        {"{\"encrypt\":\"AAAA\"}", {no, no, no}, {no, no, no}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int proof = 0; proof < 3; proof++) {
            enum bosshi_proof p = (enum bosshi_proof)proof;
            if (open_click(&open, p, cases[i].text) != cases[i].with[proof] ||
                open_click(&sealed, p, cases[i].text) != cases[i].with_key[proof])
                fail_msg("%s, proof %d", cases[i].text, proof);
        }
    }
    buf_reset(&body);
    bosshi_peer_seal(crypto, BYTES_LIT(KEY), BYTES_LIT(CLICK), &body);
    struct bosshi_post post = {
        .body = buf_bytes(&body), .is_card = true, .proof = BOSSHI_PROOF_NONE};
    assert_int_equal(open_post(&sealed, &post), BOSSHI_GENUINE);
    post.proof = BOSSHI_PROOF_TOKEN;
    assert_int_equal(open_post(&sealed, &post), BOSSHI_REFUSED);
}

/* With the token and SHA-1, as Feishu signs them, or with the key as events are signed. */
static void signed_clicks(void **state)
{
    (void)state;
    struct bosshi_keys keys = KEYS(APP, TOKEN, KEY);
    struct bytes time = BYTES_LIT("1700000000"), nonce = BYTES_LIT("n-1");
    const struct bytes parts[] = {time, nonce, BYTES_LIT(TOKEN), BYTES_LIT(CLICK)};
    uint8_t digest[CRYPTO_SHA1_BYTES];
    char by_token[2 * CRYPTO_SHA1_BYTES], by_key[BOSSHI_PEER_SIGNATURE_CHARS];
    crypto_sha1(crypto, parts, 4, digest);
    crypto_hex(digest, sizeof digest, by_token);
    bosshi_peer_sign(crypto, time, nonce, BYTES_LIT(KEY), BYTES_LIT(CLICK), by_key);
    struct bosshi_post post = {.body = BYTES_LIT(CLICK),
                               .signature = bytes_of(by_token, sizeof by_token),
                               .timestamp = time,
                               .nonce = nonce,
                               .is_card = true,
                               .proof = BOSSHI_PROOF_SIGNATURE};
    assert_int_equal(open_post(&keys, &post), BOSSHI_GENUINE);
    post.is_card = false; /* events are not signed so */
    assert_int_equal(open_post(&keys, &post), BOSSHI_REFUSED);
    post.is_card = true;
    post.signature = bytes_of(by_key, sizeof by_key);
    assert_int_equal(open_post(&keys, &post), BOSSHI_GENUINE);
    by_key[3] ^= 1;
    assert_int_equal(open_post(&keys, &post), BOSSHI_REFUSED);
    by_key[3] ^= 1;
    post.nonce = BYTES_LIT("");
    assert_int_equal(open_post(&keys, &post), BOSSHI_REFUSED);
}

static void challenge_comes_back(void **state)
{
    (void)state;
    struct json *root = json_parse(BYTES_LIT(CHALLENGE(TOKEN)), JSON_PEER, NULL);
    struct bytes challenge;
    assert_true(bosshi_is_challenge(root, &challenge));
    buf_reset(&body);
    bosshi_write_challenge(&body, challenge);
    assert_true(bytes_eq_str(buf_bytes(&body), "{\"challenge\":\"c\\\"1\"}"));
    json_free(root);
    root = json_parse(BYTES_LIT("{\"challenge\":\"c\",\"type\":\"event_callback\"}"), JSON_PEER,
                      NULL);
    assert_false(bosshi_is_challenge(root, &challenge));
    json_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_and_made_ciphertexts),
        cmocka_unit_test(ciphertexts_that_must_fail),
        cmocka_unit_test(every_padding_byte_is_checked),
        cmocka_unit_test(plain_bodies),
        cmocka_unit_test(encrypted_bodies),
        cmocka_unit_test(many_wrong_keys),
        cmocka_unit_test(tokens_rotate),
        cmocka_unit_test(signature_vectors),
        cmocka_unit_test(signed_posts),
        cmocka_unit_test(too_deep_bodies),
        cmocka_unit_test(clicks_on_cards),
        cmocka_unit_test(signed_clicks),
        cmocka_unit_test(challenge_comes_back),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
