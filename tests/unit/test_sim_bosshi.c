/* The simulated BOSSHI against a bot and an API client made here: what it takes, what it
 * refuses, how it repeats, and that its faults do what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bsim_event.h"
#include "bsim_judge.h"
#include "bsim_platform.h"
#include "platform/bosshi_peer.h"

#define CHAT "5ce6d572455d361153b7xN~"
#define NOW 1000000

static const struct bsim_app app = {
    .app_id = "bli_x", .app_secret = "secret", .verification_token = "vt", .encrypt_key = ""};

struct rig {
    struct bsim_platform platform;
    int64_t now_ms;
    char authorization[64];
    char card_id[BSIM_ID_BYTES];
};

/* --- calls --- */

static struct bsim_result call_with(struct rig *rig, enum bsim_call call, const char *uuid,
                                    const char *message_id, const char *body)
{
    struct bsim_result result;
    struct json *root = json_parse(bytes_of_str(body), JSON_STRICT, NULL);
    assert_non_null(root);
    struct bsim_request request = {
        .call = call,
        .message_id = bytes_of_str(message_id),
        .authorization = bytes_of_str(rig->authorization),
        .receive_id_type = BYTES_LIT("chat_id"),
        .uuid = bytes_of_str(uuid),
        .body = root,
        .now_ms = rig->now_ms,
    };
    bsim_serve(&rig->platform, &request, "", &result);
    json_free(root);
    return result;
}

static void set(struct rig *rig, const char *setting)
{
    struct brg_error error = {0};
    if (bsim_settings_set(&rig->platform.settings, setting, &error) != BRG_OK)
        fail_msg("%s: %s", setting, error.text);
}

static struct bsim_result fetch_token(struct rig *rig)
{
    struct bsim_result r =
        call_with(rig, BSIM_TOKEN, "", "", "{\"app_id\":\"bli_x\",\"app_secret\":\"secret\"}");
    assert_int_equal(r.code, 0);
    (void)snprintf(rig->authorization, sizeof rig->authorization, "Bearer %s", r.token);
    return r;
}

#define TO_CHAT "\"receive_id\":\"" CHAT "\","
#define TEXT(text) "{" TO_CHAT "\"msg_type\":\"text\",\"content\":{\"text\":\"" text "\"}}"
#define MARKDOWN(text) "{\"modules\":[{\"tag\":\"markdown\",\"content\":\"" text "\"}]}"
#define QUOTED(text) \
    "\"{\\\"modules\\\":[{\\\"tag\\\":\\\"markdown\\\",\\\"content\\\":\\\"" text "\\\"}]}\""
#define CARD(content) "{" TO_CHAT "\"msg_type\":\"compressive_card\",\"content\":" content "}"
#define UPDATE(text) "{\"msg_type\":\"compressive_card\",\"content\":" QUOTED(text) "}"

static struct bsim_result send(struct rig *rig, const char *uuid, const char *body)
{
    return call_with(rig, BSIM_SEND, uuid, "", body);
}

static struct bsim_result update(struct rig *rig, const char *body)
{
    return call_with(rig, BSIM_UPDATE, "", rig->card_id, body);
}

static void assert_code(struct bsim_result r, int64_t code, const char *part_of_msg)
{
    if (r.code != code || !strstr(r.verdict.msg, part_of_msg))
        fail_msg("code %lld \"%s\" expected, got %lld \"%s\"", (long long)code, part_of_msg,
                 (long long)r.code, r.verdict.msg);
}

static bool journal_has(struct rig *rig, const char *part)
{
    struct bytes all = bsim_journal_after(&rig->platform.journal, 0);
    return memmem(all.ptr, all.len, part, strlen(part)) != NULL;
}

static int set_up(void **state)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct bsim_address address = {
        .chat_id = BYTES_LIT(CHAT),
        .tenant = BYTES_LIT("tenant"),
        .open_id = BYTES_LIT("ou_1"),
    };
    bsim_platform_init(&rig->platform, &app, 100);
    rig->now_ms = NOW;
    bsim_user_says(&rig->platform, &address, BYTES_LIT("m1~"), BYTES_LIT("text"),
                   BYTES_LIT("hi"));
    fetch_token(rig);
    struct bsim_result r = send(rig, "u-card", CARD(MARKDOWN("a")));
    assert_code(r, 0, "");
    memcpy(rig->card_id, r.about->id, sizeof rig->card_id);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    bsim_platform_free(&rig->platform);
    free(rig);
    return 0;
}

static void test_uuid_makes_one_message(void **state)
{
    struct rig *rig = *state;
    struct bsim_message *first = send(rig, "u1", TEXT("one")).about;
    struct bsim_result again = send(rig, "u1", TEXT("other"));
    assert_true(again.is_repeat && again.about == first);
    assert_true(bytes_eq_str(buf_bytes(&first->text), "one"));
    assert_false(send(rig, "u2", TEXT("one")).is_repeat);
    assert_false(send(rig, "", TEXT("one")).is_repeat);
    set(rig, "uuid_repeat=refuse");
    assert_code(send(rig, "u1", TEXT("one")), BSIM_CODE_UUID, "used");
    assert_false(journal_has(rig, "\"broken\""));
}

static void test_uuid_is_kept_for_an_hour(void **state)
{
    struct rig *rig = *state;
    int64_t hour_ms = 3600 * 1000 / 100;
    send(rig, "u1", TEXT("one"));
    rig->now_ms = NOW + hour_ms - 1;
    assert_true(send(rig, "u1", TEXT("one")).is_repeat);
    rig->now_ms = NOW + hour_ms;
    assert_false(send(rig, "u1", TEXT("one")).is_repeat);
    assert_true(send(rig, "u1", TEXT("one")).is_repeat);
}

#define TEN "0123456789"

static void test_uuid_length_and_place(void **state)
{
    struct rig *rig = *state;
    assert_code(send(rig, TEN TEN TEN TEN TEN, TEXT("a")), 0, "");
    assert_code(send(rig, TEN TEN TEN TEN TEN "0", TEXT("a")), BSIM_CODE_PARAMETER, "50");
    assert_true(journal_has(rig, "\"rule\":\"uuid\""));
    set(rig, "uuid_in=body");
    assert_false(send(rig, "q", TEXT("a")).is_repeat);
    assert_false(send(rig, "q", TEXT("a")).is_repeat);
    rig->now_ms += 1000;
    static const char in_body[] =
        "{" TO_CHAT "\"msg_type\":\"text\",\"uuid\":\"b\",\"content\":{\"text\":\"a\"}}";
    assert_false(send(rig, "", in_body).is_repeat);
    assert_true(send(rig, "", in_body).is_repeat);
    set(rig, "uuid_in=query");
    assert_false(send(rig, "", in_body).is_repeat);
}

static void test_update_pace(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 5; i++)
        assert_code(update(rig, UPDATE("a")), 0, "");
    struct bsim_result sixth = update(rig, UPDATE("b"));
    assert_code(sixth, BSIM_CODE_PACE, "frequency");
    assert_int_equal(sixth.status, 429);
    assert_int_equal(sixth.reset_s, 1);
    assert_true(journal_has(rig, "\"rule\":\"pace\""));
    rig->now_ms = NOW + 999;
    assert_code(update(rig, UPDATE("b")), BSIM_CODE_PACE, "");
    rig->now_ms = NOW + 1000;
    assert_code(update(rig, UPDATE("b")), 0, "");
    set(rig, "updates_per_s=0");
    for (int i = 0; i < 20; i++)
        assert_code(update(rig, UPDATE("c")), 0, "");
}

static void test_chat_pace_spares_repeats(void **state)
{
    struct rig *rig = *state; /* the card was one */
    for (int i = 0; i < 4; i++)
        assert_code(send(rig, i == 0 ? "u1" : "", TEXT("a")), 0, "");
    assert_code(send(rig, "", TEXT("a")), BSIM_CODE_PACE, "");
    assert_code(send(rig, "u1", TEXT("a")), 0, "");
}

static char *padded_text(size_t characters)
{
    struct buf out;
    size_t len;
    buf_init(&out, 1 << 20);
    buf_append_str(&out, "{" TO_CHAT "\"msg_type\":\"text\",\"content\":{\"text\":\"");
    for (size_t i = 0; i < characters; i++)
        buf_append_str(&out, "字");
    buf_append_str(&out, "\"}}");
    buf_append_char(&out, '\0');
    return buf_take(&out, &len);
}

static void test_limits(void **state)
{
    struct rig *rig = *state;
    char *at_limit = padded_text(5000), *above = padded_text(5001);
    assert_code(send(rig, "", at_limit), 0, "");
    assert_code(send(rig, "", above), BSIM_CODE_LENGTH, "5001 of 5000");
    set(rig, "limit_unit=bytes");
    assert_code(send(rig, "", at_limit), BSIM_CODE_LENGTH, "15000 of 5000");
    set(rig, "card_limit=3");
    assert_code(update(rig, UPDATE("abc")), 0, "");
    assert_code(update(rig, UPDATE("abcd")), BSIM_CODE_LENGTH, "4 of 3");
    set(rig, "updates_max=2");
    assert_code(update(rig, UPDATE("abc")), 0, "");
    assert_code(update(rig, UPDATE("abc")), BSIM_CODE_UPDATES, "");
    free(at_limit);
    free(above);
}

static void test_cards(void **state)
{
    static const struct {
        const char *content, *refusal; /* NULL: taken */
    } rows[] = {
        {MARKDOWN("x"), NULL},
        {QUOTED("x"), NULL},
        {"{\"compressiveCardContent\":" QUOTED("x") "}", NULL},
        {"{\"modules\":[{\"tag\":\"split_line\"}]}", NULL},
        {"{\"modules\":[]}", "modules"},
        {"{\"elements\":[{\"tag\":\"markdown\",\"content\":\"x\"}]}", "modules"},
        {"{\"modules\":[{\"tag\":\"lark_md\"}]}", "unknown tag"},
        {"{\"modules\":[{\"tag\":\"markdown\",\"content\":\"\"}]}", "without content"},
        {"{\"header\":{\"text\":{\"tag\":\"hi_md\",\"content\":\"t\"}},\"modules\":[1]}",
         "plain_text"},
        {"{\"globalConfig\":{\"shareCard\":false},\"modules\":[{\"tag\":\"split_line\"}]}",
         "shareCard"},
        {"{\"compressiveCardContent\":{}}", "no string"},
    };
    struct rig *rig = *state;
    set(rig, "chat_per_s=0");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf body;
        buf_init(&body, 4096);
        buf_printf(&body, CARD("%s"), rows[i].content);
        buf_append_char(&body, '\0');
        assert_code(send(rig, "", body.ptr), rows[i].refusal ? BSIM_CODE_CARD : 0,
                    rows[i].refusal ? rows[i].refusal : "");
        buf_free(&body);
    }
    set(rig, "card_wrapper=compressiveCardContent");
    assert_code(send(rig, "", CARD(MARKDOWN("x"))), BSIM_CODE_CARD, "is wanted");
    set(rig, "cards=false");
    assert_code(update(rig, UPDATE("x")), BSIM_CODE_CARD, "not taken");
}

static void test_shapes_of_a_call(void **state)
{
    struct rig *rig = *state;
    assert_code(update(rig, CARD(MARKDOWN("x"))), BSIM_CODE_PARAMETER, "no string");
    assert_code(update(rig, "{\"msg_type\":\"text\",\"content\":\"{}\"}"), BSIM_CODE_PARAMETER,
                "only compressive_card");
    struct bsim_result text = send(rig, "", TEXT("t"));
    assert_code(call_with(rig, BSIM_UPDATE, "", text.about->id, UPDATE("x")),
                BSIM_CODE_PARAMETER, "not a card");
    assert_code(call_with(rig, BSIM_UPDATE, "", "m1~", UPDATE("x")), BSIM_CODE_PARAMETER,
                "not a card");
    assert_code(call_with(rig, BSIM_UPDATE, "", "m0~", UPDATE("x")), BSIM_CODE_MESSAGE, "");
    assert_code(send(rig, "", "{\"receive_id\":\"other\"}"), BSIM_CODE_RECEIVER, "");
    set(rig, "content=string");
    assert_code(send(rig, "", TEXT("t")), BSIM_CODE_PARAMETER, "object or string");
    set(rig, "receive_ids=open_id");
    assert_code(send(rig, "", TEXT("t")), BSIM_CODE_PARAMETER, "receive_id_type");
    assert_true(journal_has(rig, "\"rule\":\"shape\""));
}

static void test_tokens(void **state)
{
    struct rig *rig = *state;
    assert_false(fetch_token(rig).is_new_token);
    rig->now_ms = NOW + 5400 * 1000 - 1;
    assert_false(fetch_token(rig).is_new_token);
    char old[sizeof rig->authorization];
    memcpy(old, rig->authorization, sizeof old);
    rig->now_ms = NOW + 5400 * 1000;
    assert_true(fetch_token(rig).is_new_token);
    memcpy(rig->authorization, old, sizeof old);
    assert_code(send(rig, "", TEXT("old")), 0, "");
    rig->now_ms = NOW + 7200 * 1000;
    assert_code(send(rig, "", TEXT("old")), 99991663, "expired");
    fetch_token(rig);
    assert_code(send(rig, "", TEXT("new")), 0, "");
    bsim_expire_tokens(&rig->platform);
    assert_int_equal(send(rig, "", TEXT("new")).status, 400);
    assert_false(journal_has(rig, "\"broken\""));
    rig->authorization[0] = '\0';
    assert_code(send(rig, "", TEXT("none")), 99991663, "missing");
    assert_true(journal_has(rig, "\"rule\":\"token\""));
}

static void test_reply_goes_to_the_chat(void **state)
{
    struct rig *rig = *state;
    struct bsim_result r = call_with(rig, BSIM_REPLY, "u9", "m1~", TEXT("re"));
    assert_code(r, 0, "");
    assert_string_equal(r.about->reply_to, "m1~");
    assert_string_equal(r.about->chat->id, CHAT);
    assert_true(call_with(rig, BSIM_REPLY, "u9", "m1~", TEXT("re")).is_repeat);
    assert_code(call_with(rig, BSIM_REPLY, "", "nobody~", TEXT("re")), BSIM_CODE_MESSAGE, "");
}

static void test_routes(void **state)
{
    static const struct {
        const char *path;
        enum bsim_call call;
        const char *message_id;
    } rows[] = {
        {"/open-apis/auth/tenant_access_token/internal", BSIM_TOKEN, ""},
        {"/open-apis/im/v2/messages", BSIM_SEND, ""},
        {"/open-apis/im/messages/a~/update", BSIM_UPDATE, "a~"},
        {"/open-apis/im/messages//update", BSIM_NO_CALL, ""},
        {"/open-apis/im/messages/a/b/update", BSIM_NO_CALL, ""},
        {"/open-apis/im/v2/messages/a~/reply", BSIM_NO_CALL, ""},
        {"/open-apis/im/v1/messages", BSIM_NO_CALL, ""},
    };
    struct rig *rig = *state;
    struct bytes id;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(bsim_route(&rig->platform, bytes_of_str(rows[i].path), &id),
                         rows[i].call);
        assert_true(bytes_eq_str(id, rows[i].message_id));
    }
    set(rig, "reply=true");
    assert_int_equal(bsim_route(&rig->platform, bytes_of_str(rows[5].path), &id), BSIM_REPLY);
}

static void test_shapes_of_an_answer(void **state)
{
    struct rig *rig = *state;
    struct bsim_result r = send(rig, "", TEXT("x"));
    for (int is_top = 0; is_top < 2; is_top++) {
        struct buf out;
        buf_init(&out, 4096);
        if (is_top)
            set(rig, "message_shape=top");
        bsim_result_write(&rig->platform, &r, BSIM_SEND, &out);
        struct json *root = json_parse(buf_bytes(&out), JSON_STRICT, NULL);
        struct bytes id =
            json_string(json_at(root, is_top ? "/message_id" : "/data/message_id"));
        assert_true(bytes_eq_str(id, r.about->id));
        assert_int_equal(json_get_int(root, "code", -1), 0);
        json_free(root);
        buf_free(&out);
    }
}

/* --- events --- */

static struct json *made(const char *ask)
{
    struct bsim_event event;
    struct brg_error error = {0};
    struct json *members = json_parse(bytes_of_str(ask), JSON_STRICT, NULL);
    if (bsim_event_make(&app, members, &event, &error) != BRG_OK)
        fail_msg("%s: %s", ask, error.text);
    struct json *root = json_parse(buf_bytes(&event.body), JSON_STRICT, NULL);
    assert_non_null(root);
    bsim_event_free(&event);
    json_free(members);
    return root;
}

static void assert_at(const struct json *root, const char *pointer, const char *expected)
{
    const struct json *j = json_at(root, pointer);
    if (!expected ? j != NULL : !bytes_eq_str(json_string(j), expected))
        fail_msg("%s: %s expected, got " BYTES_FMT, pointer, expected ? expected : "nothing",
                 BYTES_ARG(json_string(j)));
}

static void test_events(void **state)
{
    (void)state;
    struct json *e = made("{\"text\":\"hi\",\"chat_type\":\"group\",\"root_id\":\"r~\"}");
    assert_at(e, "/schema", "1.0");
    assert_at(e, "/header/token", "vt");
    assert_at(e, "/header/event_type", "im.message.receive");
    assert_at(e, "/event/message/content", "{\"text\":\"@_user_1 hi\"}");
    assert_at(e, "/event/message/mentions/0/key", "@_user_1");
    assert_at(e, "/event/message/root_id", "r~");
    assert_at(e, "/event/message/parent_id", NULL);
    assert_at(e, "/event/sender/sender_id/user_id", NULL);
    json_free(e);
    e = made("{\"kind\":\"post\",\"text\":\"a\\n\\nb\",\"schema\":null,\"open_id\":null,"
             "\"user_id\":\"1122334455\",\"token\":\"wrong\"}");
    assert_at(e, "/schema", NULL);
    assert_at(e, "/header/token", "wrong");
    assert_at(e, "/event/sender/sender_id/open_id", NULL);
    assert_at(e, "/event/sender/sender_id/user_id", "1122334455");
    assert_at(e, "/event/message/content",
              "{\"title\":\"\",\"content\":[[{\"tag\":\"text\",\"text\":\"a\"}],[{\"tag\":"
              "\"text\",\"text\":\"\"}],[{\"tag\":\"text\",\"text\":\"b\"}]]}");
    json_free(e);
    e = made("{\"kind\":\"image\",\"content\":\"{broken\"}");
    assert_at(e, "/event/message/message_type", "image");
    assert_at(e, "/event/message/content", "{broken");
    json_free(e);
}

static void test_given_events_keep_their_ids(void **state)
{
    static const char ask[] =
        "{\"plain\":\"{\\\"header\\\":{\\\"event_id\\\":\\\"e7\\\"},\\\"event\\\":{"
        "\\\"message\\\":{\\\"message_id\\\":\\\"m7~\\\",\\\"chat_id\\\":\\\"c7~\\\"}}}\"}";
    struct bsim_event event;
    struct json *members = json_parse(bytes_of_str(ask), JSON_STRICT, NULL);
    (void)state;
    assert_int_equal(bsim_event_make(&app, members, &event, NULL), BRG_OK);
    assert_string_equal(event.event_id, "e7");
    assert_string_equal(event.message_id, "m7~");
    assert_string_equal(event.chat_id, "c7~");
    bsim_event_free(&event);
    json_free(members);
    members = json_parse(BYTES_LIT("{\"txt\":1}"), JSON_STRICT, NULL);
    assert_int_equal(bsim_event_make(&app, members, &event, NULL), BRG_REJECT);
    json_free(members);
}

/* --- the judge of `bosshi chat` --- */

static void test_judge(void **state)
{
    struct rig *rig = *state;
    struct bsim_judge judge = {.settings = &rig->platform.settings};
    struct bsim_message *card = bsim_message_find(&rig->platform, bytes_of_str(rig->card_id));
    char reason[160];
    assert_true(bsim_judge_note(&judge, card, reason));
    static const struct {
        const char *body;
        bool is_good;
    } rows[] = {
        {UPDATE("答"), true}, /* "a" was a placeholder */
        {UPDATE("答案 ```"), true},
        {UPDATE("答案是"), true},
        {UPDATE("答案"), false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_code(update(rig, rows[i].body), 0, "");
        if (bsim_judge_note(&judge, card, reason) != rows[i].is_good)
            fail_msg("%s", rows[i].body);
    }
    assert_non_null(strstr(reason, "edit 4"));
    assert_false(bsim_judge_note(&judge, send(rig, "", TEXT("二")).about, reason));
    assert_non_null(strstr(reason, "a second message"));
    set(rig, "text_limit=2");
    assert_true(bsim_judge_note(&judge, send(rig, "", TEXT("三")).about, reason));
}

/* --- the codec's other side --- */

static void test_seal(void **state)
{
    static const char begin[] = "{\"encrypt\":\"";
    struct bytes password = BYTES_LIT("test key"), plain = BYTES_LIT("0123456789abcdefhello");
    struct crypto *c = crypto_new();
    uint8_t key[CRYPTO_SHA256_BYTES], raw[256];
    struct buf body;
    (void)state;
    buf_init(&body, 4096);
    for (size_t len = 0; len <= plain.len; len++) {
        buf_reset(&body);
        bosshi_peer_seal(c, password, bytes_of(plain.ptr, len), &body);
        size_t head = sizeof begin - 1;
        assert_memory_equal(body.ptr, begin, head);
        size_t n = crypto_base64_decode(bytes_of(body.ptr + head, body.len - head - 2), raw);
        assert_int_equal(n, CRYPTO_AES_IV_BYTES + (len / 16 + 1) * 16);
        uint8_t *text = raw + CRYPTO_AES_IV_BYTES;
        n -= CRYPTO_AES_IV_BYTES;
        crypto_sha256(c, &password, 1, key);
        crypto_aes_decrypt(c, key, raw, text, n, text);
        assert_int_equal(crypto_pkcs7_length(text, n, 16), n - len);
        assert_memory_equal(text, plain.ptr, len);
    }
    buf_free(&body);
    crypto_free(c);
}

/* Vector sig-docs-key of tests/vectors/bosshi-crypt.json. */
static void test_sign(void **state)
{
    static const char expected[] =
        "0704b4cf98d472a0637fd91a5061087c099ea62b6bf97e56e7476b118387cb8a";
    char signature[BOSSHI_PEER_SIGNATURE_CHARS];
    struct crypto *c = crypto_new();
    (void)state;
    bosshi_peer_sign(
        c, BYTES_LIT("1609073151"), BYTES_LIT("abcDEF"), BYTES_LIT("test key"),
        BYTES_LIT("{\"encrypt\":\"P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=\"}"), signature);
    assert_memory_equal(signature, expected, sizeof signature);
    crypto_free(c);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_uuid_makes_one_message),
        RIG_TEST(test_uuid_is_kept_for_an_hour),
        RIG_TEST(test_uuid_length_and_place),
        RIG_TEST(test_update_pace),
        RIG_TEST(test_chat_pace_spares_repeats),
        RIG_TEST(test_limits),
        RIG_TEST(test_cards),
        RIG_TEST(test_shapes_of_a_call),
        RIG_TEST(test_tokens),
        RIG_TEST(test_reply_goes_to_the_chat),
        RIG_TEST(test_routes),
        RIG_TEST(test_shapes_of_an_answer),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_given_events_keep_their_ids),
        RIG_TEST(test_judge),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
