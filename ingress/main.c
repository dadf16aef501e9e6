/* botbridge-ingress --config FILE */
#include "base/descriptors.h"
#include "base/random.h"
#include "ingress.h"
#include "log/log.h"

#include <inttypes.h>

static void raise_descriptors(const struct config *config)
{
    uint64_t allowed = descriptors_raise();
    uint64_t wanted = (uint64_t)config->ingress.max_connections + DESCRIPTORS_SPARE;
    if (allowed < wanted)
        log_warn("ingress", "few_descriptors",
                 "allowed=%" PRIu64 " wanted=%" PRIu64
                 " why=\"ingress.max_connections; raise ulimit -n (LimitNOFILE)\"",
                 allowed, wanted);
}

static const char usage[] =
    "usage: botbridge-ingress --config FILE\n"
    "       botbridge-ingress --version | --help\n"
    "Takes callbacks and polls of chat platforms. SIGTERM drains and ends, a second one ends\n"
    "at once with 75; SIGHUP reads bots and pipelines again. Exit codes: 0 done, 64 usage,\n"
    "70 broken invariant, 75 try again, 78 configuration.\n";

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

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("botbridge-ingress " BOTBRIDGE_VERSION);
        return BRG_EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return BRG_EXIT_DONE;
    }
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        fputs(usage, stderr);
        return BRG_EXIT_USAGE;
    }
    random_seed(0);
    struct config *config = load(argv[2]);
    if (!config)
        return BRG_EXIT_CONFIG;
    raise_descriptors(config);
    struct brg_error error = {0};
    struct ingress *in = ingress_start(config, argv[2], &error);
    if (!in) {
        log_error("ingress", "start", "error=\"%s\"", error.text);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    ingress_run(in);
    ingress_free(in);
    return BRG_EXIT_DONE;
}
