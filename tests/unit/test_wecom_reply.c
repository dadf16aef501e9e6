#include "platform/wecom_frame.h"
#include "support_wecom.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NOW = 1770000000 };

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

static void stream_reply_is_exact(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    struct bytes text, nonce = BYTES_LIT("no\"nce");
    struct wecom_keyring used = {0, 0};
    struct brg_error error = {0};
    wecom_reply_begin(&plain);
    wecom_write_stream(&plain, BYTES_LIT("id-1"), false, BYTES_LIT("中\n\"文\""));
    buf_reset(&out);
    buf_append(&out, BYTES_LIT("before"));
    wecom_reply_seal(crypto, &keys, used, &plain, NOW, nonce, &out);
    struct bytes reply = bytes_of(out.ptr + 6, out.len - 6);
    assert_true(bytes_starts_with(reply, BYTES_LIT("{\"encrypt\":\"")));
    assert_int_equal(
        wecom_reply_open_at(crypto, &keys, NOW, reply, nonce, &plain, &text, &error), BRG_OK);
    assert_true(bytes_eq_str(text, "{\"msgtype\":\"stream\",\"stream\":{\"id\":\"id-1\","
                                   "\"finish\":false,\"content\":\"中\\n\\\"文\\\"\"}}"));
    wecom_keys_wipe(&keys);
}

static void the_largest_reply_fits_and_a_larger_one_is_told(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    struct wecom_keyring used = {0, 0};
    struct bytes text;
    char *content = brg_calloc(1, WECOM_CONTENT_MAX_BYTES); /* all of it becomes \u0000 */
    wecom_reply_begin(&plain);
    wecom_write_stream(&plain, BYTES_LIT("id"), true,
                       bytes_of(content, WECOM_CONTENT_MAX_BYTES));
    buf_reset(&out);
    wecom_reply_seal(crypto, &keys, used, &plain, NOW, BYTES_LIT("n"), &out);
    assert_false(out.overflowed);
    assert_int_equal(wecom_reply_open_at(crypto, &keys, NOW, buf_bytes(&out), BYTES_LIT("n"),
                                         &plain, &text, NULL),
                     BRG_OK);
    struct buf small, reply;
    buf_init(&small, 1000);
    buf_init(&reply, 4096);
    wecom_reply_begin(&small);
    wecom_write_stream(&small, BYTES_LIT("id"), true,
                       bytes_of(content, WECOM_CONTENT_MAX_BYTES));
    wecom_reply_seal(crypto, &keys, used, &small, NOW, BYTES_LIT("n"), &reply);
    assert_true(reply.overflowed);
    assert_int_equal(reply.len, strlen("{\"encrypt\":\""));
    buf_free(&reply);
    buf_free(&small);
    free(content);
    wecom_keys_wipe(&keys);
}

static void reply_vectors_pass_the_platforms_check(void **state)
{
    (void)state;
    const struct json *list = json_get(vectors, "vectors");
    size_t seen = 0;
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *v = json_item(list, i);
        if (!bytes_eq_str(json_get_string(v, "kind"), "reply_json"))
            continue;
        struct wecom_keys keys = keys_of(v);
        struct wecom_query q = query_of(v);
        uint64_t now = 0;
        struct bytes text;
        assert_true(bytes_to_u64(q.timestamp, &now));
        assert_int_equal(wecom_reply_open_at(crypto, &keys, (int64_t)now,
                                             json_get_string(v, "http_body"), q.nonce, &plain,
                                             &text, NULL),
                         BRG_OK);
        assert_true(bytes_eq(text, json_get_string(v, "msg")));
        wecom_keys_wipe(&keys);
        seen++;
    }
    assert_int_equal(seen, 2);
}

/* A reply made by hand, so that each rule can be broken alone. */
static enum brg_err judge(const struct wecom_keys *keys, const char *format,
                          struct bytes message, int64_t timestamp, struct brg_error *error)
{
    char digits[24], signature[WECOM_SIGNATURE_CHARS];
    struct bytes text;
    wecom_reply_begin(&plain);
    buf_append(&plain, message);
    buf_reset(&out);
    struct bytes encrypt =
        wecom_frame_seal(crypto, keys->aes_keys[0], BYTES_LIT(""), &plain, &out);
    snprintf(digits, sizeof digits, "%lld", (long long)timestamp);
    wecom_sign(crypto, "token", bytes_of_str(digits), BYTES_LIT("n"), encrypt, signature);
    struct buf body;
    buf_init(&body, 4096);
    const char *p = format;
    for (; *p; p++) {
        if (*p == 'E')
            buf_append(&body, encrypt);
        else if (*p == 'S')
            buf_append(&body, bytes_of(signature, sizeof signature));
        else if (*p == 'T')
            buf_append_str(&body, digits);
        else
            buf_append_char(&body, *p == '\'' ? '"' : *p);
    }
    enum brg_err err = wecom_reply_open_at(crypto, keys, NOW, buf_bytes(&body), BYTES_LIT("n"),
                                           &plain, &text, error);
    buf_free(&body);
    return err;
}

static void the_platforms_check_names_the_broken_rule(void **state)
{
    (void)state;
    static const char good[] = "{'encrypt':'E','msgsignature':'S','timestamp':T,'nonce':'n'}";
    static const struct {
        const char *format, *message, *reason;
        int64_t timestamp;
    } cases[] = {
        {good, "{}", NULL, NOW},
        {good, "{}", NULL, NOW + 600},
        {good, "{}", NULL, NOW - 600},
        {"{'nonce':'n','timestamp':'T','msgsignature':'S','encrypt':'E'}", "{}", NULL, NOW},
        {good, "{}", "from now", NOW + 601},
        {good, "{}", "from now", NOW - 601},
        {good, "{\"a\":\"\n\"}", "plaintext is not JSON", NOW},
        {good, "{\"a\":\"\xC0\x80\"}", "plaintext is not JSON", NOW},
        {good, "[]", "not a JSON object", NOW},
        {"{'encrypt':'E'}", "{}", "msgsignature is missing", NOW},
        {"{'encrypt':'E','msg_signature':'S','timestamp':T,'nonce':'n'}", "{}",
         "msgsignature is missing", NOW},
        {"{'encrypt':'E','msgsignature':'S','timestamp':T,'nonce':'n','x':1}", "{}",
         "5 members", NOW},
        {"{'encrypt':'E','msgsignature':'S','nonce':'n','x':1}", "{}", "timestamp is not", NOW},
        {"{'encrypt':'E','msgsignature':'S','timestamp':T,'nonce':'m'}", "{}", "nonce is not",
         NOW},
        {"{'encrypt':'E','msgsignature':'0','timestamp':T,'nonce':'n'}", "{}",
         "msgsignature is not", NOW},
        {"{'encrypt':'E','msgsignature':'S','timestamp':true,'nonce':'n'}", "{}",
         "timestamp is not", NOW},
        {"{'encrypt':'E','msgsignature':'S','timestamp':T,'nonce':'n'}}", "{}",
         "body is not JSON", NOW},
        {"'E'", "{}", "not a JSON object", NOW},
    };
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct brg_error error = {0};
        enum brg_err err = judge(&keys, cases[i].format, bytes_of_str(cases[i].message),
                                 cases[i].timestamp, &error);
        assert_int_equal(err, cases[i].reason ? BRG_REJECT : BRG_OK);
        if (cases[i].reason && !strstr(error.text, cases[i].reason))
            fail_msg("'%s' is not in '%s'", cases[i].reason, error.text);
    }
    struct wecom_keys other = keys_make("token", KEY_TWO, "");
    struct brg_error error = {0};
    wecom_reply_begin(&plain);
    wecom_write_empty(&plain);
    buf_reset(&out);
    wecom_reply_seal(crypto, &other, (struct wecom_keyring){0, 0}, &plain, NOW, BYTES_LIT("n"),
                     &out);
    struct bytes text;
    assert_int_equal(wecom_reply_open_at(crypto, &keys, NOW, buf_bytes(&out), BYTES_LIT("n"),
                                         &plain, &text, &error),
                     BRG_REJECT);
    assert_non_null(strstr(error.text, "does not decrypt"));
    wecom_keys_wipe(&other);
    wecom_keys_wipe(&keys);
}

static void base64_of_a_reply_must_be_canonical(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    char signature[WECOM_SIGNATURE_CHARS];
    struct brg_error error = {0};
    struct bytes text;
    wecom_reply_begin(&plain);
    wecom_write_empty(&plain);
    buf_reset(&out);
    wecom_frame_seal(crypto, keys.aes_keys[0], BYTES_LIT(""), &plain, &out);
    assert_int_equal(out.ptr[out.len - 1], '=');
    out.ptr[out.len - 2]++; /* 32 bytes leave two spare bits, zero so far */
    struct bytes encrypt = buf_bytes(&out);
    wecom_sign(crypto, "token", BYTES_LIT("1770000000"), BYTES_LIT("n"), encrypt, signature);
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body,
               "{\"encrypt\":\"%.*s\",\"msgsignature\":\"%.40s\",\"timestamp\":1770000000,"
               "\"nonce\":\"n\"}",
               (int)encrypt.len, encrypt.ptr, signature);
    assert_int_equal(wecom_reply_open_at(crypto, &keys, NOW, buf_bytes(&body), BYTES_LIT("n"),
                                         &plain, &text, &error),
                     BRG_REJECT);
    assert_non_null(strstr(error.text, "canonical"));
    buf_free(&body);
    wecom_keys_wipe(&keys);
}

static void echo_query_is_percent_encoded_and_opens(void **state)
{
    (void)state;
    struct wecom_keys keys = keys_make("token", KEY_ONE, "");
    for (int round = 0; round < 20; round++) {
        wecom_reply_begin(&plain);
        buf_append(&plain, BYTES_LIT("7340912855016233907"));
        buf_reset(&query_text);
        wecom_echo_seal(crypto, &keys, &plain, NOW, BYTES_LIT("a b&c"), &query_text);
        buf_append_char(&query_text, 0);
        assert_non_null(
            strstr(query_text.ptr, "&timestamp=1770000000&nonce=a%20b%26c&echostr="));
        struct bytes encoded = bytes_of_str(strstr(query_text.ptr, "echostr=") + 8);
        assert_null(memchr(encoded.ptr, '+', encoded.len));
        assert_null(memchr(encoded.ptr, '=', encoded.len));
        char echo[512];
        size_t len = bytes_percent_decode(encoded, echo);
        struct wecom_query q = {bytes_of(query_text.ptr + strlen("msg_signature="), 40),
                                BYTES_LIT("1770000000"), BYTES_LIT("a b&c")};
        struct wecom_keyring used;
        struct bytes text;
        assert_int_equal(
            wecom_open(crypto, &keys, &q, bytes_of(echo, len), &plain, &text, &used),
            WECOM_GENUINE);
        assert_true(bytes_eq_str(text, "7340912855016233907"));
    }
    wecom_keys_wipe(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_reply_is_exact),
        cmocka_unit_test(the_largest_reply_fits_and_a_larger_one_is_told),
        cmocka_unit_test(reply_vectors_pass_the_platforms_check),
        cmocka_unit_test(the_platforms_check_names_the_broken_rule),
        cmocka_unit_test(base64_of_a_reply_must_be_canonical),
        cmocka_unit_test(echo_query_is_percent_encoded_and_opens),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
