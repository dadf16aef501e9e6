/* What both servers do before they serve: options of the command line, the configuration,
 * descriptors. Main thread, called once. */
#pragma once

#include "base/error.h"
#include "config/config.h"

struct program {
    const char *name;
    const char *usage;
    const char *connections_key; /* of the configuration: what descriptors are for */
    int64_t (*connections)(const struct config *config); /* its value */
    /* Serves until the end; takes over the reference to config. */
    enum brg_exit (*run)(struct config *config, const char *path);
};

/* For main(): the process's exit code. */
int program_main(const struct program *program, int argc, char **argv);
