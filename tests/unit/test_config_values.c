/* config: values from files and variables, secrets, documents, reload, mutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "config/config_keys.h"
#include "support_config.h"

#include <inttypes.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void expansion(void **state)
{
    (void)state;
    struct buf file;
    char *path = config_file_path("secret");
    setenv("T_TOKEN", "from-env", 1);
    setenv("T_EMPTY", "", 1);
    config_file_write("secret", BYTES_LIT("from-file\r\n\n"));
    buf_init(&file, CONFIG_TEXT_MAX_BYTES);
    buf_printf(&file,
               "[{\"name\":\"helpdesk\",\"platform\":\"wecom\",\"aes_key\":\"" AES_KEY "\","
               "\"pipeline\":\"main\",\"token\":[\"${T_TOKEN}\",\"${file:%s}\"],"
               "\"welcome\":\"<${T_TOKEN}|${T_EMPTY}|${file:%s}|$${T_TOKEN}|$5|$$>\","
               "\"mention_names\":[\"${T_TOKEN}\"]}]",
               path, path);
    buf_append_char(&file, 0);
    struct config *c = config_load_good(&(struct parts){
        .bots = file.ptr,
        .pipelines = OPENAI_WITH("\"headers\":{\"X-Key\":\"${T_TOKEN}\",\"X-B\":\"2\"},"
                                 "\"extra\":{\"a\":[\"${T_TOKEN}\",1.5,null,{\"b\":true}],"
                                 "\"c\\\"d\":\"x\\ny\"}")});
    assert_string_equal(c->bots[0].wecom.tokens[0], "from-env");
    assert_string_equal(c->bots[0].wecom.tokens[1], "from-file");
    assert_string_equal(c->bots[0].welcome, "<from-env||from-file|${T_TOKEN}|$5|$$>");
    assert_string_equal(c->bots[0].mention_names[0], "from-env");
    assert_null(c->bots[0].mention_names[1]);
    assert_string_equal(c->pipelines[0].headers[0], "X-Key: from-env");
    assert_string_equal(c->pipelines[0].headers[1], "X-B: 2");
    assert_null(c->pipelines[0].headers[2]);
    assert_string_equal(c->pipelines[0].extra,
                        "{\"a\":[\"from-env\",1.5,null,{\"b\":true}],\"c\\\"d\":\"x\\ny\"}");
    config_unref(c);
    buf_free(&file);
    free(path);
    unsetenv("T_TOKEN");
    unsetenv("T_EMPTY");
}

static void expansion_mistakes(void **state)
{
    (void)state;
    config_expect(&(struct parts){.bots = BOT_WITH("\"token\":[\"a\",\"${T_UNSET}\"]")},
                  "bots[0].token[1]: environment variable T_UNSET is not set");
    config_expect(&(struct parts){.bots = BOT_WITH("\"token\":\"${file:/nonexistent/x}\"")},
                  "bots[0].token: cannot read file /nonexistent/x: No such file or directory");
    config_expect(&(struct parts){.bots = BOT_WITH("\"token\":\"${file:/tmp}\"")},
                  "bots[0].token: cannot read file /tmp: Is a directory");
    config_expect(&(struct parts){.bots = BOT_WITH("\"token\":\"${file:}\"")},
                  "bots[0].token: cannot read file : No such file or directory");
    config_expect(&(struct parts){.bots = BOT_WITH("\"welcome\":\"${T_UNSET\"")},
                  "bots[0].welcome: ${ without }; write $${ for the characters themselves");
    config_expect(&(struct parts){.bots = BOT_WITH("\"welcome\":\"${a-b}\"")},
                  "bots[0].welcome: ${…} takes the name of an environment variable or "
                  "file:PATH; write $${ for the characters themselves");
    config_expect(&(struct parts){.store = "{\"url\":\"${T_UNSET}\"}"},
                  "store.url: environment variable T_UNSET is not set");
    setenv("T_BYTES", "\xff", 1);
    config_expect(&(struct parts){.bots = BOT_WITH("\"welcome\":\"${T_BYTES}\"")},
                  "bots[0].welcome: is not valid UTF-8");
    unsetenv("T_BYTES");
}

static const char *setting(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->kafka.setting_count; i++)
        if (strcmp(c->kafka.settings[i].name, name) == 0)
            return c->kafka.settings[i].value;
    return NULL;
}

static void properties_of_any_type(void **state)
{
    (void)state;
    struct config *c = config_load_good(&(struct parts){
        .kafka =
            "{\"bootstrap.servers\":\"h:1\",\"linger.ms\":2,"
            "\"queue.buffering.max.messages\":\"5000\",\"socket.keepalive.enable\":true}"});
    assert_int_equal(c->kafka.setting_count, 4);
    assert_string_equal(setting(c, "linger.ms"), "2");
    assert_string_equal(setting(c, "queue.buffering.max.messages"), "5000");
    assert_string_equal(setting(c, "socket.keepalive.enable"), "true");
    config_unref(c);
}

static const char *const variables[][2] = {
    {"BOTBRIDGE_INGRESS_LISTEN", "[::1]:1"},
    {"BOTBRIDGE_INGRESS_MAX_BODY_BYTES", "2048"},
    {"BOTBRIDGE_INGRESS_SHARE_PORT", "true"},
    {"BOTBRIDGE_INGRESS_ADMIN", ""},
    {"BOTBRIDGE_WORKER_SLOT", "w-1"},
    {"BOTBRIDGE_KAFKA_BOOTSTRAP_SERVERS", "other:9092"},
    {"BOTBRIDGE_KAFKA_SASL_PASSWORD", "${T_PASSWORD}"},
    {"BOTBRIDGE_KAFKA_TOPIC_PREFIX", "t1"},
    {"BOTBRIDGE_STORE_URL", "redis://u:p%40@[::1]:7/3"},
    {"BOTBRIDGE_LOG_LEVEL", "debug"},
    {"T_PASSWORD", "pw"},
    /* Service links of Kubernetes, and names of no section. */
    {"BOTBRIDGE_INGRESS_SERVICE_HOST", "10.0.0.1"},
    {"BOTBRIDGE_KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092"},
    {"BOTBRIDGE_STORE_PORT", "tcp://10.0.0.1:6379"},
    {"BOTBRIDGE_BUILD", "x"},
};

static void set_variables(void)
{
    for (size_t i = 0; i < COUNT(variables); i++)
        setenv(variables[i][0], variables[i][1], 1);
}

static void unset_variables(void)
{
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i][0]);
}

/* Over a file that has the keys (with values that would be mistakes), and one without even the
 * sections. */
static void variables_override(void **state)
{
    (void)state;
    static const char bare[] = "{\"bots\":[" GOOD_BOT "],\"pipelines\":" GOOD_PIPELINES "}";
    struct buf report;
    struct config *loaded[2];
    set_variables();
    loaded[0] = config_load_good(
        &(struct parts){.ingress = "{\"listen\":\"${T_UNSET}\",\"max_body_bytes\":\"x\"}",
                        .kafka = "{\"bootstrap.servers\":\"${T_UNSET}\"}",
                        .store = "{\"url\":\"rediss://h\"}"});
    loaded[1] = config_load_text(BYTES_LIT(bare), &report);
    unset_variables();
    for (size_t i = 0; i < COUNT(loaded); i++) {
        const struct config *c = loaded[i];
        assert_non_null(c);
        assert_string_equal(c->ingress.listen, "[::1]:1");
        assert_string_equal(c->ingress.admin, "127.0.0.1:9080");
        assert_int_equal(c->ingress.max_body_bytes, 2048);
        assert_true(c->ingress.share_port);
        assert_string_equal(c->worker.slot, "w-1");
        assert_string_equal(c->worker.group, "t1.worker");
        assert_string_equal(c->store.url, "redis://u:p%40@[::1]:7/3");
        assert_string_equal(c->log.level, "debug");
        assert_int_equal(c->kafka.setting_count, 2);
        assert_string_equal(setting(c, "bootstrap.servers"), "other:9092");
        assert_string_equal(setting(c, "sasl.password"), "pw");
        config_unref(loaded[i]);
    }
    buf_free(&report);
}

static void expect_variable(const char *name, const char *value, const char *line)
{
    setenv(name, value, 1);
    config_expect(&(struct parts){0}, line);
    unsetenv(name);
}

/* The value is never quoted: it may be a secret in the wrong place. */
static void variable_mistakes(void **state)
{
    (void)state;
    expect_variable("BOTBRIDGE_INGRESS_LISTNE", "x",
                    "BOTBRIDGE_INGRESS_LISTNE: names no key of section ingress, did you mean "
                    "BOTBRIDGE_INGRESS_LISTEN");
    expect_variable("BOTBRIDGE_INGRESS_LISTEN", "s3cret",
                    "BOTBRIDGE_INGRESS_LISTEN: HOST:PORT or [IPv6]:PORT expected");
    expect_variable("BOTBRIDGE_INGRESS_STORE_GATE_MS", "99999",
                    "BOTBRIDGE_INGRESS_STORE_GATE_MS: integer from 0 to 1000 expected");
    expect_variable("BOTBRIDGE_INGRESS_STORE_GATE_MS", "5 ",
                    "BOTBRIDGE_INGRESS_STORE_GATE_MS: integer from 0 to 1000 expected");
    expect_variable("BOTBRIDGE_INGRESS_SHARE_PORT", "yes",
                    "BOTBRIDGE_INGRESS_SHARE_PORT: true or false expected");
    expect_variable("BOTBRIDGE_LOG_LEVEL", "${T_UNSET}",
                    "BOTBRIDGE_LOG_LEVEL: environment variable T_UNSET is not set");
    expect_variable("BOTBRIDGE_KAFKA_SECURITY_PROTOCOL", "s3cret",
                    "BOTBRIDGE_KAFKA_SECURITY_PROTOCOL: value not accepted");
}

/* Loads with ${T_VALUE} standing for `value`. */
static bool is_accepted(const struct parts *p, const char *value)
{
    struct buf report;
    setenv("T_VALUE", value, 1);
    struct config *c = config_load_parts(p, &report);
    unsetenv("T_VALUE");
    bool is_loaded = c != NULL;
    config_unref(c);
    buf_free(&report);
    return is_loaded;
}

static void expect_all(const struct parts *p, const char *const *values, bool is_right)
{
    for (; *values; values++)
        if (is_accepted(p, *values) != is_right)
            fail_msg("%s: \"%s\"", is_right ? "refused" : "accepted", *values);
}

static void addresses(void **state)
{
    (void)state;
    static const char *const right[] = {
        "127.0.0.1:8080", "0.0.0.0:0",         "[::]:65535", "[::1]:1",
        "localhost:8080", "my-host.example:1", NULL};
    static const char *const wrong[] = {
        "",       "8080",  ":8080",      "h:",     "h:65536",  "h:-1",
        "::1:80", "[::1]", "[::1:80",    "[h]:80", "1.2.3:80", "1.2.3.256:1",
        "a b:80", "h:80 ", "http://h:1", "h/x:80", NULL};
    const struct parts p = {.ingress = "{\"listen\":\"${T_VALUE}\"}"};
    expect_all(&p, right, true);
    expect_all(&p, wrong, false);
}

static void urls(void **state)
{
    (void)state;
    static const char *const web[] = {"http://h", "https://h:443/v1", "http://[::1]:8/v1/",
                                      "http://u:p@h/v1?a=b", NULL};
    static const char *const no_web[] = {
        "",           "h",         "http://",        "http:///v1", "ftp://h",
        "http://h:0", "http://h:", "http://h:65536", "http://h x", "http://h#f",
        "HTTP",       "http://@",  "http://[::1",    NULL};
    static const char *const store[] = {"redis://h",
                                        "redis://h:1/",
                                        "redis://h:6379/15",
                                        "redis://:pw@h",
                                        "redis://u:p%40@h",
                                        "redis://[::1]:1/0",
                                        NULL};
    static const char *const no_store[] = {"",
                                           "h:6379",
                                           "http://h",
                                           "rediss://h",
                                           "redis://",
                                           "redis://h:0",
                                           "redis://h/x",
                                           "redis://h/1/2",
                                           "redis://u@h",
                                           "redis://u:@h",
                                           "redis://u:%zz@h",
                                           "redis://h?db=1",
                                           "redis://h:1 ",
                                           NULL};
    const struct parts pipeline = {.pipelines = OPENAI_WITH("\"url\":\"${T_VALUE}\"")};
    const struct parts redis = {.store = "{\"url\":\"${T_VALUE}\"}"};
    expect_all(&pipeline, web, true);
    expect_all(&pipeline, no_web, false);
    expect_all(&redis, store, true);
    expect_all(&redis, no_store, false);
}

static void expect_length(const struct parts *p, size_t longest)
{
    char *text = brg_calloc(longest + 2, 1);
    memset(text, 'a', longest);
    assert_true(is_accepted(p, text));
    text[longest] = 'a';
    assert_false(is_accepted(p, text));
    free(text);
}

static void limits(void **state)
{
    (void)state;
    expect_length(&(struct parts){.bots = BOT_WITH("\"name\":\"${T_VALUE}\"")}, 64);
    expect_length(&(struct parts){.bots = BOT_WITH("\"notice_text\":\"${T_VALUE}\"")},
                  CONFIG_SHOWN_MAX_BYTES);
    config_unref(config_load_good(&(struct parts){
        .bots = BOT_WITH("\"token\":[\"a\",\"b\"],\"aes_key\":[\"" AES_KEY "\",\"" AES_KEY
                         "\"],\"stream_deadline_ms\":360000,\"handover_margin_ms\":359000")}));
    config_unref(
        config_load_good(&(struct parts){.bots = BOT_WITH("\"stream_deadline_ms\":20001")}));
    config_expect(&(struct parts){.bots = BOT_WITH("\"stream_deadline_ms\":20000")},
                  "bots[0].handover_margin_ms: less than stream_deadline_ms (20000) expected, "
                  "20000 given");
    config_unref(config_load_good(
        &(struct parts){.ingress = "{\"store_gate_ms\":0,\"publish_budget_ms\":4000}"}));
}

/* Every secret of these has the mark in it. */
#define MARK "s3cr3t"
static const struct parts secret_parts = {
    .kafka = "{\"bootstrap.servers\":\"h\",\"sasl.username\":\"kate\","
             "\"sasl.password\":\"" MARK "1\",\"ssl.key.password\":\"${T_SECRET}\"}",
    .store = "{\"url\":\"redis://u:" MARK "2@h:1/0\"}",
    .bots = BOT_WITH("\"token\":[\"" MARK "3\",\"${T_SECRET}\"]"),
    .pipelines = OPENAI_WITH("\"url\":\"https://u:" MARK "4@h/v1?key=" MARK "5\","
                             "\"api_key\":\"" MARK "6\","
                             "\"headers\":{\"Authorization\":\"Bearer " MARK "7\"},"
                             "\"extra\":{\"temperature\":0.5,\"user\":\"" MARK "8\","
                             "\"deep\":{\"x\":[\"" MARK "9\"]}}")};

static bool holds(const struct buf *text, const char *what)
{
    return text->len > 0 && memmem(text->ptr, text->len, what, strlen(what)) != NULL;
}

static void dump_holds_no_secret(void **state)
{
    (void)state;
    static const char *const shown[] = {"\"sasl.username\": \"kate\"",
                                        "\"sasl.password\": \"***\"",
                                        "\"url\": \"redis://***@h:1/0\"",
                                        "\"url\": \"https://***@h/v1?***\"",
                                        "\"temperature\": 0.5",
                                        "\"Authorization\": \"***\"",
                                        "\"api_key\": \"***\"",
                                        "\"platform\": \"wecom\"",
                                        "\"lease_ms\": 10000",
                                        "\"receive_id\": \"\""};
    setenv("T_SECRET", MARK "0", 1);
    struct config *c = config_load_good(&secret_parts);
    unsetenv("T_SECRET");
    struct buf dump;
    buf_init(&dump, CONFIG_TEXT_MAX_BYTES);
    config_write_dump(&dump, c);
    assert_false(holds(&dump, MARK));
    assert_false(holds(&dump, AES_KEY));
    for (size_t i = 0; i < COUNT(shown); i++)
        if (!holds(&dump, shown[i]))
            fail_msg("%s is not in " BYTES_FMT, shown[i], BYTES_ARG(buf_bytes(&dump)));
    struct json *root = json_parse(buf_bytes(&dump), JSON_STRICT, NULL);
    assert_int_equal(json_length(json_at(root, "/bots/0/token")), 2);
    assert_int_equal(json_length(json_at(root, "/bots/0/aes_key")), 1);
    json_free(root);
    buf_free(&dump);
    config_unref(c);
}

/* Secrets where they cannot be right: the report names the place only. */
static void report_holds_no_secret(void **state)
{
    (void)state;
    static const struct parts wrong[] = {
        {.ingress = "{\"listen\":\"${T_SECRET}\",\"share_port\":\"${T_SECRET}\"}"},
        {.kafka = "{\"bootstrap.servers\":\"h\",\"linger.ms\":\"${T_SECRET}\","
                  "\"acks\":\"${T_SECRET}\",\"nonsense\":\"${T_SECRET}\","
                  "\"ssl.key.pem\":\"" MARK "\",\"sasl.oauthbearer.method\":\"${T_SECRET}\"}"},
        {.store = "{\"url\":\"" MARK "://x\"}"},
        {.log = "{\"level\":\"${T_SECRET}\"}"},
        {.bots =
             BOT_WITH("\"aes_key\":[\"" MARK "\",\"${T_SECRET}\"],\"name\":\"${T_SECRET} \","
                      "\"platform\":\"${T_SECRET}\",\"pipeline\":\"${T_SECRET}\"")},
        {.bots = BOT_WITH("\"aes_key\":[\"" MARK "\",\"${file:${T_SECRET}\"]")},
        {.pipelines = OPENAI_WITH("\"url\":\"" MARK "\",\"headers\":{\"A\":\"" MARK "\\n\"}")},
    };
    setenv("T_SECRET", MARK, 1);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct buf report;
        struct config *c = config_load_parts(&wrong[i], &report);
        if (c || holds(&report, MARK))
            fail_msg("%zu: " BYTES_FMT, i, BYTES_ARG(buf_bytes(&report)));
        buf_free(&report);
    }
    unsetenv("T_SECRET");
}

static void expect_committed(const char *file, void (*write)(struct buf *out))
{
    struct buf path, committed, written;
    buf_init(&path, 4096);
    buf_init(&committed, CONFIG_TEXT_MAX_BYTES);
    buf_init(&written, CONFIG_TEXT_MAX_BYTES);
    buf_printf(&path, "%s/deploy/%s", BOTBRIDGE_SOURCE_DIR, file);
    buf_append_char(&path, 0);
    assert_int_equal(config_read_file(path.ptr, &committed), 0);
    write(&written);
    if (!bytes_eq(buf_bytes(&committed), buf_bytes(&written)))
        fail_msg("deploy/%s is not what the table gives: write it anew by botbridge config",
                 file);
    buf_free(&path);
    buf_free(&committed);
    buf_free(&written);
}

static void documents_are_current(void **state)
{
    (void)state;
    expect_committed("CONFIGURATION.md", config_write_reference);
    expect_committed("config.schema.json", config_write_schema);
    struct buf schema;
    buf_init(&schema, CONFIG_TEXT_MAX_BYTES);
    config_write_schema(&schema);
    struct json *root = json_parse(buf_bytes(&schema), JSON_STRICT, NULL);
    assert_int_equal(
        json_int(json_at(root, "/properties/worker/properties/lease_ms/default"), 0), 10000);
    json_free(root);
    buf_free(&schema);
}

static void example_loads(void **state)
{
    (void)state;
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    setenv("WECOM_TOKEN", "t", 1);
    setenv("WECOM_AES_KEY", AES_KEY, 1);
    setenv("LLM_KEY", "k", 1);
    struct config *c = config_load(BOTBRIDGE_SOURCE_DIR "/deploy/config.example.json", &report);
    if (!c)
        fail_msg(BYTES_FMT, BYTES_ARG(buf_bytes(&report)));
    unsetenv("WECOM_TOKEN");
    unsetenv("WECOM_AES_KEY");
    unsetenv("LLM_KEY");
    config_unref(c);
    buf_free(&report);
}

static void bots_by_name(void **state)
{
    (void)state;
    struct buf bots;
    buf_init(&bots, CONFIG_TEXT_MAX_BYTES);
    for (int i = 0; i < 50; i++)
        buf_printf(&bots,
                   "%s{\"name\":\"b%d\",\"platform\":\"wecom\",\"token\":\"t%d\",\"aes_key\":"
                   "\"" AES_KEY "\",\"pipeline\":\"%s\"}",
                   i > 0 ? "," : "[", (i * 7) % 50, i, i % 2 ? "two" : "one");
    buf_append(&bots, bytes_of("]", 2));
    struct config *c = config_load_good(&(struct parts){
        .bots = bots.ptr,
        .pipelines = "{\"one\":{\"type\":\"echo\"},\"two\":{\"type\":\"echo\",\"rate\":9}}"});
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", (i * 7) % 50);
        const struct config_bot *bot = config_bot(c, bytes_of_str(name));
        assert_ptr_equal(bot, &c->bots[i]);
        assert_string_equal(c->pipelines[bot->pipeline_index].name, i % 2 ? "two" : "one");
    }
    assert_null(config_bot(c, BYTES_LIT("b")));
    assert_null(config_bot(c, BYTES_LIT("b00")));
    assert_null(config_bot(c, BYTES_LIT("")));
    assert_null(config_bot(c, bytes_of(NULL, 0)));
    assert_null(config_bot(c, BYTES_LIT("b1\0")));
    config_unref(c);
    buf_free(&bots);
}

static void reload_keeps_the_old(void **state)
{
    (void)state;
    struct buf keys;
    struct config *old = config_load_good(&(struct parts){0});
    struct config *held = config_ref(old);
    struct config *same =
        config_load_good(&(struct parts){.bots = BOT_WITH("\"placeholder\":\"new\"")});
    struct config *other = config_load_good(
        &(struct parts){.worker = "{\"lease_ms\":9000}",
                        .log = "{\"level\":\"warn\"}",
                        .more = "\"response_url\":{\"hosts\":[]}",
                        .kafka = "{\"bootstrap.servers\":\"other\",\"linger.ms\":3}"});
    buf_init(&keys, CONFIG_TEXT_MAX_BYTES);
    config_restart_keys(old, same, &keys);
    assert_int_equal(keys.len, 0);
    config_restart_keys(old, other, &keys);
    buf_append_char(&keys, 0);
    assert_string_equal(
        keys.ptr, "worker.lease_ms, response_url.hosts, log.level, kafka.bootstrap.servers, "
                  "kafka.linger.ms");
    config_unref(old);
    config_unref(same);
    assert_string_equal(held->bots[0].name, "helpdesk");
    assert_string_not_equal(held->bots[0].placeholder, "new");
    config_unref(held);
    config_unref(other);
    config_unref(NULL);
    buf_free(&keys);
}

static void mutate(struct buf *text)
{
    static const char alphabet[] = "{}[]\",:${}0123456789.eE-+ntf\\/u \n\x00\xff";
    uint64_t changes = 1 + random_below(6);
    for (uint64_t i = 0; i < changes && text->len > 2; i++) {
        size_t at = (size_t)random_below(text->len);
        size_t from = (size_t)random_below(text->len);
        size_t len = (size_t)random_below(24);
        size_t last = at > from ? at : from;
        len = len > text->len - last ? text->len - last : len;
        switch (random_below(4)) {
        case 0:
            text->ptr[at] = alphabet[random_below(sizeof alphabet)];
            break;
        case 1:
            memmove(text->ptr + at, text->ptr + from, len);
            break;
        case 2:
            memmove(text->ptr + at, text->ptr + at + len, text->len - at - len);
            text->len -= len;
            break;
        default:
            text->ptr[at] = (char)random_below(256);
        }
    }
}

/* Nothing is promised but to come back: a config that can be dumped, or a report. */
static void mutations(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    int loaded = 0;
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    random_seed(seed);
    setenv("T_SECRET", "x", 1);
    for (int i = 0; i < 2000; i++) {
        struct buf text, report, dump;
        config_compose(&text, &secret_parts);
        mutate(&text);
        struct config *c = config_load_text(buf_bytes(&text), &report);
        buf_init(&dump, CONFIG_TEXT_MAX_BYTES);
        if (c) {
            config_write_dump(&dump, c);
            struct json *root = json_parse(buf_bytes(&dump), JSON_STRICT, NULL);
            assert_non_null(root);
            json_free(root);
            loaded++;
        }
        config_unref(c);
        buf_free(&dump);
        buf_free(&report);
        buf_free(&text);
    }
    unsetenv("T_SECRET");
    print_message("%d of 2000 loaded\n", loaded);
    assert_in_range(loaded, 1, 1999); /* both ways are taken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expansion),
        cmocka_unit_test(expansion_mistakes),
        cmocka_unit_test(properties_of_any_type),
        cmocka_unit_test(variables_override),
        cmocka_unit_test(variable_mistakes),
        cmocka_unit_test(addresses),
        cmocka_unit_test(urls),
        cmocka_unit_test(limits),
        cmocka_unit_test(dump_holds_no_secret),
        cmocka_unit_test(report_holds_no_secret),
        cmocka_unit_test(documents_are_current),
        cmocka_unit_test(example_loads),
        cmocka_unit_test(bots_by_name),
        cmocka_unit_test(reload_keeps_the_old),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
