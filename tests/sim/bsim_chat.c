#include "bsim_chat.h"

#include "base/utf8.h"
#include "bsim_args.h"
#include "bsim_control.h"
#include "bsim_judge.h"

#define CHAT_LISTEN "127.0.0.1:9980"

enum { EXIT_WRONG = 1 };

struct chat {
    struct bsim_args args;
    struct bsim_stage stage;
    bool is_group, is_check;
    int64_t limit_s, quiet_s;
    struct wheel_timer timer; /* limit, then quiet */
    struct bsim_judge judge;
    const struct bsim_message *shown; /* whose text is being printed */
    struct buf printed;
    char challenge[BSIM_ID_BYTES];
    int exit_code;
};

static void write_out(struct bytes text)
{
    fwrite(text.ptr, 1, text.len, stdout);
    fflush(stdout);
}

static void stop(struct chat *chat, const char *what, const char *why)
{
    if (what && chat->exit_code == BRG_EXIT_DONE) {
        if (chat->printed.len > 0)
            write_out(BYTES_LIT("\n"));
        fprintf(stderr, "botbridge-sim: %s: %s\n", what, why);
        chat->exit_code = EXIT_WRONG;
    }
    loop_stop(chat->stage.loop);
}

static void on_time(struct wheel_timer *t, void *arg)
{
    struct chat *chat = arg;
    (void)t;
    if (chat->judge.count == 0) {
        stop(chat, "no answer", "no message has come within the limit");
        return;
    }
    write_out(BYTES_LIT("\n"));
    stop(chat, NULL, NULL);
}

/* Only what is new; the user would see the whole text replaced. */
static void print_text(struct chat *chat, const struct bsim_message *m)
{
    struct bytes text =
        buf_bytes(m->edit_count > 0 ? &m->edits[m->edit_count - 1].text : &m->text);
    struct bytes before = buf_bytes(&chat->printed);
    bool goes_on = chat->shown == m && bytes_starts_with(text, before);
    if (!goes_on && before.len > 0) {
        write_out(BYTES_LIT("\n"));
        before.len = 0;
    }
    write_out(bytes_of(text.ptr + before.len, text.len - before.len));
    buf_reset(&chat->printed);
    buf_append(&chat->printed, text);
    chat->shown = m;
}

static void on_message(const struct bsim_message *m, void *arg)
{
    struct chat *chat = arg;
    char reason[160];
    if (!m->is_bots)
        return;
    print_text(chat, m);
    if (!bsim_judge_note(&chat->judge, m, reason))
        stop(chat, "the bot broke a rule", reason);
    loop_timer_set(chat->stage.loop, &chat->timer, chat->quiet_s * 1000);
}

static void on_broken(const char *rule, const char *detail, void *arg)
{
    char text[320];
    snprintf(text, sizeof text, "%s: %s", rule, detail);
    stop(arg, "the bot broke a rule", text);
}

static void on_delivery(const struct bsim_push *push, void *arg)
{
    const struct bsim_delivery *d = &push->deliveries[push->delivery_count - 1];
    char text[256];
    if (!*d->reason)
        return;
    snprintf(text, sizeof text, "the event is not taken with 200 within 1 s: %s", d->reason);
    stop(arg, "the bot broke a rule", text);
}

static void on_checked(const struct bsim_delivery *d, void *arg)
{
    struct chat *chat = arg;
    char reason[160];
    if (bsim_challenge_judge(&chat->stage.platform, d, bytes_of_str(chat->challenge), reason))
        puts("the URL check passes");
    else
        stop(chat, "the URL check fails", reason);
    loop_stop(chat->stage.loop);
}

static void check_url(struct chat *chat)
{
    struct buf plain;
    buf_init(&plain, 65536);
    bsim_make_id(chat->challenge, false);
    bsim_challenge_write(bytes_of_str(chat->challenge),
                         bytes_of_str(chat->args.app.verification_token), &plain);
    bsim_post(&chat->stage.pusher, false, true, buf_bytes(&plain), on_checked, chat);
    buf_free(&plain);
}

static void ask(struct chat *chat, const char *question)
{
    struct json_writer w;
    struct bsim_event event;
    struct buf text;
    buf_init(&text, BSIM_EVENT_MAX_BYTES);
    json_begin(&w, &text);
    json_open(&w, NULL, '{');
    json_str(&w, "text", bytes_of_str(question));
    json_str(&w, "chat_type", chat->is_group ? BYTES_LIT("group") : BYTES_LIT("p2p"));
    json_i64(&w, "repeats", 0);
    json_close(&w, '}');
    struct json *members = json_parse(buf_bytes(&text), JSON_PEER, NULL);
    BRG_CHECK(bsim_event_make(&chat->args.app, members, &event, NULL) == BRG_OK);
    loop_timer_set(chat->stage.loop, &chat->timer, chat->limit_s * 1000);
    bsim_push_start(&chat->stage.pusher, &event);
    json_free(members);
    buf_free(&text);
}

static int run(struct chat *chat, const char *question)
{
    int code = bsim_stage_start(&chat->stage, &chat->args);
    if (code != BRG_EXIT_DONE)
        return code;
    struct bsim_platform *platform = &chat->stage.platform;
    platform->watcher = (struct bsim_watcher){on_message, chat};
    platform->journal.on_broken = on_broken;
    platform->journal.arg = chat;
    chat->stage.pusher.on_delivery = on_delivery;
    chat->stage.pusher.arg = chat;
    chat->judge.settings = &platform->settings;
    wheel_timer_init(&chat->timer, on_time, chat);
    buf_init(&chat->printed, BSIM_TEXT_MAX_BYTES);
    if (chat->is_check)
        check_url(chat);
    else
        ask(chat, question);
    loop_run(chat->stage.loop);
    loop_timer_cancel(chat->stage.loop, &chat->timer);
    bsim_stage_free(&chat->stage);
    buf_free(&chat->printed);
    return chat->exit_code;
}

static int print_usage(void)
{
    bsim_args_usage(
        "usage: botbridge-sim bosshi chat --url URL [options] QUESTION\n"
        "\n"
        "Asks a bot as a BOSSHI user does and prints the answer as it grows. The bot's "
        "api_base\n"
        "has to be http:// and the address of --listen.\n",
        CHAT_LISTEN,
        "  --group                  ask in a group, with a mention of the bot\n"
        "  --limit-s N              time to the first message of the answer (60)\n"
        "  --quiet-s N              the answer is final when nothing has come for so long (5)\n"
        "  --verify-url             only the check that is made when the URL is saved\n"
        "\n"
        "Exit codes: 0 answered, 1 the bot broke a rule or did not answer (the reason is on\n"
        "stderr), 64 usage, 75 the address of --listen is in use.\n");
    return BRG_EXIT_DONE;
}

enum { GROUP = BSIM_OWN_OPTIONS, LIMIT_S, QUIET_S, VERIFY_URL };

static bool take(struct chat *chat, int option, char **argv)
{
    switch (option) {
    case GROUP:
        chat->is_group = true;
        return true;
    case LIMIT_S:
        return bsim_args_number(&chat->args, "limit-s", optarg, 1, 3600, &chat->limit_s);
    case QUIET_S:
        return bsim_args_number(&chat->args, "quiet-s", optarg, 1, 3600, &chat->quiet_s);
    case VERIFY_URL:
        chat->is_check = true;
        return true;
    default:
        return bsim_args_take(&chat->args, option, argv);
    }
}

static bool check_question(const struct chat *chat, int argc, char **argv)
{
    int wanted = chat->is_check ? 0 : 1;
    if (!chat->args.url)
        return bsim_args_complain(&chat->args, "--url is wanted");
    if (argc - optind != wanted)
        return bsim_args_complain(&chat->args, wanted ? "one QUESTION is wanted: put it in "
                                                        "quotes"
                                                      : "--verify-url takes no QUESTION");
    if (wanted && (!*argv[optind] || !utf8_is_valid(bytes_of_str(argv[optind]))))
        return bsim_args_complain(&chat->args, "a question is text in UTF-8");
    return true;
}

int bsim_chat_main(int argc, char **argv)
{
    static const struct option options[] = {{"group", no_argument, NULL, GROUP},
                                            {"limit-s", required_argument, NULL, LIMIT_S},
                                            {"quiet-s", required_argument, NULL, QUIET_S},
                                            {"verify-url", no_argument, NULL, VERIFY_URL},
                                            BSIM_COMMON_OPTIONS};
    struct chat chat = {.limit_s = 60, .quiet_s = 5};
    bsim_args_init(&chat.args, "chat", CHAT_LISTEN);
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == BSIM_HELP)
            return print_usage();
        if (!take(&chat, option, argv))
            return BRG_EXIT_USAGE;
    }
    if (!check_question(&chat, argc, argv))
        return BRG_EXIT_USAGE;
    return run(&chat, argv[optind]);
}
