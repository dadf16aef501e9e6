/* Options that `bosshi serve` and `bosshi chat` share, and the parts they start. */
#pragma once

#include "bsim_api.h"
#include "bsim_push.h"

#include <getopt.h>

enum {
    BSIM_URL = 1,
    BSIM_LISTEN,
    BSIM_APP_ID,
    BSIM_APP_SECRET,
    BSIM_VERIFICATION_TOKEN,
    BSIM_ENCRYPT_KEY,
    BSIM_CLOCK_SCALE,
    BSIM_SET,
    BSIM_HELP,
    BSIM_OWN_OPTIONS, /* of the command: from here */
};

#define BSIM_COMMON_OPTIONS                                                                 \
    {"url", required_argument, NULL, BSIM_URL},                                             \
        {"listen", required_argument, NULL, BSIM_LISTEN},                                   \
        {"app-id", required_argument, NULL, BSIM_APP_ID},                                   \
        {"app-secret", required_argument, NULL, BSIM_APP_SECRET},                           \
        {"verification-token", required_argument, NULL, BSIM_VERIFICATION_TOKEN},           \
        {"encrypt-key", required_argument, NULL, BSIM_ENCRYPT_KEY},                         \
        {"clock-scale", required_argument, NULL, BSIM_CLOCK_SCALE},                         \
        {"set", required_argument, NULL, BSIM_SET}, {"help", no_argument, NULL, BSIM_HELP}, \
    {                                                                                       \
        0                                                                                   \
    }

enum { BSIM_SETS_MAX = 32 };

struct bsim_args {
    const char *command, *url, *listen;
    struct bsim_app app;
    int64_t clock_scale;
    const char *sets[BSIM_SETS_MAX];
    size_t set_count;
};

void bsim_args_init(struct bsim_args *args, const char *command, const char *listen);
/* Prints what the command does, the common options with the default of --listen, its own. */
void bsim_args_usage(const char *what, const char *listen, const char *own);
/* Prints to stderr and returns false. */
bool bsim_args_complain(const struct bsim_args *args, const char *fmt, ...) BRG_PRINTF(2, 3);
bool bsim_args_number(const struct bsim_args *args, const char *name, const char *text,
                      int64_t min, int64_t max, int64_t *out);
bool bsim_args_take(struct bsim_args *args, int option, char **argv);

/* The platform with its API on a port. */
struct bsim_stage {
    struct loop *loop;
    struct bsim_platform platform;
    struct bsim_faults faults;
    struct bsim_pusher pusher;
    struct bsim_api *api;
};

/* BRG_EXIT_DONE, or what the program has to exit with, and the stage is freed. */
int bsim_stage_start(struct bsim_stage *stage, const struct bsim_args *args);
void bsim_stage_free(struct bsim_stage *stage);
