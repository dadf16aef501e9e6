/* botbridge-ingress --config FILE */
#include "config/program.h"
#include "ingress.h"
#include "log/log.h"

static const char usage[] =
    "usage: botbridge-ingress --config FILE\n"
    "       botbridge-ingress --version | --help\n"
    "Takes callbacks and polls of chat platforms. SIGTERM drains and ends, a second one ends\n"
    "at once with 75; SIGHUP reads bots and pipelines again. Exit codes: 0 done, 64 usage,\n"
    "70 broken invariant, 75 try again, 78 configuration.\n";

static int64_t connections(const struct config *config)
{
    return config->ingress.max_connections;
}

static enum brg_exit run(struct config *config, const char *path)
{
    struct brg_error error = {0};
    struct ingress *in = ingress_start(config, path, &error);
    if (!in) {
        log_error("ingress", "start", "error=\"%s\"", error.text);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    ingress_run(in);
    ingress_free(in);
    return BRG_EXIT_DONE;
}

int main(int argc, char **argv)
{
    static const struct program program = {"botbridge-ingress", usage,
                                           "ingress.max_connections", connections, run};
    return program_main(&program, argc, argv);
}
