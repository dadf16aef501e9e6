#include "platform/wecom_frame.h"
#include "support_wecom.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct crypto *crypto;
static struct json *vectors;
static struct buf plain, out, query_text;

static int make(void **state)
{
    (void)state;
    crypto = crypto_new();
    vectors = vectors_read();
    buf_init(&plain, WECOM_PLAIN_MAX_BYTES);
    buf_init(&out, WECOM_REPLY_MAX_BYTES);
    buf_init(&query_text, 4096);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    buf_free(&query_text);
    buf_free(&out);
    buf_free(&plain);
    json_free(vectors);
    crypto_free(crypto);
    return 0;
}

static enum wecom_verdict open_vector(const struct json *v, struct bytes encrypt,
                                      struct bytes *text)
{
    struct wecom_keys keys = keys_of(v);
    struct wecom_query query = query_of(v);
    struct wecom_keyring used = {9, 9};
    char signature[WECOM_SIGNATURE_CHARS];
    if (json_type(json_get(v, "msg_signature")) == JSON_NULL) {
        wecom_sign(crypto, keys.tokens[0], query.timestamp, query.nonce, encrypt, signature);
        query.signature = bytes_of(signature, sizeof signature);
    }
    enum wecom_verdict verdict =
        wecom_open(crypto, &keys, &query, encrypt, &plain, text, &used);
    if (verdict == WECOM_GENUINE)
        assert_true(used.token == 0 && used.aes_key == 0);
    else
        assert_int_equal(plain.len, 0);
    wecom_keys_wipe(&keys);
    return verdict;
}

static void unhex(struct bytes hex, uint8_t *data)
{
    for (size_t i = 0; i < hex.len / 2; i++) {
        char pair[3] = {hex.ptr[2 * i], hex.ptr[2 * i + 1], 0};
        data[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static void assert_same_ciphertext(const struct json *v)
{
    uint8_t random[WECOM_RANDOM_BYTES];
    struct wecom_keys keys = keys_of(v);
    unhex(json_get_string(v, "random16_hex"), random);
    wecom_reply_begin(&plain);
    buf_append(&plain, json_get_string(v, "msg"));
    buf_reset(&out);
    struct bytes again = wecom_frame_seal_with(
        crypto, keys.aes_keys[0], bytes_of_str(keys.receive_id), random, &plain, &out);
    assert_true(bytes_eq(again, json_get_string(v, "encrypt")));
    wecom_keys_wipe(&keys);
}

static void assert_body_and_query(const struct json *v)
{
    struct bytes encrypt = json_get_string(v, "encrypt");
    struct bytes body = json_get_string(v, "http_body");
    struct bytes encoded = json_get_string(v, "echostr_url_encoded");
    struct json *root = NULL;
    struct bytes found;
    if (body.len > 0) {
        assert_int_equal(wecom_parse_body(body, &root, &found), BRG_OK);
        assert_true(bytes_eq(found, encrypt));
        json_free(root);
    }
    if (encoded.len > 0) {
        char *decoded = brg_calloc(1, encoded.len);
        size_t len = bytes_percent_decode(encoded, decoded);
        assert_true(bytes_eq(bytes_of(decoded, len), encrypt));
        free(decoded);
    }
}

static void signature_only(const struct json *v)
{
    struct wecom_query q = query_of(v);
    char signature[WECOM_SIGNATURE_CHARS];
    wecom_sign(crypto, json_get_string(v, "token").ptr, q.timestamp, q.nonce,
               json_get_string(v, "encrypt"), signature);
    assert_true(bytes_eq(bytes_of(signature, sizeof signature), q.signature));
}

static void every_vector_opens_and_seals_to_the_same_bytes(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "vectors");
    assert_int_equal(json_length(list),
                     json_get_int(json_get(vectors, "counts"), "vectors", 0));
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        print_message("  %s\n", json_get_string(v, "id").ptr);
        if (bytes_eq_str(json_get_string(v, "kind"), "signature_only")) {
            signature_only(v);
            continue;
        }
        struct bytes text;
        struct bytes msg = json_get_string(v, "msg");
        assert_int_equal(open_vector(v, json_get_string(v, "encrypt"), &text), WECOM_GENUINE);
        assert_true(bytes_eq(text, msg));
        assert_int_equal(text.len, json_get_int(v, "msg_len", -1));
        assert_same_ciphertext(v);
        assert_body_and_query(v);
    }
}

static void wrong_url_decodings_fail(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "vectors");
    size_t seen = 0;
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        const struct json *wrong = json_get(v, "wrong_decodings_must_fail");
        static const char *const names[] = {"plus_as_space", "left_percent_encoded"};
        for (size_t k = 0; wrong && k < 2; k++) {
            struct bytes text;
            struct bytes encrypt = json_get_string(wrong, names[k]);
            assert_true(encrypt.len > 0);
            assert_int_equal(open_vector(v, encrypt, &text), WECOM_BAD_SIGNATURE);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
}

static void negative_vectors_give_one_of_two_verdicts(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "negative");
    assert_int_equal(json_length(list),
                     json_get_int(json_get(vectors, "counts"), "negative", 0));
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        struct bytes text;
        print_message("  %s\n", json_get_string(v, "id").ptr);
        bool by_signature = bytes_eq_str(json_get_string(v, "expect"), "bad_signature");
        assert_int_equal(open_vector(v, json_get_string(v, "encrypt"), &text),
                         by_signature ? WECOM_BAD_SIGNATURE : WECOM_BAD_CIPHERTEXT);
    }
}

static void bad_keys_are_refused(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "bad_keys");
    uint8_t key[CRYPTO_AES_KEY_BYTES];
    struct brg_error error = {0};
    assert_true(json_length(list) >= 5);
    for (size_t i = 0; i < json_length(list); i++) {
        const char *text = json_get_string(json_item(list, i), "encoding_aes_key").ptr;
        assert_int_equal(wecom_aes_key_decode(text, key, &error), BRG_REJECT);
    }
    assert_int_equal(wecom_aes_key_decode("short", key, &error), BRG_REJECT);
    assert_string_equal(error.text, "43 characters expected, 5 given");
}

static void spare_bits_of_the_key_are_ignored(void **state)
{
    (void)state;
    char text[] = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2A";
    uint8_t first[CRYPTO_AES_KEY_BYTES], key[CRYPTO_AES_KEY_BYTES];
    assert_int_equal(wecom_aes_key_decode(text, first, NULL), BRG_OK);
    for (char last = 'B'; last <= 'D'; last++) {
        text[WECOM_AES_KEY_CHARS - 1] = last;
        assert_int_equal(wecom_aes_key_decode(text, key, NULL), BRG_OK);
        assert_memory_equal(key, first, sizeof key);
    }
}

static void media_bodies_decrypt(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "media");
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        struct bytes hex = json_get_string(v, "plain_hex");
        struct bytes cipher = json_get_string(v, "cipher_base64");
        uint8_t key[CRYPTO_AES_KEY_BYTES];
        uint8_t *data = brg_calloc(1, cipher.len), *expected = brg_calloc(1, hex.len + 1);
        assert_int_equal(
            wecom_aes_key_decode(json_get_string(v, "encoding_aes_key").ptr, key, NULL),
            BRG_OK);
        size_t len = crypto_base64_decode(cipher, data);
        assert_int_equal(len, json_get_int(v, "cipher_len", -1));
        crypto_aes_decrypt(crypto, key, key, data, len, data);
        assert_int_equal(crypto_pkcs7_length(data, len, 32), json_get_int(v, "pad", -1));
        unhex(hex, expected);
        assert_memory_equal(data, expected, hex.len / 2);
        free(expected);
        free(data);
    }
}

enum { NOW = 1770000000 };

static enum wecom_verdict seal_and_open(const struct wecom_keys *sender,
                                        const struct wecom_keys *receiver, struct bytes message,
                                        struct bytes *text, struct wecom_keyring *used)
{
    wecom_reply_begin(&plain);
    buf_append(&plain, message);
    buf_reset(&out);
    buf_reset(&query_text);
    wecom_callback_seal(crypto, sender, &plain, NOW, BYTES_LIT("n1"), &out, &query_text);
    assert_false(out.overflowed || query_text.overflowed);
    const char *start = strchr(query_text.ptr, '=') + 1;
    struct wecom_query query = {bytes_of(start, WECOM_SIGNATURE_CHARS), BYTES_LIT("1770000000"),
                                BYTES_LIT("n1")};
    struct json *root = NULL;
    struct bytes encrypt;
    assert_int_equal(wecom_parse_body(buf_bytes(&out), &root, &encrypt), BRG_OK);
    enum wecom_verdict verdict =
        wecom_open(crypto, receiver, &query, encrypt, &plain, text, used);
    json_free(root);
    return verdict;
}

static void every_padding_length_round_trips(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "ww1");
    static const char filler[80] = {'x'};
    for (size_t len = 0; len <= 70; len++) {
        struct bytes text;
        struct wecom_keyring used;
        struct bytes message = bytes_of(filler, len);
        assert_int_equal(seal_and_open(&keys, &keys, message, &text, &used), WECOM_GENUINE);
        assert_true(bytes_eq(text, message));
        size_t frame = 20 + len + 3;
        assert_int_equal(plain.len, frame + 32 - frame % 32);
    }
    wecom_keys_wipe(&keys);
}

static void receive_id_is_compared_strictly(void **state)
{
    (void)state;
    static const char *const ids[] = {"", "ww1", "ww12", "ww2", "w"};
    for (size_t s = 0; s < 5; s++) {
        for (size_t r = 0; r < 5; r++) {
            struct wecom_keys sender = keys_make("token", KEY_ONE, ids[s]);
            struct wecom_keys receiver = keys_make("token", KEY_ONE, ids[r]);
            struct bytes text;
            struct wecom_keyring used;
            assert_int_equal(seal_and_open(&sender, &receiver, BYTES_LIT("{}"), &text, &used),
                             s == r ? WECOM_GENUINE : WECOM_BAD_CIPHERTEXT);
            wecom_keys_wipe(&sender);
            wecom_keys_wipe(&receiver);
        }
    }
}

static void rotation_accepts_each_pair_and_names_it(void **state)
{
    (void)state;
    static const char *const tokens[] = {"new", "old"};
    static const char *const aes_keys[] = {KEY_ONE, KEY_TWO};
    struct wecom_keys receiver = keys_make("new", KEY_ONE, "");
    receiver.tokens[1] = brg_strdup("old");
    receiver.token_count = receiver.aes_key_count = 2;
    assert_int_equal(wecom_aes_key_decode(KEY_TWO, receiver.aes_keys[1], NULL), BRG_OK);
    for (size_t i = 0; i < 4; i++) {
        struct wecom_keys sender = keys_make(tokens[i & 1], aes_keys[i >> 1], "");
        struct wecom_keyring used = {9, 9};
        struct bytes text;
        assert_int_equal(
            seal_and_open(&sender, &receiver, BYTES_LIT("{\"a\":1}"), &text, &used),
            WECOM_GENUINE);
        assert_true(bytes_eq(text, BYTES_LIT("{\"a\":1}")));
        assert_int_equal(used.token, i & 1);
        assert_int_equal(used.aes_key, i >> 1);
        wecom_reply_begin(&plain);
        wecom_write_empty(&plain);
        buf_reset(&out);
        wecom_reply_seal(crypto, &receiver, used, &plain, NOW, BYTES_LIT("n1"), &out);
        assert_int_equal(wecom_reply_open_at(crypto, &sender, NOW, buf_bytes(&out),
                                             BYTES_LIT("n1"), &plain, &text, NULL),
                         BRG_OK);
        wecom_keys_wipe(&sender);
    }
    struct wecom_keys stranger = keys_make("other", KEY_TWO, "");
    struct wecom_keyring used;
    struct bytes text;
    assert_int_equal(seal_and_open(&stranger, &receiver, BYTES_LIT("{}"), &text, &used),
                     WECOM_BAD_SIGNATURE);
    wecom_keys_wipe(&stranger);
    wecom_keys_wipe(&receiver);
}

static void signatures_are_lower_case_hex_of_full_length(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    struct bytes encrypt = BYTES_LIT("AAAA"), text;
    char good[WECOM_SIGNATURE_CHARS + 1] = {0};
    struct wecom_query q = {BYTES_LIT(""), BYTES_LIT("1"), BYTES_LIT("2")};
    struct wecom_keyring used;
    wecom_sign(crypto, "token", q.timestamp, q.nonce, encrypt, good);
    q.signature = bytes_of(good, 40);
    assert_int_equal(wecom_open(crypto, &keys, &q, encrypt, &plain, &text, &used),
                     WECOM_BAD_CIPHERTEXT);
    const size_t wrong_lengths[] = {0, 1, 39, 41};
    for (size_t i = 0; i < 4; i++) {
        q.signature = bytes_of(good, wrong_lengths[i]);
        assert_int_equal(wecom_open(crypto, &keys, &q, encrypt, &plain, &text, &used),
                         WECOM_BAD_SIGNATURE);
    }
    for (size_t i = 0; i < 40; i++)
        good[i] = (char)(good[i] >= 'a' ? good[i] - 32 : good[i]);
    q.signature = bytes_of(good, 40);
    assert_int_equal(wecom_open(crypto, &keys, &q, encrypt, &plain, &text, &used),
                     WECOM_BAD_SIGNATURE);
    wecom_keys_wipe(&keys);
}

static void bodies(void **state)
{
    (void)state;
    static const char *const right[] = {
        "{\"encrypt\":\"AA\\/A\"}", " {\"x\":[1],\"encrypt\":\"AA/A\",\"tousername\":\"t\"}\n",
        "{\"Encrypt\":\"AA/A\"}", "{\"encrypt\":7,\"Encrypt\":\"AA/A\"}"};
    static const char *const wrong[] = {"",
                                        "x",
                                        "[]",
                                        "{}",
                                        "\"AAAA\"",
                                        "{\"encrypt\":1}",
                                        "<xml/>",
                                        "{\"encrypt\":\"AA/A\"} x",
                                        "{\"ENCRYPT\":\"AA/A\"}",
                                        "{\"encrypt\":\"\"}"};
    struct json *root = NULL;
    struct bytes encrypt;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_int_equal(wecom_parse_body(bytes_of_str(right[i]), &root, &encrypt), BRG_OK);
        assert_true(bytes_eq_str(encrypt, "AA/A"));
        json_free(root);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(wecom_parse_body(bytes_of_str(wrong[i]), &root, &encrypt), BRG_REJECT);
        assert_null(root);
    }
}

static enum wecom_kind kind_of(const char *text)
{
    struct wecom_callback cb;
    wecom_parse(bytes_of_str(text), &cb);
    json_free(cb.root);
    return cb.kind;
}

static void callbacks_are_told_apart(void **state)
{
    (void)state;
    struct wecom_callback cb;
    wecom_parse(BYTES_LIT("{\"msgtype\":\"text\",\"text\":{\"content\":\"@桥 hi\\n\"},"
                          "\"msgid\":\"m1\",\"aibotid\":\"aib\",\"chatid\":\"wr1\","
                          "\"chattype\":\"group\",\"from\":{\"userid\":\"li\"},\"new\":[{}],"
                          "\"response_url\":\"https://x\"}"),
                &cb);
    assert_int_equal(cb.kind, WECOM_TEXT);
    assert_true(bytes_eq_str(cb.text, "@桥 hi\n"));
    assert_true(bytes_eq_str(cb.msgid, "m1"));
    assert_true(bytes_eq_str(cb.aibotid, "aib"));
    assert_true(bytes_eq_str(cb.chat_id, "wr1"));
    assert_true(bytes_eq_str(cb.user_id, "li"));
    assert_true(bytes_eq_str(cb.response_url, "https://x"));
    assert_true(cb.is_group);
    json_free(cb.root);

    wecom_parse(BYTES_LIT("{\"msgid\":\"m\",\"msgtype\":\"stream\",\"stream\":{\"id\":\"s\"}}"),
                &cb);
    assert_int_equal(cb.kind, WECOM_REFRESH);
    assert_true(bytes_eq_str(cb.stream_id, "s"));
    assert_false(cb.is_group);
    json_free(cb.root);

    wecom_parse(BYTES_LIT("{\"msgid\":\"m\",\"msgtype\":\"event\",\"chatid\":\"c\","
                          "\"event\":{\"eventtype\":\"enter_chat\"}}"),
                &cb);
    assert_int_equal(cb.kind, WECOM_EVENT);
    assert_true(bytes_eq_str(cb.event_type, "enter_chat"));
    assert_true(cb.is_group);
    json_free(cb.root);

    assert_int_equal(kind_of("{\"msgid\":\"m\",\"msgtype\":\"voice\"}"), WECOM_OTHER);
    assert_int_equal(
        kind_of("{\"msgid\":\"m\",\"msgtype\":\"text\",\"text\":{\"content\":\"\"}}"),
        WECOM_TEXT);
}

static void broken_callbacks(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "",
        "not json",
        "[]",
        "7",
        "{}",
        "{\"msgtype\":\"text\",\"text\":{\"content\":\"x\"}}",
        "{\"msgid\":\"\",\"msgtype\":\"text\",\"text\":{\"content\":\"x\"}}",
        "{\"msgid\":7,\"msgtype\":\"text\",\"text\":{\"content\":\"x\"}}",
        "{\"msgid\":\"m\",\"text\":{\"content\":\"x\"}}",
        "{\"msgid\":\"m\",\"msgtype\":7}",
        "{\"msgid\":\"m\",\"msgtype\":\"text\"}",
        "{\"msgid\":\"m\",\"msgtype\":\"text\",\"text\":\"x\"}",
        "{\"msgid\":\"m\",\"msgtype\":\"text\",\"text\":{\"content\":7}}",
        "{\"msgid\":\"m\",\"msgtype\":\"stream\",\"stream\":{}}",
        "{\"msgid\":\"m\",\"msgtype\":\"stream\",\"stream\":{\"id\":1}}",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(kind_of(broken[i]), WECOM_BROKEN);
    for (size_t len = 256; len <= 257; len++) {
        char text[512];
        snprintf(text, sizeof text, "{\"msgid\":\"%0*d\",\"msgtype\":\"voice\"}", (int)len, 0);
        assert_int_equal(kind_of(text), len == 256 ? WECOM_OTHER : WECOM_BROKEN);
    }
}

static void raw_control_characters_reach_the_text(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "vectors");
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        if (!bytes_eq_str(json_get_string(v, "id"), "aibot-post-raw-control-char"))
            continue;
        struct wecom_callback cb;
        wecom_parse(json_get_string(v, "msg"), &cb);
        assert_int_equal(cb.kind, WECOM_TEXT);
        assert_non_null(memchr(cb.text.ptr, '\n', cb.text.len));
        assert_non_null(memchr(cb.text.ptr, '\t', cb.text.len));
        json_free(cb.root);
        return;
    }
    fail_msg("no such vector");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_opens_and_seals_to_the_same_bytes),
        cmocka_unit_test(wrong_url_decodings_fail),
        cmocka_unit_test(negative_vectors_give_one_of_two_verdicts),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(spare_bits_of_the_key_are_ignored),
        cmocka_unit_test(media_bodies_decrypt),
        cmocka_unit_test(every_padding_length_round_trips),
        cmocka_unit_test(receive_id_is_compared_strictly),
        cmocka_unit_test(rotation_accepts_each_pair_and_names_it),
        cmocka_unit_test(signatures_are_lower_case_hex_of_full_length),
        cmocka_unit_test(bodies),
        cmocka_unit_test(callbacks_are_told_apart),
        cmocka_unit_test(broken_callbacks),
        cmocka_unit_test(raw_control_characters_reach_the_text),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
