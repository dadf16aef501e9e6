#include "bsim_serve.h"

#include "bsim_args.h"
#include "bsim_control.h"

#include <signal.h>

#define FREE_PORT "127.0.0.1:0"

enum { CONTROL = BSIM_OWN_OPTIONS, JSON_LINES };

static void on_signal(int signum, void *arg)
{
    (void)signum;
    loop_stop(arg);
}

/* The chat as text: who, what kind, and the whole text that is shown from now on. */
static void on_message(const struct bsim_message *m, void *arg)
{
    (void)arg;
    const struct buf *text = m->edit_count > 0 ? &m->edits[m->edit_count - 1].text : &m->text;
    printf("[%.8s] %s", m->chat->id, m->is_bots ? "bot " : "user ");
    if (m->edit_count > 0)
        printf("(%s %.8s, edit %zu): ", m->msg_type, m->id, m->edit_count);
    else
        printf("(%s %.8s): ", m->msg_type, m->id);
    fwrite(text->ptr, 1, text->len, stdout);
    putchar('\n');
    fflush(stdout);
}

static void on_broken(const char *rule, const char *detail, void *arg)
{
    (void)arg;
    fprintf(stderr, "botbridge-sim: the bot broke a rule: %s: %s\n", rule, detail);
}

static int run(struct bsim_stage *stage, const char *listen, const char *control_listen)
{
    struct brg_error error = {0};
    struct bsim_control *control =
        bsim_control_new(stage->loop, &stage->pusher, &stage->faults, control_listen, &error);
    if (!control) {
        fprintf(stderr, "botbridge-sim bosshi serve: %s\n", error.text);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_USAGE;
    }
    int host_bytes = (int)(strrchr(listen, ':') - listen); /* both servers have found one */
    int control_bytes = (int)(strrchr(control_listen, ':') - control_listen);
    printf("ready listen=%.*s:%u control=%.*s:%u\n", host_bytes, listen,
           bsim_api_port(stage->api), control_bytes, control_listen,
           bsim_control_port(control));
    fflush(stdout);
    loop_on_signal(stage->loop, SIGTERM, on_signal, stage->loop);
    loop_on_signal(stage->loop, SIGINT, on_signal, stage->loop);
    loop_run(stage->loop);
    bsim_control_free(control);
    return BRG_EXIT_DONE;
}

static int print_usage(void)
{
    bsim_args_usage(
        "usage: botbridge-sim bosshi serve [options]\n"
        "\n"
        "The platform for one app, until SIGTERM: pushes events, serves the API, shows "
        "the chat.\n"
        "Its control port is defined in tests/sim/BOSSHI.md.\n",
        FREE_PORT ": a free port",
        "  --control HOST:PORT      the control port (" FREE_PORT ")\n"
        "  --json                   JSON lines on stdout instead of the chat as "
        "text\n"
        "\n"
        "Exit codes: 0 ended, 64 usage, 75 an address is in use.\n");
    return BRG_EXIT_DONE;
}

int bsim_serve_main(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, CONTROL},
                                            {"json", no_argument, NULL, JSON_LINES},
                                            BSIM_COMMON_OPTIONS};
    const char *control = FREE_PORT;
    bool is_json = false;
    struct bsim_args args;
    struct bsim_stage stage;
    bsim_args_init(&args, "serve", FREE_PORT);
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == BSIM_HELP)
            return print_usage();
        if (option == CONTROL)
            control = optarg;
        else if (option == JSON_LINES)
            is_json = true;
        else if (!bsim_args_take(&args, option, argv))
            return BRG_EXIT_USAGE;
    }
    if (optind != argc) {
        bsim_args_complain(&args, "no argument is wanted");
        return BRG_EXIT_USAGE;
    }
    int code = bsim_stage_start(&stage, &args);
    if (code != BRG_EXIT_DONE)
        return code;
    stage.platform.journal.is_printed = is_json;
    stage.platform.journal.on_broken = on_broken;
    if (!is_json)
        stage.platform.watcher.on_message = on_message;
    code = run(&stage, args.listen, control);
    bsim_stage_free(&stage);
    return code;
}
