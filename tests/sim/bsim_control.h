/* The control port: tests ask, set faults and read the chat (BOSSHI.md defines it). */
#pragma once

#include "bsim_fault.h"
#include "bsim_push.h"
#include "http/http_server.h"

struct bsim_control;

/* Borrows all of its arguments. NULL with a reason. */
struct bsim_control *bsim_control_new(struct loop *loop, struct bsim_pusher *pusher,
                                      struct bsim_faults *faults, const char *listen,
                                      struct brg_error *error);
unsigned bsim_control_port(const struct bsim_control *c);
void bsim_control_free(struct bsim_control *c);

/* Whether the answer to a URL check passes; else the reason. Journals it. */
bool bsim_challenge_judge(struct bsim_platform *p, const struct bsim_delivery *d,
                          struct bytes challenge, char reason[160]);
