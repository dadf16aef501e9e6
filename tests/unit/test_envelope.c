#include "base/random.h"
#include "envelope/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static struct crypto *crypto;
static struct envelope envelope;

static int make(void **state)
{
    (void)state;
    crypto = crypto_new();
    envelope_init(&envelope);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    envelope_free(&envelope);
    crypto_free(crypto);
    return 0;
}

static struct bytes header_of(const char *name, void *arg)
{
    const struct envelope *e = arg;
    for (size_t i = 0; i < e->header_count; i++) {
        if (strcmp(e->headers[i].name, name) == 0)
            return e->headers[i].value;
    }
    return BYTES_LIT("");
}

static void assert_header(const char *name, const char *expected)
{
    struct bytes value = header_of(name, &envelope);
    if (!bytes_eq_str(value, expected))
        fail_msg("%s is '" BYTES_FMT "' instead of '%s'", name, BYTES_ARG(value), expected);
}

static struct message sample(void)
{
    return (struct message){
        .platform = PLATFORM_WECOM,
        .bot = BYTES_LIT("helpdesk"),
        .message_id = BYTES_LIT("c0ffee"),
        .stream = stream_id_of(crypto, BYTES_LIT("helpdesk"), BYTES_LIT("c0ffee")),
        .kind = BYTES_LIT("text"),
        .chat_type = CHAT_GROUP,
        .chat_id = BYTES_LIT("wr1"),
        .sender_id = BYTES_LIT("li.si"),
        .received_at_ms = 1770000010000,
        .start_at_ms = 1770000009000,
        .deadline_at_ms = 1770000349000,
        .text = BYTES_LIT("\"你好\"\n"),
        .reply_mode = REPLY_STREAM,
        .response_url = BYTES_LIT("https://x/?a=1"),
        .raw_text = BYTES_LIT("{\"a\":[1]}"),
    };
}

static void stream_ids_are_deterministic(void **state)
{
    (void)state;
    /* printf 'botbridge/1\nhelpdesk\nc0ffee' | openssl dgst -sha256 -binary | basenc
     * --base64url
     */
    struct stream_id id = stream_id_of(crypto, BYTES_LIT("helpdesk"), BYTES_LIT("c0ffee"));
    assert_string_equal(id.text, "7uPJRFH01hyZoZ8VYetyjg");
    struct stream_id other = stream_id_of(crypto, BYTES_LIT("helpdesk2"), BYTES_LIT("c0ffee"));
    assert_string_not_equal(id.text, other.text);
    struct stream_id parsed = {"unchanged"};
    assert_true(stream_id_parse(stream_id_bytes(&id), &parsed));
    assert_string_equal(parsed.text, id.text);
    assert_false(stream_id_parse(BYTES_LIT("short"), &parsed));
    assert_false(stream_id_parse(BYTES_LIT("aaaaaaaaaaaaaaaaaaaaa+"), &parsed));
    assert_false(stream_id_parse(BYTES_LIT("aaaaaaaaaaaaaaaaaaaaaa\n"), &parsed));
    assert_false(stream_id_parse(BYTES_LIT("aaaaaaaaaaaaaaaaaaaaa\0"), &parsed));
    assert_string_equal(parsed.text, id.text);
}

static void traceparents_are_fresh_and_well_formed(void **state)
{
    (void)state;
    char one[TRACEPARENT_CHARS + 1], two[TRACEPARENT_CHARS + 1];
    traceparent_new(crypto, one);
    traceparent_new(crypto, two);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), TRACEPARENT_CHARS);
    assert_memory_equal(one, "00-", 3);
    assert_int_equal(strspn(one + 3, "0123456789abcdef"), 32);
    assert_int_equal(one[35], '-');
    assert_int_equal(strspn(one + 36, "0123456789abcdef"), 16);
    assert_string_equal(one + 52, "-01");
}

static void value_key_and_headers_are_exact(void **state)
{
    (void)state;
    struct message m = sample();
    char expected[1024];
    snprintf(expected, sizeof expected,
             "{\"v\":1,\"platform\":\"wecom\",\"bot\":\"helpdesk\",\"message_id\":\"c0ffee\","
             "\"stream\":\"%s\",\"kind\":\"text\",\"conversation\":{\"id\":\"helpdesk:c:wr1\","
             "\"type\":\"group\",\"chat_id\":\"wr1\"},\"sender\":{\"id\":\"li.si\"},"
             "\"received_at\":1770000010000,\"deadline_at\":1770000349000,"
             "\"text\":\"\\\"你好\\\"\\n\","
             "\"parts\":[{\"type\":\"text\",\"text\":\"\\\"你好\\\"\\n\"}],"
             "\"reply\":{\"mode\":\"stream\",\"response_url\":\"https://x/?a=1\"},"
             "\"raw\":{\"a\":[1]}}",
             m.stream.text);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
        struct bytes value = buf_bytes(&envelope.value);
        if (!bytes_eq_str(value, expected))
            fail_msg("'" BYTES_FMT "'", BYTES_ARG(value));
        assert_true(bytes_eq_str(buf_bytes(&envelope.key), "helpdesk:c:wr1"));
    }
    assert_header("ce_specversion", "1.0");
    assert_header("ce_id", "c0ffee");
    assert_header("ce_source", "/botbridge/wecom/helpdesk");
    assert_header("ce_type", "botbridge.request.v1");
    assert_header("ce_time", "2026-02-02T02:40:10.000Z");
    assert_header("ce_subject", "helpdesk:c:wr1");
    assert_header("content-type", "application/json");
    assert_header("bb-stream", m.stream.text);
    assert_header("bb-start", "1770000009000");
    assert_header("bb-deadline", "1770000349000");
    assert_int_equal(header_of("traceparent", &envelope).len, TRACEPARENT_CHARS);
    assert_int_equal(envelope.header_count, 11);
    m.traceparent = BYTES_LIT("00-given");
    m.stream.text[0] = 0;
    m.start_at_ms = m.deadline_at_ms = 0;
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_EVENT, crypto), BRG_OK);
    assert_header("traceparent", "00-given");
    assert_header("ce_type", "botbridge.event.v1");
    assert_int_equal(envelope.header_count, 8);
}

static void what_only_bosshi_has_is_exact(void **state)
{
    (void)state;
    struct message m = sample();
    m.platform = PLATFORM_BOSSHI;
    m.kind = BYTES_LIT("image");
    m.scope = SCOPE_THREAD;
    m.root_id = BYTES_LIT("r~");
    m.sender_ids = (struct person_ids){.open_id = BYTES_LIT("ou_1"), .user_id = BYTES_LIT("7")};
    m.tenant = BYTES_LIT("t1~");
    m.app_id = BYTES_LIT("bli_1");
    m.app_tenant = BYTES_LIT("t2");
    m.parts = BYTES_LIT("[{\"type\":\"image\",\"key\":\"k\"}]");
    m.mentions = BYTES_LIT("[{\"name\":\"Tom\"}]");
    m.reply_mode = REPLY_API;
    m.reply_message_id = BYTES_LIT("m~");
    m.response_url = BYTES_LIT("");
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
    static const char expected[] =
        "\"kind\":\"image\",\"conversation\":{\"id\":\"helpdesk:c:wr1:t:r~\",\"type\":"
        "\"group\","
        "\"scope\":\"thread\",\"chat_id\":\"wr1\",\"thread\":{\"root_id\":\"r~\"}},"
        "\"sender\":{\"id\":\"li.si\",\"ids\":{\"open_id\":\"ou_1\",\"user_id\":\"7\"},"
        "\"tenant\":\"t1~\"},\"app\":{\"id\":\"bli_1\",\"tenant\":\"t2\"},"
        "\"received_at\":1770000010000,\"deadline_at\":1770000349000,"
        "\"text\":\"\\\"你好\\\"\\n\",\"parts\":[{\"type\":\"image\",\"key\":\"k\"}],"
        "\"mentions\":[{\"name\":\"Tom\"}],\"reply\":{\"mode\":\"api\",\"message_id\":\"m~\"},"
        "\"raw\":{\"a\":[1]}}";
    struct bytes value = buf_bytes(&envelope.value);
    assert_true(value.len > sizeof expected);
    struct bytes tail =
        bytes_of(value.ptr + value.len - (sizeof expected - 1), sizeof expected - 1);
    if (!bytes_eq_str(tail, expected))
        fail_msg("'" BYTES_FMT "'", BYTES_ARG(value));
}

static void names(const struct message *m, const char *conversation, const char *lane)
{
    struct buf b;
    buf_init(&b, 1024);
    message_conversation(&b, m);
    if (!bytes_eq_str(buf_bytes(&b), conversation))
        fail_msg("'" BYTES_FMT "' instead of '%s'", BYTES_ARG(buf_bytes(&b)), conversation);
    buf_reset(&b);
    message_lane(&b, m);
    if (!bytes_eq_str(buf_bytes(&b), lane))
        fail_msg("'" BYTES_FMT "' instead of '%s'", BYTES_ARG(buf_bytes(&b)), lane);
    buf_free(&b);
}

static void conversations_and_lanes(void **state)
{
    (void)state;
    struct message m = {.bot = BYTES_LIT("b"), .message_id = BYTES_LIT("id")};
    struct bytes none = BYTES_LIT(""), chat = BYTES_LIT("c1"), user = BYTES_LIT("u1");
    const struct {
        enum chat_type type;
        struct bytes chat, user;
        const char *conversation, *lane;
    } cases[] = {
        {CHAT_GROUP, chat, user, "b:c:c1", "b:c:c1:u:u1"},
        {CHAT_GROUP, chat, none, "b:c:c1", "b:c:c1"},
        {CHAT_GROUP, none, user, "b:u:u1", "b:u:u1"},
        {CHAT_GROUP, none, none, "b:m:id", "b:m:id"},
        {CHAT_SINGLE, none, user, "b:u:u1", "b:u:u1"},
        {CHAT_SINGLE, chat, user, "b:u:u1", "b:u:u1"},
        {CHAT_SINGLE, chat, none, "b:c:c1", "b:c:c1"},
        {CHAT_SINGLE, none, none, "b:m:id", "b:m:id"},
        {CHAT_GROUP, BYTES_LIT("x:u:y"), BYTES_LIT("a%3A\n 中"), "b:c:x%3Au%3Ay",
         "b:c:x%3Au%3Ay:u:a%253A%0A%20中"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m.chat_type = cases[i].type;
        m.chat_id = cases[i].chat;
        m.sender_id = cases[i].user;
        names(&m, cases[i].conversation, cases[i].lane);
    }
}

static void narrower_conversations(void **state)
{
    (void)state;
    struct message m = {.bot = BYTES_LIT("b"),
                        .message_id = BYTES_LIT("id"),
                        .chat_type = CHAT_GROUP,
                        .chat_id = BYTES_LIT("c1"),
                        .sender_id = BYTES_LIT("u1")};
    m.scope = SCOPE_CHAT_USER;
    names(&m, "b:c:c1:u:u1", "b:c:c1:u:u1");
    m.scope = SCOPE_THREAD;
    names(&m, "b:c:c1", "b:c:c1:u:u1"); /* a platform that names no message */
    m.reply_message_id = BYTES_LIT("m1~");
    names(&m, "b:c:c1:t:m1~", "b:c:c1:t:m1~:u:u1");
    m.root_id = BYTES_LIT("r:1");
    names(&m, "b:c:c1:t:r%3A1", "b:c:c1:t:r%3A1:u:u1");
    m.chat_type = CHAT_SINGLE;
    names(&m, "b:u:u1:t:r%3A1", "b:u:u1:t:r%3A1");
    m.scope = SCOPE_CHAT_USER;
    names(&m, "b:u:u1", "b:u:u1");
}

static struct bytes random_string(char *room, size_t min, size_t max)
{
    static const char *const pieces[] = {"a",  "Z9", "中", "😀", "\"",
                                         "\\", "\n", ":",  "%", "\x01"};
    size_t want = min + (size_t)random_below(max - min), len = 0;
    while (len < want) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
        memcpy(room + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return bytes_of(room, len);
}

static void assert_same(struct bytes a, struct bytes b)
{
    if (!bytes_eq(a, b))
        fail_msg("'" BYTES_FMT "' instead of '" BYTES_FMT "'", BYTES_ARG(b), BYTES_ARG(a));
}

enum { STRINGS = 16, STRING_ROOM = 64 };

static struct message random_message(char room[STRINGS][STRING_ROOM])
{
    struct bytes s[STRINGS];
    for (size_t i = 0; i < STRINGS; i++)
        s[i] = random_string(room[i], i < 3, STRING_ROOM - 8);
    return (struct message){
        .platform = random_below(2) ? PLATFORM_WECOM : PLATFORM_BOSSHI,
        .bot = s[0],
        .message_id = s[1],
        .kind = s[2],
        .stream = stream_id_of(crypto, s[0], s[1]),
        .chat_type = random_below(2) ? CHAT_GROUP : CHAT_SINGLE,
        .chat_id = s[3],
        .root_id = s[4],
        .parent_id = s[5],
        .scope = (enum conversation_scope)random_below(3),
        .sender_id = s[6],
        .sender_ids = {s[10], s[11], s[12]},
        .tenant = s[7],
        .app_id = s[13],
        .app_tenant = s[14],
        .sent_at_ms = (int64_t)random_below(2000000000000),
        .received_at_ms = (int64_t)random_below(2000000000000),
        .start_at_ms = 1 + (int64_t)random_below(2000000000000),
        .deadline_at_ms = (int64_t)random_below(2000000000000),
        .text = s[8],
        .reply_mode = (enum reply_mode)random_below(4),
        .reply_message_id = s[15],
        .response_url = s[9],
        .raw_text = BYTES_LIT("{\"deep\":[[{}]],\"text\":\"raw\"}"),
    };
}

static void assert_equal_messages(const struct message *a, const struct message *b)
{
    const struct bytes *const strings[][2] = {
        {&a->bot, &b->bot},
        {&a->message_id, &b->message_id},
        {&a->kind, &b->kind},
        {&a->chat_id, &b->chat_id},
        {&a->root_id, &b->root_id},
        {&a->parent_id, &b->parent_id},
        {&a->sender_id, &b->sender_id},
        {&a->tenant, &b->tenant},
        {&a->sender_ids.open_id, &b->sender_ids.open_id},
        {&a->sender_ids.union_id, &b->sender_ids.union_id},
        {&a->sender_ids.user_id, &b->sender_ids.user_id},
        {&a->app_id, &b->app_id},
        {&a->app_tenant, &b->app_tenant},
        {&a->reply_message_id, &b->reply_message_id},
        {&a->text, &b->text},
        {&a->response_url, &b->response_url},
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        assert_same(*strings[i][0], *strings[i][1]);
    assert_int_equal(a->platform, b->platform);
    assert_string_equal(a->stream.text, b->stream.text);
    assert_int_equal(a->chat_type, b->chat_type);
    assert_int_equal(a->scope, b->scope);
    assert_int_equal(a->reply_mode, b->reply_mode);
    assert_int_equal(a->sent_at_ms, b->sent_at_ms);
    assert_int_equal(a->received_at_ms, b->received_at_ms);
    assert_int_equal(a->start_at_ms, b->start_at_ms);
    assert_int_equal(a->deadline_at_ms, b->deadline_at_ms);
}

static void random_messages_round_trip(void **state)
{
    (void)state;
    struct buf raw;
    buf_init(&raw, 4096);
    for (int round = 0; round < 3000; round++) {
        static char room[STRINGS][STRING_ROOM];
        struct message m = random_message(room), back;
        struct envelope_hint hint;
        struct json *root = NULL;
        struct brg_error error = {0};
        assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
        envelope_read_hint(header_of, &envelope, &hint);
        assert_int_equal(
            envelope_decode(buf_bytes(&envelope.value), &hint, &back, &root, &error), BRG_OK);
        assert_equal_messages(&m, &back);
        assert_same(header_of("traceparent", &envelope), back.traceparent);
        buf_reset(&raw);
        json_write_value(&raw, back.raw);
        assert_same(m.raw_text, buf_bytes(&raw));
        /* Again from the parsed raw object: the very same value. */
        struct buf first = envelope.value;
        buf_init(&envelope.value, ENVELOPE_VALUE_MAX_BYTES);
        assert_int_equal(envelope_encode(&envelope, &back, ENVELOPE_TYPE_REQUEST, crypto),
                         BRG_OK);
        assert_same(buf_bytes(&first), buf_bytes(&envelope.value));
        buf_free(&first);
        json_free(root);
    }
    buf_free(&raw);
}

static void mangled_values_are_refused_or_read(void **state)
{
    (void)state;
    struct message m = sample(), back;
    struct envelope_hint hint;
    char copy[2048];
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
    envelope_read_hint(header_of, &envelope, &hint);
    assert_true(envelope.value.len < sizeof copy);
    for (int round = 0; round < 20000; round++) {
        struct json *root = NULL;
        memcpy(copy, envelope.value.ptr, envelope.value.len);
        for (uint64_t hits = 1 + random_below(3); hits > 0; hits--)
            copy[random_below(envelope.value.len)] = (char)random_below(256);
        size_t len = random_below(4) ? envelope.value.len : random_below(envelope.value.len);
        enum brg_err err = envelope_decode(bytes_of(copy, len), &hint, &back, &root, NULL);
        assert_true((err == BRG_OK) == (root != NULL));
        json_free(root);
    }
}

static void refuse(const char *value, const char *reason)
{
    struct brg_error error = {0};
    struct envelope_hint hint = {.start_at_ms = 0};
    struct message m;
    struct json *root = NULL;
    enum brg_err err = envelope_decode(bytes_of_str(value), &hint, &m, &root, &error);
    assert_null(root);
    assert_int_equal(err, BRG_REJECT);
    if (!strstr(error.text, reason))
        fail_msg("'%s' is not in '%s'", reason, error.text);
}

#define BEGIN \
    "{\"v\":1,\"platform\":\"wecom\",\"bot\":\"b\",\"message_id\":\"m\",\"kind\":\"text\""
#define STREAM ",\"stream\":\"aaaaaaaaaaaaaaaaaaaaaa\""
#define SINGLE ",\"conversation\":{\"type\":\"single\"}"
#define TIMES ",\"received_at\":1,\"deadline_at\":2"
#define REPLY ",\"reply\":{\"mode\":\"stream\"}"

static void refusals_name_the_member(void **state)
{
    (void)state;
    refuse("", "not JSON");
    refuse("{", "not JSON");
    refuse("[]", "not a JSON object");
    refuse("{\"v\":2}", "v is not 1");
    refuse("{\"v\":\"1\"}", "v is not 1");
    refuse("{\"v\":1,\"platform\":\"x\"}", "platform");
    refuse("{\"v\":1,\"platform\":\"wecom\",\"bot\":\"\"}", "bot");
    refuse("{\"v\":1,\"platform\":\"wecom\",\"bot\":\"b\"}", "message_id");
    refuse("{\"v\":1,\"platform\":\"wecom\",\"bot\":\"b\",\"message_id\":\"m\"}", "kind");
    refuse(BEGIN "}", "stream");
    refuse(BEGIN ",\"stream\":\"short\"}", "stream");
    refuse(BEGIN STREAM "}", "conversation.type");
    refuse(BEGIN STREAM ",\"conversation\":{\"type\":\"single\",\"scope\":\"all\"}}",
           "conversation.scope");
    refuse(BEGIN STREAM SINGLE "}", "received_at");
    refuse(BEGIN STREAM SINGLE ",\"received_at\":-1}", "received_at");
    refuse(BEGIN STREAM SINGLE ",\"received_at\":9223372036854775807}", "received_at");
    refuse(BEGIN STREAM SINGLE TIMES ",\"sent_at\":\"x\"" REPLY "}", "sent_at");
    refuse(BEGIN STREAM SINGLE TIMES "}", "reply.mode");
    refuse(BEGIN STREAM SINGLE TIMES REPLY ",\"text\":7}", "text");
}

static void least_value_is_read_with_its_hint(void **state)
{
    (void)state;
    struct envelope_hint hint = {.start_at_ms = 5, .deadline_at_ms = 6};
    struct message m;
    struct json *root = NULL;
    assert_int_equal(envelope_decode(bytes_of_str(BEGIN STREAM SINGLE ",\"received_at\":7" REPLY
                                                                      ",\"new\":{}}"),
                                     &hint, &m, &root, NULL),
                     BRG_OK);
    assert_int_equal(m.start_at_ms, 5);
    assert_int_equal(m.deadline_at_ms, 6);
    assert_int_equal(m.text.len, 0);
    json_free(root);
    hint.start_at_ms = 0;
    assert_true(stream_id_parse(BYTES_LIT("bbbbbbbbbbbbbbbbbbbbbb"), &hint.stream));
    assert_int_equal(
        envelope_decode(bytes_of_str(BEGIN SINGLE TIMES REPLY "}"), &hint, &m, &root, NULL),
        BRG_OK);
    assert_string_equal(m.stream.text, "bbbbbbbbbbbbbbbbbbbbbb");
    assert_int_equal(m.start_at_ms, 1);
    assert_int_equal(m.deadline_at_ms, 2);
    json_free(root);
}

static struct bytes odd_header(const char *name, void *arg)
{
    if (strcmp(name, "bb-deadline") == 0)
        return bytes_of_str(arg);
    if (strcmp(name, "bb-stream") == 0)
        return BYTES_LIT("not/an/id/of/22/bytes!");
    return BYTES_LIT("");
}

static void hints_from_odd_headers_are_empty(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "", "x", "-5", "12x", " 1", "9223372036854775807", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct envelope_hint hint;
        char text[32];
        snprintf(text, sizeof text, "%s", odd[i]);
        envelope_read_hint(odd_header, text, &hint);
        assert_int_equal(hint.deadline_at_ms, 0);
        assert_int_equal(hint.start_at_ms, 0);
        assert_int_equal(hint.stream.text[0], 0);
        assert_int_equal(hint.traceparent.len, 0);
    }
}

static void the_deepest_callback_still_fits_into_a_record(void **state)
{
    (void)state;
    char deep[64] = {0};
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    struct json *raw = json_parse(bytes_of_str(deep), JSON_PEER, NULL);
    assert_non_null(raw);
    struct message m = sample(), back;
    m.raw = raw;
    struct envelope_hint hint;
    struct json *root = NULL;
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
    envelope_read_hint(header_of, &envelope, &hint);
    assert_int_equal(envelope_decode(buf_bytes(&envelope.value), &hint, &back, &root, NULL),
                     BRG_OK);
    json_free(root);
    json_free(raw);
}

static void too_large_is_rejected_and_the_envelope_stays_usable(void **state)
{
    (void)state;
    struct message m = sample();
    char *large = brg_calloc(1, ENVELOPE_VALUE_MAX_BYTES);
    memset(large, 'x', ENVELOPE_VALUE_MAX_BYTES);
    m.text = bytes_of(large, ENVELOPE_VALUE_MAX_BYTES / 2);
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_REJECT);
    m = sample();
    m.chat_id = bytes_of(large, 5000);
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_REJECT);
    m = sample();
    assert_int_equal(envelope_encode(&envelope, &m, ENVELOPE_TYPE_REQUEST, crypto), BRG_OK);
    free(large);
}

int main(void)
{
    const char *given = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("BOTBRIDGE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_seed(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_ids_are_deterministic),
        cmocka_unit_test(traceparents_are_fresh_and_well_formed),
        cmocka_unit_test(value_key_and_headers_are_exact),
        cmocka_unit_test(what_only_bosshi_has_is_exact),
        cmocka_unit_test(conversations_and_lanes),
        cmocka_unit_test(narrower_conversations),
        cmocka_unit_test(random_messages_round_trip),
        cmocka_unit_test(mangled_values_are_refused_or_read),
        cmocka_unit_test(refusals_name_the_member),
        cmocka_unit_test(least_value_is_read_with_its_hint),
        cmocka_unit_test(hints_from_odd_headers_are_empty),
        cmocka_unit_test(the_deepest_callback_still_fits_into_a_record),
        cmocka_unit_test(too_large_is_rejected_and_the_envelope_stays_usable),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
