/* config: defaults, and every mistake by its path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config_keys.h"
#include "support_config.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void contract_file(void **state)
{
    (void)state;
    static const char text[] =
        "{\n"
        "  \"ingress\": { \"listen\": \"127.0.0.1:8080\", \"admin\": \"127.0.0.1:9080\" },\n"
        "  \"worker\":  { \"admin\": \"127.0.0.1:9081\" }, // comment\n"
        "  \"kafka\":   { \"bootstrap.servers\": \"127.0.0.1:9092\",\n"
        "     \"topic_prefix\": \"botbridge\", \"allow_unsafe_durability\": true },\n"
        "  \"store\":   { \"url\": \"redis://127.0.0.1:6379/0\" },\n"
        "  \"bots\": [\n"
        "    { \"name\": \"helpdesk\", \"platform\": \"wecom\",  \"token\": \"…\",\n"
        "      \"aes_key\": \"" AES_KEY "\", \"receive_id\": \"\", \"pipeline\": \"main\",\n"
        "      \"welcome\": \"…\", \"placeholder\": \"…\", \"busy_text\": \"…\",\n"
        "      \"stream_deadline_ms\": 340000, \"handover_margin_ms\": 20000 } ],\n"
        "  \"pipelines\": { \"main\": { \"type\": \"openai\",\n"
        "     \"url\": \"http://127.0.0.1:8000/v1\", \"model\": \"…\",\n"
        "     \"api_key\": \"${LLM_KEY}\" } } /* end */\n"
        "}\n";
    struct buf report;
    setenv("LLM_KEY", "sk-1", 1);
    struct config *c = config_load_text(BYTES_LIT(text), &report);
    unsetenv("LLM_KEY");
    assert_non_null(c);
    assert_int_equal(c->bot_count, 1);
    assert_string_equal(c->bots[0].name, "helpdesk");
    assert_int_equal(c->bots[0].wecom.token_count, 1);
    assert_string_equal(c->bots[0].wecom.tokens[0], "…");
    assert_int_equal(c->bots[0].wecom.aes_key_count, 1);
    assert_int_equal(c->bots[0].wecom.aes_keys[0][0], 0x8d);
    assert_int_equal(c->pipeline_count, 1);
    assert_int_equal(c->pipelines[0].type, PIPELINE_OPENAI);
    assert_string_equal(c->pipelines[0].api_key, "sk-1");
    assert_true(c->kafka.allow_unsafe_durability);
    assert_int_equal(c->kafka.setting_count, 1);
    config_unref(c);
    buf_free(&report);
}

static void contract_defaults(void **state)
{
    (void)state;
    struct config *c = config_load_good(&(struct parts){0});
    assert_string_equal(c->ingress.listen, "127.0.0.1:8080");
    assert_string_equal(c->kafka.topic_prefix, "botbridge");
    assert_false(c->kafka.allow_unsafe_durability);
    assert_int_equal(c->ingress.max_body_bytes, 262144);
    assert_int_equal(c->ingress.publish_budget_ms, 3000);
    assert_int_equal(c->ingress.store_gate_ms, 50);
    assert_int_equal(c->ingress.poll_hold_ms, 2000);
    assert_int_equal(c->ingress.unknown_ms, 60000);
    assert_string_equal(c->worker.slot, "");
    assert_string_equal(c->worker.group, "botbridge.worker");
    assert_int_equal(c->worker.lease_ms, 10000);
    assert_int_equal(c->worker.drain_ms, 30000);
    assert_int_equal(c->worker.window_records, 16384);
    assert_int_equal(c->worker.flush_ms, 250);
    assert_int_equal(c->worker.flush_large_ms, 1000);
    assert_int_equal(c->worker.flush_large_bytes, 8192);
    assert_int_equal(c->store.stream_ttl_ms, 7200000);
    assert_string_equal(c->log.level, "info");
    assert_int_equal(c->bots[0].stream_deadline_ms, 340000);
    assert_int_equal(c->bots[0].handover_margin_ms, 20000);
    assert_string_equal(c->bots[0].wecom.receive_id, "");
    assert_true(*c->bots[0].placeholder != 0);
    assert_int_equal(c->pipelines[0].attempts, 3);
    config_unref(c);
}

static void check_default(const struct config_key *k, const void *base)
{
    const void *field = config_field_const(base, k->offset);
    bool is_derived = strcmp(k->name, "group") == 0;
    if ((k->flags & KEY_REQUIRED) || is_derived)
        return;
    if (config_is_text(k->type))
        assert_string_equal(*(char *const *)field, k->text);
    else if (k->type == KEY_CHOICE)
        assert_string_equal(config_choice_of(k->choices, *(const int *)field)->name, k->text);
    else if (k->type == KEY_SECRETS)
        assert_int_equal(*(const size_t *)config_field_const(base, k->count_offset), 0);
    else if (k->type == KEY_BOOL)
        assert_int_equal(*(const bool *)field, k->number);
    else if (k->type == KEY_INT || k->type == KEY_MS) {
        assert_true(*(const int64_t *)field == k->number);
        assert_true(k->number >= k->min && k->number <= k->max);
    } else if (k->type == KEY_STRINGS && k->text) {
        char *const *list = *(char *const *const *)field;
        assert_string_equal(list[0], k->text);
        assert_null(list[1]);
    } else if (k->type != KEY_SETTING)
        assert_null(*(void *const *)field);
}

static void bosshi_without_encryption(void **state)
{
    (void)state;
    struct config *c =
        config_load_good(&(struct parts){.bots = BOSSHI_WITH("\"encrypt_key\":\"\"")});
    assert_int_equal(c->bots[0].bosshi.keys.encrypt_key_count, 0);
    config_unref(c);
}

/* Every kind of key that only BOSSHI has, given. */
static void bosshi_values(void **state)
{
    (void)state;
    struct config *c = config_load_good(&(struct parts){
        .bots = BOSSHI_WITH("\"verification_token\":[\"new\",\"old\"],"
                            "\"encrypt_key\":\"test key\",\"check_signature\":true,"
                            "\"stream\":\"final\",\"receive_id_type\":\"user_id\","
                            "\"event_types\":[\"a\",\"b\"],\"bot_names\":[\"助手\"],"
                            "\"stream_deadline_ms\":3000000,\"placeholder\":\"\","
                            "\"api_errors\":{\"230099\":\"no_card\",\"-1\":\"retry\"}")});
    const struct config_bot *bot = &c->bots[0];
    const struct config_bosshi *b = &bot->bosshi;
    uint8_t first = 0xfa; /* of SHA-256("test key") */
    assert_int_equal(bot->platform, PLATFORM_BOSSHI);
    assert_int_equal(b->keys.token_count, 2);
    assert_string_equal(b->keys.tokens[1], "old");
    assert_int_equal(b->keys.encrypt_key_count, 1);
    assert_int_equal(b->keys.aes_keys[0][0], first);
    assert_int_equal(b->stream, BOSSHI_STREAM_FINAL);
    assert_int_equal(b->receive_id_type, BOSSHI_USER_ID);
    assert_string_equal(b->event_types[1], "b");
    assert_string_equal(b->bot_names[0], "助手");
    assert_int_equal(bot->stream_deadline_ms, 3000000);
    assert_string_equal(bot->placeholder, "");
    assert_int_equal(b->api_error_count, 2);
    assert_int_equal(b->api_errors[0].code, 230099);
    assert_int_equal(b->api_errors[0].value, BOSSHI_ERROR_NO_CARD);
    assert_int_equal(b->api_errors[1].code, -1);
    struct buf dump;
    buf_init(&dump, CONFIG_TEXT_MAX_BYTES);
    config_write_dump(&dump, c);
    buf_append_char(&dump, 0);
    assert_non_null(strstr(dump.ptr, "\"230099\": \"no_card\""));
    assert_non_null(strstr(dump.ptr, "\"stream\": \"final\""));
    assert_null(strstr(dump.ptr, "test key"));
    assert_null(strstr(dump.ptr, "\"sec\""));
    buf_free(&dump);
    config_unref(c);
}

/* Whatever is added to the table: its default is in its range and arrives. */
static void table_defaults(void **state)
{
    (void)state;
    struct config *c = config_load_good(
        &(struct parts){.bots = "[" GOOD_BOT "," GOOD_BOSSHI_BOT "]",
                        .pipelines = "{\"main\":{\"type\":\"echo\"},\"o\":{\"type\":\"openai\","
                                     "\"url\":\"http://h\",\"model\":\"m\"}}"});
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        const void *base = c;
        if (g->kind == GROUP_BOT)
            base = &c->bots[g->variant && strcmp(g->variant, "bosshi") == 0];
        if (g->kind == GROUP_PIPELINE)
            base = &c->pipelines[g->variant && strcmp(g->variant, "openai") == 0];
        assert_true(strlen(g->help) > 0);
        for (const struct config_key *k = g->keys; k < config_keys_end(g); k++) {
            assert_true(strlen(k->help) > 0);
            check_default(k, base);
        }
    }
    config_unref(c);
}

struct mistake {
    struct parts parts;
    const char *line;
};

#define MISTAKE(part, text, line_) \
    {                              \
        {.part = (text)}, (line_)  \
    }

static const struct mistake section_mistakes[] = {
    MISTAKE(more, "\"stroe\":{}", "stroe: unknown key, did you mean \"store\"?"),
    MISTAKE(more, "\"xyz\":{}", "xyz: unknown key"),
    MISTAKE(more, "\"media\":{\"allow_http\":true}", "media: is not supported by this version"),
    MISTAKE(more, "\"response_url\":{\"hosts\":[\"a.example\",\"\"]}",
            "response_url.hosts[1]: empty"),
    MISTAKE(more, "\"response_url\":{\"hosts\":[\"https://a.example\"]}",
            "response_url.hosts[0]: name or IPv4 address of a host expected"),
    MISTAKE(more, "\"response_url\":{\"hosts\":\"a.example\"}",
            "response_url.hosts: list of strings expected, string given"),
    MISTAKE(ingress, "[]", "ingress: object expected, list given"),
    MISTAKE(ingress, "null", "ingress: null given, leave the key out for its default"),
    MISTAKE(ingress, "{\"listne\":\"x\"}",
            "ingress.listne: unknown key, did you mean \"listen\"?"),
    MISTAKE(ingress, "{\"a\\nb\":1}", "ingress.a?b: unknown key"),
    MISTAKE(ingress, "{\"listen\":8080}", "ingress.listen: string expected, integer given"),
    MISTAKE(ingress, "{\"listen\":null}",
            "ingress.listen: null given, leave the key out for its default"),
    MISTAKE(ingress, "{\"share_port\":1}",
            "ingress.share_port: true or false expected, integer given"),
    MISTAKE(ingress, "{\"store_gate_ms\":\"50\"}",
            "ingress.store_gate_ms: integer expected, string given"),
    MISTAKE(ingress, "{\"store_gate_ms\":1.5}",
            "ingress.store_gate_ms: integer expected, number given"),
    MISTAKE(ingress, "{\"store_gate_ms\":-1}",
            "ingress.store_gate_ms: 0 to 1000 expected, -1 given"),
    MISTAKE(ingress, "{\"store_gate_ms\":1001}",
            "ingress.store_gate_ms: 0 to 1000 expected, 1001 given"),
    MISTAKE(worker, "{\"spool_dir\":\"/x\"}",
            "worker.spool_dir: is not supported by this version"),
    MISTAKE(kafka, "{}", "kafka.bootstrap.servers: missing"),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"\"}", "kafka.bootstrap.servers: empty"),
    MISTAKE(kafka, "{\"bootstrap.servers\":[\"a\"]}",
            "kafka.bootstrap.servers: string, number or boolean expected, list given\n"
            "kafka.bootstrap.servers: missing"),
    MISTAKE(ingress, "{\"listen\":\"127.0.0.1:9080\"}",
            "ingress.listen: the same as ingress.admin"),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"topic_prefix\":\"a b\"}",
            "kafka.topic_prefix: 1 to 64 letters, digits, '-', '_' or '.' expected"),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"group.id\":\"x\"}",
            "kafka.group.id: set worker.group instead"),
    MISTAKE(store, "{}", "store.url: missing"),
    MISTAKE(store, "{\"url\":\"rediss://h\"}",
            "store.url: rediss:// (TLS) is not supported by this version; "
            "redis://[user:password@]host[:port][/db] expected"),
    MISTAKE(log, "{\"level\":\"loud\"}", "log.level: one of debug, info, warn, error expected"),
};

static const struct mistake bot_mistakes[] = {
    MISTAKE(bots, "{}", "bots: list of objects expected, object given"),
    MISTAKE(bots, "[]", "bots: at least one bot expected"),
    MISTAKE(bots, "[" GOOD_BOT ",7]", "bots[1]: object expected, integer given"),
    MISTAKE(bots, "[" GOOD_BOT "," GOOD_BOT "]", "bots[1].name: the same as bots[0].name"),
    MISTAKE(bots, BOT_WITH("\"name\":\"a/b\""),
            "bots[0].name: 1 to 64 letters, digits, '-', '_' or '.' expected"),
    MISTAKE(bots, BOT_WITH("\"name\":\"..\""),
            "bots[0].name: 1 to 64 letters, digits, '-', '_' or '.' expected"),
    MISTAKE(bots, BOT_WITH("\"name\":\"\""),
            "bots[0].name: 1 to 64 letters, digits, '-', '_' or '.' expected"),
    MISTAKE(bots, BOT_WITH("\"pipeline\":\"mian\""),
            "bots[0].pipeline: no pipeline \"mian\", did you mean \"main\"?"),
    MISTAKE(bots, BOT_WITH("\"pipeline\":\"other\""),
            "bots[0].pipeline: no pipeline \"other\" under pipelines"),
    MISTAKE(bots, BOT_WITH("\"platform\":\"slack\""),
            "bots[0].platform: one of wecom, bosshi expected"),
    MISTAKE(bots, BOT_WITH("\"platform\":3"),
            "bots[0].platform: string expected, integer given"),
    MISTAKE(bots, "[{\"name\":\"a\",\"pipeline\":\"main\"}]", "bots[0].platform: missing"),
    MISTAKE(bots, "[{\"name\":\"a\",\"platform\":\"wecom\",\"pipeline\":\"main\"}]",
            "bots[0].token: missing\nbots[0].aes_key: missing"),
    MISTAKE(bots, BOT_WITH("\"aes_key\":\"" AES_KEY_42 "\""),
            "bots[0].aes_key: 43 characters expected, 42 given"),
    MISTAKE(bots, BOT_WITH("\"aes_key\":[\"" AES_KEY "\",\"" AES_KEY "C\"]"),
            "bots[0].aes_key[1]: 43 characters expected, 44 given"),
    MISTAKE(bots, BOT_WITH("\"aes_key\":7"),
            "bots[0].aes_key: string or [current, previous] expected, integer given"),
    MISTAKE(bots, BOT_WITH("\"token\":\"\""), "bots[0].token: empty"),
    MISTAKE(bots, BOT_WITH("\"token\":[]"),
            "bots[0].token: string or [current, previous] expected, empty list given"),
    MISTAKE(bots, BOT_WITH("\"token\":[\"a\",\"\"]"), "bots[0].token[1]: empty"),
    MISTAKE(bots, BOT_WITH("\"token\":[\"a\",\"b\",\"c\"]"),
            "bots[0].token: at most 2 entries (current, previous), 3 given"),
    MISTAKE(bots, BOT_WITH("\"placeholder\":\"\""), "bots[0].placeholder: empty"),
    MISTAKE(bots, BOT_WITH("\"stream_deadline_ms\":360001"),
            "bots[0].stream_deadline_ms: 1000 to 360000 expected, 360001 given"),
    MISTAKE(bots, BOT_WITH("\"handover_margin_ms\":340000"),
            "bots[0].handover_margin_ms: less than stream_deadline_ms (340000) expected, "
            "340000 given"),
    MISTAKE(bots, BOT_WITH("\"mention_names\":[1]"),
            "bots[0].mention_names[0]: string expected, integer given"),
    MISTAKE(bots, BOT_WITH("\"welcom\":\"x\""),
            "bots[0].welcom: unknown key, did you mean \"welcome\"?"),
    MISTAKE(bots, BOT_WITH("\"welcome\":\"a\\u0000b\""),
            "bots[0].welcome: holds a NUL character"),
};

static const struct mistake bosshi_mistakes[] = {
    MISTAKE(bots, "[{\"name\":\"a\",\"platform\":\"bosshi\",\"pipeline\":\"main\"}]",
            "bots[0].app_id: missing\nbots[0].app_secret: missing\n"
            "bots[0].verification_token: missing"),
    MISTAKE(bots, BOSSHI_WITH("\"app_id\":\"\""), "bots[0].app_id: empty"),
    MISTAKE(bots, BOSSHI_WITH("\"verification_token\":[\"a\",\"b\",\"c\"]"),
            "bots[0].verification_token: at most 2 entries (current, previous), 3 given"),
    MISTAKE(bots, BOSSHI_WITH("\"encrypt_key\":[\"a\",\"\"]"), "bots[0].encrypt_key[1]: empty"),
    MISTAKE(bots, BOSSHI_WITH("\"token\":\"x\""), "bots[0].token: unknown key"),
    MISTAKE(bots, BOSSHI_WITH("\"lost_text\":\"x\""),
            "bots[0].lost_text: unknown key, did you mean \"busy_text\"?"),
    MISTAKE(bots, BOSSHI_WITH("\"stream\":\"bubble\""),
            "bots[0].stream: one of auto, card, final expected"),
    MISTAKE(bots, BOSSHI_WITH("\"stream\":1"),
            "bots[0].stream: string expected, integer given"),
    MISTAKE(bots, BOSSHI_WITH("\"sender_id\":\"chat_id\""),
            "bots[0].sender_id: one of open_id, union_id, user_id expected"),
    MISTAKE(bots, BOSSHI_WITH("\"send_path\":\"open-apis\""),
            "bots[0].send_path: /path without query expected"),
    MISTAKE(bots, BOSSHI_WITH("\"update_path\":\"/update?x={message_id}\""),
            "bots[0].update_path: /path without query expected"),
    MISTAKE(bots, BOSSHI_WITH("\"reply_path\":\"/reply\""),
            "bots[0].reply_path: a path with {message_id} expected"),
    MISTAKE(bots, BOSSHI_WITH("\"nonce_header\":\"X Nonce\""),
            "bots[0].nonce_header: is no name of an HTTP header"),
    MISTAKE(bots, BOSSHI_WITH("\"nonce_header\":\"\""),
            "bots[0].nonce_header: is no name of an HTTP header"),
    MISTAKE(bots, BOSSHI_WITH("\"check_signature\":true"),
            "bots[0].check_signature: needs encrypt_key"),
    MISTAKE(bots, BOSSHI_WITH("\"api_errors\":[]"),
            "bots[0].api_errors: object expected, list given"),
    MISTAKE(bots, BOSSHI_WITH("\"api_errors\":{\"99991400\":\"later\",\"x\":\"stop\"}"),
            "bots[0].api_errors.99991400: one of retry, refresh, stop, done, no_card, "
            "too_long expected\n"
            "bots[0].api_errors.x: an integer expected as name"),
    MISTAKE(bots, BOSSHI_WITH("\"api_base\":\"hi-open.zhipin.com\""),
            "bots[0].api_base: http://host[:port]/path or https://… expected"),
};

static const struct mistake pipeline_mistakes[] = {
    MISTAKE(pipelines, "[]",
            "pipelines: object expected, list given\n"
            "bots[0].pipeline: no pipeline \"main\" under pipelines"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"echo\"},\"a b\":{}}",
            "pipelines.a b: 1 to 64 letters, digits, '-', '_' or '.' expected"),
    MISTAKE(pipelines, "{\"main\":{}}", "pipelines.main.type: missing"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"dify\",\"url\":\"x\"}}",
            "pipelines.main.type: \"dify\" is not supported by this version (openai, echo)"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"ehco\"}}",
            "pipelines.main.type: one of openai, echo expected"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"echo\",\"rate\":0}}",
            "pipelines.main.rate: 1 to 1000000 expected, 0 given"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"echo\",\"attempts\":11}}",
            "pipelines.main.attempts: 1 to 10 expected, 11 given"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"echo\",\"fallback\":\"x\"}}",
            "pipelines.main.fallback: is not supported by this version"),
    MISTAKE(pipelines, "{\"main\":{\"type\":\"openai\"}}",
            "pipelines.main.url: missing\npipelines.main.model: missing"),
    MISTAKE(pipelines, OPENAI_WITH("\"history_turns\":1"),
            "pipelines.main.history_turns: is not supported by this version"),
    MISTAKE(pipelines, OPENAI_WITH("\"url\":\"ftp://h\""),
            "pipelines.main.url: http://host[:port]/path or https://… expected"),
    MISTAKE(pipelines, OPENAI_WITH("\"model\":\"\""), "pipelines.main.model: empty"),
    MISTAKE(pipelines, OPENAI_WITH("\"extra\":\"x\""),
            "pipelines.main.extra: object expected, string given"),
    MISTAKE(pipelines, OPENAI_WITH("\"extra\":{\"a\":[{\"b\":\"${\"}]}"),
            "pipelines.main.extra.a[0].b: ${ without }; write $${ for the characters "
            "themselves"),
    MISTAKE(pipelines, OPENAI_WITH("\"headers\":[]"),
            "pipelines.main.headers: object of strings expected, list given"),
    MISTAKE(pipelines, OPENAI_WITH("\"headers\":{\"a b\":\"x\"}"),
            "pipelines.main.headers.a b: is no name of an HTTP header"),
    MISTAKE(pipelines, OPENAI_WITH("\"headers\":{\"A\":\"x\\r\\nB: y\"}"),
            "pipelines.main.headers.A: an HTTP header has no control characters"),
};

/* librdkafka's own words are not ours to fix: only the path is. */
static const struct mistake property_mistakes[] = {
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"lingerms\":1}", "kafka.lingerms: "),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"acks\":1}", "kafka.acks: "),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"enable.idempotence\":false}",
            "kafka.enable.idempotence: "),
    MISTAKE(kafka, "{\"bootstrap.servers\":\"h\",\"linger.ms\":\"soon\"}", "kafka.linger.ms: "),
};

static void mistakes_by_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(section_mistakes); i++)
        config_expect(&section_mistakes[i].parts, section_mistakes[i].line);
    for (size_t i = 0; i < COUNT(bot_mistakes); i++)
        config_expect(&bot_mistakes[i].parts, bot_mistakes[i].line);
    for (size_t i = 0; i < COUNT(bosshi_mistakes); i++)
        config_expect(&bosshi_mistakes[i].parts, bosshi_mistakes[i].line);
    for (size_t i = 0; i < COUNT(pipeline_mistakes); i++)
        config_expect(&pipeline_mistakes[i].parts, pipeline_mistakes[i].line);
}

static void refused_properties(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(property_mistakes); i++) {
        const struct mistake *m = &property_mistakes[i];
        struct buf report;
        assert_null(config_load_parts(&m->parts, &report));
        if (!bytes_starts_with(buf_bytes(&report), bytes_of_str(m->line)))
            fail_msg("expected: %s\ngiven: " BYTES_FMT, m->line, BYTES_ARG(buf_bytes(&report)));
        assert_ptr_equal(memchr(report.ptr, '\n', report.len), report.ptr + report.len - 1);
        buf_free(&report);
    }
}

static void all_mistakes_at_once(void **state)
{
    (void)state;
    config_expect(&(struct parts){.ingress = "{\"admin\":1,\"listne\":2}",
                                  .store = "{\"url\":\"http://x\"}",
                                  .bots = BOT_WITH("\"token\":\"\",\"aes_key\":\"short\""),
                                  .pipelines = "{\"main\":{\"type\":\"echo\",\"rat\":5}}"},
                  "ingress.admin: string expected, integer given\n"
                  "ingress.listne: unknown key, did you mean \"listen\"?\n"
                  "store.url: redis://[user:password@]host[:port][/db] expected\n"
                  "pipelines.main.rat: unknown key, did you mean \"rate\"?\n"
                  "bots[0].token: empty\n"
                  "bots[0].aes_key: 43 characters expected, 5 given");
}

/* More mistakes than the report holds: whole lines, and no config. */
static void report_is_bounded(void **state)
{
    (void)state;
    struct buf more, report;
    buf_init(&more, CONFIG_TEXT_MAX_BYTES);
    for (int i = 0; i < 5000; i++)
        buf_printf(&more, "%s\"unknown_section_%d\":1", i > 0 ? "," : "", i);
    buf_append_char(&more, 0);
    assert_null(config_load_parts(&(struct parts){.more = more.ptr}, &report));
    assert_true(report.overflowed && report.len <= CONFIG_REPORT_MAX_BYTES);
    assert_int_equal(report.ptr[report.len - 1], '\n');
    buf_free(&report);
    buf_free(&more);
}

static void expect_file_mistake(struct bytes text, const char *what)
{
    struct buf report, line;
    char *path = config_file_path("config.json");
    buf_init(&line, CONFIG_TEXT_MAX_BYTES);
    buf_printf(&line, "%s: %s", path, what);
    assert_null(config_load_text(text, &report));
    if (!bytes_starts_with(buf_bytes(&report), buf_bytes(&line)))
        fail_msg("expected: %s\ngiven: " BYTES_FMT, what, BYTES_ARG(buf_bytes(&report)));
    buf_free(&report);
    buf_free(&line);
    free(path);
}

static void unreadable_files(void **state)
{
    (void)state;
    struct buf report, large;
    expect_file_mistake(BYTES_LIT("{\n  \"ingress\": {,}\n}"), "line 2, column 15: ");
    expect_file_mistake(BYTES_LIT(""), "line 1, column 1: ");
    expect_file_mistake(BYTES_LIT("[]"), "object expected, list given");
    buf_init(&large, CONFIG_TEXT_MAX_BYTES);
    for (size_t i = 0; i <= CONFIG_FILE_MAX_BYTES; i++)
        buf_append_char(&large, ' ');
    expect_file_mistake(buf_bytes(&large), "larger than 1048576 bytes");
    buf_free(&large);
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    assert_null(config_load("/nonexistent/x.json", &report));
    assert_true(bytes_eq_str(buf_bytes(&report),
                             "/nonexistent/x.json: cannot read: No such file or directory\n"));
    buf_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_file),
        cmocka_unit_test(contract_defaults),
        cmocka_unit_test(table_defaults),
        cmocka_unit_test(bosshi_values),
        cmocka_unit_test(bosshi_without_encryption),
        cmocka_unit_test(mistakes_by_path),
        cmocka_unit_test(refused_properties),
        cmocka_unit_test(all_mistakes_at_once),
        cmocka_unit_test(report_is_bounded),
        cmocka_unit_test(unreadable_files),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
