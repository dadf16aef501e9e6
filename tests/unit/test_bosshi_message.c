/* BOSSHI codec: what an event says, and the readable text of a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/bosshi.h"
#include "support_wecom.h"

#include <time.h>

enum { TEXT_MAX = 1 << 20 };

static void same(struct bytes given, const char *expected)
{
    if (!bytes_eq_str(given, expected))
        fail_msg("'" BYTES_FMT "' instead of '%s'", BYTES_ARG(given), expected);
}

static struct json *parse(const char *text)
{
    struct json *root = json_parse(bytes_of_str(text), JSON_PEER, NULL);
    if (!root)
        fail_msg("the test's own JSON is broken: %s", text);
    return root;
}

static struct bosshi_message message_of(const struct json *root)
{
    struct bosshi_message m;
    const char *why = bosshi_parse_message(root, &m);
    if (why)
        fail_msg("%s", why);
    return m;
}

static const struct bosshi_self nobody = {.open_id = ""};

static void the_seeds_event_verbatim(void **state)
{
    (void)state;
    struct json *root = vectors_read_file("bosshi-message-event.json");
    struct bosshi_event e;
    assert_true(bosshi_parse_event(root, &e));
    same(e.id, "5e3702a84e847582be8db7fb73283c02");
    same(e.type, "im.message.receive");
    same(e.app_id, "bli_9f5343c580712544");
    same(e.tenant, "2ca1d211f64f6438");
    assert_true(e.created_ms == INT64_C(1608725989000));
    struct bosshi_message m = message_of(root);
    same(m.id, "5ce6d572455d361153b7cb51da133945~");
    same(m.root_id, "5ce6d572455d361153b7cb5xxfsd~");
    same(m.parent_id, "5ce6d572455d361153b7cb5xx~");
    same(m.chat_id, "5ce6d572455d361153b7xN~");
    same(m.type, "text");
    same(m.sender.union_id, "on_8ed6aa67826108097d9ee143816345");
    same(m.sender.user_id, "1122334455");
    same(m.sender.open_id, "ou_84aad35d084aa403a838cf73ee18467");
    same(m.sender_tenant, "736588c9260f175e~");
    assert_true(m.is_group && m.is_by_user);
    assert_true(m.created_ms == INT64_C(1609073151345));
    struct bosshi_content content;
    bosshi_content_init(&content, TEXT_MAX);
    assert_null(bosshi_read_content(&m, &nobody, &content));
    same(buf_bytes(&content.text), "@Tom hello");
    assert_int_equal(content.parts.len, 0);
    same(buf_bytes(&content.mentions),
         "[{\"key\":\"@_user_1\",\"name\":\"Tom\","
         "\"ids\":{\"open_id\":\"ou_84aad35d084aa403a838cf73ee18467\","
         "\"union_id\":\"on_8ed6aa67826108097d9ee143816345\",\"user_id\":\"1122334455\"},"
         "\"tenant\":\"736588c9260f175e~\"}]");
    bosshi_content_free(&content);
    json_free(root);
}

/* The seed's event with each of `user_id`, `root_id` and `parent_id` given as `value`, or
 * without them. */
static struct json *seed_with(const char *value)
{
    static const char *const members[] = {"\"user_id\": \"1122334455\",",
                                          "\"root_id\": \"5ce6d572455d361153b7cb5xxfsd~\",",
                                          "\"parent_id\": \"5ce6d572455d361153b7cb5xx~\","};
    static const char *const names[] = {"user_id", "root_id", "parent_id"};
    struct json *seed = vectors_read_file("bosshi-message-event.json");
    struct buf text, out;
    buf_init(&text, TEXT_MAX);
    buf_init(&out, TEXT_MAX);
    FILE *f = fopen(BOTBRIDGE_SOURCE_DIR "/tests/vectors/bosshi-message-event.json", "rb");
    assert_non_null(f);
    char chunk[4096];
    buf_append(&text, bytes_of(chunk, fread(chunk, 1, sizeof chunk, f)));
    fclose(f);
    json_free(seed);
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        size_t i = 0;
        struct bytes rest = bytes_of(at, (size_t)(end - at));
        while (i < 3 && !bytes_starts_with(rest, bytes_of_str(members[i])))
            i++;
        if (i == 3) {
            buf_append_char(&out, *at++);
            continue;
        }
        at += strlen(members[i]);
        if (value)
            buf_printf(&out, "\"%s\":%s,", names[i], value);
    }
    struct json *root = json_parse(buf_bytes(&out), JSON_STRICT, NULL);
    assert_non_null(root);
    buf_free(&out);
    buf_free(&text);
    return root;
}

static void optional_ids_absent_null_and_empty(void **state)
{
    (void)state;
    static const char *const values[] = {NULL, "null", "\"\""};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct json *root = seed_with(values[i]);
        struct bosshi_message m = message_of(root);
        assert_int_equal(m.sender.user_id.len, 0);
        assert_int_equal(m.root_id.len, 0);
        assert_int_equal(m.parent_id.len, 0);
        same(m.sender.open_id, "ou_84aad35d084aa403a838cf73ee18467");
        struct bosshi_content content;
        bosshi_content_init(&content, TEXT_MAX);
        assert_null(bosshi_read_content(&m, &nobody, &content));
        same(buf_bytes(&content.text), "@Tom hello");
        assert_null(memmem(content.mentions.ptr, content.mentions.len, "\"user_id\"", 9));
        bosshi_content_free(&content);
        json_free(root);
    }
}

static void events_of_every_schema(void **state)
{
    (void)state;
    static const struct {
        const char *text, *id, *type, *app;
        bool is_usable;
    } cases[] = {
        {"{\"header\":{\"event_id\":\"1\",\"event_type\":\"t\",\"app_id\":\"a\"}}", "1", "t",
         "a", true},
        {"{\"schema\":\"2.0\",\"header\":{\"event_id\":\"1\"}}", "1", "", "", true},
        {"{\"uuid\":\"u\",\"event\":{\"type\":\"t\",\"app_id\":\"a\"}}", "u", "t", "a", true},
        {"{\"header\":{\"event_id\":\"\"}}", "", "", "", false},
        {"{\"header\":{\"event_id\":7}}", "", "", "", false},
        {"{\"header\":7}", "", "", "", false},
        {"{}", "", "", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *root = parse(cases[i].text);
        struct bosshi_event e;
        assert_int_equal(bosshi_parse_event(root, &e), cases[i].is_usable);
        same(e.id, cases[i].id);
        same(e.type, cases[i].type);
        same(e.app_id, cases[i].app);
        json_free(root);
    }
}

static void event_types_with_and_without_version(void **state)
{
    (void)state;
    char *wanted[] = {(char *)(uintptr_t) "im.message.receive", (char *)(uintptr_t) "x",
                      (char *)(uintptr_t) "y_v1", NULL};
    assert_true(bosshi_is_wanted(BYTES_LIT("im.message.receive"), wanted));
    assert_true(bosshi_is_wanted(BYTES_LIT("im.message.receive_v1"), wanted));
    assert_true(bosshi_is_wanted(BYTES_LIT("im.message.receive_v20"), wanted));
    assert_true(bosshi_is_wanted(BYTES_LIT("x"), wanted));
    assert_true(bosshi_is_wanted(BYTES_LIT("y"), wanted));
    assert_true(bosshi_is_wanted(BYTES_LIT("y_v2"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("y_v1_v2"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("im.message.receive_v"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("im.message.receive_v1x"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("im.message.received"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("im.message"), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT(""), wanted));
    assert_false(bosshi_is_wanted(BYTES_LIT("x"), NULL));
}

#define MESSAGE(members) "{\"event\":{\"message\":{" members "}}}"

static void messages_that_nobody_can_answer(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{}", "no message"},
        {"{\"event\":{\"message\":[]}}", "no message"},
        {MESSAGE("\"message_type\":\"text\",\"content\":\"{}\""), "no chat_id"},
        {MESSAGE("\"chat_id\":\"c\",\"content\":\"{}\""), "no message_type"},
        {MESSAGE("\"chat_id\":\"c\",\"message_type\":\"text\""), "no content"},
        {MESSAGE("\"chat_id\":\"c\",\"message_type\":\"text\",\"content\":{\"text\":\"x\"}"),
         "no content"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *root = parse(cases[i].text);
        struct bosshi_message m;
        assert_string_equal(bosshi_parse_message(root, &m), cases[i].why);
        json_free(root);
    }
}

static void who_sent_it(void **state)
{
    (void)state;
    static const struct {
        const char *sender, *type;
        bool is_by_user, is_group;
    } cases[] = {
        {"\"user\"", "p2p", true, false},   {"\"app\"", "group", false, true},
        {"null", "p2p", true, false},       {"\"\"", "topic", true, true},
        {"\"anonymous\"", "", false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{\"event\":{\"sender\":{\"sender_type\":%s},\"message\":{\"chat_id\":\"c\","
                 "\"chat_type\":\"%s\",\"message_type\":\"t\",\"content\":\"\"}}}",
                 cases[i].sender, cases[i].type);
        struct json *root = parse(text);
        struct bosshi_message m = message_of(root);
        assert_int_equal(m.is_by_user, cases[i].is_by_user);
        assert_int_equal(m.is_group, cases[i].is_group);
        json_free(root);
    }
}

/* --- content --- */

/* What becomes of a message; NULL parts and mentions are not compared. */
static void reads(const char *type, const char *content, const char *mentions,
                  const struct bosshi_self *self, const char *text, const char *parts)
{
    struct json *list = parse(mentions);
    struct bosshi_message m = {
        .type = bytes_of_str(type), .content = bytes_of_str(content), .mentions = list};
    struct bosshi_content out;
    bosshi_content_init(&out, TEXT_MAX);
    const char *why = bosshi_read_content(&m, self, &out);
    if (why)
        fail_msg("%s: %s", content, why);
    same(buf_bytes(&out.text), text);
    if (parts)
        same(buf_bytes(&out.parts), parts);
    struct json *check =
        out.parts.len > 0 ? json_parse(buf_bytes(&out.parts), JSON_STRICT, NULL) : parse("[]");
    assert_non_null(check);
    json_free(check);
    bosshi_content_free(&out);
    json_free(list);
}

#define TOM "{\"key\":\"@_user_1\",\"id\":{\"open_id\":\"ou_t\"},\"name\":\"Tom\"}"
#define BOT "{\"key\":\"@_user_2\",\"id\":{\"open_id\":\"ou_b\"},\"name\":\"助手\"}"
#define TEN "{\"key\":\"@_user_10\",\"id\":{\"open_id\":\"ou_x\"},\"name\":\"Ten\"}"

static void mentions_by_name(void **state)
{
    (void)state;
    static const char all[] = "[" TOM "," BOT "," TEN "]";
    char *names[] = {(char *)(uintptr_t) "助手", NULL};
    struct bosshi_self by_id = {.open_id = "ou_b"}, by_name = {.open_id = "", .names = names};
    reads("text", "{\"text\":\"@_user_2 hello\"}", all, &by_id, "hello", "");
    reads("text", "{\"text\":\"@_user_2 hello\"}", all, &by_name, "hello", "");
    reads("text", "{\"text\":\"@_user_2 hello\"}", all, &nobody, "@助手 hello", "");
    reads("text", "{\"text\":\"hello @_user_2\"}", all, &by_id, "hello", "");
    reads("text", "{\"text\":\"a @_user_2 b\"}", all, &by_id, "a b", "");
    reads("text", "{\"text\":\"@_user_2\"}", all, &by_id, "", "");
    reads("text", "{\"text\":\"@_user_2@_user_1 hi\"}", all, &by_id, "@Tom hi", "");
    reads("text", "{\"text\":\"@_user_10 @_user_1 @_user_11\"}", all, &nobody,
          "@Ten @Tom @Tom1", "");
    reads("text", "{\"text\":\"@_user_3 @ @_user\"}", all, &by_id, "@_user_3 @ @_user", "");
    reads("text", "{\"text\":\" as it is \"}", all, &by_id, " as it is ", "");
    reads("text", "{\"text\":\"@_all 开会\"}", "[]", &nobody, "@所有人 开会", "");
    reads("text", "{\"text\":\"@_user_1 x\"}", "[{\"key\":\"@_user_1\"}]", &nobody,
          "@_user_1 x", "");
    /* A name that looks like a key is not read again. */
    reads("text", "{\"text\":\"@_user_1\"}", "[{\"key\":\"@_user_1\",\"name\":\"_user_1\"}]",
          &nobody, "@_user_1", "");
}

static void mentions_of_odd_form(void **state)
{
    (void)state;
    reads("text", "{\"text\":\"@_user_1\"}", "{}", &nobody, "@_user_1", "");
    reads("text", "{\"text\":\"@_user_1\"}", "[1,\"x\",[],{\"key\":7},{\"key\":\"\"}]", &nobody,
          "@_user_1", "");
}

/* The longest key counts, whatever the keys share and in whatever order they come. */
static void keys_that_begin_each_other(void **state)
{
    (void)state;
    static const char keys[] =
        "[{\"key\":\"@a\",\"name\":\"1\"},{\"key\":\"@abc\",\"name\":\"3\"},"
        "{\"key\":\"@\",\"name\":\"0\"},{\"key\":\"@abd\",\"name\":\"4\"},"
        "{\"key\":\"@ab\",\"name\":\"2\"},{\"key\":\"x\",\"name\":\"9\"}]";
    reads("text", "{\"text\":\"@abc@abd@abe@ac@b@ax\"}", keys, &nobody, "@3@4@2e@1c@0b@1@9",
          "");
    reads("text", "{\"text\":\"@ab\"}", keys, &nobody, "@2", "");
    reads("text", "{\"text\":\"\"}", keys, &nobody, "", "");
}

/* A message of `count` mentions whose keys nearly match everywhere in its 130 KB. */
static double seconds_for_mentions(size_t count)
{
    enum { REPEATS = 3000 };
    static const char stem[] = "@_user_with_a_rather_long_common_prefix_";
    struct buf mentions, content;
    buf_init(&mentions, TEXT_MAX);
    buf_init(&content, TEXT_MAX);
    for (size_t i = 0; i < count; i++)
        buf_printf(&mentions, "%s{\"key\":\"%s%04zu\",\"name\":\"n\"}", i > 0 ? "," : "[", stem,
                   i);
    buf_append_str(&mentions, "]");
    buf_append_str(&content, "{\"text\":\"");
    for (int i = 0; i < REPEATS; i++)
        buf_printf(&content, "%sx@_u", stem);
    buf_append_str(&content, "\"}");
    struct json *list = json_parse(buf_bytes(&mentions), JSON_PEER, NULL);
    struct bosshi_message m = {
        .type = BYTES_LIT("text"), .content = buf_bytes(&content), .mentions = list};
    struct bosshi_content out;
    bosshi_content_init(&out, TEXT_MAX);
    clock_t begin = clock();
    assert_null(bosshi_read_content(&m, &nobody, &out));
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    bosshi_content_free(&out);
    json_free(list);
    buf_free(&content);
    buf_free(&mentions);
    return seconds;
}

static void many_mentions_cost_little_more_than_one(void **state)
{
    (void)state;
    double one = seconds_for_mentions(1), many = seconds_for_mentions(512);
    if (many > 20 * one + 0.02)
        fail_msg("%.0f ms with 512 mentions, %.0f ms with one", 1e3 * many, 1e3 * one);
}

static void rich_text(void **state)
{
    (void)state;
    static const char post[] =
        "{\"title\":\"标题\",\"content\":[[{\"tag\":\"text\",\"text\":\"看 \"},"
        "{\"tag\":\"a\",\"text\":\"这里\",\"href\":\"https://e.example/\"},"
        "{\"tag\":\"at\",\"user_id\":\"@_user_1\",\"user_name\":\"x\"}],"
        "[{\"tag\":\"img\",\"image_key\":\"k1\"},{\"tag\":\"text\",\"text\":\" 后\"}],"
        "[{\"tag\":\"hr\"}],[{\"tag\":\"code_block\",\"language\":\"C\",\"text\":\"int a;\"}],"
        "[{\"tag\":\"emotion\",\"emoji_type\":\"SMILE\"},{\"tag\":\"later\",\"text\":\"neu\"},"
        "{\"tag\":\"nothing\"},7]]}";
    reads("post", post, "[" TOM "]", &nobody,
          "标题\n看 [这里](https://e.example/)@Tom\n[图片] 后\n---\n```C\nint a;\n```\n"
          "[SMILE]neu",
          "[{\"type\":\"text\",\"text\":\"标题\\n看 [这里](https://e.example/)@Tom\"},"
          "{\"type\":\"image\",\"key\":\"k1\"},"
          "{\"type\":\"text\",\"text\":\"后\\n---\\n```C\\nint a;\\n```\\n[SMILE]neu\"}]");
    struct bosshi_self self = {.open_id = "ou_b"};
    reads("post",
          "{\"content\":[[{\"tag\":\"at\",\"user_id\":\"@_user_2\"},"
          "{\"tag\":\"text\",\"text\":\" 你好\"}]]}",
          "[" BOT "]", &self, "你好", "[{\"type\":\"text\",\"text\":\"你好\"}]");
    reads("post",
          "{\"zh_cn\":{\"title\":\"\",\"content\":[[{\"tag\":\"text\",\"text\":\"x\"}]]}}",
          "[]", &nobody, "x", "[{\"type\":\"text\",\"text\":\"x\"}]");
    reads("post", "{\"content\":[]}", "[]", &nobody, "", "");
    reads("post",
          "{\"content\":[[{\"tag\":\"at\",\"user_id\":\"all\",\"user_name\":\"全员\"}]]}", "[]",
          &nobody, "@全员", "[{\"type\":\"text\",\"text\":\"@全员\"}]");
}

static void attachments(void **state)
{
    (void)state;
    reads("image", "{\"image_key\":\"img_1\"}", "[]", &nobody, "[图片]",
          "[{\"type\":\"image\",\"key\":\"img_1\"}]");
    reads("file", "{\"file_key\":\"f_1\",\"file_name\":\"表.xlsx\"}", "[]", &nobody,
          "[文件] 表.xlsx", "[{\"type\":\"file\",\"key\":\"f_1\",\"name\":\"表.xlsx\"}]");
    reads("audio", "{\"file_key\":\"a_1\",\"duration\":2000}", "[]", &nobody, "[语音]",
          "[{\"type\":\"voice\",\"key\":\"a_1\",\"duration_ms\":2000}]");
    reads("media",
          "{\"file_key\":\"v\",\"image_key\":\"i\",\"file_name\":\"a.mp4\",\"duration\":\"9\"}",
          "[]", &nobody, "[视频] a.mp4",
          "[{\"type\":\"video\",\"key\":\"v\",\"name\":\"a.mp4\",\"duration_ms\":9}]");
    reads("image", "{}", "[]", &nobody, "[图片]", "[{\"type\":\"image\"}]");
}

static void unknown_types(void **state)
{
    (void)state;
    reads("vote", "{\"topic\":\"午饭\",\"options\":[]}", "[]", &nobody, "[vote] 午饭",
          "[{\"type\":\"vote\"}]");
    reads("merge_forward", "Merged and Forwarded Message", "[]", &nobody, "[merge_forward]",
          "[{\"type\":\"merge_forward\"}]");
    reads("location", "[1,2]", "[]", &nobody, "[location]", "[{\"type\":\"location\"}]");
}

static void broken_content(void **state)
{
    (void)state;
    static const struct {
        const char *type, *content, *why;
    } cases[] = {
        {"text", "{\"text\":", "content is not a JSON object"},
        {"text", "", "content is not a JSON object"},
        {"text", "[]", "content is not a JSON object"},
        {"text", "{\"text\":7}", "content has no text"},
        {"post", "{\"content\":\"x\"}", "content has no lines"},
        {"post", "hello", "content is not a JSON object"},
        {"image", "k", "content is not a JSON object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bosshi_message m = {.type = bytes_of_str(cases[i].type),
                                   .content = bytes_of_str(cases[i].content)};
        struct bosshi_content out;
        bosshi_content_init(&out, TEXT_MAX);
        assert_string_equal(bosshi_read_content(&m, &nobody, &out), cases[i].why);
        bosshi_content_free(&out);
    }
}

/* A short text that names a long name many times. */
static void a_text_that_grows_is_bounded(void **state)
{
    (void)state;
    struct buf mentions, content;
    buf_init(&mentions, TEXT_MAX);
    buf_init(&content, TEXT_MAX);
    buf_append_str(&mentions, "[{\"key\":\"@\",\"name\":\"");
    for (int i = 0; i < 1000; i++)
        buf_append_str(&mentions, "long");
    buf_append_str(&mentions, "\"}]");
    buf_append_str(&content, "{\"text\":\"");
    for (int i = 0; i < 1000; i++)
        buf_append_char(&content, '@');
    buf_append_str(&content, "\"}");
    struct json *list = json_parse(buf_bytes(&mentions), JSON_PEER, NULL);
    struct bosshi_message m = {
        .type = BYTES_LIT("text"), .content = buf_bytes(&content), .mentions = list};
    struct bosshi_content out;
    bosshi_content_init(&out, TEXT_MAX);
    assert_string_equal(bosshi_read_content(&m, &nobody, &out), "content is too large");
    assert_true(out.text.len <= TEXT_MAX);
    bosshi_content_free(&out);
    json_free(list);
    buf_free(&content);
    buf_free(&mentions);
}

static void raw_has_no_tokens(void **state)
{
    (void)state;
    struct json *root = parse(
        "{\"schema\":\"1.0\",\"token\":\"t\",\"header\":{\"token\":\"t\",\"app_id\":\"a\"},"
        "\"event\":{\"token\":\"c\",\"action\":{\"token\":\"theirs\"},\"header\":{\"token\":1}}"
        "}");
    struct buf out;
    buf_init(&out, TEXT_MAX);
    bosshi_write_raw(&out, root);
    same(buf_bytes(&out),
         "{\"schema\":\"1.0\",\"header\":{\"app_id\":\"a\"},"
         "\"event\":{\"action\":{\"token\":\"theirs\"},\"header\":{\"token\":1}}}");
    json_free(root);
    buf_reset(&out);
    root = parse("{\"token\":\"t\"}");
    bosshi_write_raw(&out, root);
    same(buf_bytes(&out), "{}");
    json_free(root);
    buf_free(&out);
}

static uint64_t random_below(uint64_t limit)
{
    static uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x % limit;
}

/* Events with bytes changed: read or refused, and what is written is JSON. */
static void mangled_events(void **state)
{
    (void)state;
    static const char event[] =
        "{\"header\":{\"event_id\":\"1\",\"token\":\"t\"},\"event\":{\"message\":{"
        "\"chat_id\":\"c\",\"message_type\":\"post\",\"mentions\":[" TOM "," BOT
        "],\"content\":"
        "\"{\\\"title\\\":\\\"@_user_1\\\",\\\"content\\\":[[{\\\"tag\\\":\\\"text\\\","
        "\\\"text\\\":\\\"@_user_2 "
        "x\\\"},{\\\"tag\\\":\\\"img\\\",\\\"image_key\\\":\\\"k\\\"}]]}"
        "\"}}}";
    const struct bosshi_self self = {.open_id = "ou_b"};
    char copy[sizeof event];
    unsigned read = 0;
    for (int round = 0; round < 30000; round++) {
        memcpy(copy, event, sizeof event);
        for (uint64_t hits = random_below(4); hits > 0; hits--)
            copy[random_below(sizeof event - 1)] =
                "\"{}[]:,\\@ _12ax\x01\xe4"[random_below(18)];
        struct json *root = json_parse(bytes_of(copy, sizeof event - 1), JSON_PEER, NULL);
        struct bosshi_message m;
        struct bosshi_event e;
        struct bosshi_content out;
        struct buf raw;
        buf_init(&raw, TEXT_MAX);
        bosshi_content_init(&out, TEXT_MAX);
        bosshi_parse_event(root, &e);
        if (!bosshi_parse_message(root, &m) && !bosshi_read_content(&m, &self, &out)) {
            struct json *parts =
                out.parts.len > 0 ? json_parse(buf_bytes(&out.parts), JSON_STRICT, NULL) : NULL;
            assert_true(out.parts.len == 0 || json_type(parts) == JSON_ARRAY);
            json_free(parts);
            bosshi_write_raw(&raw, root);
            struct json *again = json_parse(buf_bytes(&raw), JSON_STRICT, NULL);
            assert_int_equal(json_type(again), JSON_OBJECT);
            json_free(again);
            read++;
        }
        bosshi_content_free(&out);
        buf_free(&raw);
        json_free(root);
    }
    assert_true(read > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seeds_event_verbatim),
        cmocka_unit_test(optional_ids_absent_null_and_empty),
        cmocka_unit_test(events_of_every_schema),
        cmocka_unit_test(event_types_with_and_without_version),
        cmocka_unit_test(messages_that_nobody_can_answer),
        cmocka_unit_test(who_sent_it),
        cmocka_unit_test(mentions_by_name),
        cmocka_unit_test(mentions_of_odd_form),
        cmocka_unit_test(keys_that_begin_each_other),
        cmocka_unit_test(many_mentions_cost_little_more_than_one),
        cmocka_unit_test(rich_text),
        cmocka_unit_test(attachments),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(broken_content),
        cmocka_unit_test(a_text_that_grows_is_bounded),
        cmocka_unit_test(raw_has_no_tokens),
        cmocka_unit_test(mangled_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
