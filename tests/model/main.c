/* Explores the store's protocol: see README.md.
 *
 *     botbridge-model [--quick] [--seed-bug NAME]     the runs that README.md lists
 *     botbridge-model --by-hand [--messages N] [--pieces N] [--deadlines 0|1] [--safety-only]
 *         [--clock-back-after-loss] [--max-states N] [--faults N] [--crash N] [--stall N] …
 *     botbridge-model --list                          the bugs that can be seeded
 *
 * Exit codes: 0 every promise was kept (with --seed-bug: one was found broken), 1 otherwise. */
#include "explore.h"
#include "protocol.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings settings;

static const char *const faults[FAULT_COUNT] = {
    "faults", "crash", "stall",   "loss", "unknown",  "late",   "clock",
    "move",   "drain", "ingress", "busy", "pipeline", "repeat",
};

/* What one search looks at. */
struct scope {
    const char *what;
    uint8_t messages, pieces;
    bool has_deadlines, is_hard_only; /* hard: crash, stall, empty restart, unknown outcome */
    bool has_late;                    /* late calls, and no loss */
    uint8_t faults;
};

static const struct scope scopes[] = {
    {"1 message and its repeat, 2 faults", 1, 2, true, false, false, 2},
    {"2 messages, 1 fault", 2, 1, true, false, false, 1},
    {"2 messages, 2 of crash, stall, restart empty and unknown outcome, no deadline", 2, 1,
     false, true, false, 2},
    {"1 message and its repeat, 2 faults with late calls and no loss", 1, 2, true, false, true,
     2},
};
static const struct scope quick_scopes[] = {
    {"1 message and its repeat, 1 fault", 1, 2, true, false, false, 1},
    {"2 messages", 2, 1, true, false, false, 0},
    {"2 messages, 1 of crash, stall, restart empty and unknown outcome, no deadline", 2, 1,
     false, true, false, 1},
    {"1 message and its repeat, 1 fault with late calls and no loss", 1, 2, true, false, true,
     1},
};
enum { SCOPES = sizeof(scopes) / sizeof(*scopes) };

enum {
    OPTION_FAULT = 256,
    OPTION_PIECES = 512,
    OPTION_MESSAGES,
    OPTION_DEADLINES,
    OPTION_MAX,
    OPTION_SAFE,
    OPTION_BACK,
    OPTION_SEED,
    OPTION_LIST,
    OPTION_QUICK,
    OPTION_BY_HAND,
};

struct run {
    const char *seed;
    size_t max_states;
    bool is_safety_only, is_quick, is_by_hand;
    bool is_bounded; /* some search was: neither answer can be given */
};

static void set_scope(const struct scope *scope)
{
    settings.messages = scope->messages;
    settings.pieces[0] = scope->pieces;
    settings.pieces[1] = 1;
    settings.has_deadlines = scope->has_deadlines;
    settings.is_flush_out = scope->is_hard_only;
    settings.faults[FAULT_ANY] = scope->faults;
    for (int i = 1; i < FAULT_COUNT; i++) {
        bool is_hard = i <= FAULT_UNKNOWN;
        settings.faults[i] = is_hard || (!scope->is_hard_only && i != FAULT_LATE) ? 9 : 0;
    }
    if (scope->has_late) {
        settings.faults[FAULT_LATE] = 9;
        settings.faults[FAULT_LOSS] = 0;
    }
}

static uint8_t number(const char *text)
{
    return (uint8_t)strtoul(text, NULL, 10);
}

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s [--quick] [--seed-bug NAME] | --by-hand [OPTION]… | --list\n",
            program);
    return 64;
}

static int take_number(int option, struct run *run, const char *program)
{
    uint8_t value = number(optarg);
    if (option == OPTION_PIECES && value >= 1 && value <= 3)
        settings.pieces[0] = value;
    else if (option == OPTION_MESSAGES && value >= 1 && value <= 2)
        settings.messages = value;
    else if (option == OPTION_DEADLINES)
        settings.has_deadlines = value > 0;
    else if (option == OPTION_MAX)
        run->max_states = strtoul(optarg, NULL, 10);
    else if (option >= OPTION_FAULT && option < OPTION_FAULT + FAULT_COUNT)
        settings.faults[option - OPTION_FAULT] = value;
    else
        return usage(program);
    return 0;
}

static int take(int option, struct run *run, const char *program)
{
    switch (option) {
    case OPTION_SEED:
        run->seed = optarg;
        return 0;
    case OPTION_SAFE:
        run->is_safety_only = true;
        return 0;
    case OPTION_BACK:
        settings.is_back_after_loss = true;
        return 0;
    case OPTION_QUICK:
        run->is_quick = true;
        return 0;
    case OPTION_BY_HAND:
        run->is_by_hand = true;
        return 0;
    default:
        return optarg ? take_number(option, run, program) : usage(program);
    }
}

static int parse(int argc, char **argv, struct run *run)
{
    enum { FIXED = 10 };
    struct option options[FIXED + FAULT_COUNT + 1] = {
        {"pieces", required_argument, NULL, OPTION_PIECES},
        {"messages", required_argument, NULL, OPTION_MESSAGES},
        {"deadlines", required_argument, NULL, OPTION_DEADLINES},
        {"max-states", required_argument, NULL, OPTION_MAX},
        {"safety-only", no_argument, NULL, OPTION_SAFE},
        {"clock-back-after-loss", no_argument, NULL, OPTION_BACK},
        {"seed-bug", required_argument, NULL, OPTION_SEED},
        {"list", no_argument, NULL, OPTION_LIST},
        {"quick", no_argument, NULL, OPTION_QUICK},
        {"by-hand", no_argument, NULL, OPTION_BY_HAND},
    };
    for (int i = 0; i < FAULT_COUNT; i++)
        options[FIXED + i] =
            (struct option){faults[i], required_argument, NULL, OPTION_FAULT + i};
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == OPTION_LIST) {
            seed_list();
            return -1;
        }
        int status = take(option, run, argv[0]);
        if (status != 0)
            return status;
    }
    return optind == argc ? 0 : usage(argv[0]);
}

static bool report(const struct exploration *e, double seconds)
{
    printf("%zu states, %zu transitions, depth %u, %zu records, %.1f s%s\n", e->states,
           e->transitions, e->depth, store_record_count(), seconds,
           e->is_bounded ? ": BOUNDED, not all was seen" : "");
    bool is_kept = !e->broken && e->stuck == 0 && e->stuck_in_time == 0;
    if (is_kept && e->goals > 0)
        printf("every promise was kept; %zu states in which all is done\n", e->goals);
    else if (is_kept)
        printf("every promise was kept; ends were not looked at\n");
    else if (!e->broken)
        printf("%zu states from which nothing leads to the end\n", e->stuck + e->stuck_in_time);
    return is_kept && !e->is_bounded;
}

/* False when a promise was broken, or not all was seen. */
static bool search(struct run *run, const char *what)
{
    printf("== %s\n", what);
    clock_t began = clock();
    struct exploration e = explore(run->max_states, !run->is_safety_only);
    run->is_bounded = run->is_bounded || e.is_bounded;
    return report(&e, (double)(clock() - began) / CLOCKS_PER_SEC);
}

static bool search_all(struct run *run)
{
    if (run->is_by_hand)
        return search(run, "by hand");
    for (int i = 0; i < SCOPES; i++) {
        const struct scope *scope = run->is_quick ? &quick_scopes[i] : &scopes[i];
        set_scope(scope);
        if (!search(run, scope->what))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct run run = {.max_states = 60000000};
    set_scope(&scopes[0]);
    int status = parse(argc, argv, &run);
    if (status != 0)
        return status < 0 ? 0 : status;
    if (run.seed && !seed_bug(run.seed))
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    store_start();
    bool is_kept = search_all(&run);
    store_stop();
    if (run.seed)
        printf("seeded %s: %s\n", run.seed, is_kept || run.is_bounded ? "NOT FOUND" : "found");
    if (run.is_bounded)
        return 1;
    return is_kept != (run.seed != NULL) ? 0 : 1;
}
