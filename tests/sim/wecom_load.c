#include "wecom_load.h"

#include "base/random.h"
#include "base/utf8.h"
#include "load_report.h"
#include "wecom_args.h"

#include <sys/resource.h>

enum {
    EXIT_WRONG = 1,
    COUNT_MAX = 100000,
    DURATION_S_MAX = 86400,
    PER_USER = 3, /* messages of one user that WeCom lets be in progress */
    SPARE_DESCRIPTORS = 64,
};

struct load_args {
    struct wecom_args common;
    struct load_plan plan;
    int64_t duration_s, drain_s;
    bool has_streams, keep_alive, allow_remote;
};

static int print_usage(void)
{
    fputs(
        "usage: botbridge-sim wecom load --url URL [options] [QUESTION]\n"
        "\n"
        "Many users ask a bot at once, as WeCom delivers them; prints counts and latencies.\n"
        "\n" WECOM_COMMON_USAGE "  --users N            different users, who take turns (100)\n"
        "  --user U             what their ids begin with (sim-user)\n"
        "  --group CHATID       all ask in this group instead of single chats\n"
        "  --streams N          closed loop: streams open at once (300)\n"
        "  --rate N             open loop instead: new messages per second, by the clock\n"
        "  --duration-s N       how long messages are sent (10)\n"
        "  --drain-s N          how long open streams may still finish after that (10)\n"
        "  --poll-ms N          time between refreshes, ±10 % (1000)\n"
        "  --messages-only      no refreshes: a message is over with its first reply\n"
        "  --keep-alive         reuse connections; WeCom opens a new one per callback\n"
        "  --allow-remote       load a host that is not this one; without it only loopback\n"
        "                       is accepted, because load on a machine that did not ask for\n"
        "                       it is an attack\n"
        "\n"
        "Busy means: the first reply was finish:true already. Exit codes: 0 all went well, 1\n"
        "a rule was broken, a message had no answer or none was accepted, 64 usage.\n",
        stdout);
    return BRG_EXIT_DONE;
}

enum {
    USERS = WECOM_OWN_OPTIONS,
    STREAMS,
    RATE,
    DURATION,
    DRAIN,
    MESSAGES_ONLY,
    KEEP_ALIVE,
    ALLOW_REMOTE
};

static bool take_number(struct load_args *a, int option)
{
    static const struct {
        const char *name;
        int64_t min, max;
    } rows[] = {{"users", 1, COUNT_MAX},
                {"streams", 1, COUNT_MAX},
                {"rate", 1, COUNT_MAX},
                {"duration-s", 1, DURATION_S_MAX},
                {"drain-s", 0, DURATION_S_MAX}};
    int64_t *const to[] = {&a->plan.users, &a->plan.streams, &a->plan.rate, &a->duration_s,
                           &a->drain_s};
    int row = option - USERS;
    return wecom_args_number(&a->common, rows[row].name, optarg, rows[row].min, rows[row].max,
                             to[row]);
}

static bool take(struct load_args *a, int option, char **argv)
{
    switch (option) {
    case STREAMS:
        a->has_streams = true;
        return take_number(a, option);
    case USERS:
    case RATE:
    case DURATION:
    case DRAIN:
        return take_number(a, option);
    case MESSAGES_ONLY:
        a->plan.is_message_only = true;
        return true;
    case KEEP_ALIVE:
        a->keep_alive = true;
        return true;
    case ALLOW_REMOTE:
        a->allow_remote = true;
        return true;
    default:
        return wecom_args_take(&a->common, option, argv);
    }
}

static bool complete(struct load_args *a, const char *question)
{
    struct load_plan *plan = &a->plan;
    if (plan->rate > 0 && a->has_streams)
        return wecom_args_complain(&a->common, "--streams (closed loop) or --rate (open loop), "
                                               "not both");
    if (a->common.url && !a->allow_remote && !wecom_args_is_loopback(&a->common))
        return wecom_args_complain(&a->common,
                                   "the host is not this machine's loopback; --allow-remote "
                                   "if it is yours and expects this load");
    plan->question = bytes_of_str(question ? question : "你好，请介绍一下你自己。");
    if (plan->question.len == 0 || plan->question.len > WECOM_QUESTION_MAX_BYTES ||
        !utf8_is_valid(plan->question))
        return wecom_args_complain(&a->common, "QUESTION is 1 to %d bytes of UTF-8",
                                   WECOM_QUESTION_MAX_BYTES);
    if (strlen(a->common.user) > 64)
        return wecom_args_complain(&a->common, "--user: at most 64 bytes");
    if (plan->rate > 0)
        plan->streams = 0;
    plan->duration_ms = a->duration_s * 1000;
    plan->drain_ms = a->drain_s * 1000;
    plan->poll_ms = a->common.poll_ms;
    plan->user_prefix = a->common.user;
    plan->chat_id = a->common.group;
    return true;
}

/* A connection per stream; what the limit does not allow fails as "no connection". */
static void raise_descriptor_limit(int64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)(wanted + SPARE_DESCRIPTORS))
        fprintf(stderr,
                "botbridge-sim: only %llu descriptors allowed (ulimit -n): some connections "
                "may fail\n",
                (unsigned long long)limit.rlim_cur);
}

static void print_plan(const struct load_args *a)
{
    const struct load_plan *plan = &a->plan;
    if (plan->rate > 0)
        printf("open loop: %lld messages/s", (long long)plan->rate);
    else
        printf("closed loop: %lld streams open", (long long)plan->streams);
    printf(", %lld users, %lld s, %s, %s\n", (long long)plan->users, (long long)a->duration_s,
           plan->is_message_only ? "no refreshes" : "refreshes by the clock",
           a->keep_alive ? "connections kept" : "a new connection per callback");
    if (plan->streams > PER_USER * plan->users && !plan->is_message_only)
        printf("(WeCom allows %d messages of one user in progress: that would be %lld users)\n",
               PER_USER, (long long)((plan->streams + PER_USER - 1) / PER_USER));
    fflush(stdout);
}

static int judge(const struct load_result *r)
{
    const char *why = r->broken > 0       ? "the bot broke rules"
                      : r->unanswered > 0 ? "callbacks had no answer"
                      : r->skipped > 0    ? "messages were not sent"
                      : r->accepted == 0  ? "no message was accepted"
                                          : NULL;
    if (!why)
        return BRG_EXIT_DONE;
    fprintf(stderr, "botbridge-sim: %s\n", why);
    return EXIT_WRONG;
}

static int run(struct load_args *a)
{
    struct loop *loop = loop_new();
    struct wecom_link *link = wecom_args_link(&a->common, loop, a->keep_alive);
    if (!link) {
        loop_free(loop);
        return BRG_EXIT_USAGE;
    }
    struct load_result *result = BRG_NEW(struct load_result);
    random_seed(0);
    raise_descriptor_limit(a->plan.streams);
    print_plan(a);
    load_run(loop, link, &a->plan, result);
    load_report(stdout, &a->plan, result);
    int exit_code = judge(result);
    free(result);
    wecom_link_free(link);
    loop_free(loop);
    return exit_code;
}

int wecom_load_main(int argc, char **argv)
{
    static const struct option options[] = {{"users", required_argument, NULL, USERS},
                                            {"streams", required_argument, NULL, STREAMS},
                                            {"rate", required_argument, NULL, RATE},
                                            {"duration-s", required_argument, NULL, DURATION},
                                            {"drain-s", required_argument, NULL, DRAIN},
                                            {"messages-only", no_argument, NULL, MESSAGES_ONLY},
                                            {"keep-alive", no_argument, NULL, KEEP_ALIVE},
                                            {"allow-remote", no_argument, NULL, ALLOW_REMOTE},
                                            WECOM_COMMON_OPTIONS};
    struct load_args a = {
        .plan = {.users = 100, .streams = 300}, .duration_s = 10, .drain_s = 10};
    wecom_args_init(&a.common, "load");
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == WECOM_HELP)
            return print_usage();
        if (!take(&a, option, argv))
            return BRG_EXIT_USAGE;
    }
    if (argc - optind > 1) {
        wecom_args_complain(&a.common, "one QUESTION at most: put it in quotes");
        return BRG_EXIT_USAGE;
    }
    return complete(&a, argv[optind]) ? run(&a) : BRG_EXIT_USAGE;
}
