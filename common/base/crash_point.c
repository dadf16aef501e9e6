#include "base/crash_point.h"

#ifdef BOTBRIDGE_CRASH_POINTS

#include "base/error.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_uint passes;

struct choice {
    size_t name_len;
    unsigned nth;
    int pause_ms;
};

static struct choice parse(const char *chosen)
{
    const char *nth = strchr(chosen, ':');
    const char *pause = strchr(chosen, '~');
    return (struct choice){
        .name_len = strcspn(chosen, ":~"),
        .nth = nth ? (unsigned)strtoul(nth + 1, NULL, 10) : 1,
        .pause_ms = pause ? (int)strtol(pause + 1, NULL, 10) : 0,
    };
}

void crash_point_of(const char *step, const char *item)
{
    char name[64];
    const char *chosen = getenv("BOTBRIDGE_CRASH_AT");
    if (!chosen)
        return;
    int len = snprintf(name, sizeof(name), "%s%s%s", step, item ? "/" : "", item ? item : "");
    BRG_CHECK(len > 0 && (size_t)len < sizeof(name));
    struct choice c = parse(chosen);
    if ((size_t)len != c.name_len || memcmp(name, chosen, c.name_len) != 0)
        return;
    if (atomic_fetch_add(&passes, 1) + 1 != c.nth)
        return;
    dprintf(STDERR_FILENO, "crash_point reached=%s\n", chosen);
    poll(NULL, 0, c.pause_ms);
    kill(getpid(), SIGKILL);
    pause();
}

void crash_point(const char *step)
{
    crash_point_of(step, NULL);
}

#endif
