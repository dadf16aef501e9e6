#include "base/crash_point.h"

#ifdef BOTBRIDGE_CRASH_POINTS

#include "base/error.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_uint passes;

/* The length of the name in "name[:nth]". */
static size_t name_len(const char *chosen, unsigned *nth)
{
    const char *colon = strrchr(chosen, ':');
    *nth = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 1;
    return colon ? (size_t)(colon - chosen) : strlen(chosen);
}

void crash_point_of(const char *step, const char *item)
{
    char name[64];
    unsigned nth;
    const char *chosen = getenv("BOTBRIDGE_CRASH_AT");
    if (!chosen)
        return;
    int len = snprintf(name, sizeof(name), "%s%s%s", step, item ? "/" : "", item ? item : "");
    BRG_CHECK(len > 0 && (size_t)len < sizeof(name));
    size_t chosen_len = name_len(chosen, &nth);
    if ((size_t)len != chosen_len || memcmp(name, chosen, chosen_len) != 0)
        return;
    if (atomic_fetch_add(&passes, 1) + 1 != nth)
        return;
    dprintf(STDERR_FILENO, "crash_point reached=%s\n", chosen);
    kill(getpid(), SIGKILL);
    pause();
}

void crash_point(const char *step)
{
    crash_point_of(step, NULL);
}

#endif
