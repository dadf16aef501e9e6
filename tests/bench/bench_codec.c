/* What the codec costs per call, on one thread, without any I/O. */
#include "envelope/envelope.h"
#include "json/json_writer.h"
#include "platform/bosshi.h"
#include "platform/wecom.h"

#include <stdio.h>
#include <time.h>

enum { BATCHES = 9, BATCH_MIN_US = 20000, NOW = 1770000000 };

static struct crypto *crypto;
static struct wecom_keys keys;
static struct buf plain, out;
static struct envelope envelope;

/* Sealed callbacks and texts that the measured calls work on. */
static struct buf refresh_body, refresh_query, question;
static struct wecom_query refresh;
static struct bytes content;
static struct message message;
static struct buf mentioning;
static struct json *mentions;

static void open_refresh(void)
{
    struct json *root = NULL;
    struct bytes encrypt, text;
    struct wecom_keyring used;
    struct wecom_callback cb;
    BRG_CHECK(wecom_parse_body(buf_bytes(&refresh_body), &root, &encrypt) == BRG_OK);
    BRG_CHECK(wecom_open(crypto, &keys, &refresh, encrypt, &plain, &text, &used) ==
              WECOM_GENUINE);
    wecom_parse(text, &cb);
    BRG_CHECK(cb.kind == WECOM_REFRESH);
    json_free(cb.root);
    json_free(root);
}

static void parse_question(void)
{
    struct wecom_callback cb;
    wecom_parse(buf_bytes(&question), &cb);
    BRG_CHECK(cb.kind == WECOM_TEXT);
    json_free(cb.root);
}

static void escape_content(void)
{
    buf_reset(&out);
    json_escape(&out, content);
    BRG_CHECK(!out.overflowed);
}

static void write_and_seal(void)
{
    wecom_reply_begin(&plain);
    wecom_write_stream(&plain, BYTES_LIT("0123456789abcdefABCDEF"), false, content);
    buf_reset(&out);
    wecom_reply_seal(crypto, &keys, (struct wecom_keyring){0, 0}, &plain, NOW,
                     BYTES_LIT("1188223344"), &out);
    BRG_CHECK(!out.overflowed);
}

static void base64_content(void)
{
    buf_reset(&out);
    crypto_base64_encode(&out, content);
}

static void sha1_content(void)
{
    uint8_t digest[CRYPTO_SHA1_BYTES];
    crypto_sha1(crypto, &content, 1, digest);
}

static void aes_content(void)
{
    buf_reset(&out);
    void *to = buf_reserve(&out, content.len);
    crypto_aes_encrypt(crypto, keys.aes_keys[0], keys.aes_keys[0], content.ptr,
                       content.len / 16 * 16, to);
}

static void encode_record(void)
{
    BRG_CHECK(envelope_encode(&envelope, &message, ENVELOPE_TYPE_REQUEST, crypto) == BRG_OK);
}

static void decode_record(void)
{
    struct envelope_hint hint = {.start_at_ms = NOW};
    struct message m;
    struct json *root = NULL;
    BRG_CHECK(envelope_decode(buf_bytes(&envelope.value), &hint, &m, &root, NULL) == BRG_OK);
    json_free(root);
}

static void read_mentions(void)
{
    const struct bosshi_self self = {.open_id = ""};
    const struct bosshi_message m = {
        .type = BYTES_LIT("text"), .content = buf_bytes(&mentioning), .mentions = mentions};
    struct bosshi_content read;
    bosshi_content_init(&read, ENVELOPE_VALUE_MAX_BYTES);
    BRG_CHECK(!bosshi_read_content(&m, &self, &read));
    bosshi_content_free(&read);
}

/* Processor time of this thread: others on the machine cost only their share of the caches. */
static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t batch_us(void (*call)(void), int64_t calls)
{
    int64_t start = cpu_us();
    for (int64_t i = 0; i < calls; i++)
        call();
    return cpu_us() - start;
}

/* The fastest of some batches: what the machine does when nothing else disturbs. */
static void measure(const char *name, size_t bytes, void (*call)(void))
{
    int64_t calls = 1;
    while (batch_us(call, calls) < BATCH_MIN_US)
        calls *= 2;
    double best = 0;
    for (int i = 0; i < BATCHES; i++) {
        double ns = 1000.0 * (double)batch_us(call, calls) / (double)calls;
        best = i == 0 || ns < best ? ns : best;
    }
    if (bytes > 0)
        printf("%-28s %6zu B %10.0f ns/op\n", name, bytes, best);
    else
        printf("%-28s %8s %10.0f ns/op\n", name, "", best);
}

static void make_refresh(void)
{
    wecom_reply_begin(&plain);
    buf_append(&plain,
               BYTES_LIT("{\"msgid\":\"c0ffee00c0ffee00c0ffee00c0ffee03\",\"aibotid\":"
                         "\"aib0000000000000000000000001\",\"chattype\":\"single\",\"from\":{"
                         "\"userid\":\"zhang.san\"},\"msgtype\":\"stream\",\"stream\":{\"id\":"
                         "\"0123456789abcdefABCDEF\"}}"));
    wecom_callback_seal(crypto, &keys, &plain, NOW, BYTES_LIT("1188223344"), &refresh_body,
                        &refresh_query);
    refresh = (struct wecom_query){
        bytes_of(refresh_query.ptr + strlen("msg_signature="), 2 * (size_t)CRYPTO_SHA1_BYTES),
        BYTES_LIT("1770000000"), BYTES_LIT("1188223344")};
}

static void make_question(void)
{
    buf_append(
        &question,
        BYTES_LIT("{\"msgid\":\"c0ffee00c0ffee00c0ffee00c0ffee01\",\"aibotid\":"
                  "\"aib0000000000000000000000001\",\"chattype\":\"single\",\"from\":{"
                  "\"userid\":\"zhang.san\"},\"msgtype\":\"text\",\"response_url\":"
                  "\"https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code="
                  "EXAMPLE\",\"text\":{\"content\":\"请把昨天的周报汇总成三点,谢谢\"}}"));
    message = (struct message){.bot = BYTES_LIT("helpdesk"),
                               .message_id = BYTES_LIT("c0ffee00c0ffee00c0ffee00c0ffee01"),
                               .stream = {"0123456789abcdefABCDEF"},
                               .kind = BYTES_LIT("text"),
                               .sender_id = BYTES_LIT("zhang.san"),
                               .received_at_ms = NOW * INT64_C(1000),
                               .start_at_ms = NOW * INT64_C(1000),
                               .deadline_at_ms = NOW * INT64_C(1000) + 340000,
                               .text = BYTES_LIT("请把昨天的周报汇总成三点,谢谢"),
                               .response_url = BYTES_LIT("https://qyapi.weixin.qq.com/x"),
                               .raw_text = buf_bytes(&question)};
}

/* Mostly Chinese, with the marks, line breaks and quotes of an answer in markdown. */
static void make_content(struct buf *text)
{
    while (text->len < WECOM_CONTENT_MAX_BYTES)
        buf_append(text, BYTES_LIT("## 汇总\n根据昨天的周报,项目“北斗”已经完成了百分之八十,"
                                   "剩余的工作集中在接口联调与压力测试。\n- **进度**:按期,"
                                   "ETA 11-22\n- 风险:\"依赖方\"尚未确认上线时间 😀\n"));
}

/* As bad as they get: many mentions, whose keys nearly match all over a long text. */
static void make_mentions(void)
{
    enum { MENTIONS = 512, REPEATS = 3000 };
    static const char stem[] = "@_user_with_a_rather_long_common_prefix_";
    struct buf list;
    buf_init(&list, ENVELOPE_VALUE_MAX_BYTES);
    for (int i = 0; i < MENTIONS; i++)
        buf_printf(&list, "%s{\"key\":\"%s%04d\",\"name\":\"n\"}", i > 0 ? "," : "[", stem, i);
    buf_append_char(&list, ']');
    mentions = json_parse(buf_bytes(&list), JSON_PEER, NULL);
    buf_free(&list);
    buf_append_str(&mentioning, "{\"text\":\"");
    for (int i = 0; i < REPEATS; i++)
        buf_printf(&mentioning, "%sx@_u", stem);
    buf_append_str(&mentioning, "\"}");
}

int main(void)
{
    static const size_t sizes[] = {300, 700, 2048, WECOM_CONTENT_MAX_BYTES};
    struct buf text;
    crypto = crypto_new();
    keys = (struct wecom_keys){.token_count = 1, .aes_key_count = 1};
    keys.tokens[0] = brg_strdup("benchtoken");
    keys.receive_id = brg_strdup("");
    crypto_random(crypto, keys.aes_keys[0], sizeof keys.aes_keys[0]);
    buf_init(&plain, WECOM_PLAIN_MAX_BYTES);
    buf_init(&out, WECOM_REPLY_MAX_BYTES);
    buf_init(&refresh_body, 4096);
    buf_init(&refresh_query, 4096);
    buf_init(&question, 4096);
    buf_init(&text, (size_t)64 * 1024);
    envelope_init(&envelope);
    make_refresh();
    make_question();
    make_content(&text);
    buf_init(&mentioning, ENVELOPE_VALUE_MAX_BYTES);
    make_mentions();

    measure("open and parse a refresh", refresh_body.len, open_refresh);
    measure("parse a question", question.len, parse_question);
    measure("read 512 mentions", mentioning.len, read_mentions);
    measure("envelope encode", 0, encode_record);
    measure("envelope decode", envelope.value.len, decode_record);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        content = bytes_of(text.ptr, sizes[i]);
        measure("write stream reply and seal", sizes[i], write_and_seal);
    }
    measure("  of which escape", content.len, escape_content);
    measure("  of which AES-256-CBC", content.len, aes_content);
    measure("  of which base64", content.len, base64_content);
    measure("  of which SHA-1", content.len, sha1_content);

    envelope_free(&envelope);
    json_free(mentions);
    buf_free(&mentioning);
    buf_free(&text);
    buf_free(&question);
    buf_free(&refresh_query);
    buf_free(&refresh_body);
    buf_free(&out);
    buf_free(&plain);
    wecom_keys_wipe(&keys);
    crypto_free(crypto);
    return 0;
}
