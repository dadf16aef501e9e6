#include "bosshi_args.h"

#include "base/random.h"

#include <stdarg.h>

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

void bosshi_args_init(struct bosshi_args *args, const char *command, const char *listen)
{
    *args = (struct bosshi_args){
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

bool bosshi_args_complain(const struct bosshi_args *args, const char *fmt, ...)
{
    va_list list;
    fprintf(stderr, "botbridge-sim bosshi %s: ", args->command);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr, "\n(botbridge-sim bosshi %s --help tells more)\n", args->command);
    return false;
}

bool bosshi_args_number(const struct bosshi_args *args, const char *name, const char *text,
                        int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (!bytes_to_i64(bytes_of_str(text), &value) || value < min || value > max)
        return bosshi_args_complain(args, "--%s: a number from %lld to %lld is wanted", name,
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

bool bosshi_args_take(struct bosshi_args *args, int option, char **argv)
{
    const char **const strings[] = {
        &args->url,
        &args->listen,
        &args->app.app_id,
        &args->app.app_secret,
        &args->app.verification_token,
        &args->app.encrypt_key,
    };
    if (option >= BOSSHI_URL && option <= BOSSHI_ENCRYPT_KEY) {
        *strings[option - BOSSHI_URL] = optarg;
        return option != BOSSHI_URL || has_scheme(optarg) ||
               bosshi_args_complain(args, "--url http://… or https://… is wanted");
    }
    if (option == BOSSHI_CLOCK_SCALE)
        return bosshi_args_number(args, "clock-scale", optarg, 1, 100000, &args->clock_scale);
    if (option != BOSSHI_SET)
        return bosshi_args_complain(args, "unknown option, or one without its value: %s",
                                    argv[optind - 1]);
    if (args->set_count == BOSSHI_SETS_MAX)
        return bosshi_args_complain(args, "--set: at most %d", BOSSHI_SETS_MAX);
    args->sets[args->set_count++] = optarg;
    return true;
}

static enum brg_err apply_sets(struct bosshi_stage *stage, const struct bosshi_args *args,
                               struct brg_error *error)
{
    struct bosshi_settings *s = &stage->platform.settings;
    enum brg_err err = BRG_OK;
    for (size_t i = 0; i < args->set_count && err == BRG_OK; i++)
        err = bosshi_settings_set(s, args->sets[i], error);
    if (args->url) {
        free(s->url);
        s->url = brg_strdup(args->url);
    }
    return err;
}

int bosshi_stage_start(struct bosshi_stage *stage, const struct bosshi_args *args)
{
    struct brg_error error = {0};
    random_seed(0);
    stage->loop = loop_new();
    stage->api = NULL;
    bosshi_platform_init(&stage->platform, &args->app, args->clock_scale);
    bosshi_faults_init(&stage->faults);
    bosshi_pusher_init(&stage->pusher, stage->loop, &stage->platform);
    int code = BRG_EXIT_DONE;
    if (apply_sets(stage, args, &error) != BRG_OK) {
        code = BRG_EXIT_USAGE;
    } else {
        stage->api =
            bosshi_api_new(stage->loop, &stage->platform, &stage->faults, args->listen, &error);
        if (!stage->api)
            code = error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_CONFIG;
    }
    if (code == BRG_EXIT_DONE)
        return code;
    bosshi_args_complain(args, "%s", error.text);
    bosshi_stage_free(stage);
    return code;
}

void bosshi_stage_free(struct bosshi_stage *stage)
{
    bosshi_api_free(stage->api);
    bosshi_pusher_free(&stage->pusher);
    bosshi_faults_clear(&stage->faults);
    bosshi_platform_free(&stage->platform);
    loop_free(stage->loop);
}
