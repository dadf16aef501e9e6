#include "bsim_args.h"

#include "base/random.h"

#include <stdarg.h>

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

void bsim_args_init(struct bsim_args *args, const char *command, const char *listen)
{
    *args = (struct bsim_args){
        .command = command,
        .listen = listen,
        .clock_scale = 1,
        .app =
            {
                .app_id = from_environment("BOTBRIDGE_SIM_APP_ID", "bli_sim"),
                .app_secret = from_environment("BOTBRIDGE_SIM_APP_SECRET", "sim-secret"),
                .verification_token = from_environment("BOTBRIDGE_SIM_VERIFICATION_TOKEN",
                                                       "sim-verification-token"),
                .encrypt_key = from_environment("BOTBRIDGE_SIM_ENCRYPT_KEY", ""),
            },
    };
    opterr = 0;
}

void bsim_args_usage(const char *what, const char *listen, const char *own)
{
    printf("%s\n"
           "  --url URL                request URL of the bot, http://…/bosshi/NAME\n"
           "  --listen HOST:PORT       where the platform's API is served, the api_base of the "
           "bot\n"
           "                           (%s)\n"
           "  --app-id, --app-secret, --verification-token, --encrypt-key\n"
           "                           of the app; or BOTBRIDGE_SIM_APP_ID, …_APP_SECRET,\n"
           "                           …_VERIFICATION_TOKEN, …_ENCRYPT_KEY in the environment\n"
           "  --clock-scale N          the platform's long times divided by N (1)\n"
           "  --set NAME=VALUE         a setting of the platform (tests/sim/BOSSHI.md lists "
           "them)\n"
           "%s",
           what, listen, own);
}

bool bsim_args_complain(const struct bsim_args *args, const char *fmt, ...)
{
    va_list list;
    fprintf(stderr, "botbridge-sim bosshi %s: ", args->command);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr, "\n(botbridge-sim bosshi %s --help tells more)\n", args->command);
    return false;
}

bool bsim_args_number(const struct bsim_args *args, const char *name, const char *text,
                      int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (!bytes_to_i64(bytes_of_str(text), &value) || value < min || value > max)
        return bsim_args_complain(args, "--%s: a number from %lld to %lld is wanted", name,
                                  (long long)min, (long long)max);
    *out = value;
    return true;
}

static bool has_scheme(const char *url)
{
    struct bytes u = bytes_of_str(url);
    return bytes_starts_with(u, BYTES_LIT("http://")) ||
           bytes_starts_with(u, BYTES_LIT("https://"));
}

bool bsim_args_take(struct bsim_args *args, int option, char **argv)
{
    const char **const strings[] = {
        &args->url,
        &args->listen,
        &args->app.app_id,
        &args->app.app_secret,
        &args->app.verification_token,
        &args->app.encrypt_key,
    };
    if (option >= BSIM_URL && option <= BSIM_ENCRYPT_KEY) {
        *strings[option - BSIM_URL] = optarg;
        return option != BSIM_URL || has_scheme(optarg) ||
               bsim_args_complain(args, "--url http://… or https://… is wanted");
    }
    if (option == BSIM_CLOCK_SCALE)
        return bsim_args_number(args, "clock-scale", optarg, 1, 100000, &args->clock_scale);
    if (option != BSIM_SET)
        return bsim_args_complain(args, "unknown option, or one without its value: %s",
                                  argv[optind - 1]);
    if (args->set_count == BSIM_SETS_MAX)
        return bsim_args_complain(args, "--set: at most %d", BSIM_SETS_MAX);
    args->sets[args->set_count++] = optarg;
    return true;
}

static enum brg_err apply_sets(struct bsim_stage *stage, const struct bsim_args *args,
                               struct brg_error *error)
{
    struct bsim_settings *s = &stage->platform.settings;
    enum brg_err err = BRG_OK;
    for (size_t i = 0; i < args->set_count && err == BRG_OK; i++)
        err = bsim_settings_set(s, args->sets[i], error);
    if (args->url) {
        free(s->url);
        s->url = brg_strdup(args->url);
    }
    return err;
}

int bsim_stage_start(struct bsim_stage *stage, const struct bsim_args *args)
{
    struct brg_error error = {0};
    random_seed(0);
    stage->loop = loop_new();
    stage->api = NULL;
    bsim_platform_init(&stage->platform, &args->app, args->clock_scale);
    bsim_faults_init(&stage->faults);
    bsim_pusher_init(&stage->pusher, stage->loop, &stage->platform);
    int code = BRG_EXIT_DONE;
    if (apply_sets(stage, args, &error) != BRG_OK) {
        code = BRG_EXIT_USAGE;
    } else {
        stage->api =
            bsim_api_new(stage->loop, &stage->platform, &stage->faults, args->listen, &error);
        if (!stage->api)
            code = error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_USAGE;
    }
    if (code == BRG_EXIT_DONE)
        return code;
    bsim_args_complain(args, "%s", error.text);
    bsim_stage_free(stage);
    return code;
}

void bsim_stage_free(struct bsim_stage *stage)
{
    bsim_api_free(stage->api);
    bsim_pusher_free(&stage->pusher);
    bsim_faults_clear(&stage->faults);
    bsim_platform_free(&stage->platform);
    loop_free(stage->loop);
}
