/* Bugs made on purpose: each must be found, or the explorer does not look. */
#include "protocol.h"

#include <stdio.h>
#include <string.h>

struct seed {
    const char *name, *what;
    bool *flag; /* of an actor, or else: */
    enum script script;
    const char *from, *to;
};

#define FENCE "if prior > epoch then\nreturn brief"
#define NO_FENCE "if false then\nreturn brief"

static const struct seed seeds[] = {
    {"epoch-without-clock", "claim counts epochs and does not look at the clock", NULL,
     SCRIPT_CLAIM, "math.max(r.epoch + 1, US)", "r.epoch + 1"},
    {"put-without-fence", "put does not compare epochs", NULL, SCRIPT_PUT, FENCE, NO_FENCE},
    {"finish-without-fence", "finish does not compare epochs", NULL, SCRIPT_FINISH, FENCE,
     NO_FENCE},
    {"note-without-fence", "note does not compare epochs", NULL, SCRIPT_NOTE, FENCE, NO_FENCE},
    {"finish-over-closed", "finish does not see that ingress told the end", NULL, SCRIPT_FINISH,
     "if r.state == 'final' and r.by == 'ingress' then", "if false then"},
    {"close-over-final", "close does not see that a worker finished", NULL, SCRIPT_CLOSE,
     "if r and r.state == 'final' then", "if false then"},
    {"busy-over-run", "close(busy) ends what a worker has", NULL, SCRIPT_CLOSE,
     "local is_had = r and r.state == 'run'", "local is_had = false"},
    {"claim-steals", "claim does not respect a live lease", NULL, SCRIPT_CLAIM,
     "r.lease_until > NOW then", "false then"},
    {"claim-forgets-owed", "claim calls every final done", NULL, SCRIPT_CLAIM,
     "r.by == 'worker' and r.owed == ''", "r.by == 'worker'"},
    {"finish-owes-nothing", "finish does not write down what is owed", NULL, SCRIPT_FINISH,
     "set(r, 'owed', owed)", "set(r, 'owed', '')"},
    {"open-resets", "open makes every record anew", NULL, SCRIPT_OPEN,
     "if not r then\nr = fresh(as)", "if true then\nr = fresh(as)"},
    {"release-counts", "release counts a start down on every repeat", NULL, SCRIPT_RELEASE,
     "and r.owner ~= '' then", "then"},
    {"loss-is-shared", "after a loss the owners of before take turns", NULL, SCRIPT_PUT,
     "if prior == 0 then", "if false then"},
    {"late-put", "a text that an earlier connection left behind is written", NULL, SCRIPT_PUT,
     "if prior == epoch and LINK < r.link then", "if false then"},
    {"release-makes-run", "release makes a record that is lost, and fences who goes on", NULL,
     SCRIPT_RELEASE, "if none then", "if false then"},
    {"effect-before-note", "response_url is called before its intent is noted",
     &settings.is_effect_before_note, SCRIPT_NONE, NULL, NULL},
    {"takeover-eager", "a new owner shows a text shorter than what is shown",
     &settings.is_takeover_eager, SCRIPT_NONE, NULL, NULL},
    {"settle-before-letter", "what is owed is settled before Kafka has it",
     &settings.is_settle_before_letter, SCRIPT_NONE, NULL, NULL},
    {"lane-ignored", "a worker does not wait for a lane's earlier question",
     &settings.is_lane_ignored, SCRIPT_NONE, NULL, NULL},
    {"end-dropped", "a session of a revoked partition does not write a lost end again",
     &settings.is_end_dropped, SCRIPT_NONE, NULL, NULL},
    {"put-due-after-end", "a text stays due after its end, which is then claimed anew",
     &settings.is_put_due_after_end, SCRIPT_NONE, NULL, NULL},
};

bool seed_bug(const char *name)
{
    for (size_t i = 0; i < sizeof(seeds) / sizeof(*seeds); i++) {
        const struct seed *seed = &seeds[i];
        if (strcmp(seed->name, name) != 0)
            continue;
        if (seed->flag) {
            *seed->flag = true;
            return true;
        }
        if (store_patch(seed->script, seed->from, seed->to))
            return true;
        fprintf(stderr, "%s: %s.lua has changed: mend the seed\n", name,
                script_name(seed->script));
        return false;
    }
    fprintf(stderr, "no such bug: %s\n", name);
    return false;
}

void seed_list(void)
{
    for (size_t i = 0; i < sizeof(seeds) / sizeof(*seeds); i++)
        printf("%-22s %s\n", seeds[i].name, seeds[i].what);
}
