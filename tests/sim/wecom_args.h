/* What the WeCom sub-commands share of their command lines. Errors are printed here. */
#pragma once

#include "wecom_link.h"

#include <getopt.h>

struct wecom_args {
    const char *command; /* "chat", "load" */
    const char *url, *token, *aes_key, *receive_id;
    const char *user, *group;
    int64_t poll_ms;
};

/* Rows for getopt_long; their values are below those of the sub-commands' own options. */
enum { WECOM_POLL_MS = 7, WECOM_HELP = 8, WECOM_OWN_OPTIONS = 100 };
#define WECOM_COMMON_OPTIONS                                                                 \
    {"url", required_argument, NULL, 1}, {"token", required_argument, NULL, 2},              \
        {"aes-key", required_argument, NULL, 3}, {"receive-id", required_argument, NULL, 4}, \
        {"user", required_argument, NULL, 5}, {"group", required_argument, NULL, 6},         \
        {"poll-ms", required_argument, NULL, WECOM_POLL_MS},                                 \
        {"help", no_argument, NULL, WECOM_HELP},                                             \
    {                                                                                        \
        NULL, 0, NULL, 0                                                                     \
    }

#define WECOM_COMMON_USAGE                                                                   \
    "  --url URL            the bot's callback URL, e.g. "                                   \
    "http://127.0.0.1:8080/wecom/helpdesk\n"                                                 \
    "  --token T            token and EncodingAESKey of the bot, as in its configuration;\n" \
    "  --aes-key K          better in the environment, where other users do not see them:\n" \
    "  --receive-id R       BOTBRIDGE_SIM_TOKEN, BOTBRIDGE_SIM_AES_KEY,\n"                   \
    "                       BOTBRIDGE_SIM_RECEIVE_ID (empty unless the bot has one)\n"

void wecom_args_init(struct wecom_args *args, const char *command);
/* One option as getopt_long returned it; false after telling what is wrong with it. */
bool wecom_args_take(struct wecom_args *args, int option, char **argv);
/* "--name: a number from … to … is wanted" unless it is one. */
bool wecom_args_number(const struct wecom_args *args, const char *name, const char *text,
                       int64_t min, int64_t max, int64_t *out);
bool wecom_args_complain(const struct wecom_args *args, const char *fmt, ...)
    BRG_PRINTF(2, 3); /* false, for `return` */

/* NULL after telling which of URL, token and key is missing or unusable. */
struct wecom_link *wecom_args_link(const struct wecom_args *args, struct loop *loop,
                                   bool keep_alive);
/* The URL's host is localhost or a loopback address, written as such. */
bool wecom_args_is_loopback(const struct wecom_args *args);
