/* The control port: tests ask, set faults and read the chat (BOSSHI.md defines it). */
#pragma once

#include "bosshi_fault.h"
#include "bosshi_push.h"
#include "http/http_server.h"

struct bosshi_control;

/* Borrows all of its arguments. NULL with a reason. */
struct bosshi_control *bosshi_control_new(struct loop *loop, struct bosshi_pusher *pusher,
                                          struct bosshi_faults *faults, const char *listen,
                                          struct brg_error *error);
unsigned bosshi_control_port(const struct bosshi_control *c);
void bosshi_control_free(struct bosshi_control *c);

/* Whether the answer to a URL check passes; else the reason. Journals it. */
bool bosshi_challenge_judge(struct bosshi_platform *p, const struct bosshi_delivery *d,
                            struct bytes challenge, char reason[160]);
