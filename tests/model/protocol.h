/* The actors' steps, and the promises that are checked at each of them. A step that breaks one
 * sets `broken` to its sentence. */
#pragma once

#include "model.h"
#include "store_model.h"

extern const char *broken;

/* broken, unless `holds`. */
void promise(bool holds, const char *sentence);

/* judge.c: every call goes through here. True when its sender gets the answer. */
bool judged_call(struct state *s, struct call call, int how, struct answer *answer);
/* The platform was answered: the end, or a text to go on with; from the store's record, or from
 * memory without it. */
void judge_told_live(struct state *s, int stream, uint8_t text, bool is_confirmed);
void judge_told_end(struct state *s, int stream, uint8_t reason, uint8_t text,
                    bool is_confirmed);
void judge_effect(struct state *s, int session);
void judge_completed(struct state *s, int session);
bool judge_is_goal(const struct state *s);

/* worker.c */
void worker_claim(struct state *s, int session, int how);
void worker_put(struct state *s, int session, int pieces, int how);
void worker_end(struct state *s, int session, int reason, int how);
void worker_finish(struct state *s, int session, int how);
void worker_settle(struct state *s, int session, int how);
void worker_release(struct state *s, int session, int how);
void worker_drop(struct state *s, int session);
bool worker_has_turn(const struct state *s, int session);

/* ingress.c */
void ingress_publish(struct state *s, int publish, bool is_acknowledged, int how);
void ingress_poll(struct state *s, int stream, int how);
void ingress_crash(struct state *s);

/* world.c: Kafka, time, faults, and which steps a state has */
enum { ACTIONS_MAX = 256 };
void world_begin(struct state *s);
unsigned world_actions(const struct state *s, struct action out[ACTIONS_MAX]);
void world_step(struct state *s, struct action a);
/* Without a fault, and whether it is time that passes. */
bool world_is_healthy(struct action a);
void world_append(struct state *s, int stream);
void world_disown(struct state *s, int session);
void world_print(struct action a, const struct state *before, const struct state *after);

/* seeds.c: bugs made on purpose; false: no such name */
bool seed_bug(const char *name);
void seed_list(void);
