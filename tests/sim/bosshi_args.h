/* Options that `bosshi serve` and `bosshi chat` share, and the parts they start. */
#pragma once

#include "bosshi_api.h"
#include "bosshi_push.h"

#include <getopt.h>

enum {
    BOSSHI_URL = 1,
    BOSSHI_LISTEN,
    BOSSHI_APP_ID,
    BOSSHI_APP_SECRET,
    BOSSHI_VERIFICATION_TOKEN,
    BOSSHI_ENCRYPT_KEY,
    BOSSHI_CLOCK_SCALE,
    BOSSHI_SET,
    BOSSHI_HELP,
    BOSSHI_OWN_OPTIONS, /* of the command: from here */
};

#define BOSSHI_COMMON_OPTIONS                                                       \
    {"url", required_argument, NULL, BOSSHI_URL},                                   \
        {"listen", required_argument, NULL, BOSSHI_LISTEN},                         \
        {"app-id", required_argument, NULL, BOSSHI_APP_ID},                         \
        {"app-secret", required_argument, NULL, BOSSHI_APP_SECRET},                 \
        {"verification-token", required_argument, NULL, BOSSHI_VERIFICATION_TOKEN}, \
        {"encrypt-key", required_argument, NULL, BOSSHI_ENCRYPT_KEY},               \
        {"clock-scale", required_argument, NULL, BOSSHI_CLOCK_SCALE},               \
        {"set", required_argument, NULL, BOSSHI_SET},                               \
        {"help", no_argument, NULL, BOSSHI_HELP},                                   \
    {                                                                               \
        0                                                                           \
    }

#define BOSSHI_COMMON_USAGE                                                                   \
    "  --url URL                request URL of the bot, http://…/bosshi/NAME\n"             \
    "  --listen HOST:PORT       where the platform's API is served (api_base of the bot)\n"   \
    "  --app-id, --app-secret, --verification-token, --encrypt-key\n"                         \
    "                           of the app; or BOTBRIDGE_SIM_APP_ID, …_APP_SECRET,\n"       \
    "                           …_VERIFICATION_TOKEN, …_ENCRYPT_KEY in the environment\n" \
    "  --clock-scale N          the platform's long times divided by N (1)\n"                 \
    "  --set NAME=VALUE         a setting of the platform (tests/sim/BOSSHI.md lists them)\n"

enum { BOSSHI_SETS_MAX = 32 };

struct bosshi_args {
    const char *command, *url, *listen;
    struct bosshi_app app;
    int64_t clock_scale;
    const char *sets[BOSSHI_SETS_MAX];
    size_t set_count;
};

void bosshi_args_init(struct bosshi_args *args, const char *command, const char *listen);
/* Prints to stderr and returns false. */
bool bosshi_args_complain(const struct bosshi_args *args, const char *fmt, ...)
    BRG_PRINTF(2, 3);
bool bosshi_args_number(const struct bosshi_args *args, const char *name, const char *text,
                        int64_t min, int64_t max, int64_t *out);
bool bosshi_args_take(struct bosshi_args *args, int option, char **argv);

/* The platform with its API on a port. */
struct bosshi_stage {
    struct loop *loop;
    struct bosshi_platform platform;
    struct bosshi_faults faults;
    struct bosshi_pusher pusher;
    struct bosshi_api *api;
};

/* BRG_EXIT_DONE, or what the program has to exit with, and the stage is freed. */
int bosshi_stage_start(struct bosshi_stage *stage, const struct bosshi_args *args);
void bosshi_stage_free(struct bosshi_stage *stage);
