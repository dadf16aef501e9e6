#include "config/program.h"

#include "base/descriptors.h"
#include "base/random.h"
#include "log/log.h"

#include <inttypes.h>

static struct config *load(const char *path)
{
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    struct config *config = config_load(path, &report);
    if (!config)
        fprintf(stderr, BYTES_FMT, BYTES_ARG(report));
    buf_free(&report);
    return config;
}

static void raise_descriptors(const struct program *program, const struct config *config)
{
    uint64_t allowed = descriptors_raise();
    uint64_t wanted = (uint64_t)program->connections(config) + DESCRIPTORS_SPARE;
    if (allowed < wanted)
        log_warn("program", "few_descriptors",
                 "allowed=%" PRIu64 " wanted=%" PRIu64
                 " why=\"%s; raise ulimit -n (LimitNOFILE)\"",
                 allowed, wanted, program->connections_key);
}

int program_main(const struct program *program, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s " BOTBRIDGE_VERSION "\n", program->name);
        return BRG_EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(program->usage, stdout);
        return BRG_EXIT_DONE;
    }
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        fputs(program->usage, stderr);
        return BRG_EXIT_USAGE;
    }
    struct config *config = load(argv[2]);
    if (!config)
        return BRG_EXIT_CONFIG;
    config_set_log_level(config);
    raise_descriptors(program, config);
    random_seed(0);
    return program->run(config, argv[2]);
}
