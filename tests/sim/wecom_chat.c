#include "wecom_chat.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "wecom_args.h"
#include "wecom_stream.h"

#include <unistd.h>

enum { EXIT_WRONG = 1, LIMIT_S_MAX = 3600 };

struct chat {
    struct wecom_args args;
    const char *response_url;
    int64_t limit_s;
    bool is_check;
    struct loop *loop;
    struct wecom_link *link;
    int exit_code;
    /* Of the question that is being answered. */
    struct buf placeholder; /* the first answer, while it is not known to be part of the text */
    struct buf printed;
};

static void write_out(struct bytes text)
{
    fwrite(text.ptr, 1, text.len, stdout);
    fflush(stdout);
}

/* Only what is new; the bubble would show the whole text each time. */
static void print_text(struct chat *chat, struct bytes text)
{
    struct bytes before = buf_bytes(&chat->printed);
    if (!bytes_starts_with(text, before)) {
        write_out(BYTES_LIT("\n"));
        before.len = 0;
    }
    write_out(bytes_of(text.ptr + before.len, text.len - before.len));
    buf_reset(&chat->printed);
    buf_append(&chat->printed, text);
}

static void on_shown(const struct wecom_shown *shown, void *arg)
{
    struct chat *chat = arg;
    bool is_placeholder =
        chat->printed.len == 0 && !shown->is_finished &&
        (shown->is_first || bytes_eq(shown->content, buf_bytes(&chat->placeholder)));
    if (!is_placeholder) {
        print_text(chat, shown->content);
        return;
    }
    if (shown->is_first) {
        buf_append(&chat->placeholder, shown->content);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "(" BYTES_FMT ")\n", BYTES_ARG(shown->content));
    }
}

static void on_repeat(const char *reason, unsigned deliveries, void *arg)
{
    (void)arg;
    fprintf(stderr, "botbridge-sim: delivery %u of %d failed: %s; repeated after %d s\n",
            deliveries, WECOM_DELIVERIES_MAX, reason, WECOM_ANSWER_MS / 1000);
}

static void on_end(enum wecom_end end, const char *reason, void *arg)
{
    struct chat *chat = arg;
    if (chat->printed.len > 0)
        write_out(BYTES_LIT("\n"));
    if (end != WECOM_END_FINISHED) {
        chat->exit_code = EXIT_WRONG;
        fprintf(stderr, "botbridge-sim: %s: %s\n",
                end == WECOM_END_BROKEN_RULE ? "the bot broke a rule" : "no answer", reason);
    }
    loop_stop(chat->loop);
}

static void ask(struct chat *chat, struct bytes question)
{
    static const struct wecom_stream_callbacks callbacks = {on_shown, on_repeat, on_end};
    struct wecom_ask ask = {
        .user = chat->args.user,
        .chat_id = chat->args.group,
        .response_url = chat->response_url,
        .question = question,
        .poll_ms = chat->args.poll_ms,
        .limit_ms = chat->limit_s * 1000,
        .due_us = clock_mono_us(),
    };
    buf_reset(&chat->placeholder);
    buf_reset(&chat->printed);
    wecom_stream_start(chat->loop, chat->link, &ask, &callbacks, chat);
    loop_run(chat->loop);
}

static bool is_question(struct bytes text)
{
    if (text.len == 0)
        fprintf(stderr, "botbridge-sim: a question has at least one character\n");
    else if (text.len > WECOM_QUESTION_MAX_BYTES)
        fprintf(stderr, "botbridge-sim: a question has at most %d bytes\n",
                WECOM_QUESTION_MAX_BYTES);
    else if (!utf8_is_valid(text))
        fprintf(stderr, "botbridge-sim: a question has to be UTF-8\n");
    else
        return true;
    return false;
}

/* Reading blocks: nothing is on its way between two questions. */
static void converse(struct chat *chat)
{
    bool is_terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    char *line = NULL;
    size_t room = 0;
    for (;;) {
        if (is_terminal)
            fputs("> ", stderr);
        ssize_t len = getline(&line, &room, stdin);
        if (len < 0)
            break;
        if (len > 0 && line[len - 1] == '\n')
            len--;
        struct bytes question = bytes_of(line, (size_t)len);
        if (len == 0)
            continue;
        if (is_question(question))
            ask(chat, question);
        else
            chat->exit_code = EXIT_WRONG;
    }
    if (is_terminal)
        fputc('\n', stderr);
    free(line);
}

static void on_checked(const struct wecom_answer *answer, void *arg)
{
    struct chat *chat = arg;
    if (answer->outcome == WECOM_ANSWERED) {
        puts("the URL check passes");
    } else {
        chat->exit_code = EXIT_WRONG;
        fprintf(stderr, "botbridge-sim: the URL check fails: %s\n", answer->reason);
    }
    loop_stop(chat->loop);
}

static void check_url(struct chat *chat)
{
    static const struct wecom_call_callbacks callbacks = {NULL, on_checked};
    wecom_check_start(chat->link, &callbacks, chat);
    loop_run(chat->loop);
}

static int run(struct chat *chat, const char *question)
{
    chat->loop = loop_new();
    chat->link = wecom_args_link(&chat->args, chat->loop, false);
    if (!chat->link) {
        loop_free(chat->loop);
        return BRG_EXIT_USAGE;
    }
    buf_init(&chat->placeholder, WECOM_CONTENT_MAX_BYTES);
    buf_init(&chat->printed, WECOM_CONTENT_MAX_BYTES);
    random_seed(0);
    if (chat->is_check)
        check_url(chat);
    else if (!question)
        converse(chat);
    else
        ask(chat, bytes_of_str(question));
    wecom_link_free(chat->link);
    loop_free(chat->loop);
    buf_free(&chat->placeholder);
    buf_free(&chat->printed);
    return chat->exit_code;
}

static int print_usage(void)
{
    fputs(
        "usage: botbridge-sim wecom chat --url URL [options] [QUESTION]\n"
        "\n"
        "Asks a bot as a WeCom user does and prints the answer as it grows. Without QUESTION\n"
        "every line of the standard input is one, in one conversation.\n"
        "\n" WECOM_COMMON_USAGE "  --user U             user id (sim-user)\n"
        "  --group CHATID       ask in this group instead of a single chat\n"
        "  --poll-ms N          time between refreshes, ±10 % (1000)\n"
        "  --limit-s N          time from the message to the end of the answer (360)\n"
        "  --response-url URL   sent with the question, for results that come later (none)\n"
        "  --verify-url         only the check that WeCom makes when the URL is saved\n"
        "\n"
        "Every reply is judged as WeCom would. Exit codes: 0 answered to the end, 1 the bot\n"
        "broke a rule or did not answer (the reason is on stderr), 64 usage.\n",
        stdout);
    return BRG_EXIT_DONE;
}

enum { LIMIT_S = WECOM_OWN_OPTIONS, RESPONSE_URL, VERIFY_URL };

static bool take(struct chat *chat, int option, char **argv)
{
    switch (option) {
    case LIMIT_S:
        return wecom_args_number(&chat->args, "limit-s", optarg, 1, LIMIT_S_MAX,
                                 &chat->limit_s);
    case RESPONSE_URL:
        chat->response_url = optarg;
        return true;
    case VERIFY_URL:
        chat->is_check = true;
        return true;
    default:
        return wecom_args_take(&chat->args, option, argv);
    }
}

int wecom_chat_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"limit-s", required_argument, NULL, LIMIT_S},
        {"response-url", required_argument, NULL, RESPONSE_URL},
        {"verify-url", no_argument, NULL, VERIFY_URL},
        WECOM_COMMON_OPTIONS};
    struct chat chat = {.limit_s = 360};
    wecom_args_init(&chat.args, "chat");
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == WECOM_HELP)
            return print_usage();
        if (!take(&chat, option, argv))
            return BRG_EXIT_USAGE;
    }
    if (argc - optind > 1) {
        wecom_args_complain(&chat.args, "one QUESTION is wanted: put it in quotes");
        return BRG_EXIT_USAGE;
    }
    if (chat.is_check && optind < argc) {
        wecom_args_complain(&chat.args, "--verify-url takes no QUESTION");
        return BRG_EXIT_USAGE;
    }
    if (optind < argc && !is_question(bytes_of_str(argv[optind])))
        return BRG_EXIT_USAGE;
    return run(&chat, argv[optind]);
}
