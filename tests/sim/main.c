/* botbridge-sim: plays the platforms and an LLM, for tests, load, and development without an
 * account. */
#include "bsim_chat.h"
#include "bsim_serve.h"
#include "llm.h"
#include "wecom_chat.h"
#include "wecom_load.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static int usage(FILE *to)
{
    fputs(
        "usage: botbridge-sim wecom chat …   ask a bot one question, as a WeCom user sees it\n"
        "       botbridge-sim wecom load …   many users and streams, with latencies\n"
        "       botbridge-sim bosshi chat …  ask a bot one question, as a BOSSHI user sees it\n"
        "       botbridge-sim bosshi serve … BOSSHI for one app: events, API, chat\n"
        "       botbridge-sim llm …          an OpenAI-compatible server with known answers\n"
        "Each with --help.\n",
        to);
    return to == stdout ? BRG_EXIT_DONE : BRG_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "llm") == 0)
        return llm_main(argc - 1, argv + 1);
    if (argc >= 3 && strcmp(argv[1], "wecom") == 0) {
        if (strcmp(argv[2], "chat") == 0)
            return wecom_chat_main(argc - 2, argv + 2);
        if (strcmp(argv[2], "load") == 0)
            return wecom_load_main(argc - 2, argv + 2);
    }
    if (argc >= 3 && strcmp(argv[1], "bosshi") == 0) {
        if (strcmp(argv[2], "chat") == 0)
            return bsim_chat_main(argc - 2, argv + 2);
        if (strcmp(argv[2], "serve") == 0)
            return bsim_serve_main(argc - 2, argv + 2);
    }
    bool is_asked = argc >= 2 && strcmp(argv[argc - 1], "--help") == 0;
    return usage(is_asked ? stdout : stderr);
}
