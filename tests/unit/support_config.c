#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_config.h"

#include <dirent.h>
#include <unistd.h>

static char directory[] = "/tmp/test_config.XXXXXX";

int config_files_begin(void **state)
{
    (void)state;
    /* What the caller's shell sets must not reach the files here. */
    for (char **entry = environ; *entry;) {
        char *name = bytes_dup(bytes_of(*entry, strcspn(*entry, "=")));
        bool is_ours = strncmp(name, "BOTBRIDGE_", 10) == 0;
        if (is_ours)
            unsetenv(name);
        free(name);
        entry = is_ours ? environ : entry + 1;
    }
    return mkdtemp(directory) ? 0 : -1;
}

int config_files_end(void **state)
{
    (void)state;
    DIR *d = opendir(directory);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (*e->d_name != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    return rmdir(directory);
}

char *config_file_path(const char *name)
{
    struct buf path;
    buf_init(&path, 4096);
    buf_printf(&path, "%s/%s", directory, name);
    char *text = bytes_dup(buf_bytes(&path));
    buf_free(&path);
    return text;
}

void config_file_write(const char *name, struct bytes text)
{
    char *path = config_file_path(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    if (text.len > 0)
        assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    free(path);
}

struct config *config_load_text(struct bytes text, struct buf *report)
{
    buf_init(report, CONFIG_REPORT_MAX_BYTES);
    config_file_write("config.json", text);
    char *path = config_file_path("config.json");
    struct config *c = config_load(path, report);
    free(path);
    assert_true(c ? report->len == 0 : report->len > 0);
    return c;
}

static void add_part(struct buf *out, const char *name, const char *value)
{
    if (value)
        buf_printf(out, "%s\"%s\":%s", out->len > 1 ? "," : "", name, value);
}

void config_compose(struct buf *out, const struct parts *p)
{
    buf_init(out, CONFIG_TEXT_MAX_BYTES);
    buf_append_char(out, '{');
    add_part(out, "ingress", p->ingress);
    add_part(out, "worker", p->worker);
    add_part(out, "kafka", p->kafka ? p->kafka : GOOD_KAFKA);
    add_part(out, "store", p->store ? p->store : GOOD_STORE);
    add_part(out, "log", p->log);
    add_part(out, "bots", p->bots ? p->bots : "[" GOOD_BOT "]");
    add_part(out, "pipelines", p->pipelines ? p->pipelines : GOOD_PIPELINES);
    if (p->more)
        buf_printf(out, ",%s", p->more);
    buf_append_char(out, '}');
    assert_false(out->overflowed);
}

struct config *config_load_parts(const struct parts *p, struct buf *report)
{
    struct buf text;
    config_compose(&text, p);
    struct config *c = config_load_text(buf_bytes(&text), report);
    buf_free(&text);
    return c;
}

struct config *config_load_good(const struct parts *p)
{
    struct buf report;
    struct config *c = config_load_parts(p, &report);
    if (!c)
        fail_msg(BYTES_FMT, BYTES_ARG(buf_bytes(&report)));
    buf_free(&report);
    return c;
}

void config_expect(const struct parts *p, const char *lines)
{
    struct buf report;
    struct config *c = config_load_parts(p, &report);
    if (c)
        fail_msg("accepted, but expected: %s", lines);
    bool is_it =
        report.len == strlen(lines) + 1 && memcmp(report.ptr, lines, report.len - 1) == 0;
    if (!is_it)
        fail_msg("expected: %s\ngiven: " BYTES_FMT, lines, BYTES_ARG(buf_bytes(&report)));
    buf_free(&report);
}
