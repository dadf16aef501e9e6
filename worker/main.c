/* botbridge-worker --config FILE */
#include "config/program.h"
#include "log/log.h"
#include "worker.h"

#include <signal.h>
#include <unistd.h>

static const char usage[] =
    "usage: botbridge-worker --config FILE\n"
    "       botbridge-worker --version | --help\n"
    "Answers the questions in Kafka by pipelines. SIGTERM drains and ends, a second one ends\n"
    "at once with 75; SIGHUP reads bots and pipelines again. Exit codes: 0 done, 64 usage,\n"
    "70 broken invariant, 75 try again, 78 configuration.\n";

/* The second signal does not wait for anything: what runs is taken over when its lease ends. */
static void on_stop(int signum, void *arg)
{
    struct worker *w = *(struct worker **)arg;
    if (w->is_draining) {
        log_warn("worker", "stopped_at_once", "signal=%d", signum);
        _exit(BRG_EXIT_AGAIN);
    }
    worker_drain(w);
}

static void on_hangup(int signum, void *arg)
{
    (void)signum;
    worker_reload(*(struct worker **)arg);
}

/* An answer is a connection to its pipeline. */
static int64_t connections(const struct config *config)
{
    return config->worker.max_sessions;
}

/* Signals are taken from before there is anything to end; they are told once the loop runs. */
static enum brg_exit run(struct config *config, const char *path)
{
    struct brg_error error = {0};
    struct loop *loop = loop_new();
    struct worker *w = NULL;
    loop_on_signal(loop, SIGTERM, on_stop, &w);
    loop_on_signal(loop, SIGINT, on_stop, &w);
    loop_on_signal(loop, SIGHUP, on_hangup, &w);
    w = worker_new(loop, config, path, &error);
    if (!w) {
        log_error("worker", "cannot_start", "why=\"%s\"", error.text);
        loop_free(loop);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    loop_run(loop);
    enum brg_exit code = w->exit_code;
    worker_free(w);
    loop_free(loop);
    log_info("worker", "stopped", "");
    return code;
}

int main(int argc, char **argv)
{
    static const struct program program = {"botbridge-worker", usage, "worker.max_sessions",
                                           connections, run};
    return program_main(&program, argc, argv);
}
