/* The API of the simulated platform on a port: reads a call, plays a fault, lets the platform
 * answer. */
#pragma once

#include "bsim_fault.h"
#include "http/http_server.h"

struct bsim_api;

/* Borrows all of its arguments. NULL with a reason. */
struct bsim_api *bsim_api_new(struct loop *loop, struct bsim_platform *platform,
                              struct bsim_faults *faults, const char *listen,
                              struct brg_error *error);
unsigned bsim_api_port(const struct bsim_api *a);
void bsim_api_free(struct bsim_api *a);
