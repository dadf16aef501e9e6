/* The operator's command as a program: what it prints where, and its exit codes. It stands
 * beside this test's own binary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config_keys.h"
#include "support_config.h"

#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

struct result {
    int code;
    struct buf out, err;
};

static char *sibling(const char *name)
{
    char path[PATH_BYTES];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = 0;
    char *slash = strrchr(path, '/');
    assert_non_null(slash);
    struct buf b;
    buf_init(&b, CONFIG_TEXT_MAX_BYTES);
    buf_append(&b, bytes_of(path, (size_t)(slash + 1 - path)));
    buf_append_str(&b, name);
    char *text = bytes_dup(buf_bytes(&b));
    buf_free(&b);
    return text;
}

/* `arguments` follow the program in a shell line. */
static struct result run(const char *name, const char *arguments)
{
    char *program = sibling(name), *out = config_file_path("out"),
         *err = config_file_path("err");
    struct buf line;
    struct result r;
    buf_init(&line, CONFIG_TEXT_MAX_BYTES);
    buf_printf(&line, "'%s' %s >'%s' 2>'%s'", program, arguments, out, err);
    buf_append_char(&line, 0);
    int status = system(line.ptr);
    assert_true(WIFEXITED(status));
    r.code = WEXITSTATUS(status);
    buf_init(&r.out, CONFIG_TEXT_MAX_BYTES);
    buf_init(&r.err, CONFIG_TEXT_MAX_BYTES);
    assert_int_equal(config_read_file(out, &r.out), 0);
    assert_int_equal(config_read_file(err, &r.err), 0);
    buf_free(&line);
    free(program);
    free(out);
    free(err);
    return r;
}

static bool holds(const struct buf *text, const char *what)
{
    return text->len > 0 && memmem(text->ptr, text->len, what, strlen(what)) != NULL;
}

static void expect_of(const char *name, const char *arguments, int code, const char *out,
                      const char *err)
{
    struct result r = run(name, arguments);
    bool is_right = r.code == code && (*out ? holds(&r.out, out) : r.out.len == 0) &&
                    (*err ? holds(&r.err, err) : r.err.len == 0);
    if (!is_right)
        fail_msg("%s %s: code %d\nout: " BYTES_FMT "\nerr: " BYTES_FMT, name, arguments, r.code,
                 BYTES_ARG(buf_bytes(&r.out)), BYTES_ARG(buf_bytes(&r.err)));
    buf_free(&r.out);
    buf_free(&r.err);
}

static void expect(const char *arguments, int code, const char *out, const char *err)
{
    expect_of("botbridge", arguments, code, out, err);
}

/* With the written file's path in place of %s. */
static void expect_file(const char *format, const char *name, int code, const char *out,
                        const char *err)
{
    char *path = config_file_path(name);
    char arguments[PATH_BYTES];
    const char *at = strstr(format, "%s");
    snprintf(arguments, sizeof arguments, "%.*s%s%s", (int)(at - format), format, path, at + 2);
    expect(arguments, code, out, err);
    free(path);
}

static void usage_errors(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "nonsense",
        "check",
        "check a b",
        "config",
        "config nonsense",
        "config dump",
        "config schema x",
        "topics",
        "topics delete x",
        "topics create",
        "topics create x y",
        "topics create x --partitions",
        "topics create x --partitions 0",
        "topics create x --partitions -1",
        "topics create x --replication three",
        "topics create x --replicas 3",
        NULL,
    };
    for (const char *const *arguments = wrong; *arguments; arguments++)
        expect(*arguments, BRG_EXIT_USAGE, "", "usage: botbridge check FILE");
}

static void help_and_version(void **state)
{
    (void)state;
    expect("help", 0, "usage: botbridge check FILE", "");
    static const char *const asking[] = {
        "--help",         "-h",
        "check --help",   "config --help",
        "config dump -h", "topics create --help",
        "topics --help",  NULL,
    };
    for (const char *const *arguments = asking; *arguments; arguments++)
        expect(*arguments, 0, "usage: botbridge check FILE", "");
    expect("version", 0, "botbridge " BOTBRIDGE_VERSION "\n", "");
}

static void broker_usage(void **state)
{
    (void)state;
    expect_of("botbridge-broker", "--help", 0, "usage: botbridge-broker [", "");
    expect_of("botbridge-broker", "--brokers 0", BRG_EXIT_USAGE, "",
              "usage: botbridge-broker [");
}

static void check_files(void **state)
{
    (void)state;
    struct buf good, bad;
    config_compose(&good, &(struct parts){0});
    config_compose(&bad, &(struct parts){.ingress = "{\"listne\":1}",
                                         .bots = BOT_WITH("\"aes_key\":\"" AES_KEY_42 "\"")});
    config_file_write("good.json", buf_bytes(&good));
    config_file_write("bad.json", buf_bytes(&bad));
    expect_file("check '%s'", "good.json", 0, "good.json: ok (1 bots, 1 pipelines)\n", "");
    expect_file("check '%s'", "bad.json", BRG_EXIT_CONFIG, "",
                "ingress.listne: unknown key, did you mean \"listen\"?\n"
                "bots[0].aes_key: 43 characters expected, 42 given\n");
    expect_file("check '%s'", "none.json", BRG_EXIT_CONFIG, "",
                "none.json: cannot read: No such file or directory\n");
    expect_file("config dump '%s'", "good.json", 0, "\"lease_ms\": 10000", "");
    expect_file("config dump '%s'", "bad.json", BRG_EXIT_CONFIG, "", "bots[0].aes_key");
    expect_file("topics create '%s'", "bad.json", BRG_EXIT_CONFIG, "", "bots[0].aes_key");
    expect_file("topics create '%s' --replication 1", "good.json", BRG_EXIT_CONFIG, "",
                "kafka.allow_unsafe_durability");
    buf_free(&good);
    buf_free(&bad);
}

static void documents(void **state)
{
    (void)state;
    expect("config reference", 0, "| `lease_ms` | 1000 to 60000 | 10000 |", "");
    expect("config schema", 0, "\"$schema\": \"http://json-schema.org/draft-07/schema#\"", "");
}

/* A full disk is no success. */
static void unwritable_output(void **state)
{
    (void)state;
    char *program = sibling("botbridge");
    struct buf line;
    buf_init(&line, CONFIG_TEXT_MAX_BYTES);
    buf_printf(&line, "'%s' config schema >/dev/full 2>/dev/null", program);
    buf_append_char(&line, 0);
    int status = system(line.ptr);
    assert_int_equal(WEXITSTATUS(status), BRG_EXIT_AGAIN);
    buf_free(&line);
    free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_errors),      cmocka_unit_test(help_and_version),
        cmocka_unit_test(check_files),       cmocka_unit_test(documents),
        cmocka_unit_test(unwritable_output), cmocka_unit_test(broker_usage),
    };
    return cmocka_run_group_tests(tests, config_files_begin, config_files_end);
}
