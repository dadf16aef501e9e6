/* botbridge: the operator's command. Documents and lists go to stdout, what is wrong to stderr,
 * and the exit code says which of the two to read. It never prints a secret. */
#include "base/error.h"
#include "bus/bus_topics.h"
#include "config/config.h"

#include <stdio.h>

static const char usage[] =
    "usage: botbridge check FILE                name every mistake of a configuration file\n"
    "       botbridge config dump FILE          effective values, secrets masked\n"
    "       botbridge config reference          every key, as Markdown\n"
    "       botbridge config schema             the same as JSON schema, for editors\n"
    "       botbridge topics create FILE        create the Kafka topics that are missing\n"
    "           [--partitions N]                    12; adding some later breaks order once\n"
    "           [--replication N]                   3; 1 with kafka.allow_unsafe_durability\n"
    "       botbridge version\n"
    "       botbridge help\n"
    "exit codes: 0 done, 64 usage, 75 try again, 78 configuration\n";

enum {
    DOCUMENT_MAX_BYTES = 64 * 1024 * 1024,
    PARTITIONS = 12,
    PARTITIONS_MAX = 10000,
    REPLICATION = 3,
    REPLICATION_MAX = 100,
};
#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

static int misused(const char *what, const char *argument)
{
    fprintf(stderr, "botbridge: %s%s%s\n%s", what, argument ? ": " : "",
            argument ? argument : "", usage);
    return BRG_EXIT_USAGE;
}

/* Frees `text`. A full disk or a closed pipe must not look like success. */
static int print(struct buf *text)
{
    bool is_written = !text->overflowed;
    if (text->len > 0)
        is_written = is_written && fwrite(text->ptr, 1, text->len, stdout) == text->len;
    is_written = fflush(stdout) == 0 && is_written;
    if (!is_written)
        fprintf(stderr, "botbridge: cannot write the output\n");
    buf_free(text);
    return is_written ? BRG_EXIT_DONE : BRG_EXIT_AGAIN;
}

/* NULL with the mistakes on stderr. */
static struct config *load(const char *path)
{
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    struct config *c = config_load(path, &report);
    if (report.len > 0)
        fwrite(report.ptr, 1, report.len, stderr);
    if (report.overflowed)
        fprintf(stderr, "%s: more mistakes than are shown\n", path);
    buf_free(&report);
    return c;
}

static int check(int argc, char **argv)
{
    if (argc != 1)
        return misused(argc < 1 ? "check: FILE is missing" : "check: one FILE expected", NULL);
    struct config *c = load(argv[0]);
    if (!c)
        return BRG_EXIT_CONFIG;
    struct buf text;
    buf_init(&text, DOCUMENT_MAX_BYTES);
    buf_printf(&text, "%s: ok (%zu bots, %zu pipelines)\n", argv[0], c->bot_count,
               c->pipeline_count);
    config_unref(c);
    return print(&text);
}

static int dump(int argc, char **argv)
{
    if (argc != 1)
        return misused("config dump: one FILE expected", NULL);
    struct config *c = load(argv[0]);
    if (!c)
        return BRG_EXIT_CONFIG;
    struct buf text;
    buf_init(&text, DOCUMENT_MAX_BYTES);
    config_write_dump(&text, c);
    config_unref(c);
    return print(&text);
}

static int document(int argc, void (*write)(struct buf *out))
{
    if (argc != 0)
        return misused("config reference and config schema take no arguments", NULL);
    struct buf text;
    buf_init(&text, DOCUMENT_MAX_BYTES);
    write(&text);
    return print(&text);
}

static int config(int argc, char **argv)
{
    if (argc < 1)
        return misused("config: dump, reference or schema expected", NULL);
    if (strcmp(argv[0], "dump") == 0)
        return dump(argc - 1, argv + 1);
    if (strcmp(argv[0], "reference") == 0)
        return document(argc - 1, config_write_reference);
    if (strcmp(argv[0], "schema") == 0)
        return document(argc - 1, config_write_schema);
    return misused("config: dump, reference or schema expected, not", argv[0]);
}

/* --- topics --- */

struct topics_arguments {
    const char *file;
    int partitions, replication; /* 0: not given */
};

/* 1..max, or 0. */
static int number(const char *text, int max)
{
    uint64_t value;
    if (!text || !bytes_to_u64(bytes_of_str(text), &value) || value > (uint64_t)max)
        return 0;
    return (int)value;
}

static bool read_topics_arguments(int argc, char **argv, struct topics_arguments *out)
{
    *out = (struct topics_arguments){0};
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool is_partitions = strcmp(argv[i], "--partitions") == 0;
        if (is_partitions || strcmp(argv[i], "--replication") == 0) {
            int n = number(value, is_partitions ? PARTITIONS_MAX : REPLICATION_MAX);
            *(is_partitions ? &out->partitions : &out->replication) = n;
            if (n == 0)
                return misused("number from 1 expected after", argv[i]), false;
            i++;
        } else if (*argv[i] == '-') {
            return misused("topics create: unknown option", argv[i]), false;
        } else if (out->file) {
            return misused("topics create: one FILE expected", NULL), false;
        } else {
            out->file = argv[i];
        }
    }
    if (!out->file)
        misused("topics create: FILE is missing", NULL);
    return out->file != NULL;
}

static int create_topics(const struct config *c, const struct topics_arguments *arguments)
{
    bool is_unsafe = c->kafka.allow_unsafe_durability;
    struct bus_topics_plan plan = {
        .partitions = arguments->partitions ? arguments->partitions : PARTITIONS,
        .replication = arguments->replication ? arguments->replication
                       : is_unsafe            ? 1
                                              : REPLICATION,
        /* Requests hold bearer URLs: no longer than they can be of use. */
        .requests_retention_ms = DAY_MS,
        .events_retention_ms = 7 * DAY_MS,
    };
    if (plan.replication < REPLICATION && !is_unsafe) {
        fprintf(stderr,
                "botbridge: --replication %d loses accepted questions with its broker; "
                "kafka.allow_unsafe_durability has to be true for that\n",
                plan.replication);
        return BRG_EXIT_CONFIG;
    }
    struct bus_setting *settings = brg_calloc(c->kafka.setting_count, sizeof *settings);
    for (size_t i = 0; i < c->kafka.setting_count; i++)
        settings[i] =
            (struct bus_setting){c->kafka.settings[i].name, c->kafka.settings[i].value};
    struct bus_options options = {.client_id = "botbridge",
                                  .settings = settings,
                                  .setting_count = c->kafka.setting_count};
    struct brg_error error = {0};
    struct buf report;
    buf_init(&report, DOCUMENT_MAX_BYTES);
    enum brg_err err =
        bus_topics_create(&options, c->kafka.topic_prefix, &plan, &report, &error);
    int code = print(&report);
    if (err != BRG_OK) {
        fprintf(stderr, "botbridge: %s\n", error.text);
        code = err == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    free(settings);
    return code;
}

static int topics(int argc, char **argv)
{
    struct topics_arguments arguments;
    if (argc < 1 || strcmp(argv[0], "create") != 0)
        return misused("topics: create expected", NULL);
    if (!read_topics_arguments(argc - 1, argv + 1, &arguments))
        return BRG_EXIT_USAGE;
    struct config *c = load(arguments.file);
    if (!c)
        return BRG_EXIT_CONFIG;
    int code = create_topics(c, &arguments);
    config_unref(c);
    return code;
}

/* `help`, or --help of any command. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return strcmp(argv[1], "help") == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return misused("a command is missing", NULL);
    const char *command = argv[1];
    bool is_help = wants_help(argc, argv);
    bool is_version = strcmp(command, "version") == 0 || strcmp(command, "--version") == 0;
    if (is_help || is_version) {
        struct buf text;
        buf_init(&text, DOCUMENT_MAX_BYTES);
        buf_append_str(&text, is_help ? usage : "botbridge " BOTBRIDGE_VERSION "\n");
        return print(&text);
    }
    if (strcmp(command, "check") == 0)
        return check(argc - 2, argv + 2);
    if (strcmp(command, "config") == 0)
        return config(argc - 2, argv + 2);
    if (strcmp(command, "topics") == 0)
        return topics(argc - 2, argv + 2);
    return misused("unknown command", command);
}
