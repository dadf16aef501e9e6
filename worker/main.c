/* botbridge-worker --config FILE */
#include "base/descriptors.h"
#include "base/random.h"
#include "log/log.h"
#include "worker.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

static const char usage[] =
    "usage: botbridge-worker --config FILE\n"
    "       botbridge-worker --version | --help\n"
    "Answers the questions in Kafka by pipelines. SIGTERM drains and ends, a second one ends\n"
    "at once with 75; SIGHUP reads bots and pipelines again. Exit codes: 0 done, 64 usage,\n"
    "70 broken invariant, 75 try again, 78 configuration.\n";

static struct config *load(const char *path)
{
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    struct config *config = config_load(path, &report);
    if (!config)
        fprintf(stderr, BYTES_FMT "\n", BYTES_ARG(buf_bytes(&report)));
    buf_free(&report);
    return config;
}

/* The second signal does not wait for anything: what runs is taken over when its lease ends. */
static void on_stop(int signum, void *arg)
{
    struct worker *w = arg;
    if (w->is_draining) {
        log_warn("worker", "stopped_at_once", "signal=%d", signum);
        _exit(BRG_EXIT_AGAIN);
    }
    worker_drain(w);
}

static void on_hangup(int signum, void *arg)
{
    (void)signum;
    worker_reload(arg);
}

/* An answer is a connection to its pipeline. */
static void raise_descriptors(const struct config *config)
{
    uint64_t allowed = descriptors_raise();
    uint64_t wanted = (uint64_t)config->worker.max_sessions + DESCRIPTORS_SPARE;
    if (allowed < wanted)
        log_warn("worker", "few_descriptors",
                 "allowed=%" PRIu64 " wanted=%" PRIu64
                 " why=\"worker.max_sessions; raise ulimit -n (LimitNOFILE)\"",
                 allowed, wanted);
}

static int run(struct config *config, const char *path)
{
    struct brg_error error = {0};
    struct loop *loop = loop_new();
    struct worker *w = worker_new(loop, config, path, &error);
    if (!w) {
        log_error("worker", "cannot_start", "why=\"%s\"", error.text);
        loop_free(loop);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    loop_on_signal(loop, SIGTERM, on_stop, w);
    loop_on_signal(loop, SIGINT, on_stop, w);
    loop_on_signal(loop, SIGHUP, on_hangup, w);
    loop_run(loop);
    enum brg_exit code = w->exit_code;
    worker_free(w);
    loop_free(loop);
    log_info("worker", "stopped", "");
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("botbridge-worker " BOTBRIDGE_VERSION);
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
    struct config *config = load(argv[2]);
    if (!config)
        return BRG_EXIT_CONFIG;
    config_set_log_level(config);
    raise_descriptors(config);
    random_seed(0);
    return run(config, argv[2]);
}
